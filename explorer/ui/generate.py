"""The tab that asks for a data set of accepted samples, and looks into it."""

from __future__ import annotations

import dataclasses
from typing import Any

import gradio as gr

from explorer import jobs
from explorer.archives import pack
from explorer.overview import Overview, look_into
from explorer.ui import exports, place, watch
from explorer.ui.guard import guarded, whole
from explorer.ui.mask_cards import data_uri
from explorer.ui.masks import MasksTab, read_choice, summary
from explorer.ui.watch import QUIET, Watched, WatchTexts, chosen_run
from explorer.views import Workbench
from segmentation.shards import ShardConfig
from segmentation.synthesis import SynthesisConfig

KINDS = ("generate",)
SHOWN = 12
"""Samples in a look into the data set."""
_QUESTION = """## A data set of samples that the filters keep
It is made with the direction, magnitude and thresholds of the tab **Masks**. It is a run of its own: close the page, and it
goes on."""
_TEXTS = WatchTexts("generate", KINDS, "No data set yet. Start one above.", "", compare=False, delete=False)


def build(
    bench: Workbench, origin: jobs.Origin, overview: Overview, masks: MasksTab, page: gr.Blocks, timer: gr.Timer, tab: gr.Tab
) -> Watched:
    """Lay the tab out, inside ``tab`` of ``page``."""
    default = ShardConfig()
    gr.Markdown(_QUESTION, elem_classes="question")
    place.notice("generate-space")
    with gr.Row():
        with gr.Column(scale=4, min_width=280):
            count = gr.Number(default.count, step=1, label="Samples", info="Accepted samples in all.", elem_id="generate-count")
            seed = gr.Number(default.seed, step=1, label="Seed", info="Seed of the samples.", elem_id="generate-seed")
        with gr.Column(scale=9, min_width=320):
            said = gr.Markdown(elem_id="generate-summary")
            name = gr.Textbox("", label="Name", info="Of its folder among the runs; empty: the date.", elem_id="generate-name")
            where = place.controls("generate")
            go = gr.Button("Make the data set", variant="primary", interactive=not place.on_a_space(), elem_id="generate-go")
    watched = watch.build(overview, _TEXTS, page, timer, tab)
    _look_and_download(overview, watched)
    inputs = [*masks.view, *masks.filters, count, seed, name, *where]
    begun = go.click(_begin(bench, origin, overview), inputs, watched.chosen, api_name="generate", show_progress="hidden")
    begun.then(guarded(watch.look_at(overview, _TEXTS)), **watched.looked())
    tab.select(guarded(lambda *values: summary(bench, values)), [*masks.view, *masks.filters], said, **QUIET)
    return watched


def _begin(bench: Workbench, origin: jobs.Origin, overview: Overview) -> Any:
    @guarded
    def generate(*values: Any) -> str:
        """Start a data set with the direction and thresholds of the tab Masks; returns the name of its run."""
        place.check_allowed()
        view, filters, rest = read_choice(values)
        bench.catalogue.direction(view.direction)
        count, seed, name, *where = rest
        synthesis = dataclasses.replace(SynthesisConfig(), filters=filters)
        config = ShardConfig(count=whole("number of samples", count), seed=whole("seed", seed), synthesis=synthesis)
        wanted = (name or "").strip() or jobs.fresh_name("data", overview.root)
        folder = jobs.folder_for(wanted, overview.root)
        jobs.begin(jobs.generate_words(origin, view, config, folder), folder, place.chosen(tuple(where)))
        overview.forget()
        return wanted

    return generate


def _look_and_download(overview: Overview, watched: Watched) -> None:
    with gr.Row():
        with gr.Column(scale=4, min_width=280):
            first = gr.Number(0, step=1, label="Look from sample", info="Its number, from 0.", elem_id="generate-first")
            look = gr.Button("Look into it", size="md", elem_id="generate-look")
            pack_it = gr.Button("Prepare the download", size="md", elem_id="generate-pack")
            archive = gr.DownloadButton("Download (.zip)", visible=False, size="md", elem_id="generate-zip")
        with gr.Column(scale=9, min_width=320):
            samples = gr.HTML(elem_id="generate-samples", elem_classes="run-picture")

    @guarded
    def looked(chosen: str | None, number: Any) -> str:
        picture, total = look_into(chosen_run(overview, chosen), whole("number of the sample", number), SHOWN)
        words = f"Samples from number {whole('number of the sample', number)} on, images above masks; {total:,} are finished."
        return f'<figure><img src="{data_uri(picture)}" alt="{words}"><figcaption>{words}</figcaption></figure>'

    @guarded
    def packed(chosen: str | None) -> Any:
        run = chosen_run(overview, chosen)
        path = pack(run.run.folder, exports.new_folder() / f"{run.run.folder.name}.zip")
        return gr.DownloadButton(value=str(path), visible=True)

    look.click(looked, [watched.chosen, first], samples, **QUIET)
    first.submit(looked, [watched.chosen, first], samples, **QUIET)
    pack_it.click(packed, watched.chosen, archive, api_visibility="private")
    watched.chosen.change(lambda: (gr.DownloadButton(visible=False), ""), None, [archive, samples], **QUIET)

"""The tab that asks for a data set of accepted samples, and looks into it."""

from __future__ import annotations

import dataclasses
from typing import Any

import gradio as gr
from gradio.events import api

from explorer import jobs
from explorer.archives import pack
from explorer.overview import Overview, look_into
from explorer.runs.launcher import LaunchConfig
from explorer.ui import place, watch
from explorer.ui.explore import sample_values
from explorer.ui.exports import exports
from explorer.ui.guard import ASKED, QUIET, answered, guarded, labelled, whole
from explorer.ui.mask_cards import data_uri
from explorer.ui.masks import MasksTab, read_choice, summary
from explorer.ui.watch import Watched, WatchTexts, chosen_run
from explorer.views import SampleView, Workbench
from segmentation.filters import FilterConfig
from segmentation.shards import ShardConfig
from segmentation.synthesis import SynthesisConfig

KINDS = ("generate",)
_LABELS = {"count": "Samples"}
"""What the page calls the fields of :class:`ShardConfig`, where it is something else."""
SHOWN = 12
"""Samples in a look into the data set."""
_QUESTION = """## How do I make a data set of the kept samples?
With the direction, magnitude and thresholds of the tab **Masks**. It is a run of its own: close the page, and it goes on."""
_TEXTS = WatchTexts("generate", KINDS, "No data set yet: make one.", "", compare=False, delete=False)


def build(bench: Workbench, overview: Overview, masks: MasksTab, timer: gr.Timer, tab: gr.Tab) -> None:
    """Lay the tab out, inside ``tab``."""
    default = ShardConfig()
    gr.Markdown(_QUESTION, elem_classes="question")
    place.notice("generate-space")
    with gr.Row():
        with gr.Column(scale=4, min_width=280):
            said = gr.Markdown(elem_id="generate-summary")
            count = gr.Number(
                default.count, step=1, label=_LABELS["count"], info="Accepted samples in all.", elem_id="generate-count"
            )
            seed = gr.Number(default.seed, step=1, label="Seed", info="Seed of the samples.", elem_id="generate-seed")
            name = gr.Textbox("", label="Name", info="Of its folder among the runs; empty: the date.", elem_id="generate-name")
            go = gr.Button("Make the data set", variant="primary", interactive=not place.on_a_space(), elem_id="generate-go")
            listed = watch.run_list(_TEXTS)
            where = place.controls("generate")
        with gr.Column(scale=9, min_width=320):
            watched = watch.build(overview, _TEXTS, listed, timer, tab)
            _look_and_download(overview, watched)
    work = _work(bench, overview)
    inputs = [*masks.given, count, seed, name, *where]
    begun = go.click(_begin(work), inputs, watched.chosen, show_progress="hidden", api_visibility="private")
    begun.then(watch.look_at(overview, _TEXTS), **watched.looked())
    tab.select(guarded(lambda *values: summary(bench, values)), masks.given, said, **ASKED)
    api(_action(work), api_name="generate")


def _work(bench: Workbench, overview: Overview) -> Any:
    """What starts a data set, and returns its name."""

    def work(
        catalogue: str, view: SampleView, filters: FilterConfig, count: Any, seed: Any, name: str, where: LaunchConfig
    ) -> str:
        place.check_allowed()
        origin = jobs.origin(bench, catalogue)
        bench.on(catalogue).catalogue.direction(view.direction)
        synthesis = dataclasses.replace(SynthesisConfig(), filters=filters)
        config = ShardConfig(count=whole("number of samples", count), seed=whole("seed", seed), synthesis=synthesis)
        wanted = name.strip() or jobs.fresh_name("data", overview.root)
        folder = jobs.folder_for(wanted, overview.root)
        jobs.begin(jobs.generate_words(origin, view, config, folder), folder, where)
        overview.forget()
        return wanted

    return work


def _begin(work: Any) -> Any:
    @guarded
    @labelled(_LABELS)
    def begin(*values: Any) -> str:
        catalogue, view, filters, (count, seed, name, *where) = read_choice(values)
        begun: str = work(catalogue, view, filters, count, seed, name or "", place.chosen(tuple(where)))
        return begun

    return begin


def _action(work: Any) -> Any:
    def generate(
        direction: int,
        magnitude: float,
        count: int = ShardConfig.count,
        seed: int = ShardConfig.seed,
        truncation: float = SampleView.truncation,
        filters: dict[str, Any] | None = None,
        name: str = "",
        catalogue: str = "",
    ) -> str:
        """Start a data set of ``count`` accepted samples as a run; returns the name of the run.

        ``filters`` holds thresholds by their names in FilterConfig; those not named are the defaults.
        """
        with answered():
            view = SampleView(**sample_values(direction, magnitude, 0, truncation))
            begun: str = work(catalogue, view, FilterConfig.from_json(filters or {}), count, seed, name, LaunchConfig())
        return begun

    return generate


def _look_and_download(overview: Overview, watched: Watched) -> None:
    first = gr.Number(0, step=1, label="Look from sample", info="Its number, from 0.", elem_id="generate-first")
    with gr.Row():
        look = gr.Button("Look into it", size="md", min_width=100, interactive=False, elem_id="generate-look")
        pack_it = gr.Button("Prepare the download", size="md", min_width=220, interactive=False, elem_id="generate-pack")
        archive = gr.DownloadButton("Download (.zip)", visible=False, size="md", min_width=100, elem_id="generate-zip")
    samples = gr.HTML(elem_id="generate-samples", elem_classes="run-picture")

    @guarded
    def looked(chosen: str | None, number: Any) -> str:
        picture, total = look_into(chosen_run(overview, chosen), whole("number of the sample", number), SHOWN)
        words = f"Samples from number {whole('number of the sample', number)} on, images above masks; {total:,} are finished."
        return f'<figure><img src="{data_uri(picture)}" alt="{words}"><figcaption>{words}</figcaption></figure>'

    @guarded
    def packed(chosen: str | None) -> Any:
        run = chosen_run(overview, chosen)
        path = pack(run.run.folder, exports().new_folder() / f"{run.run.folder.name}.zip")
        return gr.DownloadButton(value=str(path), visible=True)

    watch.with_run(watched, look, pack_it)
    look.click(looked, [watched.chosen, first], samples, **ASKED)
    first.submit(looked, [watched.chosen, first], samples, **ASKED)
    pack_it.click(packed, watched.chosen, archive, api_visibility="private")
    watched.chosen.change(lambda: (gr.DownloadButton(visible=False), ""), None, [archive, samples], **QUIET)

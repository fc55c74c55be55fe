"""The tab that asks for a segmenter, and watches it learn."""

from __future__ import annotations

import dataclasses
from typing import Any

import gradio as gr

from explorer import jobs
from explorer.archives import pack
from explorer.knobs import Knob, changed, knobs
from explorer.overview import Overview
from explorer.ui import exports, place, watch
from explorer.ui.guard import guarded
from explorer.ui.masks import MasksTab, read_choice, summary
from explorer.ui.watch import QUIET, Watched, WatchTexts, chosen_run
from explorer.views import Workbench
from segmentation.training import TrainingConfig

KINDS = ("train",)
QUICK, PAPER = "quick", "paper"
SCHEDULES = {QUICK: jobs.QUICK, PAPER: TrainingConfig()}
_QUESTION = """## Train a segmenter that no human labelled an image for
A U-Net learns from the samples that the tab **Masks** keeps. It is a run of its own: close the page, and it goes on."""
_TEXTS = WatchTexts(
    "train", KINDS, "No training yet. Start one above.", "Held-out samples: image, mask, prediction", compare=True, delete=False
)


def build(
    bench: Workbench, origin: jobs.Origin, overview: Overview, masks: MasksTab, page: gr.Blocks, timer: gr.Timer, tab: gr.Tab
) -> Watched:
    """Lay the tab out, inside ``tab`` of ``page``."""
    gr.Markdown(_QUESTION, elem_classes="question")
    place.notice("train-space")
    shown = knobs(jobs.QUICK, without=("synthesis.filters",))
    with gr.Row():
        with gr.Column(scale=4, min_width=280):
            schedule = gr.Radio([QUICK, PAPER], value=QUICK, label="Schedule", info=_schedules(), elem_id="schedule")
            name = gr.Textbox("", label="Name", info="Of its folder among the runs; empty: the date.", elem_id="train-name")
            go = gr.Button("Train", variant="primary", interactive=not place.on_a_space(), elem_id="train-go")
        with gr.Column(scale=9, min_width=320):
            said = gr.Markdown(elem_id="train-summary")
            where = place.controls("train")
            with gr.Accordion("Advanced", open=False, elem_id="advanced"), gr.Row():
                settings = [_control(knob) for knob in shown]
    watched = watch.build(overview, _TEXTS, page, timer, tab)
    _download(overview, watched)
    schedule.input(guarded(lambda chosen: _values(chosen, shown)), schedule, settings, **QUIET)
    inputs = [*masks.view, *masks.filters, name, *settings, *where]
    begun = go.click(_begin(bench, origin, overview, shown), inputs, watched.chosen, api_name="train", show_progress="hidden")
    begun.then(guarded(watch.look_at(overview, _TEXTS)), **watched.looked())
    tab.select(guarded(lambda *values: summary(bench, values)), [*masks.view, *masks.filters], said, **QUIET)
    return watched


def _schedules() -> str:
    told = [f"{name}: {config.steps:,} steps of {config.batch_size} samples" for name, config in SCHEDULES.items()]
    return ". ".join(told) + ". Hours on a processor, unless it is quick."


def _control(knob: Knob) -> Any:
    """The control of a knob: a box to tick, to type a number in, or to type words in."""
    shared: dict[str, Any] = {"label": knob.name, "info": knob.words, "elem_id": f"knob-{knob.name}".replace(".", "-")}
    if knob.kind is bool:
        return gr.Checkbox(knob.default, min_width=200, **shared)
    if knob.kind in (int, float) and not knob.optional:
        return gr.Number(knob.default, step=1 if knob.kind is int else None, min_width=200, **shared)
    words = "" if knob.default is None else str(knob.default)
    return gr.Textbox(words, placeholder="none" if knob.optional else None, min_width=200, **shared)


def _values(schedule: str, shown: list[Knob]) -> list[Any]:
    """The values of a schedule for the controls of ``shown``."""
    there = {knob.name: knob.default for knob in knobs(SCHEDULES[schedule])}
    return ["" if there[knob.name] is None else there[knob.name] for knob in shown]


def _begin(bench: Workbench, origin: jobs.Origin, overview: Overview, shown: list[Knob]) -> Any:
    @guarded
    def train(*values: Any) -> str:
        """Start a training on the samples of the tab Masks; returns the name of its run."""
        place.check_allowed()
        view, filters, (name, *rest) = read_choice(values)
        bench.catalogue.direction(view.direction)
        settings, where = rest[: len(shown)], rest[len(shown) :]
        config = changed(TrainingConfig(), {knob.name: value for knob, value in zip(shown, settings, strict=True)})
        config = dataclasses.replace(config, synthesis=dataclasses.replace(config.synthesis, filters=filters))
        wanted = (name or "").strip() or jobs.fresh_name("train", overview.root)
        folder = jobs.folder_for(wanted, overview.root)
        jobs.begin(jobs.train_words(origin, view, config, folder), folder, place.chosen(tuple(where)))
        overview.forget()
        return wanted

    return train


def _download(overview: Overview, watched: Watched) -> None:
    with watched.buttons:
        pack_it = gr.Button("Prepare the download", size="md", min_width=100, elem_id="train-pack")
        archive = gr.DownloadButton("Download (.zip)", visible=False, size="md", min_width=100, elem_id="train-zip")

    @guarded
    def packed(chosen: str | None) -> Any:
        run = chosen_run(overview, chosen)
        path = pack(run.run.folder, exports.new_folder() / f"{run.run.folder.name}.zip")
        return gr.DownloadButton(value=str(path), visible=True)

    pack_it.click(packed, watched.chosen, archive, api_visibility="private")
    watched.chosen.change(lambda: gr.DownloadButton(visible=False), None, archive, **QUIET)

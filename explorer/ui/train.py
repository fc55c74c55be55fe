"""The tab that asks for a segmenter, and watches it learn."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.events import api

from explorer import jobs
from explorer.archives import pack
from explorer.knobs import Knob, changed, knobs
from explorer.overview import Overview
from explorer.runs.launcher import LaunchConfig
from explorer.ui import place, watch
from explorer.ui.explore import sample_values
from explorer.ui.exports import exports
from explorer.ui.guard import ASKED, QUIET, answered, guarded, labelled
from explorer.ui.masks import MasksTab, read_choice, summary
from explorer.ui.render import plain
from explorer.ui.watch import Watched, WatchTexts, chosen_run
from explorer.views import SampleView, Workbench
from segmentation.errors import require
from segmentation.filters import FilterConfig
from segmentation.training import TrainingConfig

KINDS = ("train",)
QUICK, PAPER = "quick", "paper"
SCHEDULES = {QUICK: jobs.QUICK, PAPER: TrainingConfig()}
_QUESTION = """## What does a network learn from the kept samples?
To segment, and no human labelled an image for it: a U-Net is trained on what the tab **Masks** keeps, as it is made or from a
data set of the tab **Generate**. It is a run of its own:
close the page, and it goes on."""
_SOURCE = "Made on the way by the direction and thresholds of Masks, or those of a data set of the tab Generate."
_TEXTS = WatchTexts(
    "train", KINDS, "No training yet: start one.", "Held-out samples: image, mask, prediction", compare=True, delete=False
)


def build(bench: Workbench, overview: Overview, masks: MasksTab, timer: gr.Timer, tab: gr.Tab) -> None:
    """Lay the tab out, inside ``tab``."""
    gr.Markdown(_QUESTION, elem_classes="question")
    place.notice("train-space")
    shown = knobs(jobs.QUICK, without=("synthesis.filters",))
    with gr.Row():
        with gr.Column(scale=4, min_width=280):
            data = gr.Dropdown(_sources(overview), value="", label="Samples", info=_SOURCE, elem_id="train-data")
            said = gr.Markdown(elem_id="train-summary")
            schedule = gr.Radio([QUICK, PAPER], value=QUICK, label="Schedule", info=_schedules(), elem_id="schedule")
            name = gr.Textbox("", label="Name", info="Of its folder among the runs; empty: the date.", elem_id="train-name")
            go = gr.Button("Train", variant="primary", interactive=not place.on_a_space(), elem_id="train-go")
            # Above what is folded: unfolded, that is long, and the run that was just started is to be seen.
            listed = watch.run_list(_TEXTS)
            with gr.Accordion("Advanced", open=False, elem_id="advanced"):
                settings = [_control(knob) for knob in shown]
            where = place.controls("train")
        with gr.Column(scale=9, min_width=320):
            watched = watch.build(overview, _TEXTS, listed, timer, tab)
    _download(overview, watched)
    schedule.input(guarded(lambda chosen: _values(chosen, shown)), schedule, settings, **QUIET)
    work = _work(bench, overview)
    inputs = [*masks.given, data, name, *settings, *where]
    begun = go.click(_begin(work, shown), inputs, watched.chosen, show_progress="hidden", api_visibility="private")
    begun.then(watch.look_at(overview, _TEXTS), **watched.looked())
    tab.select(lambda: gr.Dropdown(choices=_sources(overview)), None, data, **QUIET)
    gr.on([tab.select, data.input], _about(bench, overview), [*masks.given, data], said, **ASKED)
    api(_action(work), api_name="train")


def _sources(overview: Overview) -> list[tuple[str, str]]:
    """What a training can learn from: samples that are made for it, or one of the data sets."""
    return [("made on the way", ""), *((name, name) for name in overview.data_sets())]


def _about(bench: Workbench, overview: Overview) -> Any:
    @guarded
    def about(*values: Any) -> str:
        """What a training that is started now learns from."""
        *given, data = values
        if not data:
            return summary(bench, given)
        found = overview.data_set(data)
        side = found.resolution
        return f"The data set **{plain(data)}**: {len(found):,} samples of {side} x {side} pixels. Masks has no say in it."

    return about


def _schedules() -> str:
    told = [f"{name}: {config.steps:,} steps of {config.batch_size} samples" for name, config in SCHEDULES.items()]
    return ". ".join(told) + ". Hours on a processor, unless it is quick."


def _control(knob: Knob) -> Any:
    """The control of a knob: a box to tick, to type a number in, or to type words in."""
    shared: dict[str, Any] = {
        "label": knob.name,
        "info": knob.words.replace("``", ""),
        "elem_id": f"knob-{knob.name}".replace(".", "-"),
    }
    if knob.kind is bool:
        return gr.Checkbox(knob.default, **shared)
    if knob.kind in (int, float) and not knob.optional:
        return gr.Number(knob.default, step=1 if knob.kind is int else 0.0, **shared)
    words = "" if knob.default is None else str(knob.default)
    return gr.Textbox(words, placeholder="none" if knob.optional else None, **shared)


def _values(schedule: str, shown: list[Knob]) -> list[Any]:
    """The values of a schedule for the controls of ``shown``."""
    there = {knob.name: knob.default for knob in knobs(SCHEDULES[schedule])}
    return ["" if there[knob.name] is None else there[knob.name] for knob in shown]


def _work(bench: Workbench, overview: Overview) -> Any:
    """What starts a training, and returns its name."""

    def work(catalogue: str, view: SampleView, config: TrainingConfig, data: str, name: str, where: LaunchConfig) -> str:
        place.check_allowed()
        origin = jobs.origin(bench, catalogue)
        bench.on(catalogue).catalogue.direction(view.direction)
        samples = _learnt_from(overview, data, config) if data else None
        wanted = name.strip() or jobs.fresh_name("train", overview.root)
        folder = jobs.folder_for(wanted, overview.root)
        jobs.begin(jobs.train_words(origin, view, config, folder, samples), folder, where)
        overview.forget()
        return wanted

    return work


def _learnt_from(overview: Overview, name: str, config: TrainingConfig) -> Path:
    """The folder of the data set called ``name``; :class:`LanternError` if it is too small for a training by ``config``."""
    found = overview.data_set(name)
    wanted = config.held_out + config.batch_size
    parts = f"{config.held_out} held out for validation and {config.batch_size} a batch"
    problem = f"the data set {name} has {len(found)} samples, and this training takes at least {wanted}: {parts}"
    require(len(found) >= wanted, problem, "Lower held-out or batch-size under Advanced, or generate more samples.")
    return found.folder


def _with_filters(config: TrainingConfig, filters: FilterConfig) -> TrainingConfig:
    return dataclasses.replace(config, synthesis=dataclasses.replace(config.synthesis, filters=filters))


def _labels(shown: list[Knob]) -> dict[str, str]:
    """What the page calls the fields of a training's configurations, by the fields' names; not those that several share."""
    names = [knob.path[-1] for knob in shown]
    return {name: knob.name for name, knob in zip(names, shown, strict=True) if names.count(name) == 1}


def _begin(work: Any, shown: list[Knob]) -> Any:
    @guarded
    @labelled(_labels(shown))
    def begin(*values: Any) -> str:
        catalogue, view, filters, (data, name, *rest) = read_choice(values)
        settings, where = rest[: len(shown)], rest[len(shown) :]
        config = changed(jobs.QUICK, {knob.name: value for knob, value in zip(shown, settings, strict=True)})
        config = config if data else _with_filters(config, filters)
        begun: str = work(catalogue, view, config, data or "", name or "", place.chosen(tuple(where)))
        return begun

    return begin


def _action(work: Any) -> Any:
    def train(
        direction: int,
        magnitude: float,
        settings: dict[str, Any] | None = None,
        truncation: float = SampleView.truncation,
        filters: dict[str, Any] | None = None,
        name: str = "",
        catalogue: str = "",
        data: str = "",
    ) -> str:
        """Start a training on the accepted samples of a direction as a run; returns the name of the run.

        ``settings`` are those of the schedule "quick" unless they are given, by their names on the command line
        (``{"steps": 1000, "unet.width": 32}``); ``filters`` holds thresholds by their names in FilterConfig. ``data`` is the
        name of a run of /generate to train on instead: direction and filters are then those that it was made with.
        """
        with answered():
            view = SampleView(**sample_values(direction, magnitude, 0, truncation))
            config = changed(jobs.QUICK, settings or {})
            config = config if data else _with_filters(config, FilterConfig.from_json(filters or {}))
            begun: str = work(catalogue, view, config, data, name, LaunchConfig())
        return begun

    return train


def _download(overview: Overview, watched: Watched) -> None:
    with watched.buttons:
        pack_it = gr.Button("Prepare the download", size="md", min_width=220, interactive=False, elem_id="train-pack")
        archive = gr.DownloadButton("Download (.zip)", visible=False, size="md", min_width=100, elem_id="train-zip")

    @guarded
    def packed(chosen: str | None) -> Any:
        run = chosen_run(overview, chosen)
        path = pack(run.run.folder, exports().new_folder() / f"{run.run.folder.name}.zip")
        return gr.DownloadButton(value=str(path), visible=True)

    watch.with_run(watched, pack_it)
    pack_it.click(packed, watched.chosen, archive, api_visibility="private")
    watched.chosen.change(lambda: gr.DownloadButton(visible=False), None, archive, **QUIET)

"""Runs about directions on the tab Directions: find saliency lighting, rank, calibrate, discover, and watch it."""

from __future__ import annotations

import dataclasses
import html
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from explorer.desk import CALIBRATE, DISCOVER, FIND, RANK, TASKS, task
from explorer.directions.deformators import DEFORMATORS
from explorer.directions.discovery import DiscoveryConfig
from explorer.directions.reconstructors import RECONSTRUCTORS
from explorer.runs import launcher, listing
from explorer.runs.command import runs_root
from explorer.ui import place
from explorer.ui.guard import ASKED, QUIET, guarded, labelled, whole
from explorer.views import Workbench
from segmentation.errors import LanternError

if TYPE_CHECKING:
    from explorer.ui.directions import Judge

_WORDS = {
    FIND: "measures every direction without labels, turns each to its better sign, and marks the best as saliency lighting",
    RANK: "measures every direction without labels; what you said of them stays",
    CALIBRATE: "gives every direction the magnitude at which it visibly acts; saliency lighting keeps its own",
    DISCOVER: "learns new directions, without labels, into a catalogue of their own; hours without a GPU",
}
_TITLES = {FIND: "Find saliency lighting", RANK: "Rank", CALIBRATE: "Calibrate", DISCOVER: "Discover"}
_LABELS = {"directions_count": "Directions"}
"""What the page calls the fields of :class:`DiscoveryConfig`, where it is something else."""
KINDS = ("rank", "calibrate", "discover")


@dataclasses.dataclass(frozen=True)
class RunControls:
    """What is to be run, and what runs."""

    what: gr.Radio
    count: gr.Number
    steps: gr.Number
    deformator: gr.Dropdown
    reconstructor: gr.Dropdown
    start: gr.Button
    stop: gr.Button
    state: gr.HTML
    folder: gr.State
    ended: gr.Textbox
    """Which run has ended, and how; no state, whose changes a browser hears of in a queue alone."""
    timer: gr.Timer


def build(bench: Workbench, timer: gr.Timer) -> RunControls:
    """Lay the controls out; ``timer`` says when to look."""
    default = DiscoveryConfig()
    with gr.Accordion("Let a run do it", open=True):
        place.notice("directions-space")
        choices = [(_TITLES[name], name) for name in TASKS]
        info = " ".join(f"{_TITLES[name]} {words}." for name, words in _WORDS.items())
        what = gr.Radio(choices, value=FIND, label="Task", info=info, elem_id="task")
        with gr.Row(visible=False, elem_classes="tight") as discovery:
            count = gr.Number(
                bench.engine.latent_dim, precision=0, label=_LABELS["directions_count"], elem_id="discover-count", min_width=90
            )
            steps = gr.Number(default.steps, precision=0, label="Steps", elem_id="discover-steps", min_width=90)
            deformator = gr.Dropdown(
                list(DEFORMATORS), value=default.deformator, label="Deformator", elem_id="deformator", min_width=90
            )
            reconstructor = gr.Dropdown(
                list(RECONSTRUCTORS), value=default.reconstructor, label="Reconstructor", elem_id="reconstructor", min_width=90
            )
        with gr.Row(elem_classes="tight"):
            start = gr.Button("Start", size="md", interactive=not place.on_a_space(), elem_id="start-run")
            stop = gr.Button("Stop", size="md", interactive=False, elem_id="stop-run")
        state = gr.HTML(elem_id="run-state")
    what.change(lambda chosen: gr.Row(visible=chosen == DISCOVER), what, discovery, **QUIET)
    ended = gr.Textbox("", visible=False, elem_id="run-ended")
    return RunControls(what, count, steps, deformator, reconstructor, start, stop, state, gr.State(""), ended, timer)


def wire(bench: Workbench, runs: RunControls, judge: Judge, tab: gr.Tab, after: list[dict[str, Any]]) -> None:
    """Have Start start and Stop stop, follow the run, and do the calls ``after`` when it has ended."""
    outputs = [runs.state, runs.start, runs.stop, runs.timer, runs.ended, judge.catalogue]
    look: dict[str, Any] = {"fn": _watch(bench), "inputs": [runs.folder, runs.ended], "outputs": outputs, **QUIET}
    runs.start.click(
        _start(bench),
        [judge.catalogue, runs.what, runs.count, runs.steps, runs.deformator, runs.reconstructor],
        runs.folder,
        show_progress="minimal",
        api_name="start_directions_run",
    ).success(**look)
    runs.stop.click(_stop, runs.folder, runs.stop, **ASKED)
    runs.timer.tick(**look)
    tab.select(_going, runs.folder, runs.folder, **QUIET).then(**look)
    step: Any = runs.ended.change(lambda: None, None, None, **QUIET)
    for call in after:
        step = step.then(**call)


def _start(bench: Workbench) -> Any:
    @guarded
    @labelled(_LABELS)
    def start(catalogue: str, what: str, count: float, steps: float, deformator: str, reconstructor: str) -> str:
        """Start a run about directions: find, rank, calibrate or discover; refused while another one goes."""
        place.check_allowed()
        config = DiscoveryConfig()
        if what == DISCOVER:
            count = whole("number of directions", count)
            config = DiscoveryConfig(
                directions_count=None if count == bench.engine.latent_dim else count,
                steps=whole("number of steps", steps),
                deformator=deformator,
                reconstructor=reconstructor,
            )
        going = _going("")
        if going:
            told = f"the run {Path(going).name} about directions is not over"
            raise LanternError(told, "Wait until it is, or stop it, then start the next.")
        planned = task(bench, catalogue, what, config)
        launcher.start(planned.arguments, planned.folder)
        return str(planned.folder)

    return start


def _going(folder: str) -> str:
    """``folder``, that of the run in view, if there is one; else that of the newest run about directions that is not over."""
    if folder:
        return folder
    root = runs_root()
    found = listing.list_runs(root) if root.is_dir() else []
    return next((str(run.folder) for run in found if run.kind in KINDS and run.live), "")


@guarded
def _stop(folder: str) -> Any:
    if folder:
        launcher.stop(Path(folder))
    return gr.Button("Stopping", interactive=False)


def _watch(bench: Workbench) -> Any:
    def watch(folder: str, ended: str) -> tuple[Any, ...]:
        """How a run goes; whether another may start; whether to look again; what says that it has ended."""
        run = _run_in(folder)
        if run is None:
            return "", _startable(True), gr.Button("Stop", interactive=False), gr.Timer(active=False), ended, gr.skip()
        going = run.live
        told = told_of(run)
        choices: Any = gr.skip() if going else gr.Dropdown(choices=bench.shelf.names())
        ended = ended if going else f"{run.folder.name} {run.state}"
        stop = gr.Button("Stop", interactive=going)
        return told, _startable(not going), stop, gr.Timer(active=going), ended, choices

    return watch


def _startable(free: bool) -> Any:
    """The button Start, for a run at a time: two would write one catalogue."""
    return gr.Button("Start", interactive=free and not place.on_a_space())


def _run_in(folder: str) -> listing.RunView | None:
    """The run in ``folder``; None if there is none in view, or somebody has deleted it."""
    try:
        return listing.view(Path(folder)) if folder else None
    except LanternError:
        return None


def told_of(run: listing.RunView) -> str:
    """HTML: what a run does, how far it is, how long it takes, and what went wrong."""
    share = 100 * run.step / run.steps if run.steps else 0.0
    left = f", {_duration(run.seconds_left)} left" if run.seconds_left is not None and run.state == "running" else ""
    error = f'<p class="error">{html.escape(run.error)} {html.escape(run.remedy or "")}</p>' if run.error else ""
    result = ""
    if run.kind == "discover" and run.state in ("done", "stopped"):
        result = f"<p>Choose <b>run/{html.escape(run.folder.name)}</b> under Catalogue to see what it found.</p>"
    return (
        f'<div class="run"><p><b>{html.escape(run.kind)}</b>: {run.state}, step {run.step:,} of {run.steps:,}{left} '
        f"<small>{html.escape(run.folder.name)}</small></p>"
        f'<progress max="100" value="{share:.1f}" aria-label="progress">{share:.0f}%</progress>{error}{result}</div>'
    )


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"

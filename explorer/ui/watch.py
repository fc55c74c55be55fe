"""A list of runs with one of them in view, looked at once a second: what Generate, Train and Runs have in common.

A callback never waits for a run: it reads the run's folder and goes. So a reload, or a second browser, sees the same.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from explorer.overview import Named, Overview, newest_picture
from explorer.overview import log as log_of
from explorer.runs.launcher import remove, resume, stop
from explorer.ui import place, plots, runpages
from explorer.ui.guard import ASKED, QUIET, guarded
from segmentation.errors import LanternError

log = logging.getLogger(__name__)
PLOT_SECONDS = 2.0
"""Seconds between two drawings of the curves."""
_EMPTY = "<p>What a run does is shown here once there is one.</p>"
_ASK = "Delete **{}** with all that is in its folder? That cannot be undone."


@dataclass(frozen=True)
class WatchTexts:
    """What a tab calls its things."""

    prefix: str
    """The beginning of the elements' names."""
    kinds: tuple[str, ...]
    """Kinds of run that are listed; () for all."""
    nothing: str
    """What is said where there are none."""
    picture: str
    """What its sample pictures show; "" for a tab without them."""
    compare: bool
    """Whether several runs' curves are drawn together."""
    delete: bool
    """Whether a run can be deleted here."""


@dataclass(frozen=True)
class Watched:
    """The components of a watch."""

    chosen: gr.Textbox
    """The name of the run in view; no state, whose changes a browser hears of in a queue alone."""
    runs: gr.HTML
    about: gr.HTML
    curves: gr.Plot
    picture: gr.HTML
    log: gr.HTML
    compare: gr.Dropdown
    buttons: gr.Row
    stop: gr.Button
    resume: gr.Button
    seen: gr.State

    def answers(self) -> list[Any]:
        """What a look at the disk sets, in order."""
        shown = [self.runs, self.about, self.curves, self.picture, self.log, self.compare, self.stop, self.resume]
        return [self.chosen, *shown, self.seen]

    def looked(self) -> dict[str, Any]:
        """What a look at the disk is given and sets."""
        return {"inputs": [self.chosen, self.compare, self.seen], "outputs": self.answers(), **QUIET}


def run_list(texts: WatchTexts) -> gr.HTML:
    """The list that a run is chosen from, to be laid out where the tab wants it."""
    return gr.HTML(elem_id=f"{texts.prefix}-list", js_on_load=runpages.CHOOSE)


def build(overview: Overview, texts: WatchTexts, runs: gr.HTML, timer: gr.Timer, tab: gr.Tab) -> Watched:
    """Lay the view of the run out that is chosen from ``runs``, inside ``tab``; ``timer`` says when to look."""
    name = texts.prefix
    about = gr.HTML(elem_id=f"{name}-about", elem_classes="about-run", padding=True, container=True)
    with gr.Row() as buttons:
        halt = gr.Button("Stop", size="md", min_width=100, interactive=False, elem_id=f"{name}-stop")
        go_on = gr.Button("Resume", size="md", min_width=100, interactive=False, elem_id=f"{name}-resume")
    question = _Question(buttons) if texts.delete else None
    compare = gr.Dropdown(
        [],
        value=[],
        multiselect=True,
        label="Compare with",
        info="Runs whose curves are drawn beside it.",
        visible=texts.compare,
        elem_id=f"{name}-compare",
    )
    curves = gr.Plot(show_label=False, elem_id=f"{name}-curves")
    picture = gr.HTML(elem_id=f"{name}-picture", elem_classes="run-picture", visible=bool(texts.picture))
    with gr.Accordion("Log", open=False):
        written = gr.HTML(elem_id=f"{name}-log", elem_classes="run-log")
    chosen = gr.Textbox(visible=False, elem_id=f"{name}-chosen")
    watched = Watched(chosen, runs, about, curves, picture, written, compare, buttons, halt, go_on, gr.State({}))
    _listen(overview, texts, watched, timer, tab)
    if question is not None:
        question.wire(overview, watched)
    return watched


def _listen(overview: Overview, texts: WatchTexts, watched: Watched, timer: gr.Timer, tab: gr.Tab) -> None:
    look = look_at(overview, texts)
    given = watched.looked()
    gr.on([timer.tick, tab.select, watched.compare.input], look, **given, trigger_mode="once")
    watched.runs.click(_run_of, None, watched.chosen, **QUIET).then(look, **given)
    for button, act in ((watched.stop, stop), (watched.resume, go_on)):
        button.click(_acted(overview, act), watched.chosen, None, **ASKED).then(look, **given)


def look_at(overview: Overview, texts: WatchTexts) -> Callable[..., list[Any]]:
    """A callback that says what has changed on the disk since ``seen``, and skips the rest."""

    def seen_now(wanted: str | None, compare: list[str] | None, seen: dict[str, Any]) -> list[Any]:
        wanted = wanted or None
        runs = overview.runs(texts.kinds)
        there = any(named.name == wanted for named in runs)
        chosen = wanted if there else overview.newest(texts.kinds)
        here = next((named for named in runs if named.name == chosen), None)
        together = [named for named in runs if named is here or named.name in (compare or ())]
        marks, parts = dict(seen), dict.fromkeys(_PARTS, gr.skip())
        for part, mark, make in _parts(overview, texts, runs, here, together):
            if marks.get(part) != mark and not (part == "curves" and _too_soon(marks, here)):
                marks[part], parts[part] = mark, make()
                if part == "curves":
                    marks["drawn"] = [chosen, time.monotonic()]
        nothing_new = marks == seen
        return [gr.skip() if chosen == wanted else chosen, *parts.values(), gr.skip() if nothing_new else marks]

    def look(wanted: str | None, compare: list[str] | None, seen: dict[str, Any]) -> list[Any]:
        try:
            return seen_now(wanted, compare, seen)
        except Exception:
            # It looks again in a second: a message each time would bury the page.
            log.exception("a look at the runs failed")
            return [gr.skip() for _ in range(len(_PARTS) + 2)]

    return look


_PARTS = ("runs", "about", "curves", "picture", "log", "compare", "stop", "resume")


def _too_soon(marks: dict[str, Any], here: Named | None) -> bool:
    """Whether the curves of a run at work were drawn a moment ago; those of another run are drawn at once."""
    run, moment = marks.get("drawn", (None, 0.0))
    return here is not None and here.run.live and run == here.name and time.monotonic() - moment < PLOT_SECONDS


def _parts(
    overview: Overview, texts: WatchTexts, runs: list[Named], here: Named | None, together: list[Named]
) -> list[tuple[str, Any, Callable[[], Any]]]:
    """Each part of the view, a mark that changes when it does, and how it is made."""
    name = None if here is None else here.name
    halt, go_on = here is not None and here.run.live, here is not None and here.run.resumable
    listed = [named.name for named in runs if named is not here]
    parts: list[tuple[str, Any, Callable[[], Any]]] = [
        ("runs", [name, [list(named.mark) for named in runs]], lambda: runpages.run_list(runs, name, texts.nothing)),
        ("stop", halt, lambda: gr.Button(interactive=halt)),
        ("resume", go_on, lambda: gr.Button(interactive=go_on)),
    ]
    if texts.compare:
        parts.append(("compare", listed, lambda: gr.Dropdown(choices=[(one, one) for one in listed])))
    if here is None:
        empty = [("about", "", lambda: _EMPTY), ("log", "", lambda: ""), ("picture", "", lambda: "")]
        return [*parts, *empty, ("curves", "", lambda: plots.curves({}))]
    text = log_of(here)
    parts += [
        ("about", list(here.mark), lambda: runpages.about(here)),
        ("log", [name, len(text), text[-200:]], lambda: runpages.words(text)),
        (
            "curves",
            [[named.name, _length(overview, named)] for named in together],
            lambda: plots.curves({named.name: overview.curves(named) for named in together}),
        ),
    ]
    if texts.picture:
        newest = newest_picture(here)
        mark = [name, None if newest is None else [newest.name, newest.stat().st_mtime]]
        parts.append(("picture", mark, lambda: runpages.picture(newest, texts.picture)))
    return parts


def _length(overview: Overview, named: Named) -> float:
    return max((steps[-1] for steps, _ in overview.curves(named).values()), default=0)


@guarded
def _run_of(event: gr.EventData) -> str:
    return str(event.run)


def chosen_run(overview: Overview, name: str | None) -> Named:
    """The run called ``name``; :class:`LanternError` if none is chosen."""
    if not name:
        raise LanternError("no run is chosen", "Choose one from the list.")
    return overview.get(name)


def with_run(watched: Watched, *buttons: gr.Button) -> None:
    """Have ``buttons``, which do something with the run in view, be enabled while there is one."""

    def enabled(name: str | None) -> dict[gr.Button, gr.Button]:
        return {button: gr.Button(interactive=bool(name)) for button in buttons}

    watched.chosen.change(enabled, watched.chosen, list(buttons), **QUIET)


def act_on(overview: Overview, name: str | None, act: Callable[[Path], None]) -> None:
    """Do ``act`` to the folder of the run called ``name``.

    Errors: :class:`LanternError` if none is chosen or there is no such run, and what ``act`` raises, with the run's name in
    place of a path that is nobody's business.
    """
    run = chosen_run(overview, name)
    try:
        act(run.run.folder)
    except LanternError as error:
        folder = str(run.run.folder)
        raise LanternError(error.problem.replace(folder, run.name), error.remedy.replace(folder, run.name)) from error
    finally:
        overview.forget()


def go_on(folder: Path) -> None:
    """Resume the run in ``folder``, unless runs cannot be started here."""
    place.check_allowed()
    resume(folder)


def _acted(overview: Overview, act: Callable[[Path], None]) -> Any:
    @guarded
    def acted(chosen: str | None) -> None:
        act_on(overview, chosen, act)

    return acted


class _Question:
    """A button among ``buttons`` that asks, right below them, before it deletes the chosen run."""

    def __init__(self, buttons: gr.Row) -> None:
        with buttons:
            self.delete = gr.Button("Delete", size="md", min_width=100, interactive=False, elem_id="runs-delete")
        with gr.Row(visible=False, elem_id="runs-really") as self.row:
            self.asked = gr.Markdown()
            self.really = gr.Button("Delete it", variant="stop", size="md", min_width=100, elem_id="runs-delete-it")
            self.keep = gr.Button("Keep it", size="md", min_width=100, elem_id="runs-keep-it")
        self.pending = gr.State(None)

    def wire(self, overview: Overview, watched: Watched) -> None:
        """Listen to its buttons; the question goes when another run is chosen."""

        @guarded
        def ask(chosen: str | None) -> tuple[Any, str, str]:
            name = chosen_run(overview, chosen).name
            return gr.Row(visible=True), _ASK.format(name), name

        @guarded
        def delete_it(name: str | None) -> Any:
            act_on(overview, name, remove)
            return gr.Row(visible=False)

        with_run(watched, self.delete)
        self.delete.click(ask, watched.chosen, [self.row, self.asked, self.pending], **ASKED)
        # What is deleted is what was asked about.
        self.really.click(delete_it, self.pending, self.row, **ASKED)
        hide = [self.keep.click, watched.chosen.change]
        gr.on(hide, lambda: gr.Row(visible=False), None, self.row, **QUIET)

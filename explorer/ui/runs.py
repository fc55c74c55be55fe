"""The tab of all runs: their state, log, configuration, and the command line that would repeat each."""

from __future__ import annotations

import html
from typing import Any

import gradio as gr
from gradio.events import api

from explorer.overview import Overview, command_line, configuration
from explorer.runs.launcher import remove, stop
from explorer.ui import watch
from explorer.ui.guard import QUIET, answered, guarded
from explorer.ui.watch import WatchTexts, act_on, chosen_run

_QUESTION = """## What is running, and what has run?
Whoever started them, from a page or a terminal. The command line repeats a run; in its own folder it goes on where it
stopped."""
_TEXTS = WatchTexts(
    "runs", (), "No run yet. Make a data set or train a segmenter.", "The newest sample picture", compare=False, delete=True
)


def build(overview: Overview, timer: gr.Timer, tab: gr.Tab) -> None:
    """Lay the tab out, inside ``tab``."""
    gr.Markdown(_QUESTION, elem_classes="question")
    gr.Markdown(f"They are in `{overview.root.name}`, the folder that `LANTERN_RUNS` names, by default `runs`.")
    with gr.Row():
        with gr.Column(scale=4, min_width=280):
            listed = watch.run_list(_TEXTS)
        with gr.Column(scale=9, min_width=320):
            watched = watch.build(overview, _TEXTS, listed, timer, tab)
            gr.Markdown("**The command line that repeats it**")
            command = gr.HTML(elem_id="runs-command", elem_classes="command")
            with gr.Accordion("Configuration", open=False):
                written = gr.HTML(elem_id="runs-config", elem_classes="run-log")
    watched.chosen.change(guarded(lambda name: _about(overview, name)), watched.chosen, [command, written], **QUIET)
    _actions(overview)


def _about(overview: Overview, name: str | None) -> tuple[str, str]:
    if not name:
        return "", ""
    named = chosen_run(overview, name)
    said, config = command_line(named), configuration(named)
    command = f"<pre tabindex='0'>{html.escape(said)}</pre>" if said else "<p>No command of this program made it.</p>"
    return command, f"<pre tabindex='0'>{html.escape(config)}</pre>" if config else "<p>It has written none yet.</p>"


def _actions(overview: Overview) -> None:
    """The same for programs: ``/runs``, ``/stop``, ``/resume`` and ``/delete``."""

    def runs() -> list[dict[str, Any]]:
        """Every run: its name, kind, state, step, steps, error and command line."""
        overview.forget()
        told = ("kind", "state", "step", "steps", "seconds_left", "error", "remedy")
        return [
            {"name": named.name, **{field: getattr(named.run, field) for field in told}, "command": command_line(named)}
            for named in overview.runs()
        ]

    def acted(name: str, act: Any) -> str:
        with answered():
            act_on(overview, name, act)
        return name

    def stop_run(name: str) -> str:
        """Ask the run to save and stop after the step at hand."""
        return acted(name, stop)

    def resume_run(name: str) -> str:
        """Let the run go on from its last checkpoint."""
        return acted(name, watch.go_on)

    def delete_run(name: str) -> str:
        """Delete the folder of a run that is not live."""
        return acted(name, remove)

    api(runs, api_name="runs", queue=False)
    api(stop_run, api_name="stop", queue=False)
    api(resume_run, api_name="resume", queue=False)
    api(delete_run, api_name="delete", queue=False)

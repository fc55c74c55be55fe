"""Runs as HTML: the list that one is chosen from, and what there is to say of the one that is."""

from __future__ import annotations

import datetime
import html
from collections.abc import Sequence
from pathlib import Path

from explorer.estimates import duration
from explorer.overview import Named, read_picture
from explorer.runs.listing import RunView
from explorer.runs.status import in_words
from explorer.ui.mask_cards import data_uri

CHOOSE = """
element.addEventListener("click", (event) => {
  const row = event.target.closest("[data-run]");
  if (!row) return;
  for (const other of element.querySelectorAll("[data-run]")) other.setAttribute("aria-pressed", String(other === row));
  trigger("click", { run: row.dataset.run });
});
"""
"""Runs in the browser: a click on a run says which it was."""
LISTED = 100
"""Runs in the list; the older ones are on the command line."""
_SIGNS = {"queued": "…", "running": "▶", "done": "✓", "stopped": "■", "failed": "✕", "dead": "†"}


def run_list(runs: Sequence[Named], chosen: str | None, nothing: str) -> str:
    """The list of ``runs``, the ``chosen`` one marked; ``nothing`` is said where there are none."""
    if not runs:
        return f'<p class="nothing">{html.escape(nothing)}</p>'
    rows = "".join(_row(named, named.name == chosen) for named in runs[:LISTED])
    more = len(runs) - LISTED
    rest = f"<p>{more} older ones: <code>python -m explorer runs list</code></p>" if more > 0 else ""
    return f'<ul class="runs">{rows}</ul>{rest}'


def _row(named: Named, chosen: bool) -> str:
    run = named.run
    return (
        f'<li><button type="button" class="run {run.state}" data-run="{html.escape(named.name, quote=True)}"'
        f' aria-pressed="{str(chosen).lower()}"><span class="name">{html.escape(named.name)}</span>'
        f'<span class="state">{_sign(run)} {run.state}</span>'
        f'<span class="what">{html.escape(run.kind)} · {_progress(run)}</span>{_bar(run)}</button></li>'
    )


def _sign(run: RunView) -> str:
    return f'<span aria-hidden="true">{_SIGNS.get(run.state, "?")}</span>'


def _bar(run: RunView) -> str:
    share = 100 * min(run.step / run.steps, 1) if run.steps else 0
    return f'<span class="bar"><span style="width:{share:.1f}%"></span></span>'


def _progress(run: RunView) -> str:
    said = f"{run.step:,} of {run.steps:,}" if run.steps else "not begun"
    if run.state == "queued" and run.waiting:
        return html.escape(f"{said}, {run.waiting}")
    if run.state == "running" and run.seconds_left is not None:
        return f"{said}, {duration(run.seconds_left)} left"
    return said


def about(named: Named) -> str:
    """State, progress, speed, when and where, and what went wrong with what to do about it."""
    run = named.run
    speed = f", {run.steps_per_second:.3g} a second" if run.state == "running" and run.steps_per_second else ""
    began = datetime.datetime.fromtimestamp(run.started).strftime("%Y-%m-%d %H:%M:%S")
    place = f"Slurm job {run.job}, {run.host}" if run.job else run.host
    said = f'<p class="headline">{_sign(run)} <strong>{html.escape(named.name)}</strong> {in_words(run.state)}</p>{_bar(run)}'
    said += (
        f"<p>{_progress(run)}{speed}. A run of <code>{html.escape(run.kind)}</code>, begun {began} on {html.escape(place)}.</p>"
    )
    if run.error:
        said += f'<p class="error"><strong>What went wrong:</strong> {html.escape(run.error)}</p>'
    if run.remedy and run.remedy not in (run.error or ""):
        said += f'<p class="error"><strong>What to do:</strong> {html.escape(run.remedy)}</p>'
    return said


def picture(path: Path | None, caption: str) -> str:
    """A sample picture of a run with a caption; nothing where there is none yet."""
    if path is None:
        return ""
    shown = f'<img src="{data_uri(read_picture(path))}" alt="{html.escape(caption, quote=True)}" decoding="sync">'
    return f"<figure>{shown}<figcaption>{html.escape(caption)} ({html.escape(path.stem)})</figcaption></figure>"


def words(log: str) -> str:
    """The end of a log, as it is."""
    return f'<pre tabindex="0">{html.escape(log)}</pre>' if log else "<p>Nothing is written yet.</p>"

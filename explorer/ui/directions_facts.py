"""What is known of a direction as HTML: its scores and what they say, the formula of the total, its history."""

from __future__ import annotations

import html

from explorer.directions.catalogue import Catalogue
from explorer.directions.history import Change
from explorer.directions.ranking import FIGURES, FORMULA

_SHOWN_CHANGES = 20


def facts(catalogue: Catalogue, index: int) -> str:
    """HTML: where direction ``index`` comes from, its scores with their meaning, and its history, the latest first."""
    entry = catalogue.entries[index]
    source = f"<p>Direction <b>{index}</b>, from: {html.escape(catalogue.source_of(index) or 'not told')}</p>"
    names = [name for name in FIGURES if name in entry.scores] + sorted(set(entry.scores) - set(FIGURES))
    rows = "".join(
        f'<tr><th scope="row">{html.escape(name)}</th><td>{figure(entry.scores[name])}</td>'
        f"<td>{html.escape(FIGURES.get(name, ''))}</td></tr>"
        for name in names
    )
    table = f"<table>{rows}</table>" if rows else "<p>Nothing was measured of it yet.</p>"
    changes = entry.history[: -_SHOWN_CHANGES - 1 : -1]
    told = "".join(f"<li>{_told(change)}</li>" for change in changes)
    history = f"<h4>History</h4><ul>{told}</ul>" if told else ""
    return f'<div class="facts">{source}{table}{history}</div>'


def figure(value: float) -> str:
    """A score with four digits, without an exponent."""
    return f"{value:.4f}" if abs(value) < 10 else f"{value:.1f}"


def formula() -> str:
    """HTML: how the figures become the total, and what each of them is."""
    parts = [name for name in FIGURES if name in FORMULA.replace("(", " ").replace(")", " ").replace(",", " ").split()]
    listed = "".join(f"<li><b>{name}</b>: {html.escape(FIGURES[name])}</li>" for name in parts)
    others = ", ".join(name for name in FIGURES if name not in parts and name != "total")
    shown = html.escape(FORMULA).replace(" * ", " &times; ")
    return (
        f'<div class="facts"><p class="formula">total = {shown}</p><ul>{listed}</ul>'
        f"<p>Measured besides, and not in it: {others}. Every direction is measured both ways, on the same codes, without a "
        "label; why the formula is as it is stands in docs/directions.md.</p></div>"
    )


def _told(change: Change) -> str:
    by = f" ({html.escape(change.by)})" if change.by else ""
    before, after = (_value(value) for value in (change.before, change.after))
    time = change.time.replace("T", " ").removesuffix("Z")
    return f"<time>{time}</time> {html.escape(change.field)}: {before} &rarr; {after}{by}"


def _value(value: str | float) -> str:
    if isinstance(value, str):
        return html.escape(value) if value else "<i>empty</i>"
    return f"{value:g}"

"""Directions as cards: the strip of each, its number and label, its status in a word and a sign, and a score."""

from __future__ import annotations

import dataclasses
import html
from collections.abc import Sequence
from pathlib import Path

from explorer.atlas import OWN_ORDERS, Selection, orders
from explorer.directions.catalogue import STATUSES, Catalogue, Entry
from explorer.ui.exports import address, exports
from segmentation.errors import LanternError

ALL = "all"
SHOWN_STATUSES = (ALL, "labelled", *STATUSES)
"""What the cards can be filtered by."""
SIGNS = {"saliency lighting": "\u2600", "other": "\u25c6", "rejected": "\u2715", "new": "\u25cb"}
"""A shape for each status, so that it is told without colour and without reading."""
_SHOWN_ORDERS = {"label": "its label", "status": "its status"}
"""Gradio translates what is shown, and complains of words that it knows as groups of others."""
CHOOSE = """
element.addEventListener('click', (event) => {
  const card = event.target.closest('button[data-index]');
  if (card) trigger('choose', {index: Number(card.dataset.index)});
});
"""
"""Has a click on a card, or Enter while it is focused, be the event ``choose`` of its HTML component."""
MARK = """(index) => { for (const card of document.querySelectorAll('.strips [data-index]'))
  card.setAttribute('aria-pressed', Number(card.dataset.index) === index); }"""
"""Marks the card of the direction that is shown."""


@dataclasses.dataclass(frozen=True)
class Chosen:
    """Which directions are shown as cards, in which order."""

    sort: str = "index"
    """See :class:`explorer.atlas.Selection`."""
    status: str = ALL
    """One of :data:`SHOWN_STATUSES`."""
    label: str = ""
    """What has to be in the label or the notes, in capitals or not."""

    def of(self, catalogue: Catalogue) -> list[int]:
        """The indices, best first; none if nothing fits. Errors: :class:`LanternError` if there is no such order or status."""
        known = self.status in SHOWN_STATUSES
        if not known:
            raise LanternError(f"the status is {self.status!r}", f"Choose one of: {', '.join(SHOWN_STATUSES)}.")
        wanted = set(range(len(catalogue)))
        if self.status == "labelled":
            wanted = {index for index in wanted if catalogue.entries[index].label}
        elif self.status != ALL:
            wanted = {index for index in wanted if catalogue.entries[index].status == self.status}
        words = self.label.casefold().split()
        wanted = {index for index in wanted if _says(catalogue.entries[index], words)}
        return [index for index in Selection(sort=self.sort).of(catalogue) if index in wanted]


def _says(entry: Entry, words: Sequence[str]) -> bool:
    text = f"{entry.label} {entry.notes}".casefold()
    return all(word in text for word in words)


def sort_choices(catalogue: Catalogue) -> list[tuple[str, str]]:
    """What the cards can be sorted by, as it is shown and as it is called: the total first, where there is one."""
    known = sorted(orders(catalogue), key=lambda name: (name != "total", name not in OWN_ORDERS))
    return [(_SHOWN_ORDERS.get(name, name), name) for name in known]


def cards(catalogue: Catalogue, folder: Path | None, indices: Sequence[int], sort: str, pressed: int | None = None) -> str:
    """HTML: a card for each of ``indices``; ``folder`` is where the strips lie, ``pressed`` the direction that is shown."""
    if not indices:
        return '<p class="none">No direction is of that status and has these words in its label or notes.</p>'
    shown = "".join(_card(catalogue, index, folder, sort, index == pressed) for index in indices)
    return f'<div class="strips">{shown}</div>'


def _card(catalogue: Catalogue, index: int, folder: Path | None, sort: str, pressed: bool) -> str:
    entry = catalogue.entries[index]
    name = html.escape(entry.label) or "<i>no label</i>"
    sign = "" if entry.status == "new" else f"{SIGNS[entry.status]} "
    told = "" if entry.status in ("new", entry.label) else entry.status
    status = f'<span class="status">{sign}{told}</span>' if sign else ""
    facts = f"{_figure(entry, sort)}magnitude {entry.magnitude:g}{', reversed' if entry.sign < 0 else ''}"
    marked = f'data-index="{index}" aria-pressed="{str(pressed).lower()}"'
    return (
        f'<button type="button" class="strip-card {entry.status.split()[0]}" {marked}>'
        f"{strip_of(entry, folder)}"
        f'<span class="name"><b>{index}</b> {name}</span>{status}<small>{facts}</small></button>'
    )


def _figure(entry: Entry, sort: str) -> str:
    name = sort if sort not in OWN_ORDERS else "total"
    return f"{html.escape(name)} {entry.scores[name]:.4f}, " if name in entry.scores else ""


def strip_of(entry: Entry, folder: Path | None) -> str:
    """HTML: the strip of a direction, or a place for it."""
    path = None if folder is None or not entry.thumbnail else folder / entry.thumbnail
    if path is None or not path.is_file():
        return '<span class="no-strip">no strip yet</span>'
    return f'<img src="{address(exports().keep_strip(path))}" loading="lazy" width="320" height="64" alt="">'

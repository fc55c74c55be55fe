"""Labels of directions as the method's authors write them: a text of lines ``index: label``."""

from __future__ import annotations

import dataclasses
import re

from explorer.directions.catalogue import Catalogue
from segmentation.errors import require

_LINE = re.compile(r"\s*(-?[0-9]{1,9})\s*:\s*(\S.*?)\s*")
_LIGHTING = re.compile(r"\b(back\s*ground|bg\b|light(?:s|er|ing|ness)?\b|salien\w*|fore\s*ground)", re.IGNORECASE)


def _lines(text: str) -> list[tuple[int, str]]:
    return [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1) if line.strip()]


def annotated_share(text: str) -> float:
    """Share of the lines of ``text`` that are ``index: label``; 0 where there are none."""
    lines = _lines(text)
    return sum(_LINE.fullmatch(line) is not None for _, line in lines) / max(len(lines), 1)


def parse_annotation(text: str, name: str, count: int | None = None) -> dict[int, str]:
    """Labels by the index of their direction, from lines ``index: label``; empty lines do not count.

    A direction with several lines gets their labels joined by ``"; "``. ``name`` is what errors call the text, ``count`` how
    many directions there are. Errors: :class:`LanternError` that lists every line that is none, or whose index is outside.
    """
    labels: dict[int, str] = {}
    faults = []
    for number, line in _lines(text):
        found = _LINE.fullmatch(line)
        if found is None:
            faults.append(f"line {number} {line[:60]!r}")
        elif int(found[1]) < 0 or (count is not None and int(found[1]) >= count):
            faults.append(f"line {number} {line[:60]!r} (there is no direction {found[1]})")
        else:
            index = int(found[1])
            labels[index] = f"{labels[index]}; {found[2]}" if index in labels else found[2]
    inside = "" if count is None else f" with an index of 0 to {count - 1}"
    faulty = f"{name} has lines that are no `index: label`{inside} ({len(faults)}): {', '.join(faults)}"
    require(not faults, faulty, "Correct these lines, or take them out.")
    require(bool(labels), f"{name} has no lines", "Give a text of lines `index: label`.")
    return labels


def with_labels(catalogue: Catalogue, labels: dict[int, str]) -> Catalogue:
    """A copy of ``catalogue`` whose directions have these ``labels``; nothing else changes, least of all a status."""
    entries = tuple(
        dataclasses.replace(entry, label=labels.get(index, entry.label)) for index, entry in enumerate(catalogue.entries)
    )
    return dataclasses.replace(catalogue, entries=entries)


def lighting_labels(catalogue: Catalogue) -> list[str]:
    """Directions (``"index label"``) whose label speaks of lighting or of the background: worth a look, no more."""
    return [catalogue.title(i) for i, entry in enumerate(catalogue.entries) if _LIGHTING.search(entry.label)]


def annotation_text(catalogue: Catalogue) -> str:
    """The labels of ``catalogue`` as lines ``index: label``; directions without a label have no line.

    The authors' reader splits a line at every ``": "``, so within a label that becomes ``":"``.
    """
    lines = [
        f"{index}: {re.sub(r': +', ':', ' '.join(entry.label.split()))}\n"
        for index, entry in enumerate(catalogue.entries)
        if entry.label.strip()
    ]
    return "".join(lines)

"""Several catalogues of one generator made into one."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import torch

from explorer.directions.catalogue import Catalogue, Entry
from explorer.directions.comparing import CompareConfig, check_one_generator, turned, unit
from explorer.directions.history import Change, changes, joined, now
from explorer.directions.thumbnails import check_free, create, gathered
from explorer.directions.words import MAX_NOTES, MAX_SOURCE, plain
from segmentation.errors import require

_BY = "merge"
_LIGHTING = "saliency lighting"
_JUDGEMENT = ("status", "sign", "magnitude")


@dataclasses.dataclass(frozen=True)
class Conflict:
    """Catalogues said different things of direction ``direction`` of the merged one."""

    direction: int
    field: str
    kept: str | float
    dropped: str | float
    source: str
    """Where the dropped one came from."""


@dataclasses.dataclass(frozen=True)
class Merged:
    """A merged catalogue, what had to be decided for it, and how many directions were folded into others."""

    catalogue: Catalogue
    conflicts: tuple[Conflict, ...]
    folded: int


def merge(catalogues: Sequence[Catalogue], config: CompareConfig | None = None) -> Merged:
    """One catalogue of all directions of several catalogues of one generator, in their order.

    A direction whose cosine to an earlier one is above the threshold is folded into the closest of them. Of such two, the one
    with a status other than new counts, else the earlier: its vector, sign, magnitude and scores stay. What it lacks (a label,
    notes; scores and a thumbnail, if they are of the same shift) comes from the other; a second label goes into the notes. At
    most one direction stays saliency lighting: the first. Each choice between two things that were said is a conflict.

    Errors: :class:`LanternError` if there are none, or they are of different generators.
    """
    require(bool(catalogues), "there are no catalogues to merge", "Give two or more.")
    check_one_generator(*catalogues)
    config = config or CompareConfig()
    growing = _Growing(sum(map(len, catalogues)), catalogues[0].directions.shape[1], config)
    for catalogue in catalogues:
        for index in range(len(catalogue)):
            growing.take(catalogue, index)
    growing.leave_one_lighting()
    entries = tuple(growing.entries)
    directions = growing.vectors[: len(entries)].float()
    sources = plain(" + ".join(dict.fromkeys(catalogue.source for catalogue in catalogues)))[:MAX_SOURCE]
    parts = [{"source": one.source, "directions": len(one), "provenance": one.provenance} for one in catalogues]
    provenance = {"merged": parts, "compare": config.to_json()}
    whole = Catalogue(directions, entries, sources, catalogues[0].fingerprint, provenance)
    return Merged(whole, tuple(growing.conflicts), sum(map(len, catalogues)) - len(entries))


def merge_folders(folders: Sequence[Path], out: Path, config: CompareConfig | None = None) -> Merged:
    """Write the catalogue that :func:`merge` makes of those in ``folders`` to the folder ``out``, with their thumbnails.

    Errors: :class:`LanternError` as of :func:`merge`, or if there is a catalogue in ``out`` already.
    """
    check_free(out)
    found = [gathered(folder) for folder in folders]
    merged = merge([catalogue for catalogue, _ in found], config)
    create(out, merged.catalogue, {name: content for _, contents in found for name, content in contents.items()})
    return merged


class _Growing:
    """The merged catalogue as it grows: the first rows of ``vectors`` (float64) are the directions of ``entries``."""

    def __init__(self, most: int, latent_dim: int, config: CompareConfig) -> None:
        self.vectors = torch.zeros(most, latent_dim, dtype=torch.float64)
        self.entries: list[Entry] = []
        self.titles: list[str] = []
        self.conflicts: list[Conflict] = []
        self.threshold = config.threshold

    def take(self, catalogue: Catalogue, number: int) -> None:
        """Fold direction ``number`` of ``catalogue`` into the closest one that is there, or put it after them."""
        vector = unit(catalogue.directions[number : number + 1])[0]
        source = plain(catalogue.source_of(number))[:MAX_SOURCE]
        entry, title = dataclasses.replace(catalogue.entries[number], source=source), f"{source}, direction {number}"
        count = len(self.entries)
        near = self.vectors[:count] @ vector
        index = int(near.abs().argmax()) if count else 0
        if count and abs(cosine := float(near[index])) > self.threshold:
            if self.entries[index].status == "new" != entry.status:
                entry, self.entries[index] = self.entries[index], entry
                title, self.titles[index] = self.titles[index], title
                self.vectors[index] = vector
            self._fold(index, turned(entry, cosine), f"{title}, cosine {cosine:.4f}")
        else:
            self.vectors[count] = vector
            self.entries.append(entry)
            self.titles.append(title)

    def _fold(self, index: int, other: Entry, title: str) -> None:
        kept = self.entries[index]
        alike = (kept.sign, kept.magnitude) == (other.sign, other.magnitude)
        folded = dataclasses.replace(
            kept,
            label=kept.label or other.label,
            notes=_notes(kept, other),
            scores={**(other.scores if alike else {}), **kept.scores},
            thumbnail=kept.thumbnail or (other.thumbnail if alike else ""),
            history=joined(kept.history, other.history, [Change(now(), "folded in", "", title, _BY)]),
        )
        self.entries[index] = folded
        # A direction that nobody judged says nothing with the sign and magnitude that it has.
        said = ["label"] if kept.label and other.label else []
        said += _JUDGEMENT if "new" not in (kept.status, other.status) else ()
        said += ["notes"] if other.notes not in folded.notes else []
        for field in said:
            self._note(index, field, getattr(kept, field), getattr(other, field), other.source)

    def _note(self, index: int, field: str, kept: str | float, dropped: str | float, source: str) -> None:
        if kept != dropped:
            self.conflicts.append(Conflict(index, field, kept, dropped, source))

    def leave_one_lighting(self) -> None:
        """Have all but the first saliency-lighting direction be another."""
        chosen = [index for index, entry in enumerate(self.entries) if entry.status == _LIGHTING]
        for index in chosen[1:]:
            entry = self.entries[index]
            label = "" if entry.label == _LIGHTING else entry.label
            other = dataclasses.replace(entry, status="other", label=label)
            self.entries[index] = dataclasses.replace(other, history=joined(entry.history, changes(entry, other, _BY)))
            self._note(index, "status", "other", _LIGHTING, entry.source)


def _notes(kept: Entry, other: Entry) -> str:
    """The notes of both, and the other's label if it is another; what would be too long is left out."""
    also = f"also called: {other.label}" if kept.label and other.label not in ("", kept.label) else ""
    notes = kept.notes
    for addition in (other.notes, also):
        longer = f"{notes}\n{addition}" if notes else addition
        if addition and addition not in notes and len(longer) <= MAX_NOTES:
            notes = longer
    return notes

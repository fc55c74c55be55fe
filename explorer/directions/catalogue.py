"""K directions of a generator: what they are called, what they are worth, and which one is saliency lighting.

On disk a catalogue is a folder of ``directions.safetensors`` ((K, d), unit length), ``catalogue.json`` and thumbnails;
:mod:`explorer.directions.storage` has it read and written whole.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from explorer.directions import storage
from explorer.directions.history import Change, changes, joined
from explorer.directions.words import MAX_LABEL, MAX_NOTES, MAX_SOURCE, check_words
from explorer.generators.registry import ASSETS, REGISTER
from explorer.generators.tfhub_names import is_handle, module_name
from explorer.weights.store import home
from segmentation.configuration import Config, check_choice, check_range
from segmentation.errors import LanternError, require

STATUSES = ("new", "saliency lighting", "other", "rejected")
MAX_MAGNITUDE = 20.0
PAPER_MAGNITUDE = 5.0
"""What the paper walks its direction by."""
POCKET_DIRECTIONS = ASSETS / "pocket-directions"


@dataclasses.dataclass(frozen=True)
class Entry(Config):
    """What is known about one direction."""

    label: str = ""
    """What it does, in a person's words."""
    notes: str = ""
    """Anything else worth keeping."""
    status: str = "new"
    """``new``, ``saliency lighting``, ``other`` or ``rejected``."""
    sign: int = 1
    """1 or -1: which way it is walked (for saliency lighting: the way that makes the object lighter)."""
    magnitude: float = PAPER_MAGNITUDE
    """The length of a shift along it."""
    scores: dict[str, float] = dataclasses.field(default_factory=dict)
    """Measured figures by name."""
    source: str = ""
    """What found it; empty: what the catalogue says."""
    thumbnail: str = ""
    """Name of the file, beside the catalogue, that shows it as a strip; empty if there is none."""
    history: tuple[Change, ...] = ()
    """What was changed, the oldest first."""

    def __post_init__(self) -> None:
        check_choice("status", self.status, STATUSES)
        check_range("magnitude", self.magnitude, 0, MAX_MAGNITUDE)
        require(self.sign in (1, -1), f"sign is {self.sign!r}", "Choose 1 or -1.")
        texts = all(isinstance(text, str) for text in (self.label, self.notes, self.source, self.thumbnail))
        require(texts, "label, notes, source or thumbnail of a direction is no text", "Give text.")
        figures = isinstance(self.scores, dict) and all(isinstance(figure, int | float) for figure in self.scores.values())
        require(figures, f"scores is {self.scores!r}", "Give numbers by name.")
        named = not self.thumbnail or storage.is_thumbnail(self.thumbnail)
        require(named, f"thumbnail is {self.thumbnail!r}", "Give the name of a .png, .webp, .gif or .jpg in the same folder.")

    @classmethod
    def from_json(cls, values: Any) -> Entry:
        """As :meth:`Config.from_json`."""
        told = values.get("history", ()) if isinstance(values, dict) else ()
        require(isinstance(told, list | tuple), f"history is {told!r}", "Use a file that the program wrote.")
        entry = super().from_json({**values, "history": ()} if told else values)
        return dataclasses.replace(entry, history=tuple(Change.from_json(change) for change in told))

    def check_words(self, title: str) -> None:
        """Refuse a label or notes that are too long or hold control characters; ``title`` is what errors call the direction.

        It is asked when a catalogue is written, not before: one written by an older version can be read, and put right.
        """
        check_words(f"the label of {title}", self.label, MAX_LABEL)
        check_words(f"the source of {title}", self.source, MAX_SOURCE)
        check_words(f"the notes on {title}", self.notes, MAX_NOTES, lines=True)


@dataclasses.dataclass(frozen=True)
class Catalogue:
    """Directions (K, d), one entry each, the ``source`` they come from and the ``fingerprint`` of their generator.

    The fingerprint is empty while imported directions belong to no generator yet. ``provenance`` holds the configuration that
    found them, as plain JSON types.
    """

    directions: Tensor
    entries: tuple[Entry, ...]
    source: str
    fingerprint: str
    provenance: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        shape = tuple(self.directions.shape)
        fits = len(shape) == 2 and shape[0] == len(self.entries) and shape[0] > 0
        require(fits, f"a catalogue has directions of shape {shape} and {len(self.entries)} entries", "Give (K, d) and K.")
        floating = self.directions.is_floating_point()
        require(floating, f"a catalogue has directions of {self.directions.dtype}", "Give floating-point numbers.")
        unit = (self.directions.norm(dim=1) - 1).abs().max() < 1e-3
        require(bool(unit), "the directions of a catalogue are not of unit length", "Divide each by its length.")

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def lighting(self) -> int | None:
        """The index of the saliency-lighting direction: the first of that status; None if none is chosen."""
        return next((i for i, entry in enumerate(self.entries) if entry.status == "saliency lighting"), None)

    def direction(self, index: int) -> Tensor:
        """The unit vector (d,) of direction ``index`` (0 to K - 1), times its sign."""
        inside = isinstance(index, int) and 0 <= index < len(self)
        require(inside, f"there is no direction {index}", f"Choose 0 to {len(self) - 1}.")
        return self.directions[index] * self.entries[index].sign

    def magnitude(self, index: int, asked: float | None = None) -> float:
        """How far to walk along direction ``index``: as ``asked``, else as its entry says."""
        return self.entries[index].magnitude if asked is None else asked

    def title(self, index: int) -> str:
        """What to call direction ``index``: its number, and its label if it has one."""
        label = self.entries[index].label
        return f"{index} {label}".rstrip()

    def with_lighting(self, index: int, sign: int | None = None, magnitude: float | None = None) -> Catalogue:
        """A copy whose one saliency-lighting direction is ``index``, with another sign or magnitude where given."""
        self.direction(index)
        entries = []
        for number, entry in enumerate(self.entries):
            if number == index:
                entry = dataclasses.replace(
                    entry,
                    status="saliency lighting",
                    label=entry.label or "saliency lighting",
                    sign=entry.sign if sign is None else sign,
                    magnitude=entry.magnitude if magnitude is None else magnitude,
                )
            elif entry.status == "saliency lighting":
                label = "" if entry.label == "saliency lighting" else entry.label
                entry = dataclasses.replace(entry, status="other", label=label)
            entries.append(entry)
        return dataclasses.replace(self, entries=tuple(entries))

    def edited(self, index: int, **fields: Any) -> Catalogue:
        """A copy whose direction ``index`` has other ``fields`` of :class:`Entry` (label, notes, status, sign, magnitude, ...).

        If its status becomes saliency lighting, the direction that was it becomes another. Errors: :class:`LanternError` if
        there is no such direction, or a value is out of range, too long, or holds control characters.
        """
        self.direction(index)
        chosen = self.with_lighting(index) if fields.get("status") == "saliency lighting" else self
        entry = chosen.entries[index]
        if "status" in fields and fields["status"] != entry.status == entry.label == "saliency lighting":
            entry = dataclasses.replace(entry, label="")
        entry = dataclasses.replace(entry, **fields)
        entry.check_words(f"direction {index}")
        return dataclasses.replace(chosen, entries=(*chosen.entries[:index], entry, *chosen.entries[index + 1 :]))

    def source_of(self, index: int) -> str:
        """What found direction ``index``."""
        return self.entries[index].source or self.source

    def save(self, folder: Path) -> None:
        """Make this the catalogue in ``folder``, whatever was there; to change what is there, use :func:`update`.

        A thumbnail that is not in the folder is forgotten. Errors: :class:`LanternError` if the folder cannot be written, or a
        label or notes are too long or hold control characters; what was there before stays.
        """
        with storage.locked(folder):
            self.placed(folder)

    def placed(self, folder: Path) -> Catalogue:
        """As :meth:`save`, for a caller that holds the lock of ``folder``; returns what can be read there now."""
        for index, entry in enumerate(self.entries):
            entry.check_words(f"direction {index}")
        lost = {entry.thumbnail for entry in self.entries if not (folder / entry.thumbnail).is_file()}
        own = tuple(dataclasses.replace(entry, thumbnail="") if entry.thumbnail in lost else entry for entry in self.entries)
        described: dict[str, Any] = {
            "source": self.source,
            "generator": self.fingerprint,
            "provenance": self.provenance,
            "entries": [entry.to_json() for entry in own],
        }
        storage.write(folder, self.directions, described, {entry.thumbnail for entry in own})
        return dataclasses.replace(self, entries=own)


def load_catalogue(folder: Path) -> Catalogue:
    """The catalogue in ``folder``; :class:`LanternError` if it is missing or broken."""
    require(folder.is_dir(), f"the catalogue {folder} does not exist", "Make one with: python -m explorer directions")
    directions, described, _ = storage.read(folder)
    try:
        entries = tuple(Entry.from_json(value) for value in described["entries"])
        named = str(described["source"]), str(described["generator"]), dict(described.get("provenance", {}))
    except (KeyError, TypeError, ValueError) as error:
        raise LanternError(f"{folder} is not a catalogue ({error} is missing or damaged)", "Make it again.") from error
    return Catalogue(directions, entries, *named)


def update(folder: Path, change: Callable[[Catalogue], Catalogue], by: str = "") -> Catalogue:
    """Have ``change`` make another catalogue of the one in ``folder``, as nobody else writes there; returns what is there then.

    The catalogue is read anew for it, so two that change it at once lose nothing of each other. What changes in a direction
    goes into its history, as the work of ``by`` (a command, or the page); with another sign or magnitude it loses its strip.
    ``change`` may write thumbnails to the folder, and must not save the catalogue itself. Errors: those of
    :meth:`Catalogue.save` and of ``change``; then nothing has changed.
    """
    with storage.locked(folder):
        before = load_catalogue(folder)
        return _remembered(before, change(before), by).placed(folder)


def save_changes(folder: Path, before: Catalogue, after: Catalogue, by: str = "") -> Catalogue:
    """Write to ``folder`` what differs in ``after`` from ``before``, the catalogue that was read there; returns the result.

    For work that takes long: whatever else was changed meanwhile stays, and so do all statuses and labels if another direction
    was chosen as saliency lighting. Errors: as of :func:`update`; :class:`LanternError` if there are other directions now.
    """

    def change(now: Catalogue) -> Catalogue:
        same = storage.digest(now.directions) == storage.digest(before.directions) == storage.digest(after.directions)
        require(same, f"other directions were written to {folder} meanwhile", "Run the same command again.")
        kept = ("history",) if now.lighting == before.lighting else ("history", "status", "label")
        trios = zip(now.entries, before.entries, after.entries, strict=True)
        entries = tuple(dataclasses.replace(own, **_differences(old, new, kept)) for own, old, new in trios)
        provenance = now.provenance if after.provenance == before.provenance else after.provenance
        return dataclasses.replace(now, entries=entries, provenance=provenance)

    return update(folder, change, by)


def _differences(old: Entry, new: Entry, but: tuple[str, ...]) -> dict[str, Any]:
    names = (field.name for field in dataclasses.fields(Entry) if field.name not in but)
    return {name: getattr(new, name) for name in names if getattr(new, name) != getattr(old, name)}


def _remembered(before: Catalogue, after: Catalogue, by: str) -> Catalogue:
    if storage.digest(before.directions) != storage.digest(after.directions):
        # Other directions under the same numbers have another past.
        return after
    entries = []
    for old, new in zip(before.entries, after.entries, strict=True):
        # A strip of another shift shows what is no longer so.
        stale = (old.sign, old.magnitude) != (new.sign, new.magnitude) and old.thumbnail == new.thumbnail
        history = joined(new.history, changes(old, new, by))
        entries.append(dataclasses.replace(new, history=history, thumbnail="" if stale else new.thumbnail))
    return dataclasses.replace(after, entries=tuple(entries))


def directions_folder(generator: str) -> Path:
    """Where the catalogue of ``generator`` (a name, a file, a folder, a handle) lies if nobody says otherwise.

    The one of ``pocket`` is shipped. That of another name or of a TF-Hub handle has its place below the folder that
    ``LANTERN_HOME`` names, where installed weights are kept too; that of a file or a folder lies beside it.
    """
    if generator == "pocket":
        return POCKET_DIRECTIONS
    if generator in REGISTER:
        return home() / generator / "directions"
    return home() / module_name(generator) / "directions" if is_handle(generator) else Path(generator).parent / "directions"


def catalogue_for(generator: str, folder: Path | None, *fingerprints: str) -> Catalogue:
    """The catalogue to use with ``generator`` (as of :func:`directions_folder`).

    ``fingerprints`` are its own, and those of others whose latent codes mean the same to it. ``folder`` if given, else the one
    of :func:`directions_folder`. Errors: :class:`LanternError` if there is none, or if it was made for another generator, or
    belongs to none yet.
    """
    if folder is None:
        folder = directions_folder(generator)
        there = f"--generator {generator} --out {folder}"
        remedy = (
            f"Make it with: python -m explorer directions {there}, take over a published one with: python -m explorer import "
            f"FILE {there}, or name the folder of another with --directions."
        )
        require(folder.is_dir(), f"there is no catalogue of directions for {generator}: {folder} does not exist", remedy)
    catalogue = load_catalogue(folder)
    adopt = f"Give it to this one with: python -m explorer import {folder} --out {folder} --generator {generator}"
    require(bool(catalogue.fingerprint), f"the catalogue {folder} was imported, and belongs to no generator yet", adopt)
    require(
        catalogue.fingerprint in fingerprints,
        f"the catalogue {folder} was made for the generator {catalogue.fingerprint}, not for {fingerprints[0]}",
        "Give the one that belongs to this generator, or make it with: python -m explorer directions",
    )
    return catalogue


def load_direction(folder: Path | str, index: int | None = None) -> Tensor:
    """The unit vector (d,) of direction ``index``, or of saliency lighting, from the catalogue in ``folder``."""
    catalogue = load_catalogue(Path(folder))
    chosen = catalogue.lighting if index is None else index
    if chosen is None:
        raise LanternError(f"{folder} has no saliency-lighting direction", "Choose one, or give an index.")
    return catalogue.direction(chosen).to(torch.float32)

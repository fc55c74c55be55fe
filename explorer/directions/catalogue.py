"""K directions of a generator: what they are called, what they are worth, and which one is saliency lighting.

On disk a catalogue is a folder of ``directions.safetensors`` ((K, d), unit length) and ``catalogue.json``.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from explorer.generators.registry import ASSETS
from segmentation.configuration import Config, check_choice, check_range
from segmentation.errors import LanternError, require
from segmentation.files import read_json, write_json
from segmentation.tensors import load_tensors, save_tensors

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

    def __post_init__(self) -> None:
        check_choice("status", self.status, STATUSES)
        check_range("magnitude", self.magnitude, 0, MAX_MAGNITUDE)
        require(self.sign in (1, -1), f"sign is {self.sign!r}", "Choose 1 or -1.")


@dataclasses.dataclass(frozen=True)
class Catalogue:
    """Directions (K, d), one entry each, the ``source`` they come from and the ``fingerprint`` of their generator.

    ``provenance`` holds the configuration that found them, as plain JSON types.
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
                    sign=sign or entry.sign,
                    magnitude=entry.magnitude if magnitude is None else magnitude,
                )
            elif entry.status == "saliency lighting":
                label = "" if entry.label == "saliency lighting" else entry.label
                entry = dataclasses.replace(entry, status="other", label=label)
            entries.append(entry)
        return dataclasses.replace(self, entries=tuple(entries))

    def save(self, folder: Path) -> None:
        """Write the catalogue to ``folder``."""
        save_tensors(folder / "directions.safetensors", {"directions": self.directions}, {"kind": "directions"})
        described: dict[str, Any] = {
            "source": self.source,
            "generator": self.fingerprint,
            "provenance": self.provenance,
            "entries": [entry.to_json() for entry in self.entries],
        }
        write_json(folder / "catalogue.json", described)


def load_catalogue(folder: Path) -> Catalogue:
    """The catalogue in ``folder``; :class:`LanternError` if it is missing or broken."""
    require(folder.is_dir(), f"the catalogue {folder} does not exist", "Make one with: python -m explorer directions")
    tensors, _ = load_tensors(folder / "directions.safetensors")
    described = read_json(folder / "catalogue.json")
    try:
        entries = tuple(Entry.from_json(value) for value in described["entries"])
        named = str(described["source"]), str(described["generator"]), dict(described.get("provenance", {}))
        return Catalogue(tensors["directions"], entries, *named)
    except (KeyError, TypeError) as error:
        raise LanternError(f"{folder} is not a catalogue ({error} is missing)", "Make it again.") from error


def catalogue_for(generator: str, folder: Path | None, fingerprint: str) -> Catalogue:
    """The catalogue to use with ``generator`` (a name or a file) of that ``fingerprint``.

    ``folder`` if given, else the shipped one for ``pocket``, else the folder ``directions`` beside the weights file.
    Errors: :class:`LanternError` if there is none, or if it was made for another generator.
    """
    if folder is None:
        folder = POCKET_DIRECTIONS if generator == "pocket" else Path(generator).parent / "directions"
        remedy = f"Make it with: python -m explorer directions --generator {generator} --out {folder}"
        require(folder.is_dir(), f"there is no catalogue of directions for {generator}", remedy)
    catalogue = load_catalogue(folder)
    require(
        catalogue.fingerprint == fingerprint,
        f"the catalogue {folder} was made for the generator {catalogue.fingerprint}, not for {fingerprint}",
        "Give the one that belongs to this generator, or make it with: python -m explorer directions",
    )
    return catalogue


def load_direction(folder: Path, index: int | None = None) -> Tensor:
    """The unit vector (d,) of direction ``index``, or of saliency lighting, from the catalogue in ``folder``."""
    catalogue = load_catalogue(folder)
    chosen = catalogue.lighting if index is None else index
    if chosen is None:
        raise LanternError(f"{folder} has no saliency-lighting direction", "Choose one, or give an index.")
    return catalogue.direction(chosen).to(torch.float32)

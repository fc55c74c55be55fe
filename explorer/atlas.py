"""An atlas: the directions of a catalogue as strips, each with its index, label, magnitude and sign beside it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from explorer.directions.catalogue import MAX_MAGNITUDE, STATUSES, Catalogue, Entry
from explorer.directions.strips import spread, walks
from explorer.drawing import FAINT, INK, MARK, Pictures, blank, check_images, drawable, enlarge, fitted, font, shown_side
from explorer.engine import Engine
from explorer.picture_files import write_webp
from explorer.starts import Given, Start
from segmentation.configuration import Config, check_choice, check_range
from segmentation.errors import require
from segmentation.pictures import tile
from segmentation.progress import Watcher

OWN_ORDERS = ("index", "label", "status", "magnitude")
"""What an atlas can be sorted by besides the scores."""
_LEAST_SIDE, _HEADER, _GAP, _PAD, _NUMBER, _WORDS = 64, 60, 8, 10, 50, 200
_LEFT = _PAD + _NUMBER + _WORDS
_THUMBNAIL_COLUMNS = 5


@dataclasses.dataclass(frozen=True)
class Selection(Config):
    """Which directions of a catalogue, and in which order."""

    sort: str = "index"
    """What they are ordered by: index, label, status, magnitude, or any score of the catalogue; scores and magnitudes from the
    highest down, and what has no such score last."""
    ascending: bool = False
    """Scores and magnitudes from the lowest up."""
    top: int | None = None
    """Only the first so many of that order."""
    status: tuple[str, ...] = ()
    """Only those of one of these statuses: new, "saliency lighting", other, rejected."""
    label: str = ""
    """Only those with this in their label, in capitals or not."""
    only: tuple[int, ...] = ()
    """Only these indices."""

    def __post_init__(self) -> None:
        for status in self.status:
            check_choice("status", status, STATUSES)
        if self.top is not None:
            check_range("top", self.top, 1, 1_000_000)

    def of(self, catalogue: Catalogue) -> list[int]:
        """The indices; :class:`LanternError` if there is no such score or index, or nothing is left."""
        for index in self.only:
            catalogue.direction(index)
        kept = [index for index, entry in enumerate(catalogue.entries) if self._wanted(index, entry)]
        labels = sorted({drawable(entry.label) for entry in catalogue.entries if entry.label})
        known = (
            f"statuses {', '.join(sorted({entry.status for entry in catalogue.entries}))}; labels {', '.join(labels) or 'none'}"
        )
        require(bool(kept), "no direction is of that status, label and index", f"There are {known}.")
        return _ordered(catalogue, kept, self.sort, ascending=self.ascending)[: self.top]

    def _wanted(self, index: int, entry: Entry) -> bool:
        known = not self.status or entry.status in self.status
        return known and self.label.casefold() in entry.label.casefold() and (not self.only or index in self.only)


def orders(catalogue: Catalogue) -> list[str]:
    """What the directions of ``catalogue`` can be sorted by: :data:`OWN_ORDERS` and the names of its scores."""
    return [*OWN_ORDERS, *sorted({name for entry in catalogue.entries for name in entry.scores} - set(OWN_ORDERS))]


def _ordered(catalogue: Catalogue, indices: list[int], name: str, *, ascending: bool) -> list[int]:
    known = orders(catalogue)
    require(name in known, f"the directions have no score {name!r}", f"Sort them by one of: {', '.join(known)}.")
    entries = catalogue.entries
    if name == "index":
        return indices
    if name in ("label", "status"):
        # Those without a label come last.
        return sorted(indices, key=lambda i: (not getattr(entries[i], name), getattr(entries[i], name).casefold(), i))
    values = {i: entries[i].magnitude if name == "magnitude" else entries[i].scores.get(name, math.nan) for i in indices}
    way = 1 if ascending else -1
    return sorted(indices, key=lambda i: (math.isnan(values[i]), 0.0 if math.isnan(values[i]) else way * values[i], i))


@dataclasses.dataclass(frozen=True)
class StripConfig(Config):
    """How strips are drawn."""

    columns: int = 7
    """Images a row, evenly from minus to plus the magnitude; of an odd number the middle one is G(z)."""
    magnitude: float | None = None
    """Length of the shift at the ends; by default what the catalogue says of each direction."""
    side: int | None = None
    """Side in pixels at which an image is shown; by default that of the generator, and at least 64."""

    def __post_init__(self) -> None:
        check_range("columns", self.columns, 2, 101)
        if self.magnitude is not None:
            check_range("magnitude", self.magnitude, 0, MAX_MAGNITUDE)
        if self.side is not None:
            check_range("side", self.side, 16, 1024, "pixels")


def draw_strips(
    engine: Engine,
    catalogue: Catalogue,
    indices: Sequence[int],
    start: Start | Given,
    config: StripConfig,
    watcher: Watcher | None = None,
) -> list[Pictures]:
    """For each of ``indices`` the walk along that direction, as the catalogue signs it, as one picture (H, W, 3): a row a code.

    Errors: :class:`LanternError` if there is no such direction, or there are too many images for one picture.
    """
    side = shown_side(engine.resolution, config.side, _LEAST_SIDE)
    check_images(len(indices) * start.codes * config.columns, side)
    chosen = list(indices)
    for index in chosen:
        catalogue.direction(index)
    magnitudes = [catalogue.magnitude(index, config.magnitude) for index in chosen]
    signs = np.array([[catalogue.entries[index].sign] for index in chosen], np.float32)
    lengths = signs * spread(magnitudes, config.columns)
    walked = walks(engine, catalogue.directions[chosen], lengths, start.draw(engine), watcher)
    return [tile(enlarge(walk.reshape(-1, *walk.shape[2:]), side), config.columns) for walk in walked]


def atlas(
    engine: Engine,
    catalogue: Catalogue,
    indices: Sequence[int],
    start: Start,
    config: StripConfig,
    sort: str = "index",
    watcher: Watcher | None = None,
) -> Pictures:
    """The strips of ``indices`` below each other, (H, W, 3), and left of each what the catalogue says of it.

    The magnitudes stand above the columns, as numbers where all directions have the same. ``sort`` is what is told of each
    beside its label, magnitude and sign. Errors: as of :func:`draw_strips`.
    """
    strips = draw_strips(engine, catalogue, indices, start, config, watcher)
    height, width, _ = strips[0].shape
    sheet = blank(_LEFT + width + _PAD, _HEADER + len(strips) * (height + _GAP))
    _head(sheet, engine, catalogue, indices, config, sort)
    for row, (index, picture) in enumerate(zip(indices, strips, strict=True)):
        top = _HEADER + row * (height + _GAP)
        sheet.paste(Image.fromarray(picture), (_LEFT, top))
        _describe(ImageDraw.Draw(sheet), top, index, catalogue.entries[index], config.magnitude, sort)
    return np.asarray(sheet)


def _head(
    sheet: Image.Image, engine: Engine, catalogue: Catalogue, indices: Sequence[int], config: StripConfig, sort: str
) -> None:
    pen = ImageDraw.Draw(sheet)
    shown = (
        f"{len(indices)} of {len(catalogue)} directions" if len(indices) < len(catalogue) else f"{len(catalogue)} directions"
    )
    title = f"{engine.name} {engine.fingerprint}: {shown}, by {sort}"
    pen.text((_PAD, 20), fitted(title, 17, sheet.width - 2 * _PAD), INK, font(17), anchor="lm")
    cell = (sheet.width - _LEFT - _PAD) / config.columns
    for column, words in enumerate(_columns(catalogue, indices, config)):
        pen.text((_LEFT + (column + 0.5) * cell, 47), words, FAINT, font(14), anchor="mm")


def _columns(catalogue: Catalogue, indices: Sequence[int], config: StripConfig) -> list[str]:
    magnitudes = {catalogue.magnitude(index, config.magnitude) for index in indices}
    if len(magnitudes) == 1:
        return [f"{length:+.2g}" if length else "0" for length in spread(list(magnitudes), config.columns)[0].tolist()]
    # Each direction has its own magnitude m, which stands beside it.
    shares = spread([1.0], config.columns)[0].tolist()
    return [{-1.0: "-m", 0.0: "0", 1.0: "+m"}.get(share, f"{share:+.2g} m") for share in shares]


def _describe(pen: ImageDraw.ImageDraw, top: int, index: int, entry: Entry, magnitude: float | None, sort: str) -> None:
    chosen = entry.status == "saliency lighting"
    pen.text((_PAD, top + 2), str(index), MARK if chosen else INK, font(22 if index < 1000 else 17))
    length = entry.magnitude if magnitude is None else magnitude
    lines = [entry.label or "no label", f"magnitude {length:.3g}, sign {entry.sign:+d}"]
    lines.append(", ".join(part for part in (_status(entry), _score(entry, sort)) if part))
    for line, (words, size) in enumerate(zip(lines, (16, 13, 13), strict=True)):
        colour = (MARK if chosen else INK if entry.label else FAINT) if line == 0 else FAINT
        at = (_PAD + _NUMBER, top + (3, 26, 43)[line])
        pen.text(at, fitted(words, size, _WORDS - _PAD), colour, font(size))


def _status(entry: Entry) -> str:
    return "" if entry.status in ("new", entry.label) else entry.status


def _score(entry: Entry, sort: str) -> str:
    name = sort if sort not in OWN_ORDERS else "total"
    return f"{name} {entry.scores[name]:.3g}" if name in entry.scores else ""


def pages(indices: Sequence[int], rows: int | None, out: Path) -> list[tuple[Path, list[int]]]:
    """The files of an atlas of ``indices`` with at most ``rows`` directions each, all in one by default.

    A single one is ``out``; of several, ``out`` = atlas.png, they are atlas-1.png and so on.
    """
    if rows is None or rows >= len(indices):
        return [(out, list(indices))]
    check_range("rows", rows, 1, 1_000_000)
    parts = [list(indices[first : first + rows]) for first in range(0, len(indices), rows)]
    digits = len(str(len(parts)))
    return [(out.with_name(f"{out.stem}-{number:0{digits}d}{out.suffix}"), part) for number, part in enumerate(parts, 1)]


def stamp_of(
    engine: Engine, catalogue: Catalogue, indices: Sequence[int], magnitude: float | None, seed: int
) -> dict[str, str]:
    """What made a picture of the directions ``indices``, without the command: see :data:`explorer.picture_files.Stamp`."""
    lengths = [catalogue.magnitude(index, magnitude) for index in indices]
    told = lengths[:1] if len(set(lengths)) == 1 else lengths
    return {
        "generator": engine.name,
        "fingerprint": engine.fingerprint,
        "direction": " ".join(map(str, indices)),
        "magnitude": " ".join(f"{length:g}" for length in told),
        "seed": str(seed),
    }


def thumbnail_name(index: int) -> str:
    """The file name of the thumbnail of direction ``index`` in the folder of its catalogue."""
    return f"thumb-{index:03d}.webp"


def write_thumbnails(
    engine: Engine,
    catalogue: Catalogue,
    folder: Path,
    indices: Sequence[int] | None = None,
    seed: int = 0,
    watcher: Watcher | None = None,
) -> tuple[str, ...]:
    """A small strip of each direction (of ``indices``) at its magnitude, thumb-000.webp and so on in ``folder``.

    Returns the file names, one for each direction; each file says what made it (:func:`explorer.picture_files.read_stamp`).
    """
    chosen = list(range(len(catalogue)) if indices is None else indices)
    names = tuple(map(thumbnail_name, chosen))
    config = StripConfig(columns=_THUMBNAIL_COLUMNS, side=min(max(engine.resolution, 16), 64))
    strips = draw_strips(engine, catalogue, chosen, Start(seed=seed), config, watcher)
    for index, name, picture in zip(chosen, names, strips, strict=True):
        write_webp(folder / name, [picture], stamp_of(engine, catalogue, [index], None, seed), quality=75)
    return names

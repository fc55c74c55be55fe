"""What is done with directions at the page's desk: judged and saved with a strip, compared, ranked and discovered by runs."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from explorer.atlas import StripConfig, draw_strips, write_thumbnails
from explorer.directions.catalogue import Catalogue
from explorer.directions.comparing import CompareConfig, Comparison, compare
from explorer.directions.discovery import DiscoveryConfig
from explorer.directions.thumbnails import put_thumbnails
from explorer.drawing import Pictures
from explorer.runs.command import runs_root
from explorer.starts import Start
from explorer.views import MaskSheet, MaskView, Workbench
from segmentation.configuration import check_choice
from segmentation.errors import LanternError, require
from segmentation.filters import FilterConfig

EDITED = ("label", "status", "sign", "magnitude", "notes")
"""What a person says of a direction."""
FIND, RANK, CALIBRATE, DISCOVER = TASKS = ("find", "rank", "calibrate", "discover")
"""What a run can do about directions."""
_COLUMNS = 7
_CLOSEST = 5


def fields_of(catalogue: Catalogue, index: int) -> dict[str, Any]:
    """What a person said of direction ``index``, by the names of :data:`EDITED`."""
    catalogue.direction(index)
    return {name: getattr(catalogue.entries[index], name) for name in EDITED}


def judged(bench: Workbench, view: MaskView, sign: int) -> MaskSheet:
    """Images, shifted images and masks of ``view``, its direction walked by ``sign``, whatever the catalogue says of it."""
    turned = bench.on(None)
    turned.catalogue = bench.catalogue.edited(view.direction, sign=sign)
    return turned.masks(view, FilterConfig())


def save_direction(
    bench: Workbench, name: str | None, index: int, fields: Mapping[str, Any], seen: Mapping[str, Any] | None = None
) -> Catalogue:
    """Write what a person says of direction ``index`` into the catalogue ``name``, and draw its strip anew if need be.

    ``fields`` are by the names of :data:`EDITED`. ``seen`` are those that the person started from: what was not changed stays
    as it is by now. Returns the catalogue as it is then. Errors: :class:`LanternError` if a value is wrong, or if somebody else
    changed the same meanwhile.
    """

    def change(catalogue: Catalogue) -> Catalogue:
        now = fields_of(catalogue, index)
        wanted = {field: value for field, value in fields.items() if seen is None or value != seen.get(field)}
        clash = [field for field, value in wanted.items() if seen is not None and now[field] not in (seen.get(field), value)]
        if clash:
            told = ", ".join(f"the {field} is {now[field]!r} now" for field in clash)
            remedy = "Look at the direction again (choose another and come back), then save."
            raise LanternError(f"somebody else changed direction {index} meanwhile: {told}", remedy)
        return catalogue.edited(index, **wanted)

    saved = bench.shelf.update(name, change)
    return saved if saved.entries[index].thumbnail else draw_strip(bench, name, index)


def draw_strip(bench: Workbench, name: str | None, index: int) -> Catalogue:
    """Give direction ``index`` of the catalogue ``name`` a strip of what it does now; returns the catalogue as it is then."""
    folder = bench.shelf.writable(name)
    with tempfile.TemporaryDirectory() as made:
        (file,) = write_thumbnails(bench.engine, bench.on(name).catalogue, Path(made), [index])
        return put_thumbnails(folder, {index: Path(made, file)}, "page")


@dataclasses.dataclass(frozen=True)
class Compared:
    """Two directions side by side."""

    cosine: float
    """Between the two as they are walked, sign and all."""
    strips: tuple[Pictures, Pictures]
    """The same latent code along both, each at its own magnitude: (H, W, 3)."""
    closest: tuple[tuple[int, float], ...]
    """Directions of the second catalogue that are closest to the first direction, with their cosines as they are walked."""
    shared: Comparison
    """What the two catalogues share."""


def compare_directions(bench: Workbench, first: tuple[str | None, int], second: tuple[str | None, int], seed: int) -> Compared:
    """Two directions, each by the name of its catalogue and its index; ``seed`` draws the latent code that shows them.

    Errors: :class:`LanternError` if there is no such catalogue or direction.
    """
    catalogues = [bench.shelf.catalogue(name) for name, _ in (first, second)]
    indices = [index for _, index in (first, second)]
    vectors = [catalogue.direction(index) for catalogue, index in zip(catalogues, indices, strict=True)]
    config, start = StripConfig(columns=_COLUMNS, side=96), Start(seed=seed)
    one, other = (
        draw_strips(bench.engine, catalogue, [index], start, config)[0]
        for catalogue, index in zip(catalogues, indices, strict=True)
    )
    cosines = [float(vectors[0] @ catalogues[1].direction(index)) for index in range(len(catalogues[1]))]
    order = sorted(range(len(cosines)), key=lambda index: -abs(cosines[index]))
    closest = tuple((index, cosines[index]) for index in order[:_CLOSEST])
    shared = compare(catalogues[0], catalogues[1], CompareConfig())
    return Compared(float(vectors[0] @ vectors[1]), (one, other), closest, shared)


@dataclasses.dataclass(frozen=True)
class Task:
    """A run about directions: what follows ``python -m explorer``, and the folder that it writes."""

    arguments: tuple[str, ...]
    folder: Path


def task(bench: Workbench, name: str | None, what: str, discovery: DiscoveryConfig | None = None) -> Task:
    """The run that does ``what`` (one of :data:`TASKS`) with the catalogue ``name``; a shipped one is copied for it first.

    ``find`` ranks and marks the best as saliency lighting, ``rank`` only measures, ``calibrate`` sets magnitudes, ``discover``
    makes a catalogue of its own. Errors: :class:`LanternError` if there is no such catalogue or task.
    """
    check_choice("task", what, TASKS)
    folder = _free_folder(what)
    common = ["--generator", bench.generator, "--engine.device", bench.engine.config.device]
    if what == DISCOVER:
        return Task(("discover", *common, "--out", str(folder), *_options(discovery or DiscoveryConfig())), folder)
    common += ["--directions", str(bench.shelf.writable(name)), "--run", str(folder)]
    if what == CALIBRATE:
        return Task(("calibrate", *common), folder)
    return Task(("rank", *common, *(["--choose"] if what == FIND else [])), folder)


def _options(config: DiscoveryConfig) -> list[str]:
    """What in ``config`` is not as it is by default, as options."""
    options = []
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if value != field.default:
            require(isinstance(value, str | int | float), f"{field.name} is {value!r}", "Choose another value.")
            options += [f"--{field.name.replace('_', '-')}", str(value)]
    return options


def _free_folder(what: str) -> Path:
    stem = runs_root() / f"{what}-{time.strftime('%Y%m%d-%H%M%S')}"
    names = [stem, *(stem.with_name(f"{stem.name}-{number}") for number in range(2, 100))]
    return next((folder for folder in names if not folder.exists()), stem)

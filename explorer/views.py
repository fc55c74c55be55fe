"""What the page and the command line show, as plain arrays: strips, atlas, masks with their verdicts, segmentations."""

from __future__ import annotations

import copy
import dataclasses
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from explorer.directions.catalogue import MAX_MAGNITUDE, PAPER_MAGNITUDE, Catalogue, catalogue_for, directions_folder
from explorer.directions.strips import starting_codes
from explorer.embedding import Reconstruction, check_encoder, load_square, reconstruct_squares
from explorer.engine import MAX_TRUNCATION, Engine, EngineConfig
from explorer.generators.registry import load_generator
from explorer.movies import MovieConfig, movie_frames, write_movie
from explorer.mp4 import check_mp4
from explorer.picture_files import Stamp
from explorer.shelf import Shelf
from explorer.sources import SourceConfig
from explorer.starts import Given
from segmentation.configuration import Config, check_range
from segmentation.errors import require
from segmentation.filters import FilterConfig, JudgedPairs, filter_pairs
from segmentation.pictures import to_uint8
from segmentation.progress import Watcher

Pictures = NDArray[np.uint8]
Value = TypeVar("Value")
MAX_PINS = 64
"""Latent codes that can be pinned."""
_REMEMBERED = 6


@dataclasses.dataclass(frozen=True)
class SampleView(Config):
    """Latent codes, and a shift of them along a direction."""

    direction: int = 0
    """Index of the direction in the catalogue."""
    magnitude: float = PAPER_MAGNITUDE
    """Length of the shift (of a walk: at its ends); 0: nothing is shifted."""
    seed: int = 11
    """Seed of the latent codes."""
    truncation: float = MAX_TRUNCATION
    """Entries of the latent codes stay within plus or minus this; 4 and above: no truncation."""

    def __post_init__(self) -> None:
        check_range("magnitude", self.magnitude, 0, MAX_MAGNITUDE)
        check_range("seed", self.seed, 0, 2**63 - 1)
        check_range("truncation", self.truncation, 0.01, float("inf"))


@dataclasses.dataclass(frozen=True)
class WalkView(SampleView):
    """Several codes, each at several magnitudes along one direction."""

    count: int = 6
    """Latent codes, one a row."""
    steps: int = 5
    """Images a row, from minus the magnitude to plus the magnitude; odd, so that the middle one is G(z)."""
    origin: tuple[float, ...] = ()
    """Latent code of a photograph, for the first row; without one all codes are drawn by seed."""
    alpha: float = SourceConfig.alpha
    """With an origin: the other rows are the origin plus alpha times codes drawn by seed."""
    second: int = 0
    """Index of a second direction, by which every image of the walk is shifted besides."""
    second_magnitude: float = 0.0
    """Length of that shift, also backwards; 0: there is none."""
    pins: str = ""
    """Latent codes that come first, whatever the seed: ``seed:index`` of each, as in 11:0, 11:3."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("count", self.count, 1, 256)
        check_range("steps", self.steps, 1, 101)
        check_range("alpha", self.alpha, 0, 10)
        check_range("second_magnitude", self.second_magnitude, -MAX_MAGNITUDE, MAX_MAGNITUDE)
        pinned = len(self.pins.split(",")) if self.pins.strip() else 0
        require(pinned <= MAX_PINS, f"{pinned} codes are pinned", f"Pin at most {MAX_PINS}.")

    @property
    def magnitudes(self) -> list[float]:
        """The magnitudes of a row."""
        return [float(m) for m in np.linspace(-self.magnitude, self.magnitude, self.steps)] if self.steps > 1 else [0.0]


@dataclasses.dataclass(frozen=True)
class MaskView(SampleView):
    """A set of samples and the shift that makes their masks; what the filters say of them needs no new samples."""

    count: int = 24
    """Samples."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("count", self.count, 1, 4096)


@dataclasses.dataclass(frozen=True)
class MaskSheet:
    """Samples and what the filters say of them: arrays (B, R, R, 3) uint8 and (B, R, R) bool, and words."""

    images: Pictures
    shifted: Pictures
    raw_mask: NDArray[np.bool_]
    mask: NDArray[np.bool_]
    area: NDArray[np.float64]
    """What the size filter looked at, (B,) in [0, 1]."""
    rejected_by: list[str]
    explanations: list[str]
    funnel: dict[str, int]
    seconds_per_pair: float = 0.0
    """What a pair took when these samples were made."""

    @property
    def acceptance_rate(self) -> float:
        """Share of the samples that are kept."""
        return self.rejected_by.count("") / len(self.rejected_by)


class _Memory:
    """The last few results by key; safe between threads."""

    def __init__(self) -> None:
        self._lock, self._kept = Lock(), OrderedDict[Hashable, Any]()

    def recall(self, key: Hashable, make: Callable[[], Value]) -> Value:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                known: Value = self._kept[key]
                return known
        made = make()
        with self._lock:
            self._kept[key] = made
            while len(self._kept) > _REMEMBERED:
                self._kept.popitem(last=False)
        return made


class Workbench:
    """One engine and its catalogue: what every tab and command works on.

    ``shelf`` holds the catalogues that the page can choose from; by default the one given, in memory.
    """

    def __init__(self, engine: Engine, catalogue: Catalogue, shelf: Shelf | None = None, generator: str = "") -> None:
        self.engine, self.catalogue = engine, catalogue
        self.generator = generator or engine.name
        self.shelf = shelf or Shelf(engine.name, engine.accepted_fingerprints, catalogue)
        self._memory = _Memory()

    def on(self, name: str | None = None) -> Workbench:
        """The same with the catalogue of that ``name`` on the shelf, as it is now; by default the one that was opened.

        Errors: :class:`LanternError` if there is none, or it is broken.
        """
        other = copy.copy(self)
        other.catalogue = self.shelf.catalogue(name)
        return other

    def start(self, view: WalkView) -> Given:
        """The latent codes that the rows of ``view`` start from, shifted along its second direction; pinned ones first.

        Errors: :class:`LanternError` if there is no such direction, or the pins name no codes.
        """
        codes = starting_codes(self.engine, view.count, view.seed, view.truncation, view.origin, view.alpha, view.pins)
        if view.second_magnitude:
            codes = codes + view.second_magnitude * self.catalogue.direction(view.second)
        return Given(codes)

    def walk(self, view: WalkView, precision: str | None = None) -> Pictures:
        """The images of ``view``: (rows, steps, R, R, 3) uint8; ``precision`` as in :meth:`Engine.images`."""
        start = self.start(view)
        walked = self.engine.walk(start.drawn, self.catalogue.direction(view.direction), view.magnitudes, precision)
        return to_uint8(walked.flatten(0, 1)).reshape(start.codes, view.steps, *([self.engine.resolution] * 2), 3)

    def write_film(self, view: WalkView, config: MovieConfig, path: Path, stamp: Stamp, watcher: Watcher | None = None) -> None:
        """Write the walk of ``view`` from minus to plus its magnitude and back to ``path``, in the format of its suffix.

        Errors: :class:`LanternError` if it is too large, the file cannot be written, or, of an MP4, its encoder is missing.
        """
        if path.suffix == ".mp4":
            check_mp4()
        frames = movie_frames(self.engine, self.catalogue, view.direction, view.magnitude, self.start(view), config, watcher)
        write_movie(path, frames, config, stamp)

    def atlas(self, seed: int, magnitude: float, origin: tuple[float, ...] = ()) -> Pictures:
        """One code at -magnitude, 0 and +magnitude along every direction: (K, 3, R, R, 3) uint8.

        The code is ``origin``, or the first one that ``seed`` draws.
        """
        directions = [self.catalogue.direction(index) for index in range(len(self.catalogue))]
        key = ("atlas", seed, magnitude, origin, tuple(direction.numpy().tobytes() for direction in directions))

        def draw() -> Pictures:
            code = self.engine.around(origin, 1, 0, seed) if origin else self.engine.codes(1, seed)
            shifted = self.engine.shifts(code, directions, magnitude)
            return to_uint8(shifted.flatten(0, 1)).reshape(len(directions), 3, *([self.engine.resolution] * 2), 3)

        return self._memory.recall(key, draw)

    def reconstruct(self, photograph: Path) -> Reconstruction:
        """What the generator makes of the image file ``photograph``, whose code can be the origin of a walk.

        Errors: :class:`LanternError` if the generator has no encoder, or the file is no image or has too many pixels.
        """
        check_encoder(self.engine)
        return reconstruct_squares(self.engine, load_square(self.engine, photograph))

    def verdicts(self, view: MaskView, filters: FilterConfig) -> JudgedPairs:
        """Images, shifted images and what ``filters`` say of them; the samples of a view are made once."""
        images, shifted, _ = self._made(view)
        return JudgedPairs(images, shifted, filter_pairs(images, shifted, filters))

    def _pairs(self, view: MaskView) -> tuple[Any, Any, float]:
        """Images, shifted images, and the seconds that each pair took."""
        codes = self.engine.codes(view.count, view.seed, view.truncation)
        began = time.perf_counter()
        images, shifted = self.engine.pairs(codes, self.catalogue.direction(view.direction), view.magnitude)
        return images, shifted, (time.perf_counter() - began) / view.count

    def seconds_per_pair(self, view: MaskView) -> float:
        """What a pair of ``view`` took when its samples were made; they are made if they are not remembered."""
        seconds: float = self._made(view)[2]
        return seconds

    def _made(self, view: MaskView) -> tuple[Any, Any, float]:
        # The same view is of other samples in another catalogue, or after the direction was turned.
        key = (view, self.catalogue.direction(view.direction).numpy().tobytes())
        return self._memory.recall(key, lambda: self._pairs(view))

    def masks(self, view: MaskView, filters: FilterConfig) -> MaskSheet:
        """The samples of ``view`` with their masks and verdicts under ``filters``."""
        images, shifted, verdicts = self.verdicts(view, filters)
        return MaskSheet(
            images=to_uint8(images),
            shifted=to_uint8(shifted),
            raw_mask=verdicts.raw_mask.cpu().numpy(),
            mask=verdicts.mask.cpu().numpy(),
            area=verdicts.area.cpu().numpy(),
            rejected_by=verdicts.rejected_by,
            explanations=[verdicts.explain(i) for i in range(view.count)],
            funnel=verdicts.funnel(),
            seconds_per_pair=self.seconds_per_pair(view),
        )


def open_workbench(generator: str, directions: Path | None = None, engine: EngineConfig | None = None) -> Workbench:
    """The workbench of a generator, named as for ``load_generator``, with its catalogue (or the one in ``directions``)."""
    opened = Engine(load_generator(generator), engine)
    catalogue = catalogue_for(generator, directions, *opened.accepted_fingerprints)
    folder = directions_folder(generator) if directions is None else directions
    shelf = Shelf(opened.name, opened.accepted_fingerprints, catalogue, folder, by_default=directions is None)
    return Workbench(opened, catalogue, shelf, generator)

"""Movies of a walk: from minus to plus the magnitude along a direction and back, smoothly, for several codes side by side."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np

from explorer.directions.catalogue import MAX_MAGNITUDE, Catalogue
from explorer.directions.strips import walks
from explorer.drawing import Pictures, enlarge, shown_side
from explorer.engine import Engine
from explorer.mp4 import write_mp4
from explorer.picture_files import Stamp, write_gif, write_webp
from explorer.starts import Given, Start
from segmentation.configuration import Config, check_range
from segmentation.errors import require
from segmentation.pictures import tile
from segmentation.progress import Watcher

SUFFIXES = (".gif", ".webp", ".mp4")
_LEAST_SIDE, _FASTEST = 128, 20
_MAX_PIXELS = 2**28


@dataclasses.dataclass(frozen=True)
class MovieConfig(Config):
    """How long a movie takes, and how its images are laid out."""

    frames: int = 48
    """Frames of the way there and back."""
    seconds: float = 3.0
    """How long the way there and back takes."""
    columns: int | None = None
    """Codes side by side; by default all of them."""
    side: int | None = None
    """Side in pixels at which an image is shown; by default that of the generator, and at least 128."""

    def __post_init__(self) -> None:
        check_range("frames", self.frames, 2, 600)
        check_range("seconds", self.seconds, 0.1, 600)
        if self.columns is not None:
            check_range("columns", self.columns, 1, 64)
        if self.side is not None:
            check_range("side", self.side, 16, 1024, "pixels")
        slow = 1000 * self.seconds / self.frames >= _FASTEST
        fastest = 1000 // _FASTEST
        remedy = f"Choose at most {fastest} frames a second: viewers slow down what is faster."
        require(slow, f"{self.frames} frames in {self.seconds:g} seconds are too fast", remedy)

    def lengths(self, magnitude: float) -> list[float]:
        """The length of the shift in each frame: slow at both ends of the way, and the end meets the start."""
        # The way back is the way there, to the last bit, so that no image is made twice.
        there = [-magnitude * math.cos(2 * math.pi * step / self.frames) for step in range(self.frames // 2 + 1)]
        return [there[min(step, self.frames - step)] for step in range(self.frames)]

    def milliseconds(self, unit: int) -> list[int]:
        """How long each frame is shown, in multiples of ``unit``; together as near to the whole as can be."""
        marks = [math.floor(1000 * self.seconds * step / self.frames / unit + 0.5) * unit for step in range(self.frames + 1)]
        return np.diff(marks).tolist()


def movie_frames(
    engine: Engine,
    catalogue: Catalogue,
    index: int,
    magnitude: float,
    start: Start | Given,
    config: MovieConfig,
    watcher: Watcher | None = None,
) -> list[Pictures]:
    """The frames (H, W, 3) of the walk along direction ``index``, the codes of ``start`` side by side.

    Errors: :class:`LanternError` if the magnitude or direction is out of range, or the movie is too large.
    """
    check_range("magnitude", magnitude, 0, MAX_MAGNITUDE)
    direction = catalogue.direction(index)
    lengths = config.lengths(magnitude)
    way = lengths[: config.frames // 2 + 1]
    side = shown_side(engine.resolution, config.side, _LEAST_SIDE)
    pixels = len(way) * start.codes * side**2
    remedy = "Choose fewer codes or frames, or a smaller side."
    require(pixels <= _MAX_PIXELS, f"a movie of {start.codes} codes of {side} pixels a side is too large", remedy)
    columns = min(config.columns or start.codes, start.codes)
    walked = walks(engine, direction[None], np.array([way], np.float32), start.draw(engine), watcher)[0]
    made = [tile(enlarge(walked[:, step], side), columns) for step in range(len(way))]
    return [made[min(step, config.frames - step)] for step in range(config.frames)]


def write_movie(path: Path, frames: list[Pictures], config: MovieConfig, stamp: Stamp) -> None:
    """Replace ``path`` by a movie, GIF, WebP or MP4 by its suffix; the first two start again when they end.

    Errors: :class:`LanternError` for an MP4 where its encoder is not installed.
    """
    if path.suffix.lower() == ".gif":
        write_gif(path, frames, stamp, config.milliseconds(10))
    elif path.suffix.lower() == ".mp4":
        write_mp4(path, frames, stamp, config.frames / config.seconds)
    else:
        write_webp(path, frames, stamp, config.milliseconds(1))

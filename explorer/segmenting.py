"""What a trained network sees in photographs: the floor below the page's tab Segment."""

from __future__ import annotations

import dataclasses
import os
import zipfile
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from explorer.generators.registry import ASSETS
from segmentation.datasets import read_image
from segmentation.errors import LanternError, require
from segmentation.files import replacing, write_image
from segmentation.inference import Segmenter, cut_out, load_segmenter, overlay

WEIGHTS = ASSETS / "unet.safetensors"
LONGEST_SIDE = 2048
"""Larger photographs are shrunk to this many pixels before they are segmented and drawn."""
SHIPPED, GIVEN = "shipped", "given"
"""What the network is called that the page was opened with: the one in assets, or another."""
MOST = 24
"""Photographs at once."""
_KEPT, _LISTED, _DEEPEST = 2, 50, 3
HOW_TO_TRAIN = (
    "Train one in the tab Train, or with `python -m explorer train --out runs/first`; or start this page with "
    "`--segmenter runs/first/unet.safetensors`."
)


@dataclasses.dataclass(frozen=True)
class Segmentation:
    """A photograph and what the network sees in it."""

    overlay: NDArray[np.uint8]
    """(H, W, 3), the object tinted and outlined."""
    saliency: NDArray[np.uint8]
    """(H, W), 255 where the network is sure of an object."""
    cut_out: NDArray[np.uint8]
    """(H, W, 4), the saliency as alpha."""
    area: float
    """Share of the photograph whose saliency is a half or more."""


class PhotographSegmenter:
    """The network in a weights file, on ``device``, read when it is first needed and kept. Safe to share between threads."""

    def __init__(self, weights: Path | None = None, device: str = "cpu") -> None:
        self.weights, self.device = weights or WEIGHTS, device
        self._lock = Lock()
        self._segmenter: Segmenter | None = None

    @property
    def available(self) -> bool:
        """Whether the weights file is there."""
        return self.weights.is_file()

    def segment(self, photograph: Path) -> Segmentation:
        """The segmentation of the image file ``photograph``.

        Errors: :class:`LanternError` if there are no weights, or the file is no image, or has too many pixels.
        """
        require(self.available, f"there is no trained network ({self.weights.name} is missing)", HOW_TO_TRAIN)
        try:
            image = _shrunk(read_image(photograph))
        except LanternError as error:
            # The page keeps uploads under a path that says nothing to the visitor.
            raise LanternError(error.problem.replace(str(photograph), photograph.name), error.remedy) from error
        with self._lock:
            self._segmenter = self._segmenter or load_segmenter(self.weights, self.device)
            saliency = self._segmenter.saliency(image)
        shown = (saliency * 255).round().astype(np.uint8)
        return Segmentation(overlay(image, saliency), shown, cut_out(image, saliency), float((saliency >= 0.5).mean()))


class Networks:
    """The networks to choose from: ``first``, which the page was opened with, and that of every finished training in ``runs``.

    They are named by their folders, and only these names are taken: no path of a visitor's is ever opened.
    """

    def __init__(self, first: PhotographSegmenter, runs: Path | None = None) -> None:
        self.first, self.runs = first, runs
        self._lock = Lock()
        self._opened: OrderedDict[tuple[str, float], PhotographSegmenter] = OrderedDict()

    @property
    def names(self) -> list[str]:
        """``shipped`` or ``given``, then the trainings by their folders, newest first."""
        return [self.first_name, *self._trained()]

    @property
    def first_name(self) -> str:
        """What the first one is called."""
        return SHIPPED if self.first.weights == WEIGHTS else GIVEN

    def get(self, name: str) -> PhotographSegmenter:
        """The network called ``name``; :class:`LanternError` if it is none of :attr:`names`."""
        if name == self.first_name:
            return self.first
        path = self._trained().get(name)
        if path is None:
            known = ", ".join(self.names[:6])
            raise LanternError(
                f"there is no network called {name!r}", f"Choose one of: {known}. Finished trainings appear here."
            )
        # A training that was made again under the same name is another network.
        key = (name, path.stat().st_mtime)
        with self._lock:
            known_one = self._opened.setdefault(key, PhotographSegmenter(path, self.first.device))
            self._opened.move_to_end(key)
            while len(self._opened) > _KEPT:
                self._opened.popitem(last=False)
        return known_one

    def _trained(self) -> dict[str, Path]:
        if self.runs is None or not self.runs.is_dir():
            return {}
        found = []
        for folder, folders, files in os.walk(self.runs):
            path = Path(folder)
            if len(path.relative_to(self.runs).parts) >= _DEEPEST:
                folders.clear()
            if WEIGHTS.name in files:
                found.append(path / WEIGHTS.name)
        found.sort(key=lambda path: path.stat().st_mtime, reverse=True)
        return {path.parent.relative_to(self.runs).as_posix(): path for path in found[:_LISTED]}


@dataclasses.dataclass(frozen=True)
class Written:
    """A segmented photograph on disk."""

    name: str
    """The photograph's file name without its suffix."""
    overlay: Path
    """JPEG."""
    saliency: Path
    """PNG, 8-bit grey."""
    cut_out: Path
    """PNG, the saliency as alpha."""
    area: float
    """Share of the photograph whose saliency is a half or more."""

    @property
    def files(self) -> tuple[Path, Path, Path]:
        """All three."""
        return self.overlay, self.saliency, self.cut_out


def segment_files(
    segmenter: PhotographSegmenter, photographs: Sequence[Path], out: Path, done: Callable[[int], None] = lambda count: None
) -> tuple[list[Written], list[str]]:
    """Segment ``photographs`` into the folder ``out``; returns what was written, and what is wrong with those passed over.

    ``done`` hears how many are through. Errors: :class:`LanternError` if there are none, or more than ``MOST``, or none of
    them can be read: then the message is that of the first.
    """
    require(bool(photographs), "there is no photograph", "Upload one, or paste one from the clipboard.")
    require(len(photographs) <= MOST, f"{len(photographs)} photographs are too many at once", f"Give at most {MOST}.")
    written: list[Written] = []
    refused: list[LanternError] = []
    for count, photograph in enumerate(photographs):
        done(count)
        try:
            seen = segmenter.segment(photograph)
        except LanternError as error:
            refused.append(error)
        else:
            written.append(_write(seen, photograph.stem[:80], out / f"{count + 1:02d}"))
    if not written:
        raise refused[0]
    return written, [error.problem for error in refused]


def _write(seen: Segmentation, name: str, out: Path) -> Written:
    files = (out / f"{name}-overlay.jpg", out / f"{name}-saliency.png", out / f"{name}-cut-out.png")
    for path, image in zip(files, (seen.overlay, seen.saliency, seen.cut_out), strict=True):
        write_image(path, image)
    return Written(name, *files, seen.area)


def write_zip(written: Sequence[Written], path: Path) -> Path:
    """All files of ``written`` in one archive at ``path``; of equal names the second and later ones get a number."""
    taken: Counter[str] = Counter()
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for one in written:
            taken[one.name] += 1
            number = f"{taken[one.name]}-" if taken[one.name] > 1 else ""
            for file in one.files:
                archive.write(file, f"{number}{file.name}")
    return path


def _shrunk(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if max(image.shape[:2]) <= LONGEST_SIDE:
        return image
    smaller = Image.fromarray(image)
    smaller.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.BILINEAR)
    return np.asarray(smaller)

"""Localisation scores: MaxBoxAcc, MaxBoxAccV2 and PxAP (paper, section 4.3; Choe et al., 2020), gathered image by image."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segmentation.component_tree import LEVELS, components
from segmentation.errors import require
from segmentation.truths import Box

SIDE = 224
"""Maps, masks and boxes are compared at 224 x 224, whatever the image's shape, as Choe et al. do."""
IOUS = (0.3, 0.5, 0.7)
"""Overlaps of MaxBoxAccV2; MaxBoxAcc takes 0.5."""
_FINE = 1000


@dataclasses.dataclass(frozen=True)
class LocalisationScores:
    """The scores of a set of images, each in [0, 1]; NaN where the data set has no such truth."""

    max_box_acc: float
    """Share of images whose largest component's box overlaps a true one by half, at the best threshold."""
    max_box_acc_v2: float
    """The same with any component's box, the best threshold for each overlap of 0.3, 0.5 and 0.7, averaged."""
    px_ap: float
    """Area under the precision-recall curve of the pixels of all images."""
    images: int
    """Images behind the scores."""

    def to_json(self) -> dict[str, Any]:
        """The scores as plain JSON types; what is not there as null."""
        return {name: None if value != value else value for name, value in dataclasses.asdict(self).items()}


class LocalisationMetrics:
    """The scores of :class:`LocalisationScores`; parts can be merged.

    A map is resized to 224 x 224 and stretched so that it reaches from 0 to 1. Boxes are those of its 8-connected components
    above each of 255 levels. Their area is counted in pixels; Choe et al. take that of the outline, holes included, and count
    the outlines of holes as components too.
    """

    def __init__(self) -> None:
        self.images = self.with_boxes = self.with_masks = 0
        self._largest = np.zeros(LEVELS)
        self._any = np.zeros((len(IOUS), LEVELS))
        self._pixels = np.zeros((2, _FINE + 1))

    def step(
        self,
        prediction: NDArray[Any],
        boxes: Sequence[Box] = (),
        truth: NDArray[np.bool_] | None = None,
        ignored: NDArray[np.bool_] | None = None,
    ) -> None:
        """Add an image: ``prediction`` (H, W) in [0, 1], its true boxes in pixels of that size, its mask and what is ignored.

        Errors: :class:`LanternError` if the shapes differ, or a prediction is NaN or outside [0, 1].
        """
        fits = prediction.ndim == 2 and prediction.size > 0 and (truth is None or truth.shape == prediction.shape)
        shapes = f"the prediction has the shape {prediction.shape}, the truth {None if truth is None else truth.shape}"
        require(fits, shapes, "Give two maps of the same size, (H, W).")
        inside = bool(np.isfinite(prediction).all()) and prediction.min() >= 0 and prediction.max() <= 1
        require(inside, "the prediction has values outside [0, 1]", "Give finite values, after the sigmoid.")
        small = _stretched(_resized(np.asarray(prediction, np.float32), Image.Resampling.BILINEAR))
        if boxes:
            height, width = prediction.shape
            scale = np.array([SIDE / width, SIDE / height] * 2)
            scaled = (np.asarray(boxes, float) * scale).astype(int)
            largest, best = box_overlaps((small * 255).astype(np.uint8), scaled)
            self._largest += largest >= 0.5
            self._any += best >= np.array(IOUS)[:, None]
            self.with_boxes += 1
        if truth is not None:
            self._count(small, truth, ignored)
            self.with_masks += 1
        self.images += 1

    def _count(self, small: NDArray[np.float32], truth: NDArray[np.bool_], ignored: NDArray[np.bool_] | None) -> None:
        mask = _resized(truth.astype(np.uint8), Image.Resampling.NEAREST) > 0
        counted = np.ones_like(mask)
        if ignored is not None:
            counted = (_resized(ignored.astype(np.uint8), Image.Resampling.NEAREST) == 0) | mask
        levels = np.floor(small.astype(np.float64) * _FINE).astype(int)
        for part, chosen in enumerate((~mask, mask)):
            self._pixels[part] += np.bincount(levels[chosen & counted], minlength=_FINE + 1)

    def merge(self, other: LocalisationMetrics) -> None:
        """Add the images that ``other`` has gathered."""
        self.add(other.state())

    def state(self) -> dict[str, Any]:
        """What was gathered, as plain JSON types, for :meth:`add`."""
        counts = {"images": self.images, "with_boxes": self.with_boxes, "with_masks": self.with_masks}
        return {**counts, "largest": self._largest.tolist(), "any": self._any.tolist(), "pixels": self._pixels.tolist()}

    def add(self, state: dict[str, Any]) -> None:
        """Add what other metrics had gathered when they gave ``state``."""
        self._largest, self._any = self._largest + np.array(state["largest"]), self._any + np.array(state["any"])
        self._pixels = self._pixels + np.array(state["pixels"])
        self.images += state["images"]
        self.with_boxes += state["with_boxes"]
        self.with_masks += state["with_masks"]

    def results(self) -> LocalisationScores:
        """The scores of the images so far; :class:`LanternError` if there are none."""
        require(self.images > 0, "there is no image to score", "Choose a data set with at least one image and its truth.")
        boxed = max(self.with_boxes, 1)
        nothing = float("nan")
        first = float(self._largest.max()) / boxed if self.with_boxes else nothing
        second = float(self._any.max(1).mean()) / boxed if self.with_boxes else nothing
        return LocalisationScores(first, second, _px_ap(self._pixels) if self.with_masks else nothing, self.images)


def _resized(values: NDArray[Any], resampling: Image.Resampling) -> NDArray[Any]:
    return np.asarray(Image.fromarray(values).resize((SIDE, SIDE), resampling))


def _stretched(small: NDArray[np.float32]) -> NDArray[np.float32]:
    low, high = float(small.min()), float(small.max())
    return ((small - low) / (high - low)).clip(0, 1) if high > low else np.zeros_like(small)


def _px_ap(pixels: NDArray[np.float64]) -> float:
    """Area under the curve of precision over recall, from pixels (2, levels) by truth and level; 0 without any object."""
    false_alarms, hits = pixels[:, ::-1].cumsum(1)
    if hits[-1] == 0:
        return 0.0
    precision = hits / np.maximum(hits + false_alarms, 1)
    return float((precision * np.diff(hits / hits[-1], prepend=0)).sum())


def box_overlaps(levels: NDArray[np.uint8], boxes: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How well the components of ``levels`` (H, W) above each level from 0 to 255 fit the true ``boxes`` (N, 4).

    Returns two arrays (256,): the best IoU of the box of the largest component with any true box, and that of the box of any
    component; 0 where nothing is above the level. All thresholds are had from one component tree.
    """
    found = components(levels)
    overlaps = _iou(found.boxes, boxes).max(1) if len(found.areas) else np.zeros(0)
    best = _highest(overlaps, found.above, found.below)
    by_area = np.argsort(found.areas, kind="stable")
    ranks = np.empty(len(by_area), int)
    ranks[by_area] = np.arange(1, len(by_area) + 1)
    largest = _highest(ranks, found.above, found.below).astype(int)
    return np.append(0.0, overlaps[by_area])[largest], best


def _highest(values: NDArray[Any], first: NDArray[np.int64], end: NDArray[np.int64]) -> NDArray[np.float64]:
    """The highest of ``values`` (N,) at each level (256,), of which each holds from ``first`` to just before ``end``; or 0."""
    # A range is two that overlap, both as long as a power of two; and such a one is two half as long.
    longest = np.log2(end - first).astype(int)
    table = np.zeros((9, LEVELS))
    np.maximum.at(table, (longest, first), values)
    np.maximum.at(table, (longest, end - (1 << longest)), values)
    for power in range(8, 0, -1):
        half = 1 << (power - 1)
        np.maximum(table[power - 1], table[power], out=table[power - 1])
        np.maximum(table[power - 1, half:], table[power, :-half], out=table[power - 1, half:])
    return table[0]


def _iou(first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.float64]:
    """IoU (N, M) of boxes (N, 4) and (M, 4), whose last pixels belong to them."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = np.prod(np.maximum(high - low + 1, 0), axis=2)
    areas = [np.prod(boxes[:, 2:] - boxes[:, :2] + 1, axis=1) for boxes in (first, second)]
    overlap: NDArray[np.float64] = shared / (areas[0][:, None] + areas[1][None, :] - shared)
    return overlap

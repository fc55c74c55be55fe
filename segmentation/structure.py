"""S-measure, E-measure and weighted F: how well a saliency map keeps the shape of the object.

Definitions as in PySODMetrics 1.6.2, whose numbers the tests hold: the prediction is rounded to 8 bits and stretched so that it
reaches from 0 to 1. That library itself is not needed; it would fix older releases of NumPy and scikit-image.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from segmentation.errors import require
from segmentation.metrics import stretched_levels

_EPSILON = float(np.spacing(1))
_Map = NDArray[np.float64]
_Mask = NDArray[np.bool_]


@dataclasses.dataclass(frozen=True)
class StructureScores:
    """Scores of a set of images, each in [0, 1], a higher one better."""

    s_measure: float
    """Structure measure, objects and regions weighed alike (Fan et al., 2017)."""
    e_measure: float
    """Enhanced-alignment measure, the highest of the mean curve over 256 thresholds (Fan et al., 2018)."""
    e_measure_mean: float
    """The mean of that curve."""
    weighted_f: float
    """Weighted F measure with beta 1 (Margolin et al., 2014)."""
    images: int
    """Images behind the scores."""

    def to_json(self) -> dict[str, Any]:
        """The scores as plain JSON types."""
        return dataclasses.asdict(self)


class StructureMetrics:
    """The scores of :class:`StructureScores`, gathered image by image; parts can be merged."""

    def __init__(self) -> None:
        self.images = 0
        self._sums = np.zeros(2)
        self._curve = np.zeros(256)

    def step(self, prediction: NDArray[Any], truth: NDArray[np.bool_]) -> None:
        """Add an image: ``prediction`` (H, W) in [0, 1], ``truth`` bool (H, W), checked as in :class:`SaliencyMetrics`."""
        require(
            prediction.ndim == 2 and prediction.shape == truth.shape and prediction.size > 1,
            f"the prediction has the shape {prediction.shape}, the truth {truth.shape}",
            "Give two maps of the same size, (H, W), of more than one pixel.",
        )
        counts, values = (
            part.numpy()
            for part in stretched_levels(torch.from_numpy(np.array(prediction, np.float32)), torch.from_numpy(np.array(truth)))
        )
        levels = np.rint(np.asarray(prediction, np.float32) * np.float32(255)).astype(np.uint8)
        stretched: _Map = values[levels]
        self._sums += s_measure(stretched, truth), weighted_f(stretched, truth)
        self._curve += _e_curve(counts, values)
        self.images += 1

    def merge(self, other: StructureMetrics) -> None:
        """Add the images that ``other`` has gathered."""
        self._sums, self._curve = self._sums + other._sums, self._curve + other._curve
        self.images += other.images

    def state(self) -> dict[str, torch.Tensor]:
        """What was gathered, for :meth:`restore`."""
        parts = {"sums": self._sums, "curve": self._curve, "images": np.array(self.images)}
        return {name: torch.from_numpy(value.copy()) for name, value in parts.items()}

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """Go back to what :meth:`state` gave."""
        self._sums, self._curve = state["sums"].numpy().copy(), state["curve"].numpy().copy()
        self.images = int(state["images"])

    def results(self) -> StructureScores:
        """The scores of the images so far; :class:`LanternError` if there are none."""
        require(self.images > 0, "there is no image to score", "Choose a data set with at least one image and its mask.")
        s, weighted = (float(value) for value in self._sums / self.images)
        curve = self._curve / self.images
        return StructureScores(s, float(curve.max()), float(curve.mean()), weighted, self.images)


def s_measure(prediction: _Map, truth: _Mask) -> float:
    """Structure measure of ``prediction`` (H, W) in [0, 1] against ``truth`` (H, W), objects and regions weighed alike."""
    share = float(truth.mean())
    if share == 0:
        return 1 - float(prediction.mean())
    if share == 1:
        return float(prediction.mean())
    objects = share * _uniformity(prediction[truth]) + (1 - share) * _uniformity(1 - prediction[~truth])
    return max(0.0, 0.5 * objects + 0.5 * _regions(prediction, truth))


def _uniformity(values: _Map) -> float:
    """How near to 1, and how alike, ``values`` (N,) are."""
    mean = float(values.mean())
    spread = float(values.std(ddof=1)) if values.size > 1 else 0.0
    return 2 * mean / (mean**2 + 1 + spread + _EPSILON)


def _regions(prediction: _Map, truth: _Mask) -> float:
    """Structural similarity of the four parts that the middle of the object cuts the image into, weighed by area."""
    rows, columns = np.nonzero(truth)
    row, column = (round(float(places.mean())) + 1 for places in (rows, columns))
    score = 0.0
    for down in (slice(None, row), slice(row, None)):
        for across in (slice(None, column), slice(column, None)):
            part = truth[down, across]
            if part.size:
                score += part.size / truth.size * _similarity(prediction[down, across], part.astype(np.float64))
    return score


def _similarity(first: _Map, second: _Map) -> float:
    mean, other = float(first.mean()), float(second.mean())
    freedom = max(first.size - 1, 1)
    away, beyond = first - mean, second - other
    variances = float((away**2).sum() + (beyond**2).sum()) / freedom
    alike = 4 * mean * other * float((away * beyond).sum()) / freedom
    scale = (mean**2 + other**2) * variances
    if alike != 0:
        return alike / (scale + _EPSILON)
    return 1.0 if scale == 0 else 0.0


def _e_curve(counts: NDArray[np.int64], values: _Map) -> _Map:
    """Enhanced alignment at the 256 thresholds, from pixels (2, 256) by truth and level, and the levels' values."""
    levels = (values * 255).clip(0, 255).astype(np.int64)
    by_level = np.zeros((2, 256))
    for part, line in zip(by_level, counts, strict=True):
        np.add.at(part, levels, line)
    false_alarms, hits = by_level[:, ::-1].cumsum(1)[:, ::-1]
    background, foreground = (float(number) for number in counts.sum(1))
    size = background + foreground
    predicted = hits + false_alarms
    if foreground == 0:
        aligned = size - predicted
    elif background == 0:
        aligned = predicted
    else:
        mean, other = predicted / size, foreground / size
        aligned = np.zeros(256)
        parts = ((1, 1, hits), (1, 0, false_alarms), (0, 1, foreground - hits), (0, 0, background - false_alarms))
        for chosen, true, number in parts:
            first, second = chosen - mean, true - other
            alignment = 2 * first * second / (first**2 + second**2 + _EPSILON)
            aligned = aligned + (alignment + 1) ** 2 / 4 * number
    curve: _Map = aligned / (size - 1 + _EPSILON)
    return curve


def weighted_f(prediction: _Map, truth: _Mask) -> float:
    """Weighted F measure of ``prediction`` (H, W) in [0, 1] against ``truth`` (H, W), beta 1; 0 where the truth is empty.

    An error on the object counts less where its surroundings are right; one on the ground counts more, the farther it is from
    the object.
    """
    if not truth.any():
        return 0.0
    error = np.abs(prediction - truth)
    distance, nearest = ndimage.distance_transform_edt(~truth, return_indices=True)
    carried = error[nearest[0], nearest[1]]
    smoothed = ndimage.gaussian_filter(carried, 5, mode="constant", radius=3)
    eased = np.where(truth & (smoothed < error), smoothed, error)
    weighed = np.where(truth, eased, eased * (2 - np.exp(np.log(0.5) / 5 * distance)))
    on_object = float(weighed[truth].sum())
    number = int(truth.sum())
    hits, recall = number - on_object, 1 - on_object / number
    precision = hits / (hits + float(weighed[~truth].sum()) + _EPSILON)
    return 2 * recall * precision / (recall + precision + _EPSILON)

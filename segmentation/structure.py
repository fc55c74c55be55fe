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
from segmentation.metrics import stretched_values

_EPSILON = float(np.spacing(1))
_LEVELS = 256
_REACH = 3
"""Pixels to each side over which weighted F smooths the errors."""
_BLOCK = 8192
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
        stretched = _Stretched(prediction, truth)
        self._sums += _s_measure(stretched), _weighted_f(stretched)
        self._curve += _e_curve(stretched)
        self.images += 1

    def merge(self, other: StructureMetrics) -> None:
        """Add the images that ``other`` has gathered."""
        self.add(other.state())

    def state(self) -> dict[str, Any]:
        """What was gathered, as plain JSON types, for :meth:`add`; nothing is rounded."""
        return {"images": self.images, "sums": self._sums.tolist(), "curve": self._curve.tolist()}

    def add(self, state: dict[str, Any]) -> None:
        """Add what other metrics had gathered when they gave ``state``."""
        self._sums, self._curve = self._sums + np.array(state["sums"]), self._curve + np.array(state["curve"])
        self.images += state["images"]

    def results(self) -> StructureScores:
        """The scores of the images so far; :class:`LanternError` if there are none."""
        require(self.images > 0, "there is no image to score", "Choose a data set with at least one image and its mask.")
        s, weighted = (float(value) for value in self._sums / self.images)
        curve = self._curve / self.images
        return StructureScores(s, float(curve.max()), float(curve.mean()), weighted, self.images)


class _Stretched:
    """A prediction in the 256 levels of 8 bits, stretched so that it reaches from 0 to 1, beside its truth.

    Most of the scores ask only how many pixels of a part have which level, so that their work is over levels, not pixels.
    """

    def __init__(self, prediction: NDArray[Any], truth: _Mask) -> None:
        self.truth = truth
        self.bins = np.empty(truth.shape, np.uint16)
        """By truth and level, (H, W)."""
        for part in _blocks(truth.shape):
            levels = np.rint(np.asarray(prediction[part], np.float32) * np.float32(_LEVELS - 1)).astype(np.uint16)
            self.bins[part] = levels + np.uint16(_LEVELS) * truth[part]
        down, across = self._middle()
        parts = [self.bins[rows, columns] for rows in down for columns in across]
        self.quadrants = np.stack([np.bincount(part.ravel(), minlength=2 * _LEVELS).reshape(2, _LEVELS) for part in parts])
        """Pixels, int64 (4, 2, 256), by the quadrants around the middle of the object, by truth and by level."""
        self.counts = self.quadrants.sum(0)
        self.values = stretched_values(torch.from_numpy(self.counts)).numpy()
        """What the levels are once they are stretched, (256,)."""

    def _middle(self) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
        """The rows above and below the middle of the object, the columns on its left and right; all are above without one."""
        found = []
        for axis in (1, 0):
            along = np.count_nonzero(self.truth, axis=axis)
            number = int(along.sum())
            place = round(float(along @ np.arange(along.size)) / number) + 1 if number else along.size
            found.append((slice(None, place), slice(place, None)))
        return found[0], found[1]


def _blocks(shape: tuple[int, ...]) -> list[slice]:
    """Rows of an image, some at a time: what is small stays near the processor, and its memory is used again."""
    step = max(1, _BLOCK // shape[1])
    return [slice(first, first + step) for first in range(0, shape[0], step)]


def _s_measure(stretched: _Stretched) -> float:
    """Structure measure, objects and regions weighed alike."""
    background, foreground = (int(number) for number in stretched.counts.sum(1))
    if background == 0 or foreground == 0:
        mean = float((stretched.counts.sum(0) * stretched.values).sum()) / (background + foreground)
        return mean if background == 0 else 1 - mean
    share = foreground / (background + foreground)
    ground, figure = stretched.counts
    objects = share * _uniformity(figure, stretched.values) + (1 - share) * _uniformity(ground, 1 - stretched.values)
    regions = sum(
        int(part.sum()) / stretched.truth.size * _similarity(part, stretched.values)
        for part in stretched.quadrants
        if part.any()
    )
    return max(0.0, 0.5 * objects + 0.5 * regions)


def _mean(counts: NDArray[np.int64], values: _Map) -> float:
    """The mean of ``values`` taken ``counts`` times; without rounding where there is only one."""
    (there,) = np.nonzero(counts)
    return float(values[there[0]]) if there.size == 1 else float(counts @ values) / int(counts.sum())


def _uniformity(counts: NDArray[np.int64], values: _Map) -> float:
    """How near to 1, and how alike, the values are."""
    mean, number = _mean(counts, values), int(counts.sum())
    spread = float(np.sqrt(counts @ (values - mean) ** 2 / max(number - 1, 1)))
    return 2 * mean / (mean**2 + 1 + spread + _EPSILON)


def _similarity(counts: NDArray[np.int64], values: _Map) -> float:
    """Structural similarity of prediction and truth in a part of the image with those pixels (2, 256)."""
    together = counts.sum(0)
    number, hits = int(together.sum()), int(counts[1].sum())
    mean, other = _mean(together, values), hits / number
    freedom = max(number - 1, 1)
    away = values - mean
    variances = (float(together @ away**2) + hits * (1 - other) ** 2 + (number - hits) * other**2) / freedom
    shared = float((counts[1] * (1 - other) - counts[0] * other) @ away) if 0 < hits < number else 0.0
    alike = 4 * mean * other * shared / freedom
    scale = (mean**2 + other**2) * variances
    if alike != 0:
        return alike / (scale + _EPSILON)
    return 1.0 if scale == 0 else 0.0


def _e_curve(stretched: _Stretched) -> _Map:
    """Enhanced alignment at the 256 thresholds."""
    levels = (stretched.values * (_LEVELS - 1)).clip(0, _LEVELS - 1).astype(np.int64)
    by_level = np.stack([np.bincount(levels, line, _LEVELS) for line in stretched.counts])
    false_alarms, hits = by_level[:, ::-1].cumsum(1)[:, ::-1]
    background, foreground = (float(number) for number in stretched.counts.sum(1))
    size = background + foreground
    predicted = hits + false_alarms
    if foreground == 0:
        aligned = size - predicted
    elif background == 0:
        aligned = predicted
    else:
        mean, other = predicted / size, foreground / size
        aligned = np.zeros(_LEVELS)
        parts = ((1, 1, hits), (1, 0, false_alarms), (0, 1, foreground - hits), (0, 0, background - false_alarms))
        for chosen, true, number in parts:
            first, second = chosen - mean, true - other
            alignment = 2 * first * second / (first**2 + second**2 + _EPSILON)
            aligned = aligned + (alignment + 1) ** 2 / 4 * number
    curve: _Map = aligned / (size - 1 + _EPSILON)
    return curve


def _weighted_f(stretched: _Stretched) -> float:
    """Weighted F measure, beta 1; 0 where the truth is empty.

    An error on the object counts less where its surroundings are right; one on the ground counts more, the farther it is from
    the object.
    """
    truth = stretched.truth
    number = int(stretched.counts[1].sum())
    if not number:
        return 0.0
    errors = np.concatenate([stretched.values, 1 - stretched.values])
    nearest = ndimage.distance_transform_edt(~truth, return_distances=False, return_indices=True)
    on_object = _eased(stretched.bins, errors, truth, nearest)
    rows, columns = (np.arange(side, dtype=np.int32) for side in truth.shape)
    everywhere = 0.0
    for part in _blocks(truth.shape):
        down, across = nearest[0, part] - rows[part, None], nearest[1, part] - columns
        weights = 2 - np.exp(np.log(0.5) / 5 * np.sqrt(down * down + across * across))
        everywhere += float((errors[stretched.bins[part]] * weights).sum())
    # On the object the distance is 0 and the weight 1.
    on_ground = everywhere - float(stretched.counts[1] @ (1 - stretched.values))
    hits, recall = number - on_object, 1 - on_object / number
    precision = hits / (hits + on_ground + _EPSILON)
    return 2 * recall * precision / (recall + precision + _EPSILON)


def _eased(bins: NDArray[np.uint16], errors: _Map, truth: _Mask, nearest: NDArray[np.int32]) -> float:
    """The sum over the object of each error or the mean around it, whichever is less; the ground has the error next to it.

    ``errors`` (512,) are those of the ``bins`` (H, W), ``nearest`` (2, H, W) the rows and columns of the nearest object pixel.
    """
    rows, columns = (
        slice(max(int(along[0]) - _REACH, 0), int(along[-1]) + _REACH + 1)
        for along in (np.flatnonzero(truth.any(axis)) for axis in (1, 0))
    )
    around = nearest[:, rows, columns]
    carried = errors[bins.ravel()[around[0] * truth.shape[1] + around[1]]]
    smoothed = ndimage.gaussian_filter(carried, 5, mode="constant", radius=_REACH, output=carried)
    inside = truth[rows, columns]
    return float(np.minimum(smoothed[inside], errors[bins[rows, columns][inside]]).sum())

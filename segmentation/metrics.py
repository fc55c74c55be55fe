"""Saliency scores, gathered image by image: max F, IoU and accuracy (paper, section 4)."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segmentation.configuration import check_choice
from segmentation.errors import LanternError, require

PROTOCOLS = ("voynov",)
BETA_SQUARED = 0.3
"""The paper writes beta = 0.3; its code and the literature use 0.3 for the square."""
_LEVELS = 255


@dataclasses.dataclass(frozen=True)
class SaliencyScores:
    """The scores of a set of images, each in [0, 1]."""

    max_f: float
    """Highest F measure over the thresholds (beta squared 0.3)."""
    iou: float
    """Intersection over union of foreground at 0.5."""
    accuracy: float
    """Share of pixels assigned rightly at 0.5."""
    images: int
    """Images behind the scores."""
    protocol: str
    """The definitions that made them, see :class:`SaliencyMetrics`."""
    threshold: float
    """The lowest threshold at which F is highest, in [0, 1)."""

    def to_json(self) -> dict[str, Any]:
        """The scores as plain JSON types."""
        return dataclasses.asdict(self)


class SaliencyMetrics:
    """Scores of any number of images of any sizes, from one histogram each.

    Protocol ``voynov`` (the paper's code): F at the 255 thresholds 0, 1/255, ... 254/255 with a strict ``>``, averaged over
    the images, then the maximum. Precision is 1 where nothing is predicted, recall 1 where the truth is empty, F 0 where both
    are 0. IoU and accuracy at ``>= 0.5``, averaged over the images. An empty union, for which that code gives NaN, is an IoU
    of 1: there was nothing to find, and nothing was found.
    """

    def __init__(self, protocol: str = "voynov") -> None:
        check_choice("protocol", protocol, PROTOCOLS)
        self.protocol = protocol
        self.images = 0
        self._f_curve = torch.zeros(_LEVELS, dtype=torch.float64)
        self._iou = self._accuracy = 0.0

    def step(self, prediction: Tensor | NDArray[Any], truth: Tensor | NDArray[Any]) -> None:
        """Add an image: ``prediction`` floating point (H, W) in [0, 1], ``truth`` bool (H, W), on any device.

        Predictions are compared in their own precision, 16-bit ones as float32.
        Errors: :class:`LanternError` if shapes or types are others, or a prediction is NaN or outside [0, 1].
        """
        saliency, mask = _tensor(prediction), _tensor(truth)
        _check(saliency, mask)
        counts = _histogram(saliency, mask.to(saliency.device))
        background, foreground = counts.sum(0)
        self._f_curve += _f_curve(background, foreground)
        false_alarms, hits = (int(number) for number in counts[1].sum(1))
        union = int(foreground.sum()) + false_alarms
        self._iou += hits / union if union else 1.0
        self._accuracy += 1 - (union - hits) / mask.numel()
        self.images += 1

    def merge(self, other: SaliencyMetrics) -> None:
        """Add the images that ``other`` has gathered; :class:`LanternError` if its protocol is another."""
        require(
            self.protocol == other.protocol,
            f"scores of the protocols {self.protocol} and {other.protocol} cannot be merged",
            "Score all images by one protocol.",
        )
        self._f_curve = self._f_curve + other._f_curve
        self._iou += other._iou
        self._accuracy += other._accuracy
        self.images += other.images

    def results(self) -> SaliencyScores:
        """The scores of the images so far; :class:`LanternError` if there are none."""
        require(
            self.images > 0, "there is no image to score", "Choose a data set or folder with at least one image and its mask."
        )
        best = int(self._f_curve.argmax())
        return SaliencyScores(
            max_f=float(self._f_curve[best]) / self.images,
            iou=self._iou / self.images,
            accuracy=self._accuracy / self.images,
            images=self.images,
            protocol=self.protocol,
            threshold=best / _LEVELS,
        )


def _tensor(values: Tensor | NDArray[Any]) -> Tensor:
    if isinstance(values, Tensor):
        return values.detach()
    try:
        # A copy: tensors cannot share the memory of arrays that are read-only or run backwards.
        return torch.from_numpy(np.array(values))
    except TypeError as error:
        raise LanternError(f"a map cannot be read ({error})", "Give floating-point predictions and boolean truths.") from error


def _check(saliency: Tensor, mask: Tensor) -> None:
    require(
        saliency.ndim == 2 and saliency.shape == mask.shape and saliency.numel() > 0,
        f"the prediction has the shape {tuple(saliency.shape)}, the truth {tuple(mask.shape)}",
        "Give two maps of the same size, (H, W): resize the prediction to its image.",
    )
    require(
        saliency.is_floating_point() and mask.dtype == torch.bool,
        f"the prediction is {_name(saliency)}, the truth {_name(mask)}",
        "Give a floating-point prediction in [0, 1] and a boolean truth.",
    )
    low, high = (float(value) for value in torch.aminmax(saliency))
    if not (low >= 0 and high <= 1):
        raise LanternError(
            f"the prediction reaches from {low:g} to {high:g}",
            "Give finite values in [0, 1], after the sigmoid and not before it.",
        )


def _name(values: Tensor) -> str:
    return str(values.dtype).removeprefix("torch.")


def _histogram(saliency: Tensor, mask: Tensor) -> Tensor:
    """Pixels, int64 (2, 2, 256) on the CPU, by prediction >= 0.5, by truth, and by the number of thresholds exceeded."""
    if saliency.dtype not in (torch.float32, torch.float64):
        saliency = saliency.float()
    index = _levels(saliency.reshape(-1))
    index += (_LEVELS + 1) * mask.reshape(-1).int()
    index += 2 * (_LEVELS + 1) * (saliency.reshape(-1) >= 0.5).int()
    return torch.bincount(index, minlength=4 * (_LEVELS + 1)).view(2, 2, _LEVELS + 1).cpu()


def _levels(values: Tensor) -> Tensor:
    """How many of the thresholds t / 255, t from 0 to 254, each of ``values`` (P,) exceeds, int32 (P,).

    Ten times as fast as a binary search.
    """
    # The rounded product can reach a whole number where the value is still below that threshold; the comparison decides.
    thresholds = [t / _LEVELS for t in range(_LEVELS)]
    fence = torch.tensor([*thresholds, 2.0], dtype=values.dtype, device=values.device)
    passed = (values * _LEVELS).int()
    return passed + (fence.index_select(0, passed) < values).int()


def _f_curve(background: Tensor, foreground: Tensor) -> Tensor:
    """F at the 255 thresholds, float64, from pixels (256,) by the number of thresholds that their prediction exceeds."""
    hits, false_alarms = _above(foreground), _above(background)
    predicted, present = hits + false_alarms, foreground.sum()
    precision = torch.where(predicted > 0, hits / predicted, 1.0)
    recall = hits / present if present > 0 else torch.ones_like(hits)
    f = (1 + BETA_SQUARED) * precision * recall / (BETA_SQUARED * precision + recall)
    return torch.nan_to_num(f, nan=0.0)


def _above(counts: Tensor) -> Tensor:
    """Pixels above each of the 255 thresholds, float64, from the ``counts`` (256,) by number of thresholds exceeded."""
    return counts.flip(0).cumsum(0).flip(0)[1:].double()

"""Saliency scores, gathered image by image: max F, IoU, accuracy, MAE and the precision-recall curve (paper, section 4)."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segmentation.configuration import check_choice
from segmentation.errors import LanternError, require

PROTOCOLS = ("voynov", "per-image", "pysod")
BETA_SQUARED = 0.3
"""The paper writes beta = 0.3; its code and the literature use 0.3 for the square."""
_LEVELS = 255


@dataclasses.dataclass(frozen=True)
class SaliencyScores:
    """The scores of a set of images, each in [0, 1]."""

    max_f: float
    """Highest F measure over the thresholds (beta squared 0.3), as the protocol has it."""
    iou: float
    """Intersection over union of foreground at 0.5."""
    accuracy: float
    """Share of pixels assigned rightly at 0.5."""
    images: int
    """Images behind the scores."""
    protocol: str
    """The definitions that made them, see :class:`SaliencyMetrics`."""
    threshold: float
    """The lowest threshold at which the mean F is highest, in [0, 1]."""
    mae: float
    """Mean absolute difference of prediction and truth; in ``pysod``, of the prediction stretched to [0, 1]."""
    max_f_of: dict[str, float]
    """The highest F measure by each of :data:`PROTOCOLS`; they are different numbers and not to be compared."""

    def to_json(self) -> dict[str, Any]:
        """The scores as plain JSON types."""
        return dataclasses.asdict(self)


class SaliencyMetrics:
    """Scores of any number of images of any sizes, in one pass, from two histograms each.

    Protocol ``voynov`` (the paper's code): F at the 255 thresholds 0, 1/255, ... 254/255 with a strict ``>``, averaged over
    the images, then the maximum. Precision is 1 where nothing is predicted, recall 1 where the truth is empty, F 0 where both
    are 0. ``per-image``: the same F, its maximum for each image, then the mean. ``pysod`` (PySODMetrics): the prediction
    rounded to 8 bits, stretched so that it reaches from 0 to 1, F at 256 thresholds with ``>=`` (0 where nothing is hit),
    averaged, then the maximum. IoU and accuracy at ``>= 0.5``, averaged over the images, in all three. An empty union, for
    which the paper's code gives NaN, is an IoU of 1: there was nothing to find, and nothing was found.
    """

    def __init__(self, protocol: str = "voynov") -> None:
        check_choice("protocol", protocol, PROTOCOLS)
        self.protocol = protocol
        self.images = 0
        self.empty = 0
        self._curves = {name: torch.zeros(_LEVELS, dtype=torch.float64) for name in ("f", "precision", "recall")}
        self._curves["pysod"] = torch.zeros(_LEVELS + 1, dtype=torch.float64)
        self._sums = dict.fromkeys(("iou", "accuracy", "mae", "stretched_mae", "per_image"), 0.0)

    def step(self, prediction: Tensor | NDArray[Any], truth: Tensor | NDArray[Any]) -> None:
        """Add an image: ``prediction`` floating point (H, W) in [0, 1], ``truth`` bool (H, W), on any device.

        Predictions are compared in their own precision, 16-bit ones as float32.
        Errors: :class:`LanternError` if shapes or types are others, or a prediction is NaN or outside [0, 1].
        """
        saliency, mask = _tensor(prediction), _tensor(truth)
        _check(saliency, mask)
        mask = mask.to(saliency.device)
        counts = _histogram(saliency, mask)
        background, foreground = counts.sum(0)
        precision, recall, f = _curves(background, foreground)
        for name, curve in (("f", f), ("precision", precision), ("recall", recall)):
            self._curves[name] += curve
        false_alarms, hits = (int(number) for number in counts[1].sum(1))
        union = int(foreground.sum()) + false_alarms
        stretched_f, stretched_mae = _stretched(saliency, mask)
        self._curves["pysod"] += stretched_f
        present = float(saliency.double().sum())
        agreed = float(saliency.reshape(-1)[mask.reshape(-1)].double().sum())
        added = {
            "iou": hits / union if union else 1.0,
            "accuracy": 1 - (union - hits) / mask.numel(),
            "mae": (present - 2 * agreed + int(foreground.sum())) / mask.numel(),
            "stretched_mae": stretched_mae,
            "per_image": float(f.max()),
        }
        for name, value in added.items():
            self._sums[name] += value
        self.images += 1
        self.empty += int(foreground.sum()) == 0

    def merge(self, other: SaliencyMetrics) -> None:
        """Add the images that ``other`` has gathered; :class:`LanternError` if its protocol is another."""
        require(
            self.protocol == other.protocol,
            f"scores of the protocols {self.protocol} and {other.protocol} cannot be merged",
            "Score all images by one protocol.",
        )
        self.add(other.state())

    def state(self) -> dict[str, Any]:
        """What was gathered, as plain JSON types, for :meth:`add`; nothing is rounded."""
        curves = {name: curve.tolist() for name, curve in self._curves.items()}
        return {"images": self.images, "empty": self.empty, "sums": dict(self._sums), "curves": curves}

    def add(self, state: dict[str, Any]) -> None:
        """Add what metrics of the same protocol had gathered when they gave ``state``."""
        for name, curve in state["curves"].items():
            self._curves[name] = self._curves[name] + torch.tensor(curve, dtype=torch.float64)
        for name, value in state["sums"].items():
            self._sums[name] += value
        self.images += state["images"]
        self.empty += state["empty"]

    def results(self) -> SaliencyScores:
        """The scores of the images so far; :class:`LanternError` if there are none."""
        require(
            self.images > 0, "there is no image to score", "Choose a data set or folder with at least one image and its mask."
        )
        means = {name: value / self.images for name, value in self._sums.items()}
        curve = self._curves["pysod" if self.protocol == "pysod" else "f"]
        max_f_of = {
            "voynov": float(self._curves["f"].max()) / self.images,
            "per-image": means["per_image"],
            "pysod": float(self._curves["pysod"].max()) / self.images,
        }
        return SaliencyScores(
            max_f=max_f_of[self.protocol],
            iou=means["iou"],
            accuracy=means["accuracy"],
            images=self.images,
            protocol=self.protocol,
            threshold=int(curve.argmax()) / _LEVELS,
            mae=means["stretched_mae" if self.protocol == "pysod" else "mae"],
            max_f_of=max_f_of,
        )

    def curve(self) -> tuple[list[float], list[float]]:
        """Precision and recall at the 255 thresholds of ``voynov``, averaged over the images so far."""
        precision, recall = ((self._curves[name] / max(self.images, 1)).tolist() for name in ("precision", "recall"))
        return precision, recall


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


def _curves(background: Tensor, foreground: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Precision, recall and F at the 255 thresholds, from pixels (256,) by the number of thresholds that they exceed."""
    hits, false_alarms = _above(foreground), _above(background)
    predicted, present = hits + false_alarms, foreground.sum()
    precision = torch.where(predicted > 0, hits / predicted, 1.0)
    recall = hits / present if present > 0 else torch.ones_like(hits)
    f = (1 + BETA_SQUARED) * precision * recall / (BETA_SQUARED * precision + recall)
    return precision, recall, torch.nan_to_num(f, nan=0.0)


def stretched_values(counts: Tensor) -> Tensor:
    """What the 256 levels of 8 bits are once they are stretched so that those that there are reach from 0 to 1, float64 (256,).

    ``counts`` (N, 256) are the pixels of each level. Where all are of the same level, nothing is stretched.
    """
    # Divided first and stretched then, as PySODMetrics does: so the rounding is the same.
    values = torch.arange(_LEVELS + 1, dtype=torch.float64) / _LEVELS
    there = values[counts.sum(0) > 0]
    low, high = there.min(), there.max()
    return (values - low) / (high - low) if high > low else values


def _stretched(saliency: Tensor, mask: Tensor) -> tuple[Tensor, float]:
    """F at the 256 thresholds, float64, and the mean absolute error, both of the stretched prediction."""
    rounded = (saliency.reshape(-1).float() * _LEVELS).round().int()
    counts = torch.bincount(rounded + (_LEVELS + 1) * mask.reshape(-1).int(), minlength=2 * (_LEVELS + 1))
    counts = counts.view(2, _LEVELS + 1).cpu()
    values = stretched_values(counts)
    error = float((counts[0] * values).sum() + (counts[1] * (1 - values)).sum()) / mask.numel()
    levels = (values * _LEVELS).clamp(0, _LEVELS).long()
    background, foreground = torch.zeros(2, _LEVELS + 1, dtype=torch.int64).index_add(1, levels, counts)
    hits, false_alarms = (part.flip(0).cumsum(0).flip(0).double() for part in (foreground, background))
    precision = hits / (hits + false_alarms).clamp(min=1)
    recall = hits / foreground.sum().clamp(min=1)
    weighted = BETA_SQUARED * precision + recall
    return (1 + BETA_SQUARED) * precision * recall / torch.where(weighted > 0, weighted, 1.0), error


def _above(counts: Tensor) -> Tensor:
    """Pixels above each of the 255 thresholds, float64, from the ``counts`` (256,) by number of thresholds exceeded."""
    return counts.flip(0).cumsum(0).flip(0)[1:].double()

"""The images that went best and worst, kept as pictures while a data set is scored."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segmentation.truths import Box, Sample

_SHOWN = 128


class Example(NamedTuple):
    """An image with what was made of it."""

    name: str
    score: float
    """IoU with the mask at 0.5, or with the nearest true box of the box of what is at 0.5 or above."""
    picture: NDArray[np.uint8]
    """(h, w, 3): the image, the truth and the saliency side by side."""

    def to_json(self) -> dict[str, Any]:
        """The example as plain JSON types, for another process."""
        pixels = base64.b64encode(np.ascontiguousarray(self.picture).tobytes()).decode()
        return {"name": self.name, "score": self.score, "shape": list(self.picture.shape), "pixels": pixels}

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> Example:
        """What :meth:`to_json` told."""
        pixels = np.frombuffer(base64.b64decode(told["pixels"]), np.uint8)
        return cls(told["name"], told["score"], pixels.reshape(told["shape"]))


class Examples:
    """The best and the worst ``number`` of the images so far."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.kept: list[Example] = []
        """From the best to the worst."""

    def step(self, sample: Sample, saliency: NDArray[np.float32]) -> None:
        """Keep the image if it is among them; it is drawn only then."""
        if self.number == 0:
            return
        score, full = _overlap(sample, saliency), len(self.kept) >= 2 * self.number
        if full and self.kept[self.number - 1].score >= score >= self.kept[-self.number].score:
            return
        self.add([Example(sample.name, score, _picture(sample, saliency))])

    def add(self, examples: Sequence[Example]) -> None:
        """Keep what is best and worst of those that there are and ``examples``."""
        self.kept = sorted([*self.kept, *examples], key=lambda example: -example.score)
        if len(self.kept) > 2 * self.number:
            del self.kept[self.number : -self.number]

    def results(self) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
        """The best, the best first, and the worst, the worst first; none is among both."""
        best = len(self.kept) - len(self.kept) // 2
        return tuple(self.kept[:best]), tuple(self.kept[best:][::-1])


def _overlap(sample: Sample, saliency: NDArray[np.float32]) -> float:
    chosen = saliency >= 0.5
    if sample.mask is not None:
        counted = chosen if sample.ignored is None else chosen & ~sample.ignored
        union = int((counted | sample.mask).sum())
        return int((counted & sample.mask).sum()) / union if union else 1.0
    rows, columns = (np.nonzero(chosen.any(axis))[0] for axis in (1, 0))
    if not rows.size:
        return 0.0
    found = (int(columns[0]), int(rows[0]), int(columns[-1]), int(rows[-1]))
    return max(_box_overlap(found, box) for box in sample.boxes)


def _box_overlap(first: Box, second: Box) -> float:
    width = min(first[2], second[2]) - max(first[0], second[0]) + 1
    height = min(first[3], second[3]) - max(first[1], second[1]) + 1
    shared = max(width, 0) * max(height, 0)
    areas = sum((box[2] - box[0] + 1) * (box[3] - box[1] + 1) for box in (first, second))
    return shared / (areas - shared)


def _picture(sample: Sample, saliency: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Image, truth and saliency side by side, 128 pixels high; what is ignored is grey in the truth."""
    height, width = sample.image.shape[:2]
    truth = np.zeros((height, width), np.uint8)
    for x0, y0, x1, y1 in sample.boxes:
        truth[y0 : y1 + 1, x0 : x1 + 1] = 255
    if sample.mask is not None:
        truth = np.where(sample.mask, 255, 0).astype(np.uint8)
    if sample.ignored is not None:
        truth[sample.ignored] = 128
    levels = (saliency * 255).round().astype(np.uint8)
    parts = [sample.image, *(np.repeat(part[..., None], 3, 2) for part in (truth, levels))]
    size = (max(1, min(round(width * _SHOWN / height), 4 * _SHOWN)), _SHOWN)
    return np.concatenate([np.asarray(Image.fromarray(part).resize(size)) for part in parts], 1)

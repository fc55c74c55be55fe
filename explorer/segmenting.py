"""What a trained network sees in a photograph, as plain arrays: the floor below the page's third tab."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from explorer.generators.registry import ASSETS
from segmentation.datasets import read_image
from segmentation.errors import LanternError, require
from segmentation.inference import Segmenter, cut_out, load_segmenter, overlay

WEIGHTS = ASSETS / "unet.safetensors"
LONGEST_SIDE = 2048
"""Larger photographs are shrunk to this many pixels before they are segmented and drawn."""
HOW_TO_TRAIN = (
    "Train one with `python -m explorer train --out runs/first`, then start this page with "
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


def _shrunk(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if max(image.shape[:2]) <= LONGEST_SIDE:
        return image
    smaller = Image.fromarray(image)
    smaller.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.BILINEAR)
    return np.asarray(smaller)

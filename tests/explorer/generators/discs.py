"""Photographs and a generator small enough to be fitted in a test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from explorer.generators.pocket import PocketConfig
from explorer.generators.projected import Features
from explorer.generators.recipe import FitConfig, MaterialConfig
from segmentation.progress import Unwatched

SMALL = PocketConfig(latent_dim=8, appearance_dim=3, map_channels=4, width=16, channels=16)
BRIEF = MaterialConfig(rounds=1, steps=2, batch_size=4, width=2)


def draw_discs(folder: Path, count: int) -> None:
    """``count`` discs of many colours on plain grounds."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[:64, :64]
    for number in range(count):
        pixels = np.full((64, 64, 3), random.integers(0, 255, 3), np.uint8)
        centre, radius = random.integers(20, 44, 2), random.integers(8, 18)
        inside = (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 < radius**2
        pixels[inside] = random.integers(0, 255, 3)
        Image.fromarray(pixels).save(folder / f"{number}.png")


def brief_fit(**values: Any) -> FitConfig:
    """A fit of a few steps in full precision."""
    steps = {"autoencoder_steps": 2, "variational_steps": 2, "joint_steps": 2, "adversarial_steps": 6, "checkpoint_every": 2}
    sizes = {"batch_size": 8, "adversarial_batch_size": 4, "pocket": SMALL, "precision": "float32", "material": BRIEF}
    return FitConfig(**{**steps, **sizes, **values})


class RandomFeatures(Features):
    """Colours at four scales, randomly mixed: enough for the heads to have something to look at."""

    def __init__(self, photographs: torch.Tensor, seed: int) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.mixers = nn.ModuleList([nn.Conv2d(3, width, 1) for width in (48, 48, 64, 96)])
        self.requires_grad_(False)

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Four maps."""
        pooled = [F.adaptive_avg_pool2d(images, side) for side in (24, 12, 6, 3)]
        return [mixer(image) for mixer, image in zip(self.mixers, pooled, strict=True)]


class Figures(Unwatched):
    """Remembers the figures of every step; asks to stop after step ``stop_at``."""

    def __init__(self, stop_at: int = 0) -> None:
        self.figures: dict[int, dict[str, float]] = {}
        self.stop_at, self.step = stop_at, 0

    def advance(self, step: int, steps: int, figures: dict[str, float]) -> None:
        """Remember."""
        self.step = step
        self.figures[step] = dict(figures)

    def stop_requested(self) -> bool:
        """Whether the step at hand is the one to stop after."""
        return self.step + 1 == self.stop_at

"""The schedule of a training, and what of it counts for the result."""

from __future__ import annotations

import dataclasses
from typing import Any

from segmentation.augmentation import AugmentationConfig
from segmentation.configuration import Config, check_choice, check_range
from segmentation.precision import PRECISIONS
from segmentation.synthesis import SynthesisConfig
from segmentation.unet import UNetConfig

_HOW = ("checkpoint_every", "prefetch")
"""What may be different in a resume, since it changes nothing of the result."""


@dataclasses.dataclass(frozen=True)
class TrainingConfig(Config):
    """The schedule; the defaults are the paper's."""

    steps: int = 12_000
    """Optimiser steps."""
    batch_size: int = 95
    """Accepted samples a step."""
    learning_rate: float = 1e-3
    """Rate of Adam at the start."""
    decay: float = 0.2
    """What the rate is multiplied by, once."""
    decay_at: int | None = None
    """The step of that; None: two thirds of the steps (8,000 of 12,000)."""
    seed: int = 0
    """Seed of the weights and the samples."""
    precision: str = "auto"
    """``float32``, ``bfloat16``, or ``auto``: bfloat16 where the hardware is fast at it."""
    held_out: int = 256
    """Synthetic samples kept for validation; never trained on."""
    validate_every: int = 200
    """Steps between validations."""
    checkpoint_every: int | None = None
    """Steps between checkpoints; None: one with every validation."""
    streams: int = 8
    """Independent streams that the samples of a step come from; so many processes at most can train together."""
    prefetch: bool = True
    """Make the samples of the next step while one is trained on."""
    clip: float = 0.0
    """Longest gradient; 0, as in the paper: any."""
    average: float = 0.0
    """Decay of a running average of the weights, which is then what is validated and written, such as 0.999; 0: none."""
    unet: UNetConfig = UNetConfig()
    """The network."""
    augmentation: AugmentationConfig = AugmentationConfig()
    """How the samples are changed before each step; not at all by default, and never the held-out ones."""
    synthesis: SynthesisConfig = SynthesisConfig()
    """The samples."""

    def __post_init__(self) -> None:
        check_range("steps", self.steps, 1, 100_000_000)
        check_range("batch_size", self.batch_size, 2, 65536)
        check_range("learning_rate", self.learning_rate, 1e-8, 1)
        check_range("decay", self.decay, 0, 1)
        if self.decay_at is not None:
            check_range("decay_at", self.decay_at, 0, float("inf"))
        check_range("seed", self.seed, 0, 2**63 - 1)
        check_choice("precision", self.precision, PRECISIONS)
        check_range("held_out", self.held_out, 1, 1_000_000)
        check_range("validate_every", self.validate_every, 1, 100_000_000)
        if self.checkpoint_every is not None:
            check_range("checkpoint_every", self.checkpoint_every, 1, 100_000_000)
        check_range("streams", self.streams, 1, 65536)
        check_range("clip", self.clip, 0, 1e6)
        check_range("average", self.average, 0, 0.999999)

    def counting(self) -> dict[str, Any]:
        """The values that count for the result, as plain JSON types; the others may be different in a resume."""
        return {name: value for name, value in self.to_json().items() if name not in _HOW}

    def rate(self, step: int) -> float:
        """Learning rate of ``step`` (from 0)."""
        decay_at = self.steps * 2 // 3 if self.decay_at is None else self.decay_at
        return self.learning_rate * (self.decay if step >= decay_at else 1.0)

    def checkpoint_due(self, step: int) -> bool:
        """Whether a checkpoint is written after ``step`` steps."""
        return step == self.steps or step % (self.checkpoint_every or self.validate_every) == 0

    def validation_due(self, step: int) -> bool:
        """Whether the network is validated after ``step`` steps."""
        return step == self.steps or step % self.validate_every == 0

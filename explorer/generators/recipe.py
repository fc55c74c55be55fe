"""How a pocket generator is fitted."""

from __future__ import annotations

import dataclasses

from explorer.generators.limits import LimitsConfig
from explorer.generators.pocket import PocketConfig
from segmentation.configuration import Config, check_choice, check_range
from segmentation.precision import PRECISIONS


@dataclasses.dataclass(frozen=True)
class FitConfig(Config):
    """How a pocket generator is fitted."""

    pocket: PocketConfig = PocketConfig()
    """The shape of the generator."""
    autoencoder_steps: int = 3000
    """Steps of stage 1."""
    variational_steps: int = 4000
    """Steps of stage 2."""
    adversarial_steps: int = 5000
    """Steps of stage 3."""
    batch_size: int = 64
    """Images a step in stages 1 and 2, over all processes."""
    adversarial_batch_size: int = 32
    """Images a step in stage 3, for the discriminator and again for the generator, over all processes."""
    learning_rate: float = 8e-4
    """Peak rate of stage 1 (rises over 300 steps, falls linearly to 0), and the rate of stage 2."""
    adversarial_learning_rate: float = 5e-4
    """Rate of latent generator, encoder and discriminator in stage 3; the decoder runs at a third of it."""
    light: float = 0.3
    """How strongly light falls at random on what stands out in the photographs, as a standard deviation along the tone curve;
    0: not at all, and then nothing makes the appearance say how light the object is beside its background."""
    appearance_weight: float = 2e-4
    """Weight of the appearances' divergence from N(0, I) beside the error of reconstructions."""
    perceptual_weight: float = 0.15
    """Weight of the features' squared error in stage 1, beside the pixels'."""
    anchor_weight: float = 0.01
    """Weight of stage 2's loss in stage 3."""
    reconstruction_weight: float = 2.0
    """Weight of the reconstructions' error in stage 3."""
    average: float = 0.999
    """Decay a step of the exponential average of the weights."""
    held_out: float = 0.05
    """Share of the photographs kept out of fitting, to measure reconstructions on."""
    seed: int = 0
    """Seed of everything random."""
    checkpoint_every: int = 250
    """Steps between checkpoints; sample grids are drawn, and in stage 3 samples are judged, at the same times."""
    precision: str = "auto"
    """bfloat16 where it is fast (auto), bfloat16 or float32."""
    limits: LimitsConfig = LimitsConfig()
    """When stage 3 stops by itself."""

    def __post_init__(self) -> None:
        check_range("adversarial_batch_size", self.adversarial_batch_size, 2, 65536)
        check_range("seed", self.seed, 0, 2**63 - 2)
        for name in ("autoencoder_steps", "variational_steps", "batch_size", "checkpoint_every"):
            check_range(name, getattr(self, name), 1, 100_000_000)
        check_range("adversarial_steps", self.adversarial_steps, 0, 100_000_000)
        check_range("learning_rate", self.learning_rate, 1e-8, 1)
        check_range("adversarial_learning_rate", self.adversarial_learning_rate, 1e-8, 1)
        check_range("light", self.light, 0, 2)
        for name in ("appearance_weight", "perceptual_weight", "anchor_weight", "reconstruction_weight"):
            check_range(name, getattr(self, name), 0, 1000)
        check_range("average", self.average, 0, 0.999999)
        check_range("held_out", self.held_out, 0, 0.5)
        check_choice("precision", self.precision, PRECISIONS)

    @property
    def stage_steps(self) -> tuple[int, int, int]:
        """Steps of the three stages."""
        return self.autoencoder_steps, self.variational_steps, self.adversarial_steps

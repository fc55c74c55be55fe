"""How a pocket generator is fitted."""

from __future__ import annotations

import dataclasses

from explorer.generators.limits import LimitsConfig
from explorer.generators.pocket import PocketConfig
from segmentation.configuration import Config, check_choice, check_range
from segmentation.precision import PRECISIONS


@dataclasses.dataclass(frozen=True)
class MaterialConfig(Config):
    """How the small networks are taught that find the objects on which light falls."""

    rounds: int = 2
    """Networks, the first taught by what stands out by colour, each other one by what the one before sees; 0: colour alone."""
    steps: int = 500
    """Steps of each."""
    batch_size: int = 32
    """Photographs a step."""
    width: int = 16
    """Channels of the first block of the U-Net."""

    def __post_init__(self) -> None:
        check_range("rounds", self.rounds, 0, 100)
        check_range("steps", self.steps, 1, 100_000_000)
        check_range("batch_size", self.batch_size, 2, 65536)
        check_range("width", self.width, 1, 256)


@dataclasses.dataclass(frozen=True)
class FitConfig(Config):
    """How a pocket generator is fitted."""

    pocket: PocketConfig = PocketConfig()
    """The shape of the generator."""
    autoencoder_steps: int = 3000
    """Steps of stage 1."""
    variational_steps: int = 4000
    """Steps of stage 2."""
    joint_steps: int = 2500
    """Steps of stage 3; 0 leaves it out."""
    adversarial_steps: int = 1000
    """Steps of stage 4; 0 leaves it out."""
    batch_size: int = 64
    """Images a step in stages 1 to 3, over all processes."""
    adversarial_batch_size: int = 32
    """Images a step in stage 4, for the discriminator and again for the generator, over all processes."""
    learning_rate: float = 8e-4
    """Peak rate of stage 1 (rises over 300 steps, falls linearly to 0), and the rate of stage 2."""
    joint_learning_rate: float = 6e-4
    """Peak rate of stage 3 (rises over 100 steps, falls linearly to 0)."""
    adversarial_learning_rate: float = 5e-4
    """Rate of latent generator, encoder and discriminator in stage 4; the decoder runs at a third of it."""
    favoured_share: float = 0.33
    """Share of every batch, but for stage 2, that is drawn from the favoured photographs, where there are any."""
    light: float = 0.6
    """How strongly light falls at random on the objects in the photographs, as a standard deviation along the tone curve;
    0: not at all, and then nothing makes the appearance say how light the object is beside its background."""
    material: MaterialConfig = MaterialConfig()
    """The small networks that find the objects."""
    appearance_weight: float = 2e-4
    """Weight of the appearances' divergence from N(0, I) beside the error of reconstructions."""
    perceptual_weight: float = 0.15
    """Weight of the features' squared error in stages 1 and 3, beside the pixels'."""
    code_weight: float = 3e-4
    """Weight of the divergence of the codes' first part from N(0, I) beside the error of reconstructions, in stages 3 and 4."""
    reconstruction_weight: float = 2.0
    """Weight of the reconstructions' loss beside the adversary's in stage 4."""
    average: float = 0.999
    """Decay a step of the exponential average of the weights."""
    held_out: float = 0.05
    """Share of the photographs kept out of fitting, to measure reconstructions on."""
    seed: int = 0
    """Seed of everything random."""
    checkpoint_every: int = 250
    """Steps between checkpoints; sample grids are drawn, and in stage 4 samples are judged, at the same times."""
    precision: str = "auto"
    """bfloat16 where it is fast (auto), bfloat16 or float32."""
    limits: LimitsConfig = LimitsConfig()
    """When stage 4 stops by itself."""

    def __post_init__(self) -> None:
        check_range("adversarial_batch_size", self.adversarial_batch_size, 2, 65536)
        check_range("seed", self.seed, 0, 2**63 - 2)
        for name in ("autoencoder_steps", "variational_steps", "batch_size", "checkpoint_every"):
            check_range(name, getattr(self, name), 1, 100_000_000)
        for name in ("joint_steps", "adversarial_steps"):
            check_range(name, getattr(self, name), 0, 100_000_000)
        for name in ("learning_rate", "joint_learning_rate", "adversarial_learning_rate"):
            check_range(name, getattr(self, name), 1e-8, 1)
        check_range("favoured_share", self.favoured_share, 0, 1)
        check_range("light", self.light, 0, 2)
        for name in ("appearance_weight", "perceptual_weight", "code_weight", "reconstruction_weight"):
            check_range(name, getattr(self, name), 0, 1000)
        check_range("average", self.average, 0, 0.999999)
        check_range("held_out", self.held_out, 0, 0.5)
        check_choice("precision", self.precision, PRECISIONS)

    @property
    def stage_steps(self) -> tuple[int, int, int, int]:
        """Steps of the four stages."""
        return self.autoencoder_steps, self.variational_steps, self.joint_steps, self.adversarial_steps

"""A generator whose factors are known: a bright or dark disc somewhere on a bright or dark ground."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, device

OBJECT, GROUND, ACROSS, DOWN, SIZE = range(5)


class DiscGenerator:
    """Coordinate 0 lightens the disc, 1 the ground; 2 and 3 move the disc, 4 grows it; the others do nothing."""

    name = "disc"
    fingerprint = "disc-1"

    def __init__(self, latent_dim: int = 8, resolution: int = 32) -> None:
        self.latent_dim, self.resolution = latent_dim, resolution
        self.largest_batch = 0
        self.memory: int | None = None

    def to(self, target: device) -> DiscGenerator:
        return self

    def disc(self, codes: Tensor) -> Tensor:
        """Soft truth (B, R, R): 1 inside the disc."""
        axis = (torch.arange(self.resolution) + 0.5) / self.resolution * 2 - 1
        across = axis[None, None, :] - 0.2 * torch.tanh(codes[:, ACROSS])[:, None, None]
        down = axis[None, :, None] - 0.2 * torch.tanh(codes[:, DOWN])[:, None, None]
        radius = 0.45 + 0.1 * torch.tanh(codes[:, SIZE])[:, None, None]
        return torch.sigmoid((radius - torch.sqrt(across**2 + down**2)) * 40)

    def generate(self, codes: Tensor) -> Tensor:
        self.largest_batch = max(self.largest_batch, len(codes))
        if self.memory is not None and len(codes) > self.memory:
            raise torch.OutOfMemoryError("the test's memory is full")
        disc = self.disc(codes)
        light = torch.tanh(codes[:, OBJECT] / 2)[:, None, None]
        ground = torch.tanh(codes[:, GROUND] / 2)[:, None, None]
        grey = disc * light + (1 - disc) * ground
        return grey[:, None].expand(-1, 3, -1, -1)


class FactorGenerator:
    """A disc whose lightness, ground, place and size are one latent coordinate each, turned by a random rotation.

    A factor hardly moves near 0 and fully farther out (its coordinate's square, with its sign), as in a generator whose
    directions act visibly. Then a shift along one factor changes more than the same shift shared out to several: without
    that, any orthonormal mixture of the factors would be told apart just as well, and there would be nothing to find.
    """

    name = "factors"
    fingerprint = "factors-1"

    def __init__(self, latent_dim: int = 5, resolution: int = 32, seed: int = 1) -> None:
        self.latent_dim, self.resolution = latent_dim, resolution
        drawn = torch.randn(latent_dim, latent_dim, generator=torch.Generator().manual_seed(seed))
        self.turned, _ = torch.linalg.qr(drawn)
        self.made: list[tuple[int, bool]] = []

    def to(self, target: device) -> FactorGenerator:
        return self

    @property
    def factors(self) -> Tensor:
        """The true directions (5, d), in the order of the constants above."""
        rows: Tensor = self.turned[:5]
        return rows

    def generate(self, codes: Tensor) -> Tensor:
        self.made.append((len(codes), codes.requires_grad))
        along = codes @ self.factors.T
        factors = torch.tanh((along / 4) ** 3)[:, :, None, None]
        axis = (torch.arange(self.resolution) + 0.5) / self.resolution * 2 - 1
        across = axis[None, None, :] - 0.35 * factors[:, ACROSS]
        down = axis[None, :, None] - 0.35 * factors[:, DOWN]
        radius = 0.4 + 0.15 * factors[:, SIZE]
        disc = torch.sigmoid((radius - torch.sqrt(across**2 + down**2 + 1e-6)) * 25)
        grey = disc * (0.5 + 0.5 * factors[:, OBJECT]) + (1 - disc) * (0.5 * factors[:, GROUND] - 0.5)
        return grey[:, None].expand(-1, 3, -1, -1)


def lighting(latent_dim: int = 8) -> Tensor:
    """The direction (d,) that lightens the disc and darkens the ground."""
    direction = torch.zeros(latent_dim)
    direction[OBJECT], direction[GROUND] = 0.5**0.5, -(0.5**0.5)
    return direction


class DiscEncoder(DiscGenerator):
    """The disc generator with an encoder that reads light and ground from the middle and a corner of an image."""

    name = "disc encoder"
    fingerprint = "disc-2"

    def encode(self, images: Tensor) -> Tensor:
        codes = torch.zeros(len(images), self.latent_dim)
        middle = self.resolution // 2
        codes[:, OBJECT] = 2 * torch.atanh(images[:, 0, middle, middle].clamp(-0.999, 0.999))
        codes[:, GROUND] = 2 * torch.atanh(images[:, 0, 0, 0].clamp(-0.999, 0.999))
        return codes


def disc_photograph(light: float, ground: float) -> NDArray[np.uint8]:
    """What the disc generator makes of a ``light`` disc on a ``ground``: (32, 32, 3)."""
    code = torch.zeros(1, 8)
    code[0, OBJECT], code[0, GROUND] = light, ground
    return ((DiscGenerator().generate(code)[0] + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()

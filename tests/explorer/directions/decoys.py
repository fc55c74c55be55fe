"""A generator whose latent code also has what could be taken for saliency lighting, and the same in a turned latent space."""

from __future__ import annotations

import torch
from torch import Tensor, device

from tests.analytic import ACROSS, GROUND, OBJECT, DiscGenerator

WAVES, ONLY_GROUND, BLOB, VIGNETTE, REPLACE = (5, 6), 8, 9, 10, 11
DIMENSIONS = 14


class DecoyGenerator(DiscGenerator):
    """The disc on its ground, both patterned, and four ways to look like light.

    Coordinate 8 darkens the ground and hardly lightens the disc; 9 paints a light blob into the middle of a dark picture,
    10 lightens the middle and darkens the rim softly, both whatever the image shows; 11 makes another pattern.
    """

    name, fingerprint = "decoys", "decoys-1"

    def __init__(self, resolution: int = 32) -> None:
        super().__init__(DIMENSIONS, resolution)

    def generate(self, codes: Tensor) -> Tensor:
        axis = (torch.arange(self.resolution) + 0.5) / self.resolution * 2 - 1
        radius = torch.sqrt(axis[:, None] ** 2 + axis[None, :] ** 2)
        blob, vignette = (radius < 0.5).float(), torch.exp(-((radius / 0.5) ** 2)) * 2 - 1
        one, two, other, hint, painted, soft = (codes[:, k, None, None] for k in (*WAVES, REPLACE, ONLY_GROUND, BLOB, VIGNETTE))
        pattern = 0.3 * torch.sin(6 * axis * (1 + 0.3 * torch.tanh(one)) + two + 2 * other + 3 * axis[:, None])
        light, ground = (torch.tanh(codes[:, k, None, None] / 2) for k in (OBJECT, GROUND))
        disc = self.disc(codes)
        grey = disc * (light + 0.02 * hint) + (1 - disc) * (ground - 0.5 * hint.clamp(min=0)) + pattern
        grey = grey + 0.4 * soft * vignette
        share = torch.sigmoid(4 * (painted.abs() - 2))
        grey = (1 - share) * grey + share * torch.sign(painted) * (2 * blob - 1) * 0.9
        return grey.clamp(-1, 1)[:, None].expand(-1, 3, -1, -1)


def axis_direction(*coordinates: tuple[int, float]) -> Tensor:
    """The unit direction (14,) of the given coordinates and amounts."""
    direction = torch.zeros(DIMENSIONS)
    for coordinate, amount in coordinates:
        direction[coordinate] = amount
    return direction / direction.norm()


DECOYS = {
    "darkens the ground": axis_direction((GROUND, -1)),
    "darkens the ground and hints at the object": axis_direction((ONLY_GROUND, 1)),
    "brightens everything": axis_direction((OBJECT, 1), (GROUND, 1)),
    "moves the object": axis_direction((ACROSS, 1)),
    "paints a blob": axis_direction((BLOB, 1)),
    "lightens the middle": axis_direction((VIGNETTE, 1)),
    "lightens the object alone": axis_direction((OBJECT, 1)),
    "makes another pattern": axis_direction((REPLACE, 1)),
}
"""What is not saliency lighting, though something about it could be taken for it."""


class Turned:
    """``inner`` with another latent code: that times ``rotation`` (d, d)."""

    def __init__(self, inner: DiscGenerator, rotation: Tensor) -> None:
        self.inner, self.rotation = inner, rotation
        self.name, self.fingerprint = f"turned {inner.name}", f"turned-{inner.fingerprint}"
        self.latent_dim, self.resolution = inner.latent_dim, inner.resolution

    def to(self, target: device) -> Turned:
        return self

    def generate(self, codes: Tensor) -> Tensor:
        return self.inner.generate(codes @ self.rotation)


def rotation(dimensions: int, seed: int) -> Tensor:
    """A random orthogonal matrix (d, d)."""
    source = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(dimensions, dimensions, generator=source)).Q

"""What the program asks of a generator, and nothing more."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor, device


@runtime_checkable
class Generator(Protocol):
    """Maps latent codes, drawn from N(0, I), to images.

    ``name`` is what people call it, ``latent_dim`` the length d of a latent code, ``resolution`` the side of its square
    images in pixels, ``fingerprint`` a short string that changes with any weight, so that an artefact says what made it.
    """

    name: str
    latent_dim: int
    resolution: int
    fingerprint: str

    def generate(self, codes: Tensor) -> Tensor:
        """Images (B, 3, H, W), float in [-1, 1], for latent ``codes`` (B, d)."""

    def to(self, target: device) -> Generator:
        """Itself, with its weights on ``target``."""


@runtime_checkable
class Encoder(Protocol):
    """A generator that can also be walked from a photograph."""

    def encode(self, images: Tensor) -> Tensor:
        """Latent codes (B, d) for square ``images`` (B, 3, ``resolution``, ``resolution``), float in [-1, 1]."""

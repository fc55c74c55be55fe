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
    """A generator that can also be walked from a photograph.

    One whose encoder takes images of another size than it makes says so by an attribute ``encoder_resolution`` of its own;
    its photographs are prepared as the paper does (see :func:`explorer.generators.photographs.paper_square`).
    """

    def encode(self, images: Tensor) -> Tensor:
        """Latent codes (B, d) for square ``images`` (B, 3, E, E), float in [-1, 1]; E is :func:`encoder_resolution`."""


@runtime_checkable
class Posterior(Protocol):
    """An encoder that gives a distribution, so that whoever encodes a data set can draw from it, the same draw every time."""

    def posterior(self, images: Tensor) -> Tensor:
        """Mean and standard deviation (B, 2, d) of the latent codes of ``images``, which are those of :class:`Encoder`."""


def encoder_resolution(generator: Generator) -> int:
    """Side of the images that the encoder of ``generator`` takes: its ``encoder_resolution``, otherwise its ``resolution``."""
    side: int = getattr(generator, "encoder_resolution", generator.resolution)
    return side


def accepted_fingerprints(generator: Generator) -> tuple[str, ...]:
    """Fingerprints of the generators whose latent codes mean the same to ``generator``: its own first.

    Others, for example of the module that its weights were converted from, are those that it lists as ``same_codes_as``.
    """
    return generator.fingerprint, *getattr(generator, "same_codes_as", ())

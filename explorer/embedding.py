"""Photographs as latent codes, and what the generator makes of these: the floor below starting from a photograph."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from explorer.engine import Engine
from explorer.generators.photographs import Cut, centre_square, load_photographs, paper_square, to_signed
from segmentation.datasets import MASK_SUFFIXES, open_image
from segmentation.errors import LanternError, require
from segmentation.pictures import to_uint8

CUTS: dict[str, Cut] = {"centre square": centre_square, "paper": paper_square}
"""How a photograph becomes the square that an encoder sees."""


@dataclasses.dataclass(frozen=True)
class Reconstruction:
    """N photographs as the encoder sees them, and what the generator makes of their latent codes."""

    codes: NDArray[np.float32]
    """E(x): the latent codes, (N, d)."""
    squares: NDArray[np.uint8]
    """x: the squares that the encoder sees, (N, R, R, 3)."""
    images: NDArray[np.uint8]
    """G(E(x)): their reconstructions, (N, R, R, 3)."""
    errors: list[float]
    """Mean squared errors of the reconstructions, of pixels in [-1, 1]."""


def check_encoder(engine: Engine) -> None:
    """Refuse a generator without an encoder, before anything is read for it."""
    require(engine.can_encode, f"the generator {engine.name} has no encoder", "Choose one that has, for example pocket.")


def load_square(engine: Engine, photograph: Path) -> Tensor:
    """The square of the image file ``photograph`` that the encoder of ``engine`` sees: (1, 3, E, E) uint8.

    Errors: :class:`LanternError`, by the file's name alone, if it is missing, no image, or has too many pixels.
    """
    try:
        with open_image(photograph) as image:
            square = np.array(CUTS[preprocessing(engine)](image, engine.encoder_resolution))
    except LanternError as error:
        # The page keeps uploads under a path that says nothing to the visitor.
        raise LanternError(error.problem.replace(str(photograph), photograph.name), error.remedy) from error
    return torch.from_numpy(square).permute(2, 0, 1)[None]


def load_squares(engine: Engine, images: Path) -> tuple[Tensor, list[str], list[str]]:
    """As :func:`load_photographs`, for a folder or a tar of photographs, or a single one: what the encoder sees of them."""
    if images.is_file() and images.suffix.lower() in MASK_SUFFIXES:
        return load_square(engine, images), [images.name], []
    return load_photographs(images, engine.encoder_resolution, CUTS[preprocessing(engine)])


def preprocessing(engine: Engine) -> str:
    """Which of :data:`CUTS` belongs to the encoder of ``engine``: the paper's, if it takes images of a size of its own."""
    return "paper" if hasattr(engine.generator, "encoder_resolution") else "centre square"


def embed_squares(engine: Engine, squares: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Latent codes (N, d) that the encoder gives ``squares`` (N, E, E, 3); (N, 2, d) where :attr:`Engine.has_posterior`."""
    images = to_signed(torch.from_numpy(squares).permute(0, 3, 1, 2))
    embed = engine.posterior if engine.has_posterior else engine.encode
    codes: NDArray[np.float32] = embed(images).cpu().numpy()
    return codes


def decode_codes(engine: Engine, codes: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The images (N, R, R, 3) of latent ``codes`` (N, d)."""
    return to_uint8(engine.images(torch.from_numpy(codes)))


def reconstruct_squares(engine: Engine, squares: Tensor) -> Reconstruction:
    """What ``engine`` makes of photographs (N, 3, S, S) uint8, S being best its ``encoder_resolution``.

    Errors: :class:`LanternError` if it has no encoder.
    """
    codes = codes_of(engine, to_signed(squares)).cpu()
    scaled = _resized(to_signed(squares), engine.resolution)
    images = engine.images(codes).cpu()
    errors = (images - scaled).square().mean((1, 2, 3)).tolist()
    return Reconstruction(codes.numpy(), to_uint8(scaled), to_uint8(images), errors)


def codes_of(engine: Engine, images: Tensor) -> Tensor:
    """Latent codes (B, d) of square ``images`` (B, 3, S, S) in [-1, 1], scaled to what the encoder takes where they are not.

    Where the encoder gives a distribution it is the mean, so that a photograph has one code. Errors: :class:`LanternError` if
    there is no encoder.
    """
    check_encoder(engine)
    scaled = _resized(images, engine.encoder_resolution)
    return engine.posterior(scaled)[:, 0] if engine.has_posterior else engine.encode(scaled)


def _resized(images: Tensor, side: int) -> Tensor:
    if images.shape[-1] == side:
        return images
    return F.interpolate(images, (side, side), mode="bilinear", antialias=True)

"""Photographs as latent codes, and what the generator makes of these: the floor below starting from a photograph."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from explorer.engine import Engine
from explorer.generators.photographs import centre_square, load_photographs, to_signed
from segmentation.datasets import MASK_SUFFIXES, open_image
from segmentation.errors import LanternError, require
from segmentation.pictures import to_uint8
from segmentation.progress import Watcher

_BATCH = 256


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


def load_square(photograph: Path, side: int) -> Tensor:
    """The square in the middle of the image file ``photograph``: (1, 3, ``side``, ``side``) uint8.

    Errors: :class:`LanternError`, by the file's name alone, if it is missing, no image, or has too many pixels.
    """
    try:
        with open_image(photograph) as image:
            square = np.array(centre_square(image, side))
    except LanternError as error:
        # The page keeps uploads under a path that says nothing to the visitor.
        raise LanternError(error.problem.replace(str(photograph), photograph.name), error.remedy) from error
    return torch.from_numpy(square).permute(2, 0, 1)[None]


def load_squares(images: Path, side: int) -> tuple[Tensor, list[str], list[str]]:
    """As :func:`load_photographs`, for a folder or a tar of photographs, or a single one."""
    if images.is_file() and images.suffix.lower() in MASK_SUFFIXES:
        return load_square(images, side), [images.name], []
    return load_photographs(images, side)


def embed_photographs(engine: Engine, images: Path, watcher: Watcher) -> tuple[NDArray[np.float32], list[str], list[str]]:
    """Latent codes (N, d) that the encoder gives photographs (a folder, a tar or a file), each cropped to its middle square.

    Returns also their names, in the same order, and the names of files that are no images. Errors:
    :class:`LanternError` if there are no images or the generator has no encoder; ``KeyboardInterrupt`` if stopped.
    """
    check_encoder(engine)
    squares, names, unreadable = load_squares(images, engine.resolution)
    parts: list[Tensor] = []
    for batch in squares.split(_BATCH):
        parts.append(engine.encode(to_signed(batch)).cpu())
        watcher.advance(sum(map(len, parts)), len(names), {})
        if watcher.stop_requested():
            raise KeyboardInterrupt
    codes: NDArray[np.float32] = torch.cat(parts).numpy()
    return codes, names, unreadable


def reconstruct_squares(engine: Engine, squares: Tensor) -> Reconstruction:
    """What ``engine`` makes of photographs (N, 3, R, R) uint8; :class:`LanternError` if it has no encoder."""
    check_encoder(engine)
    scaled = to_signed(squares)
    codes = engine.encode(scaled).cpu()
    images = engine.images(codes).cpu()
    errors = (images - scaled).square().mean((1, 2, 3)).tolist()
    return Reconstruction(codes.numpy(), to_uint8(scaled), to_uint8(images), errors)

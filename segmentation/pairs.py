"""Pairs on disk: arrays ``image`` and ``shifted`` in one ``.npz`` file."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray

from segmentation.errors import LanternError, require

_NAMES = ("image", "shifted")
_REMEDY = "Give a .npz file with the arrays image and shifted."
# RuntimeError: an encrypted archive, or (as NotImplementedError) a compression that nobody knows.
_UNREADABLE = (KeyError, ValueError, OSError, EOFError, BadZipFile, RuntimeError, MemoryError, struct.error, zlib.error)


def read_pairs(path: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """The arrays ``image`` and ``shifted``, (N, 3, H, W) in [-1, 1], of the ``.npz`` file ``path``, as float32.

    Errors: :class:`LanternError` if the file is missing, damaged or something else, or an array is no batch of images.
    """
    require(path.is_file(), f"{path} does not exist", _REMEDY)
    images, shifted = (_checked(f"{name} in {path}", array) for name, array in zip(_NAMES, _read(path), strict=True))
    require(
        images.shape == shifted.shape,
        f"image in {path} has shape {tuple(images.shape)}, shifted {tuple(shifted.shape)}",
        "Give every image its shifted image.",
    )
    return images, shifted


def _read(path: Path) -> list[NDArray[Any]]:
    try:
        opened = np.load(path, allow_pickle=False)
        require(isinstance(opened, NpzFile), f"{path} holds a single array", _REMEDY)
        with opened:
            return [opened[name] for name in _NAMES]
    except _UNREADABLE as error:
        raise LanternError(f"{path} holds no pairs ({error})", _REMEDY) from error


def _checked(name: str, array: NDArray[Any]) -> torch.Tensor:
    require(array.dtype.kind in "fiu", f"{name} holds {array.dtype}", "It must hold numbers in [-1, 1].")
    fits = array.ndim == 4 and array.shape[1] == 3 and array.size > 0
    require(fits, f"{name} has shape {array.shape}", "It must be (N, 3, H, W), and nothing may be 0.")
    # NaN is not within the limit either.
    inside = bool((np.abs(array) <= 1.0001).all())
    require(inside, f"{name} has values outside [-1, 1]", "Scale the images to [-1, 1].")
    return torch.from_numpy(np.ascontiguousarray(array, np.float32))

"""Photographs to fit a generator to: a folder or a tar of images, any size, cropped to the square in the middle."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from segmentation.datasets import SUFFIXES, to_rgb
from segmentation.errors import LanternError, require


def _from_folder(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in SUFFIXES and path.is_file():
            yield str(path.relative_to(folder)), path.read_bytes()


def _from_tar(path: Path) -> Iterator[tuple[str, bytes]]:
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                if member.isfile() and Path(member.name).suffix.lower() in SUFFIXES:
                    stream = archive.extractfile(member)
                    if stream is not None:
                        yield member.name, stream.read()
    except (tarfile.TarError, EOFError) as error:
        raise LanternError(f"{path} is not a tar, or it is cut short ({error})", "Give a folder or a tar of images.") from error


def centre_square(image: Image.Image, side: int) -> Image.Image:
    """The square in the middle of ``image``, upright, in RGB, ``side`` pixels wide."""
    upright = to_rgb(image)
    return ImageOps.fit(
        upright, (side, side), Image.Resampling.BOX if min(upright.size) >= 2 * side else Image.Resampling.BICUBIC
    )


def load_photographs(path: Path, side: int) -> tuple[Tensor, list[str], list[str]]:
    """All images of a folder (with its subfolders) or a tar.

    Returns them as (N, 3, ``side``, ``side``) uint8, their names in the same order, and the names of files that are no
    images or cannot be read. Errors: :class:`LanternError` if there is nothing to read.
    """
    require(path.exists(), f"{path} does not exist", "Give a folder or a tar of images.")
    arrays, names, unreadable = [], [], []
    for name, data in _from_folder(path) if path.is_dir() else _from_tar(path):
        try:
            with Image.open(io.BytesIO(data)) as image:
                arrays.append(np.asarray(centre_square(image, side)))
            names.append(name)
        except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError):
            unreadable.append(name)
    bad = f" ({len(unreadable)} files cannot be read, {unreadable[0]} first)" if unreadable else ""
    require(bool(arrays), f"{path} has no images{bad}", f"Give a folder or a tar with {', '.join(SUFFIXES)} files.")
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).contiguous(), names, unreadable

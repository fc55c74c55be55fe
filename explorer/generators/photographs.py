"""Photographs for a generator: a folder or a tar of images, any size, cropped to the square in the middle."""

from __future__ import annotations

import hashlib
import io
import lzma
import struct
import tarfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from explorer.generators.seeds import source_for
from segmentation.datasets import SUFFIXES, list_images, open_image, to_rgb
from segmentation.errors import LanternError, require

Cut = Callable[[Image.Image, int], Image.Image]
"""Makes a square of an image, that many pixels wide."""
_REMEDY = "Give a folder or a tar of images."
DAMAGED = (tarfile.TarError, EOFError, OSError, ValueError, OverflowError, struct.error, zlib.error, lzma.LZMAError)
"""What reading a damaged tar raises."""


def _from_folder(folder: Path) -> Iterator[tuple[str, Path]]:
    for path in list_images(folder):
        yield path.relative_to(folder).as_posix(), path


def _from_tar(path: Path) -> Iterator[tuple[str, BinaryIO]]:
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                stream = archive.extractfile(member) if member.isfile() and is_image(PurePosixPath(member.name)) else None
                if stream is not None:
                    yield member.name, io.BytesIO(stream.read())
            check_end(archive)
    except DAMAGED as error:
        raise LanternError(f"{path} is not a tar, or it is damaged or cut short ({error})", _REMEDY) from error


def check_end(archive: tarfile.TarFile) -> None:
    """Refuse an archive that goes on where no more members could be read, or whose checksum, at its end, is wrong."""
    stream = archive.fileobj
    if stream is not None:
        stream.seek(archive.offset)
        if stream.read(tarfile.BLOCKSIZE).strip(b"\0"):
            raise tarfile.ReadError(f"what is at byte {archive.offset} is no member")
        while stream.read(1 << 20):
            pass


def is_image(path: PurePosixPath) -> bool:
    """Whether a member of a tar is to be read: it is called like an image, and not hidden."""
    return path.suffix.lower() in SUFFIXES and not any(part.startswith(".") for part in path.parts)


def centre_square(image: Image.Image, side: int) -> Image.Image:
    """The square in the middle of ``image``, upright, in RGB, ``side`` pixels wide."""
    upright = to_rgb(image)
    return ImageOps.fit(
        upright, (side, side), Image.Resampling.BOX if min(upright.size) >= 2 * side else Image.Resampling.BICUBIC
    )


def paper_square(image: Image.Image, side: int) -> Image.Image:
    """``image``, upright, in RGB, its shorter side scaled to ``side`` pixels, of which the square in the middle is left.

    So the paper's authors prepared photographs for the encoder: bilinear, the longer side rounded down.
    """
    upright = to_rgb(image)
    shorter = min(upright.size)
    width, height = (side if length == shorter else max(side, side * length // shorter) for length in upright.size)
    left, top = round((width - side) / 2), round((height - side) / 2)
    across, down = upright.width / width, upright.height / height
    # Only the square is scaled: of an image one pixel wide, the whole would fill the memory.
    box = (left * across, top * down, (left + side) * across, (top + side) * down)
    return upright.resize((side, side), Image.Resampling.BILINEAR, box)


def load_photographs(path: Path, side: int, cut: Cut = centre_square) -> tuple[Tensor, list[str], list[str]]:
    """All images of a folder (with its subfolders) or a tar; hidden ones are left out.

    ``cut`` makes a square of an image. Returns them as (N, 3, ``side``, ``side``) uint8, their names in the same order, and
    the names of files that are no images or cannot be read (see :func:`segmentation.datasets.open_image`). Errors:
    :class:`LanternError` if there is nothing to read, or the tar is damaged.
    """
    require(path.exists(), f"{path} does not exist", _REMEDY)
    arrays, names, unreadable = [], [], []
    for name, source in _from_folder(path) if path.is_dir() else _from_tar(path):
        try:
            with open_image(source, name) as image:
                arrays.append(np.asarray(cut(image, side)))
            names.append(name)
        except LanternError:
            unreadable.append(name)
    bad = f" ({len(unreadable)} files cannot be read, {unreadable[0]} first)" if unreadable else ""
    require(bool(arrays), f"{path} has no images{bad}", f"Give a folder or a tar with {', '.join(SUFFIXES)} files.")
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).contiguous(), names, unreadable


def load_collections(paths: Sequence[Path], side: int) -> tuple[Tensor, list[str], list[str]]:
    """The photographs of several folders and tars, one after the other; returns and errors as :func:`load_photographs`."""
    require(bool(paths), "no photographs are named", "Give at least one folder or tar of images.")
    images, names, unreadable = zip(*(load_photographs(path, side) for path in paths), strict=True)
    return torch.cat(images), [name for own in names for name in own], [name for own in unreadable for name in own]


def hold_out(photographs: Tensor, share: float, seed: int) -> tuple[Tensor, Tensor]:
    """Split ``photographs`` (N, ...) at random into those held out, ``share`` of them rounded down, and those fitted to.

    The same photographs, share and seed give the same split, so that what a fit held out can be found again afterwards.
    """
    order = torch.randperm(len(photographs), generator=source_for(seed, "split"))
    held = int(len(photographs) * share)
    return photographs[order[:held]], photographs[order[held:]]


def describe_photographs(photographs: Tensor) -> dict[str, Any]:
    """Number and SHA-256 of ``photographs``, (N, 3, R, R) uint8 as they are fitted to."""
    return {"count": len(photographs), "sha256": hashlib.sha256(photographs.numpy().tobytes()).hexdigest()}


def to_signed(photographs: Tensor) -> Tensor:
    """Photographs (B, 3, R, R) uint8 as float32 images in [-1, 1]."""
    return photographs.float() / 127.5 - 1

"""Images, masks and saliency maps on disk, and benchmarks made of two folders."""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from segmentation.errors import LanternError, require

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
"""Suffixes of images."""
MASK_SUFFIXES = (*SUFFIXES, ".gif", ".tif", ".tiff")
"""Suffixes of masks and of saliency maps."""
MAX_PIXELS = 64_000_000
"""Larger images are refused before they are decoded: a small file can hold an image that fills the memory."""
# Pillow opens a file by its content: without this list a .png could be PostScript.
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
_UNREADABLE = (OSError, ValueError, SyntaxError, EOFError, IndexError, KeyError, TypeError, struct.error, zlib.error)
_DEEP_GREY = ("I", "I;16", "I;16L", "I;16B", "I;16N")


def to_rgb(image: Image.Image) -> Image.Image:
    """``image`` upright (as its EXIF orientation says) and in RGB, whatever its mode.

    What is transparent shows white, as on a page; 16-bit grey is scaled to eight bits.
    """
    upright = ImageOps.exif_transpose(image)
    if upright.mode in _DEEP_GREY or upright.mode == "F":
        levels = (grey_levels(upright) * 255).round().astype(np.uint8)
        return Image.fromarray(levels).convert("RGB")
    if upright.has_transparency_data:
        layered = upright.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layered.size, "white"), layered).convert("RGB")
    return upright.convert("RGB")


def grey_levels(image: Image.Image) -> NDArray[np.float32]:
    """``image`` as grey, (H, W) in [0, 1], full scale (255, or 65535 for 16-bit grey) at 1; colours become their luma."""
    if image.mode == "F":
        return np.nan_to_num(np.asarray(image, np.float32)).clip(0, 1)
    deep = image.mode in _DEEP_GREY
    levels = np.asarray(image).clip(0, 65535) if deep else np.asarray(image.convert("L"))
    scaled: NDArray[np.float32] = np.divide(levels, 65535 if deep else 255, dtype=np.float32)
    return scaled


@contextmanager
def open_image(source: Path | BinaryIO, name: str | None = None) -> Iterator[Image.Image]:
    """The image in the file or stream ``source``, decoded but as stored, for the length of the block.

    ``name`` is what errors call it; without one, its path. Errors, also for what the block itself finds damaged:
    :class:`LanternError` if the file is missing, is no image, is cut short, or has over ``MAX_PIXELS`` pixels.
    """
    if isinstance(source, Path):
        require(source.is_file(), f"the image {source} does not exist", "Check the path.")
    named = name or str(source)
    bomb = f"Make it smaller than {MAX_PIXELS // 1_000_000} megapixels."
    try:
        with Image.open(source, formats=_FORMATS) as image:
            width, height = image.size
            require(width * height <= MAX_PIXELS, f"the image {named} has {width}x{height} pixels", bomb)
            image.load()
            yield image
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise LanternError(f"the image {named} has too many pixels", bomb) from error
    except _UNREADABLE as error:
        raise LanternError(f"{named} is no image, or it is cut short", "Remove it, or save it again as PNG or JPEG.") from error


class ReadFile(NamedTuple):
    """A file of an image that was read once, for its pixels and for its fingerprint."""

    path: Path
    content: bytes

    @property
    def mark(self) -> str:
        """The SHA-256 of what is in it, in hexadecimal."""
        return hashlib.sha256(self.content).hexdigest()


def read_file(path: Path) -> ReadFile:
    """What is in the file ``path``, for the functions that read images; :class:`LanternError` if it cannot be read."""
    require(path.is_file(), f"the image {path} does not exist", "Check the path.")
    try:
        return ReadFile(path, path.read_bytes())
    except OSError as error:
        raise LanternError(
            f"{path} cannot be read ({error.strerror or error})", "Check the path and its permissions."
        ) from error


def _opened(source: Path | ReadFile) -> AbstractContextManager[Image.Image]:
    return open_image(source) if isinstance(source, Path) else open_image(BytesIO(source.content), str(source.path))


def read_image(source: Path | ReadFile) -> NDArray[np.uint8]:
    """The image in ``source``, upright, (H, W, 3) RGB uint8.

    Errors: :class:`LanternError` if the file is missing, is no image, is cut short, or has over ``MAX_PIXELS`` pixels.
    """
    with _opened(source) as image:
        return np.array(to_rgb(image))


def read_grey(source: Path | ReadFile) -> NDArray[np.float32]:
    """The saliency map in ``source``, (H, W) in [0, 1], of full scale 1; colours and palettes are turned into grey.

    Errors: as :func:`read_image`.
    """
    with _opened(source) as image:
        return grey_levels(ImageOps.exif_transpose(image))


def read_mask(source: Path | ReadFile) -> NDArray[np.bool_]:
    """The mask in ``source``, (H, W): True above half of full scale; a palette's colours count by their luma.

    Errors: as :func:`read_image`, and if the file holds the labels 0 and 1 instead of levels, or labels of dark colours.
    """
    path = source if isinstance(source, Path) else source.path
    with _opened(source) as image:
        upright = ImageOps.exif_transpose(image)
        levels = grey_levels(upright)
        highest = float(levels.max())
        full_scale = 65535 if upright.mode in _DEEP_GREY else 255
        labels = upright.mode not in ("1", "F") and 0 < highest * full_scale < 1.5
        dark = upright.mode == "P" and 0 < highest <= 0.5
    require(not dark, f"the mask {path} has a palette of dark colours alone", "Save the background as 0 and the object as 255.")
    require(not labels, f"the mask {path} holds only 0 and 1", "Save the background as 0 and the object as 255.")
    return levels > 0.5


def list_images(folder: Path, suffixes: Sequence[str] = SUFFIXES) -> list[Path]:
    """The files in ``folder`` and its subfolders that end in one of ``suffixes``, in order; hidden ones are left out.

    Errors: :class:`LanternError` if there is no such folder, or no such file in it.
    """
    require(folder.is_dir(), f"the folder {folder} does not exist", "Check the path.")
    paths = [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in suffixes and path.is_file()]
    shown = [path for path in paths if not any(part.startswith(".") for part in path.relative_to(folder).parts)]
    require(bool(shown), f"the folder {folder} has no images", f"Give a folder with {', '.join(suffixes)} files.")
    return shown


def by_stem(folder: Path, suffixes: Sequence[str] = SUFFIXES) -> dict[str, Path]:
    """The files of :func:`list_images` under their path within ``folder``, without suffix (``birds/003``).

    Errors: as there, and if two files differ by their suffix alone.
    """
    found: dict[str, Path] = {}
    for path in list_images(folder, suffixes):
        stem = path.relative_to(folder).with_suffix("").as_posix()
        if stem in found:
            raise LanternError(
                f"{folder} holds two files called {stem}: {found[stem].name} and {path.name}", "Remove or rename one of them."
            )
        found[stem] = path
    return found


class MaskedImage(NamedTuple):
    """An image with its mask."""

    name: str
    """Path within the folder, without suffix."""
    image: NDArray[np.uint8]
    """(H, W, 3) RGB."""
    mask: NDArray[np.bool_]
    """(H, W), True on the object."""
    marks: tuple[str, str]
    """The SHA-256 of the files of both."""


class MaskedImages:
    """Pairs of images and masks from two folders, matched by their path within the folder, without suffix.

    Pairs are read when they are asked for. Errors: :class:`LanternError` when made, if a folder is missing or empty, or an
    image or a mask is without its partner; when a pair is read, if a file is unreadable or the sizes differ.
    """

    def __init__(self, images: Path, masks: Path) -> None:
        self._images, self._masks = by_stem(images), by_stem(masks, MASK_SUFFIXES)
        faults = _unmatched(self._images, self._masks)
        require(not faults, f"{images} and {masks} do not match: {faults}", "Give a mask the name of its image.")
        self.names = list(self._images)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> MaskedImage:
        name = self.names[index]
        files = read_file(self._images[name]), read_file(self._masks[name])
        image, mask = read_image(files[0]), read_mask(files[1])
        if mask.shape != image.shape[:2]:
            raise LanternError(
                f"the mask {self._masks[name]} is {_extent(mask)} pixels, its image {_extent(image)}",
                "Masks are as large as their images, upright as these are shown.",
            )
        return MaskedImage(name, image, mask, (files[0].mark, files[1].mark))

    def __iter__(self) -> Iterator[MaskedImage]:
        return (self[index] for index in range(len(self)))


def few(names: Sequence[str], limit: int = 3) -> str:
    """The first ``limit`` of ``names``, and how many more there are."""
    more = len(names) - limit
    return ", ".join(names[:limit]) + (f" and {more} more" if more > 0 else "")


def _unmatched(images: Mapping[str, Path], masks: Mapping[str, Path]) -> str:
    bare, stray = [name for name in images if name not in masks], [name for name in masks if name not in images]
    faults = [f"{len(bare)} of {len(images)} images have no mask ({few(bare)})"] if bare else []
    faults += [f"{len(stray)} of {len(masks)} masks have no image ({few(stray)})"] if stray else []
    return "; ".join(faults)


def _extent(array: NDArray[np.uint8] | NDArray[np.bool_]) -> str:
    return f"{array.shape[1]}x{array.shape[0]}"

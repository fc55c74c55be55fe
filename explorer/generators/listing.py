"""Photographs in any number: found first, then read one at a time, from folders, tars and single files."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import tarfile
from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from threading import Lock
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from explorer.generators.photographs import DAMAGED, Cut, check_end, is_image
from segmentation.datasets import MASK_SUFFIXES, SUFFIXES, open_image
from segmentation.errors import LanternError, require

_LARGE = 8_000_000
_SIZED = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
_UNREADABLE = (errno.ENOENT, errno.EACCES, errno.EPERM, errno.EIO, errno.EISDIR, errno.ELOOP)
_alone = Lock()


class _Part(Protocol):
    names: list[str]

    def fetch(self, index: int) -> Callable[[], bytes]: ...

    def close(self) -> None: ...


class _Folder:
    """Image files below ``root``."""

    def __init__(self, root: Path, names: list[str]) -> None:
        self.root, self.names = root, names

    def fetch(self, index: int) -> Callable[[], bytes]:
        return lambda: self._read(self.names[index])

    def close(self) -> None:
        pass

    def _read(self, name: str) -> bytes:
        try:
            return (self.root / name).read_bytes()
        except OSError as error:
            reason = error.strerror or str(error)
            if error.errno in _UNREADABLE and self.root.is_dir():
                raise LanternError(f"{name} cannot be read ({reason})", "Check the file.") from error
            # The disk itself is gone: that all files are unreadable must not be written down as if it were true.
            raise OSError(error.errno, reason, str(self.root / name)) from error


class _Tar:
    """Image files in a tar, which is read forwards only: where it is compressed, going back would begin it anew."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.names: list[str] = []
        # Of each member only its place: tarfile's own records of a million members take gigabytes.
        self._places, self._sizes = array("Q"), array("Q")
        try:
            self._archive = tarfile.open(path)  # noqa: SIM115 - open as long as this is read from
            self._list()
            check_end(self._archive)
        except DAMAGED as error:
            raise self._damaged(error) from error

    def _list(self) -> None:
        while (member := self._archive.next()) is not None:
            self._archive.members.clear()  # type: ignore[attr-defined]
            if member.isfile() and is_image(PurePosixPath(member.name)):
                self.names.append(member.name)
                self._places.append(member.offset_data)
                # What is stored with holes cannot be read in one piece; so nothing of it is, and it is no image.
                self._sizes.append(0 if member.issparse() else member.size)

    def fetch(self, index: int) -> Callable[[], bytes]:
        stream: Any = self._archive.fileobj
        try:
            stream.seek(self._places[index])
            data: bytes = stream.read(self._sizes[index])
        except DAMAGED as error:
            raise self._damaged(error) from error
        return lambda: data

    def close(self) -> None:
        self._archive.close()

    def _damaged(self, error: Exception) -> LanternError:
        problem = f"{self.path} is not a tar, or it is damaged or cut short ({error})"
        return LanternError(problem, "Give a folder or a tar of images.")


class Listing:
    """The images in ``paths`` (folders with their subfolders, tars, files), in order, none of them read yet.

    ``collections`` are what the paths are called, ``names`` gives each image's path within its folder or tar, after the
    collection's name where there are several. Hidden files are left out. Errors: :class:`LanternError` if a path does not
    exist, is no tar, or has no images.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        require(bool(paths), "no photographs are named", "Give at least one folder or tar of images.")
        alike = Counter(path.name for path in paths)
        self.collections = [path.name if path.name and alike[path.name] == 1 else path.as_posix() for path in paths]
        self._parts = [_open_part(path) for path in paths]
        self._starts = [0]
        for part in self._parts:
            self._starts.append(self._starts[-1] + len(part.names))

    def __len__(self) -> int:
        return self._starts[-1]

    def _find(self, index: int) -> tuple[int, int]:
        number = bisect_right(self._starts, index) - 1
        return number, index - self._starts[number]

    def name(self, index: int) -> str:
        """What image ``index`` is called; what is no text in its name is replaced."""
        number, inside = self._find(index)
        own = self._parts[number].names[inside].encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        return own if len(self._parts) == 1 else f"{self.collections[number]}/{own}"

    def fetch(self, index: int) -> Callable[[], bytes]:
        """What gives the content of image ``index``: to be asked for in order, and then called anywhere, in any thread.

        It raises :class:`LanternError` for a file that cannot be read, ``OSError`` if its whole folder cannot.
        """
        number, inside = self._find(index)
        return self._parts[number].fetch(inside)

    def close(self) -> None:
        """Close the tars."""
        for part in self._parts:
            part.close()

    def describe(self) -> dict[str, Any]:
        """Collections, number of images, and SHA-256 of all names in their order."""
        digest = hashlib.sha256()
        for part in self._parts:
            digest.update(f"{len(part.names)}\n".encode())
            for name in part.names:
                digest.update(name.encode("utf-8", "surrogateescape") + b"\0")
        return {"collections": self.collections, "count": len(self), "sha256": digest.hexdigest()}


def _open_part(path: Path) -> _Part:
    remedy = f"Give a folder or a tar with {', '.join(SUFFIXES)} files."
    require(path.exists(), f"{path} does not exist", remedy)
    part: _Part
    if path.is_dir():
        part = _Folder(path, list(_walk(str(path), "")))
    elif path.suffix.lower() in MASK_SUFFIXES:
        part = _Folder(path.parent, [path.name])
    else:
        part = _Tar(path)
    require(bool(part.names), f"{path} has no images", remedy)
    return part


def _walk(folder: str, prefix: str) -> Iterator[str]:
    """Names of the images below ``folder``, in the order of :func:`segmentation.datasets.list_images`."""
    # Strings and not paths, which would take gigabytes for a million files.
    with os.scandir(folder) as found:
        entries = sorted((entry for entry in found if not entry.name.startswith(".")), key=lambda entry: entry.name)
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(entry.path, f"{prefix}{entry.name}/")
        elif entry.name.lower().endswith(SUFFIXES) and entry.is_file():
            yield prefix + entry.name


def decode_square(content: bytes, name: str, cut: Cut, side: int) -> NDArray[np.uint8]:
    """The square that ``cut`` makes of the image file with that ``content``: (``side``, ``side``, 3).

    Errors: those of :func:`segmentation.datasets.open_image`, with ``name``.
    """
    if _is_large(content):
        # One at a time: several together could fill the memory.
        with _alone:
            return _decode(content, name, cut, side)
    return _decode(content, name, cut, side)


def _decode(content: bytes, name: str, cut: Cut, side: int) -> NDArray[np.uint8]:
    with open_image(io.BytesIO(content), name) as image:
        return np.array(cut(image, side))


def _is_large(content: bytes) -> bool:
    try:
        with Image.open(io.BytesIO(content), formats=_SIZED) as image:
            return image.width * image.height > _LARGE
    except Exception:
        # Whatever it is, whoever decodes it says so.
        return False

"""Files that are either whole or not there: everything is written under a temporary name and renamed."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray
from PIL import Image

from segmentation.errors import LanternError, require

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_CHUNK = 1 << 20


def _read_umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask


# It can only be read by setting it, for all threads; so once, before there are any.
_UMASK = _read_umask()


def write_error(path: Path, error: OSError) -> LanternError:
    """What is to be said of an ``error`` while ``path`` was written."""
    if error.errno in _FULL:
        return LanternError(
            f"the disk is full: {path} could not be written ({error.strerror or error}{_room(path.parent)})",
            "Free some space, for example by deleting runs or data sets that are no longer needed, or choose another place; "
            "then run the same command again. What was there before is untouched.",
        )
    return LanternError(
        f"{path} could not be written ({error.strerror or error})",
        "Choose a folder that exists and that you may write to.",
    )


def _room(folder: Path) -> str:
    try:
        return f", {shutil.disk_usage(folder).free / 1e6:.0f} MB are left there"
    except OSError:
        return ""


@contextmanager
def replacing(path: Path, settled: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success it takes the place of ``path`` in one step.

    ``settled``: not before its contents are on the disk, so that a power cut cannot leave it empty.
    Errors: :class:`LanternError` if the disk is full or the folder cannot be written; the old file stays.
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name[:40]}.", suffix=path.suffix, dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        if settled:
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
        temporary.chmod(0o666 & ~_UMASK)
        temporary.replace(path)
    except OSError as error:
        raise write_error(path, error) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Replace the file ``path`` by ``text`` (UTF-8)."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Replace the file ``path`` by ``value`` as indented JSON."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """The JSON value in ``path``; :class:`LanternError` if it is missing or is not JSON."""
    require(path.is_file(), f"{path} does not exist", "Check the path.")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise LanternError(f"{path} is not valid JSON ({error})", "Restore the file, or make it again.") from error


class _Through:
    """A stream that NumPy does not take for a file: it then writes through Python, where an error keeps its number."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.write = stream.write


def write_array(path: Path, array: NDArray[Any]) -> None:
    """Replace the file ``path`` by ``array`` in NumPy's ``.npy`` format, without pickle."""
    with replacing(path) as temporary, temporary.open("wb") as stream:
        np.lib.format.write_array(_Through(stream), np.asanyarray(array), allow_pickle=False)


class ArrayWriter:
    """Writes an array of ``shape`` and ``kind`` to ``stream`` in ``.npy`` format, in parts along the first axis.

    ``path`` is what its errors call the file.
    """

    def __init__(self, stream: IO[bytes], path: Path, shape: tuple[int, ...], kind: DTypeLike) -> None:
        self.stream, self.path, self.shape, self.kind = stream, path, shape, np.dtype(kind).newbyteorder("<")
        self.rows, self.bytes = 0, 0
        self._digest = hashlib.sha256()
        np.lib.format.write_array_header_1_0(self, {"descr": self.kind.str, "fortran_order": False, "shape": shape})

    def write(self, data: Any) -> None:
        """Append bytes, and count them."""
        try:
            self.stream.write(data)
        except OSError as error:
            # Said here: of several files that are written together, this is the one.
            raise write_error(self.path, error) from error
        self._digest.update(data)
        self.bytes += memoryview(data).nbytes

    def append(self, part: NDArray[Any]) -> None:
        """Write the next rows; ``ValueError`` if their shape does not fit."""
        if part.shape[1:] != self.shape[1:]:
            raise ValueError(f"a part of shape {part.shape} in an array of {self.shape}")
        if part.size:
            # Not a memory map: to write into one on a full disk ends the process.
            self.write(np.ascontiguousarray(part, self.kind).data)
        self.rows += len(part)

    def _take(self, rows: int) -> None:
        """Go on after the next ``rows`` as they are in the stream; ``EOFError`` if they are not."""
        left = rows * math.prod(self.shape[1:]) * self.kind.itemsize
        while left:
            data = self.stream.read(min(left, _CHUNK))
            if not data:
                raise EOFError(f"{self.path} has fewer than {rows} rows")
            self._digest.update(data)
            self.bytes += len(data)
            left -= len(data)
        self.stream.seek(self.bytes)
        self.rows += rows

    @property
    def checksum(self) -> str:
        """SHA-256 of the file so far, in hexadecimal."""
        return self._digest.hexdigest()


@contextmanager
def array_in_parts(path: Path, shape: tuple[int, ...], kind: DTypeLike = "<f4") -> Iterator[ArrayWriter]:
    """Replace the file ``path`` by an array of ``shape`` and ``kind`` in ``.npy`` format, written in parts in the block.

    Errors: :class:`LanternError` as :func:`replacing`; ``ValueError`` if the parts do not add up.
    """
    with replacing(path) as temporary, temporary.open("wb") as stream:
        writer = ArrayWriter(stream, path, shape, kind)
        yield writer
        if writer.rows != shape[0]:
            raise ValueError(f"the parts have {writer.rows} rows instead of {shape[0]}")


def write_array_in_parts(path: Path, shape: tuple[int, ...], parts: Iterable[NDArray[np.float32]]) -> None:
    """Replace the file ``path`` by a float32 array of ``shape`` in ``.npy`` format, from ``parts`` along the first axis.

    Holds one part at a time. Errors as of :func:`array_in_parts`.
    """
    with array_in_parts(path, shape) as writer:
        for part in parts:
            writer.append(part)


def read_array(path: Path) -> NDArray[Any]:
    """The array in the ``.npy`` file ``path``; never unpickles."""
    require(path.is_file(), f"{path} does not exist", "Give the path of a .npy file.")
    try:
        array: NDArray[Any] = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise LanternError(f"{path} is not a .npy array, or it is cut short ({error})", "Make the file again.") from error
    require(isinstance(array, np.ndarray), f"{path} holds several arrays", "Give a .npy file with one array.")
    return array


def write_arrays(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    """Replace the file ``path`` by named ``arrays`` in NumPy's compressed ``.npz`` format."""
    with replacing(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, allow_pickle=False, **arrays)


def write_image(path: Path, image: NDArray[np.uint8]) -> None:
    """Replace the file ``path`` by ``image`` ((H, W, 3), (H, W, 4) or (H, W), uint8); the suffix chooses the format."""
    with replacing(path) as temporary:
        try:
            Image.fromarray(image).save(temporary)
        except (ValueError, KeyError) as error:
            raise LanternError(f"{path.name} is not the name of an image", "End it with .png or .jpg.") from error

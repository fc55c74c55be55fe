"""How a catalogue lies in its folder, so that a reader never sees half of it and two writers lose nothing.

``catalogue.json`` names the file of the directions and its fingerprint. Directions that change go to a file of another name
first; then ``catalogue.json`` is replaced, in one step, and only after that the old file goes. Writers hold ``catalogue.lock``
meanwhile; readers need no lock, so a catalogue can be read where nothing may be written.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from torch import Tensor

from segmentation.errors import LanternError, require
from segmentation.files import read_json, write_json
from segmentation.tensors import fingerprint, load_tensors, save_tensors

CATALOGUE = "catalogue.json"
DIRECTIONS = "directions.safetensors"
LOCK = "catalogue.lock"
PATIENCE = 30.0
"""Seconds that a writer waits for another one."""
_HEADER = {"kind": "directions"}
_TENSORS = re.compile(r"directions(-[0-9a-f]{16})?\.safetensors")
_THUMBNAIL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,79}\.(?:png|webp|gif|jpg)")
_OWN_THUMBNAIL = re.compile(r"thumbnail-[0-9a-f]{16}\.(?:png|webp|gif|jpg)")
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)
_ATTEMPTS = 50


def is_thumbnail(name: str) -> bool:
    """Whether ``name`` can be that of a thumbnail: a plain file name that ends in .png, .webp, .gif or .jpg."""
    return _THUMBNAIL.fullmatch(name) is not None


def is_tensors(name: str) -> bool:
    """Whether ``name`` can be that of the file of the directions."""
    return _TENSORS.fullmatch(name) is not None


def digest(directions: Tensor) -> str:
    """Sixteen hexadecimal digits that change with any number of ``directions``."""
    return fingerprint({"directions": directions}, _HEADER)


def read(folder: Path) -> tuple[Tensor, dict[str, Any], str]:
    """The directions in ``folder``, what ``catalogue.json`` says, and the name of the file of the directions.

    Errors: :class:`LanternError` if something is missing or broken, or the two do not belong together.
    """
    seen: Any = None
    for _ in range(_ATTEMPTS):
        described = read_json(folder / CATALOGUE)
        try:
            require(isinstance(described, dict), f"{folder / CATALOGUE} is no JSON object", "Make the catalogue again.")
            return _directions(folder, described)
        except LanternError:
            # A writer may have put other directions there since; only if it has not, something is wrong.
            if described == seen:
                raise
            seen = described
    raise LanternError(f"the catalogue {folder} changes all the time", "Wait until it is written, then try again.")


def _directions(folder: Path, described: dict[str, Any]) -> tuple[Tensor, dict[str, Any], str]:
    # A folder of before there were versions has one name, and says nothing of its file.
    named = described.get("directions", {"file": DIRECTIONS})
    name = named.get("file") if isinstance(named, dict) else None
    proper = isinstance(name, str) and _TENSORS.fullmatch(name) is not None
    require(proper, f"{folder / CATALOGUE} names no file of directions ({name!r})", "Make the catalogue again.")
    try:
        tensors, _ = load_tensors(folder / str(name))
    except RuntimeError as error:
        # What torch says if the file goes in the moment in which it is opened.
        raise LanternError(f"{folder / str(name)} cannot be read ({error})", "Make the catalogue again.") from error
    require("directions" in tensors, f"{folder / str(name)} holds no directions", "Make the catalogue again.")
    own, due = digest(tensors["directions"]), named.get("fingerprint")
    problem = f"{folder / str(name)} ({own}) is not the file that {CATALOGUE} was written for ({due})"
    require(due in (None, own), problem, "Restore both from one copy, or make the catalogue again.")
    return tensors["directions"], described, str(name)


def write(folder: Path, directions: Tensor, described: dict[str, Any], thumbnails: set[str]) -> None:
    """Make ``directions`` and ``described`` the catalogue in ``folder``; the caller holds its lock.

    Files of earlier directions go, and thumbnails that are none of ``thumbnails``.
    """
    own = digest(directions)
    name = _placed(folder, directions, own)
    write_json(folder / CATALOGUE, {"directions": {"file": name, "fingerprint": own}, **described})
    for path in folder.iterdir():
        old = _TENSORS.fullmatch(path.name) and path.name != name
        if old or (_OWN_THUMBNAIL.fullmatch(path.name) and path.name not in thumbnails):
            with contextlib.suppress(OSError):
                path.unlink()


def _placed(folder: Path, directions: Tensor, own: str) -> str:
    name = DIRECTIONS
    if (folder / CATALOGUE).exists():
        name = f"directions-{own}.safetensors"
        with contextlib.suppress(LanternError):
            there, _, kept = read(folder)
            if digest(there) == own:
                return kept
    save_tensors(folder / name, {"directions": directions}, _HEADER)
    _flush(folder)
    return name


def _flush(folder: Path) -> None:
    """Have the names in ``folder`` on the disk before anything refers to them."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def locked(folder: Path, patience: float | None = None) -> Iterator[None]:
    """Make ``folder`` if need be, and be its only writer for the length of the block; not to be nested.

    Waits for another writer ``patience`` seconds (by default :data:`PATIENCE`). The lock goes with the process, however that
    ends. Errors: :class:`LanternError` if the other one takes longer, or the folder cannot be written. A file system that
    knows no locks is written without one.
    """
    path = folder / LOCK
    end = time.monotonic() + (PATIENCE if patience is None else patience)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        while (stream := _acquired(path)) is None:
            remedy = "Wait until it is done, then try again."
            require(time.monotonic() < end, f"the catalogue {folder} is being written by another process", remedy)
            time.sleep(0.01)
    except OSError as error:
        problem = f"the folder {folder} cannot be written ({error.strerror or error})"
        raise LanternError(problem, "Choose a folder that you may write to.") from error
    with stream:
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                path.unlink()


def _acquired(path: Path) -> TextIO | None:
    stream = path.open("a", encoding="utf-8")
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Whoever held it took the file away: a lock on what is no longer there keeps nobody out.
        if os.path.samestat(os.fstat(stream.fileno()), path.stat()):
            return stream
    except (BlockingIOError, FileNotFoundError):
        pass
    except OSError as error:
        if error.errno in _NO_LOCKS:
            return stream
        stream.close()
        raise
    stream.close()
    return None

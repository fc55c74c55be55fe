"""A folder belongs to one configuration, and to one process at a time."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from segmentation.errors import LanternError, require
from segmentation.files import read_json, write_json

_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)
_ASKED_EVERY = 0.1


def claim(out: Path, described: dict[str, Any]) -> None:
    """Write ``described`` to ``config.json`` in ``out``, unless the folder already belongs to something else."""
    path = out / "config.json"
    if path.exists():
        same = read_json(path) == described
        require(same, f"{out} holds a run with another configuration", "Choose another folder, or repeat that configuration.")
    else:
        write_json(path, described)


@contextmanager
def held(out: Path, patience: float = 0.0) -> Iterator[None]:
    """Make the folder ``out`` if need be, and hold its file ``lock`` for the length of the block.

    The lock goes with the process, however that ends; the file stays. Errors: :class:`LanternError` if another process holds
    it, and still does after ``patience`` seconds, or the folder cannot be written. A file system that knows no locks is
    written without one.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        stream = (out / "lock").open("a+", encoding="utf-8")
    except OSError as error:
        raise LanternError(
            f"the folder {out} cannot be written ({error.strerror or error})", "Choose a folder that you may write to."
        ) from error
    with stream:
        try:
            _lock(stream, patience)
        except BlockingIOError as error:
            stream.seek(0)
            raise LanternError(
                f"{out} is being written by process {stream.read().strip() or '(unknown)'}",
                "Wait until it is done, stop it by a file named stop in that folder, or choose another folder.",
            ) from error
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
        stream.truncate(0)
        stream.write(f"{os.getpid()}\n")
        stream.flush()
        yield


def _lock(stream: IO[str], patience: float) -> None:
    began = time.monotonic()
    while True:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() - began >= patience:
                raise
            time.sleep(_ASKED_EVERY)
        else:
            return

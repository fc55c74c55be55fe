"""A folder belongs to one configuration, and to one process at a time."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from segmentation.errors import LanternError, require
from segmentation.files import read_json, write_json

_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)
_ASKED_EVERY = 0.05


def claim(out: Path, described: dict[str, Any]) -> bool:
    """Write ``described`` to ``config.json`` in ``out``, unless the folder already belongs to something else.

    Returns whether it did; False: it was there. Errors: :class:`LanternError` if the folder belongs to something else.
    """
    path = out / "config.json"
    fresh = not path.exists()
    if fresh:
        write_json(path, described)
    else:
        # As it was written: tuples are lists by then.
        same = read_json(path) == json.loads(json.dumps(described))
        require(same, f"{out} holds a run with another configuration", "Choose another folder, or repeat that configuration.")
    return fresh


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
        if not _locked_within(stream, patience):
            stream.seek(0)
            raise LanternError(
                f"{out} is being written by process {stream.read().strip() or '(unknown)'}",
                "Wait until it is done, stop it by a file named stop in that folder, or choose another folder.",
            )
        stream.truncate(0)
        stream.write(f"{os.getpid()}\n")
        stream.flush()
        yield


def _locked(stream: IO[str]) -> bool:
    """Take the lock of the file ``stream``; False if another process holds it."""
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    return True


def _locked_within(stream: IO[str], patience: float) -> bool:
    """As :func:`_locked`, again and again for ``patience`` seconds."""
    began = time.monotonic()
    while not _locked(stream):
        if time.monotonic() - began >= patience:
            return False
        time.sleep(_ASKED_EVERY)
    return True


class Attendance:
    """Which of the ``count`` processes that work in the folder ``out`` are alive: each holds a lock there for the block.

    One that leaves the block takes its file along; one that dies in it, or leaves it by an error, does not. ``goal`` is what
    they are after, and ``parts`` what they share out, in the words of errors.
    """

    def __init__(self, out: Path, index: int, count: int, goal: str = "the work was done", parts: str = "parts") -> None:
        self.out, self.index, self.count, self.goal, self.parts = out, index, count, goal, parts

    def __enter__(self) -> Attendance:
        self.out.mkdir(parents=True, exist_ok=True)
        self._stream = self._path(self.index).open("a+", encoding="utf-8")
        problem = f"{self.out} is being written by another process {self.index}"
        require(_locked(self._stream), problem, "Wait until it is done, or choose another folder.")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is None:
            self._path(self.index).unlink(missing_ok=True)
        self._stream.close()

    def absent(self) -> list[int]:
        """The other processes that have ended, or have never begun."""
        return [index for index in range(self.count) if index != self.index and self._state(index) != "there"]

    def ended(self, index: int) -> LanternError:
        """The error that the process ``index`` has ended too early."""
        problem = f"process {index} of {self.count} has ended before {self.goal}"
        return LanternError(problem, f"Run the same command again: it goes on with the {self.parts} that are missing.")

    def leave_after_first(self) -> None:
        """Wait until the first process, which may still die, has left; the first itself does not wait.

        Errors: :class:`LanternError` if it has fallen.
        """
        if self.index == 0:
            return
        while self._state(0) == "there":
            time.sleep(_ASKED_EVERY)
        if self._state(0) == "fallen":
            raise self.ended(0)

    def _state(self, index: int) -> str:
        try:
            with self._path(index).open("r+", encoding="utf-8") as stream:
                if not _locked(stream):
                    return "there"
                # It may have left since the file was opened.
                return "fallen" if os.path.samestat(os.fstat(stream.fileno()), self._path(index).stat()) else "away"
        except FileNotFoundError:
            return "away"

    def _path(self, index: int) -> Path:
        return self.out / f"process-{index:05d}.lock"


class StopFile:
    """The file ``stop`` in a folder that several processes watch; one from before that is there at first does not count."""

    def __init__(self, out: Path) -> None:
        self.path = out / "stop"
        self._stale = self.path.exists()

    def asked(self) -> bool:
        """Whether somebody has put the file there since."""
        there = self.path.exists()
        self._stale &= there
        return there and not self._stale

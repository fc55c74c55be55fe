"""Turns at a GPU: runs of one machine that want the same device have it one after the other, in the order they came.

Whoever wants devices takes a ticket: a numbered file that it holds locked for as long as it lives. It has its turn when no
ticket before it that is still held wants one of the same devices. A ticket goes with its process, however that ends.
"""

from __future__ import annotations

import errno
import fcntl
import getpass
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from explorer.runs.slurm import job_here

_PLACE = "LANTERN_TURNS"


def physical(devices: Sequence[str]) -> tuple[str, ...]:
    """The GPUs among ``devices`` (cpu, cuda, cuda:N) by a name that all processes of this machine share.

    None inside of Slurm, which gives a GPU to one job at a time.
    """
    if job_here() is not None:
        return ()
    visible = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    names = []
    for device in devices:
        kind, _, index = device.partition(":")
        if kind != "cpu":
            number = int(index or 0)
            names.append(f"{kind}:{visible[number] if kind == 'cuda' and number < len(visible) else number}")
    return tuple(sorted(set(names)))


def place() -> Path:
    """The folder of tickets of this machine and user."""
    return Path(os.environ.get(_PLACE) or Path(tempfile.gettempdir(), f"lantern-turns-{getpass.getuser()}"))


class Ticket:
    """A place in the queue for ``devices``, taken now and given up by :meth:`close`; ``holder`` names it to the others."""

    def __init__(self, devices: Sequence[str], holder: str, folder: Path | None = None) -> None:
        self._folder, self._devices = folder or place(), frozenset(devices)
        self._folder.mkdir(parents=True, exist_ok=True)
        with _mutex(self._folder):
            self._path = self._folder / f"{_number(self._folder):012d}.ticket"
            self._stream = self._path.open("x", encoding="utf-8")
            fcntl.flock(self._stream, fcntl.LOCK_EX)
            self._told = {"devices": sorted(self._devices), "holder": holder, "turn": False}
            self._tell()

    def before(self) -> list[str]:
        """Holders of the tickets before this one that want a device of its, in order; if there are none, it is its turn."""
        found = []
        with _mutex(self._folder):
            for path in sorted(self._folder.glob("*.ticket")):
                if path.name >= self._path.name:
                    break
                if (told := _held(path)) is not None and self._devices & set(told["devices"]):
                    found.append(str(told["holder"]))
        return found

    def begin(self) -> None:
        """Say that it has its turn, to the other processes of the same run."""
        with _mutex(self._folder):
            self._told["turn"] = True
            self._tell()

    def _tell(self) -> None:
        self._stream.seek(0)
        self._stream.truncate()
        json.dump(self._told, self._stream)
        self._stream.flush()

    def close(self) -> None:
        """Give the place up."""
        self._path.unlink(missing_ok=True)
        self._stream.close()


def turn_of(holder: str, folder: Path | None = None) -> bool:
    """Whether the ``holder`` of a ticket has its turn."""
    folder = folder or place()
    folder.mkdir(parents=True, exist_ok=True)
    with _mutex(folder):
        tickets = [_held(path) for path in folder.glob("*.ticket")]
    return any(told is not None and told["holder"] == holder and told["turn"] for told in tickets)


def _number(folder: Path) -> int:
    """The next number; it goes up for ever, since a ticket that is gone may have been the last."""
    path = folder / "counter"
    number = int(path.read_text() or 0) + 1 if path.exists() else 1
    path.write_text(str(number))
    return number


def _held(path: Path) -> dict[str, Any] | None:
    """What the ticket at ``path`` says; None, and it is thrown away, if whoever took it has gone."""
    try:
        with path.open("r+", encoding="utf-8") as stream:
            if _free(stream):
                path.unlink(missing_ok=True)
                return None
            told: dict[str, Any] = json.load(stream)
            return told
    except (FileNotFoundError, json.JSONDecodeError):
        return None


def _free(stream: IO[str]) -> bool:
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
            raise
        return False
    return True


@contextmanager
def _mutex(folder: Path) -> Iterator[None]:
    with (folder / "mutex").open("a") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield

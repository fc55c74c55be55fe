"""What a run says of itself in ``status.json``, and whether it still can say anything."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from explorer.runs import slurm
from explorer.runs.beat import EVERY, SILENCE, Listener
from explorer.runs.identity import alive, identity
from segmentation.errors import LanternError, require
from segmentation.files import read_json, write_json

NAME = "status.json"
STATES = ("queued", "running", "done", "stopped", "failed", "dead")
"""``dead`` never stands in the file: it is what a queued or running run is whose process has gone."""
_IN_WORDS = {"failed": "has failed"}
LIVE = ("queued", "running")
STARTS = "starts"
"""What a run waits for that is about to begin."""
_LISTENER = Listener()


def in_words(state: str) -> str:
    """What is said of a run that is in ``state``, one of :data:`STATES`, after its name: "is running", "has failed"."""
    return _IN_WORDS.get(state, f"is {state}")


@dataclasses.dataclass
class Status:
    """What ``status.json`` says; times in seconds, ``started`` and ``updated`` since 1970, for people to read."""

    kind: str
    state: str = "running"
    step: int = 0
    steps: int = 0
    steps_per_second: float = 0.0
    seconds_left: float | None = None
    error: str | None = None
    remedy: str | None = None
    waiting: str | None = None
    """Of a queued run: what it waits for."""
    job: str | None = None
    """Its number in Slurm."""
    host: str = ""
    boot: str = ""
    namespace: str = ""
    process: int | None = None
    process_started: int = 0
    started: float = dataclasses.field(default_factory=time.time)
    updated: float = 0.0

    def of_process(self, process: int | None = None) -> Status:
        """The same with ``process``, by default this one, as the one that carries it out."""
        return dataclasses.replace(self, **identity(process))

    def write(self, folder: Path) -> None:
        """Put it in the place of what ``folder`` had."""
        self.updated = time.time()
        write_json(folder / NAME, dataclasses.asdict(self))


def read_status(folder: Path) -> dict[str, Any]:
    """What ``status.json`` in ``folder`` says; with state ``dead`` where the process has gone (``stopped`` if it was asked to
    before it had begun), ``queued`` where Slurm holds it.

    Errors: :class:`LanternError` if there is none, or it is no status of a run.
    """
    told = read_json(folder / NAME)
    known = isinstance(told, dict) and isinstance(told.get("kind"), str) and told.get("state") in STATES
    require(known, f"{folder / NAME} is no status of a run", "Give the folder of a run.")
    status: dict[str, Any] = {**dataclasses.asdict(Status("")), **told}
    if status["state"] != "done" and status["job"] and slurm.waits(str(status["job"])):
        return {**status, "state": "queued", "process": None, "waiting": f"waits for Slurm (job {status['job']})"}
    if status["state"] in LIVE and _gone(folder, status):
        # One that was stopped before it had begun did not live to say so.
        unbegun = status["state"] == "queued" and (folder / "stop").exists()
        return {**status, "state": "stopped" if unbegun else "dead", "seconds_left": None}
    return status


def _gone(folder: Path, status: dict[str, Any]) -> bool:
    if status["process"] is None:
        # Slurm has it. A job that Slurm has forgotten did not live to say how it ended.
        return bool(status["job"]) and slurm.forgotten(str(status["job"]))
    living = alive(status)
    return _LISTENER.silent(folder) if living is None else not living


def listen(folders: Sequence[Path]) -> None:
    """Wait until every run that lives on another machine has been heard, or for long enough to know that it is silent.

    For a command that looks but once; a page that looks again and again needs it not.
    """
    began = time.monotonic()
    waiting = {folder: _LISTENER.heard(folder) for folder in folders if _far(folder)}
    while waiting and time.monotonic() - began <= SILENCE + EVERY / 2:
        time.sleep(EVERY / 4)
        waiting = {folder: before for folder, before in waiting.items() if _LISTENER.heard(folder) >= before}


def _far(folder: Path) -> bool:
    try:
        status = read_json(folder / NAME)
    except LanternError:
        return False
    return status.get("state") in LIVE and status.get("process") is not None and alive(status) is None


def remedy_of(error: BaseException) -> tuple[str, str | None]:
    """What went wrong in ``error``, and what to do about it."""
    if isinstance(error, LanternError):
        return error.problem, error.remedy
    said = str(error) or type(error).__name__
    if isinstance(error, OSError) and error.errno is not None:
        where = f"{os.fspath(error.filename)} could not be read or written" if error.filename else "a file could not be written"
        return f"{where} ({error.strerror})", "Put that right, then resume the run: it goes on from its last checkpoint."
    if isinstance(error, MemoryError) or "out of memory" in said.lower():
        return f"memory ran out ({said})", "Choose a smaller batch, or another device."
    return f"{type(error).__name__}: {said}", "This is a fault of the program; log.txt in the run's folder says where."

"""A run's folder: everything that whoever watches a run needs, and nothing that a killed run can leave half written."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import platform
import time
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explorer.runs.events import EventFile
from segmentation.errors import LanternError
from segmentation.files import read_json, write_image, write_json, write_text
from segmentation.runfolder import held

STATES = ("running", "done", "stopped", "failed")
_STATUS_EVERY = 1.0


@dataclasses.dataclass
class Status:
    """What ``status.json`` says; times in seconds, ``started`` and ``updated`` since 1970."""

    kind: str
    state: str = "running"
    step: int = 0
    steps: int = 0
    steps_per_second: float = 0.0
    seconds_left: float | None = None
    error: str | None = None
    host: str = dataclasses.field(default_factory=platform.node)
    process: int = dataclasses.field(default_factory=os.getpid)
    started: float = dataclasses.field(default_factory=time.time)
    updated: float = 0.0


class Run:
    """A run that writes itself down: ``status.json``, ``metrics.jsonl``, ``log.txt``, TensorBoard events, ``samples``.

    A :class:`segmentation.progress.Watcher` and a context manager: inside it no other process may write into the folder, and
    leaving it by an error records the error. A file named ``stop`` in the folder asks the run to stop. In a folder that is in
    use already, ``status.json`` stays as it was until the work gives its first sign, which is after it has checked that the
    folder is its own: a command that is refused leaves the record of the run before it.
    """

    def __init__(self, folder: Path, kind: str) -> None:
        self.folder, self.status = folder, Status(kind)
        self.stopping = False
        self._lock = ExitStack()
        self._clock: tuple[float, int] | None = None
        self._written = 0.0
        self._opened = self._stale_stop = False
        self._done: int | None = None
        self._events: EventFile | None = None

    def __enter__(self) -> Run:
        self._lock.enter_context(held(self.folder))
        self._stale_stop = (self.folder / "stop").exists()
        try:
            if not any((self.folder / name).exists() for name in ("status.json", "config.json")):
                self._open()
        except BaseException:
            self._lock.close()
            raise
        return self

    def _open(self) -> None:
        if self._opened:
            return
        self._opened = True
        if self._stale_stop:
            (self.folder / "stop").unlink(missing_ok=True)
        self._write_status()
        self.note(f"{self.status.kind} started by process {self.status.process} on {self.status.host}")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is not None:
            self.status.state = "stopped" if isinstance(error, KeyboardInterrupt) else "failed"
            self.status.error = str(error) or type(error).__name__
        elif self.stopping and self.status.step < self.status.steps:
            self.status.state = "stopped"
        else:
            self.status.state = "done"
        self.status.seconds_left = None
        try:
            self._close()
        except (LanternError, OSError):
            if error is None:
                raise
        finally:
            self._lock.close()

    def _close(self) -> None:
        if self._events is not None:
            self._events.close()
        if self._opened:
            self.note(f"{self.status.state} at step {self.status.step} of {self.status.steps}")
            self._write_status()
        elif self.status.error:
            self.note(f"{self.status.kind} ended before it began: {self.status.error}")

    def resume(self, step: int, steps: int) -> None:
        """Go on from ``step``: what ``metrics.jsonl`` and the events say of later steps is forgotten."""
        self._open()
        self._forget_after(step)
        self.status.step, self.status.steps = step, steps
        self._write_status()

    def advance(self, step: int, steps: int, figures: dict[str, float]) -> None:
        """Record a step: a line in ``metrics.jsonl``, an event each figure, and at most once a second the status."""
        self._open()
        if self._done is None:
            self._forget_after(step - 1)
        self.status.step, self.status.steps = step, steps
        now = time.monotonic()
        if self._clock is None:
            self._clock = (now, step)
        elapsed, done = now - self._clock[0], step - self._clock[1]
        if done > 0 and elapsed > 0:
            self.status.steps_per_second = done / elapsed
            self.status.seconds_left = (steps - step) * elapsed / done
        record = {"step": step, **{name: _as_json(value) for name, value in figures.items()}}
        self._append("metrics.jsonl", json.dumps(record, allow_nan=False))
        self._record_events(step, figures)
        if now - self._written > _STATUS_EVERY:
            self._write_status()

    def _forget_after(self, step: int) -> None:
        self._done = step
        path = self.folder / "metrics.jsonl"
        if path.exists():
            text = path.read_text(encoding="utf-8", errors="replace")
            kept = "".join(f"{line}\n" for line in text.splitlines() if _step_of(line) <= step)
            if kept != text:
                write_text(path, kept)

    def _record_events(self, step: int, figures: dict[str, float]) -> None:
        try:
            self._events = self._events or EventFile(self.folder, (self._done or 0) + 1)
            self._events.scalars(step, figures)
        except OSError as error:
            raise _unwritten(self.folder / "events.out.tfevents.*", error) from error

    def picture(self, name: str, image: NDArray[np.uint8]) -> None:
        """Keep a sample picture under ``samples``."""
        self._open()
        write_image(self.folder / "samples" / f"{name}.png", image)

    def note(self, text: str) -> None:
        """A line in ``log.txt``, with the time."""
        self._append("log.txt", f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}")

    def stop_requested(self) -> bool:
        """Whether a signal or the file ``stop`` has asked the run to stop."""
        self._open()
        self.stopping = self.stopping or (self.folder / "stop").exists()
        return self.stopping

    def _append(self, name: str, line: str) -> None:
        try:
            with (self.folder / name).open("a", encoding="utf-8") as stream:
                stream.write(line + "\n")
        except OSError as error:
            raise _unwritten(self.folder / name, error) from error

    def _write_status(self) -> None:
        self._written = time.monotonic()
        self.status.updated = time.time()
        write_json(self.folder / "status.json", dataclasses.asdict(self.status))


def _unwritten(path: Path, error: OSError) -> LanternError:
    return LanternError(
        f"{path} could not be written ({error.strerror or error})",
        "Free some space, then run the same command again: it goes on from the last checkpoint.",
    )


def _as_json(value: float) -> float | None:
    # JSON knows neither NaN nor infinity.
    if isinstance(value, int):
        return value
    return float(f"{value:.6g}") if math.isfinite(value) else None


def _step_of(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, TypeError, KeyError):
        return math.inf


def read_status(folder: Path) -> dict[str, Any]:
    """What ``status.json`` in ``folder`` says."""
    status: dict[str, Any] = read_json(folder / "status.json")
    return status

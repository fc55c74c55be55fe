"""A run's folder: everything that whoever watches a run needs, and nothing that a killed run can leave half written."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from segmentation.errors import LanternError
from segmentation.files import read_json, write_image, write_json

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

    A :class:`segmentation.progress.Watcher` and a context manager: leaving it by an error records the error. A file named
    ``stop`` in the folder asks the run to stop.
    """

    def __init__(self, folder: Path, kind: str) -> None:
        self.folder, self.status = folder, Status(kind)
        self.stopping = False
        self._clock = time.monotonic()
        self._first: tuple[float, int] | None = None
        self._written = 0.0
        self._events: EventFileWriter | None = None

    def __enter__(self) -> Run:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "stop").unlink(missing_ok=True)
        self._events = EventFileWriter(str(self.folder))
        self._write_status()
        self.note(f"{self.status.kind} started by process {self.status.process} on {self.status.host}")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is not None:
            self.status.state = "stopped" if isinstance(error, KeyboardInterrupt) else "failed"
            self.status.error = str(error) or type(error).__name__
        elif self.stopping and self.status.step < self.status.steps:
            self.status.state = "stopped"
        else:
            self.status.state = "done"
        self.status.seconds_left = None
        if self._events is not None:
            self._events.close()
        try:
            self.note(f"{self.status.state} at step {self.status.step} of {self.status.steps}")
            self._write_status()
        except (LanternError, OSError):
            if error is None:
                raise

    def advance(self, step: int, steps: int, figures: dict[str, float]) -> None:
        """Record a step: a line in ``metrics.jsonl``, an event each figure, and at most once a second the status."""
        self.status.step, self.status.steps = step, steps
        now = time.monotonic()
        if self._first is None:
            self._first = (now, step)
        elapsed, done = now - self._first[0], step - self._first[1]
        if done > 0 and elapsed > 0:
            self.status.steps_per_second = done / elapsed
            self.status.seconds_left = (steps - step) * elapsed / done
        record = {"step": step, **{name: round(value, 6) for name, value in figures.items()}}
        self._append("metrics.jsonl", json.dumps(record))
        self._record_events(step, figures)
        if now - self._written > _STATUS_EVERY:
            self._write_status()

    def _record_events(self, step: int, figures: dict[str, float]) -> None:
        if self._events is not None:
            values = [Summary.Value(tag=name, simple_value=value) for name, value in figures.items()]
            self._events.add_event(_event(step, Summary(value=values)))

    def picture(self, name: str, image: NDArray[np.uint8]) -> None:
        """Keep a sample picture under ``samples``."""
        write_image(self.folder / "samples" / f"{name}.png", image)

    def note(self, text: str) -> None:
        """A line in ``log.txt``, with the time."""
        self._append("log.txt", f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}")

    def stop_requested(self) -> bool:
        """Whether a signal or the file ``stop`` has asked the run to stop."""
        self.stopping = self.stopping or (self.folder / "stop").exists()
        return self.stopping

    def _append(self, name: str, line: str) -> None:
        try:
            with (self.folder / name).open("a", encoding="utf-8") as stream:
                stream.write(line + "\n")
        except OSError as error:
            raise LanternError(
                f"{self.folder / name} could not be written ({error.strerror})",
                "Free some space, then run the same command again: it goes on from the last checkpoint.",
            ) from error

    def _write_status(self) -> None:
        self._written = time.monotonic()
        self.status.updated = time.time()
        write_json(self.folder / "status.json", dataclasses.asdict(self.status))


def _event(step: int, summary: Summary) -> Any:
    from tensorboard.compat.proto.event_pb2 import Event

    return Event(wall_time=time.time(), step=step, summary=summary)


def read_status(folder: Path) -> dict[str, Any]:
    """What ``status.json`` in ``folder`` says."""
    status: dict[str, Any] = read_json(folder / "status.json")
    return status

"""A run's folder: everything that whoever watches a run needs, and nothing that a killed run can leave half written."""

from __future__ import annotations

import json
import math
import time
import traceback
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from explorer.runs import command, status
from explorer.runs.beat import Beat
from explorer.runs.events import EventFile
from explorer.runs.slurm import own_job
from explorer.runs.status import STARTS, STATES, Status, read_status, remedy_of
from segmentation.errors import LanternError
from segmentation.files import read_json, write_image, write_text
from segmentation.runfolder import held

__all__ = ["STATES", "Run", "Status", "read_status"]
_STATUS_EVERY = 1.0
_LAUNCHER_PATIENCE = 30.0
_RESERVE, _RESERVED = ".reserve", 65536


class Run:
    """A run that writes itself down: ``status.json``, ``metrics.jsonl``, ``log.txt``, TensorBoard events, ``samples``.

    A :class:`segmentation.progress.Watcher` and a context manager: inside it no other process may write into the folder, and
    leaving it by an error records the error and its remedy. A file named ``stop`` in the folder asks the run to stop. In a
    folder that is in use already, the record of the run before stays as it was until the work gives its first sign, which is
    after it has checked that the folder is its own: a command that is refused leaves it. What was launched as this run (see
    :mod:`explorer.runs.launcher`) has been checked, and whatever keeps it from beginning is recorded.
    """

    def __init__(self, folder: Path, kind: str) -> None:
        self._launched = command.launched(folder)
        self.folder, self.status = folder, Status(kind, job=own_job() if self._launched else None).of_process()
        self.stopping = False
        self.again = False
        """Set by whoever ended the run for now: it waits in a queue, to go on later."""
        self._lock = ExitStack()
        self._beat = Beat(folder)
        self._clock: tuple[float, int] | None = None
        self._written = 0.0
        self._opened = self._stale_stop = False
        self._before: bytes | None = None
        self._done: int | None = None
        self._events: EventFile | None = None

    def __enter__(self) -> Run:
        self._hold()
        try:
            self._stale_stop = (self.folder / "stop").exists() and not self._launched
            if not any((self.folder / name).exists() for name in (status.NAME, "config.json")):
                self._open()
        except BaseException:
            self._lock.close()
            raise
        return self

    def _hold(self) -> None:
        began = time.monotonic()
        while True:
            try:
                self._lock.enter_context(held(self.folder))
            except LanternError:
                # Who launched it holds the folder for the moment that it takes to write down what it launched.
                if not self._launched or time.monotonic() - began > _LAUNCHER_PATIENCE:
                    raise
                time.sleep(0.1)
            else:
                return

    def _open(self) -> None:
        if self._opened:
            return
        self._opened = True
        if self._stale_stop:
            (self.folder / "stop").unlink(missing_ok=True)
        self._begin("running")
        if (now := command.current()) is not None:
            now.save(self.folder)
        self.note(f"{self.status.kind} started by process {self.status.process} on {self.status.host}")

    def _begin(self, state: str) -> None:
        self.status.state = state
        self.status.waiting = None if state == "running" else self.status.waiting
        self._write_status()
        (self.folder / _RESERVE).write_bytes(bytes(_RESERVED))
        self._beat.start()

    def wait_for(self, what: str | None) -> None:
        """Say that the run is queued and waits for ``what``; with None that it waits no more."""
        if what == self.status.waiting:
            return
        if what is not None and not self._opened and self._before is None:
            self._before = _bytes_of(self.folder / status.NAME)
        self.status.waiting = what
        if what is not None:
            self._begin("queued")
            self.note(what)
        elif self._opened:
            self._begin("running")
        else:
            self.status.waiting = STARTS
            self._begin("queued")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._beat.stop()
        self._judge(error)
        self.status.seconds_left = self.status.waiting = None
        try:
            self._close(error)
        except (LanternError, OSError):
            if error is None:
                raise
        finally:
            self._lock.close()

    def _judge(self, error: BaseException | None) -> None:
        if isinstance(error, KeyboardInterrupt):
            self.status.state = "stopped"
        elif error is not None:
            self.status.state = "failed"
            self.status.error, self.status.remedy = remedy_of(error)
        elif self.unfinished():
            self.status.state = "queued" if self.again else "stopped"
        else:
            self.status.state = "done"
        if self.status.state == "queued":
            self.status.process = None

    def _close(self, error: BaseException | None) -> None:
        # On a disk that is full this makes the room to say so.
        (self.folder / _RESERVE).unlink(missing_ok=True)
        if self._events is not None:
            # Nothing is lost: it was flushed after every record.
            with suppress(OSError):
                self._events.close()
        if error is not None and not isinstance(error, (LanternError, KeyboardInterrupt)):
            self.note("".join(traceback.format_exception(error)).rstrip())
        if self._opened:
            self.note(f"{self.status.state} at step {self.status.step} of {self.status.steps}{self._blame()}")
            self._write_status()
        elif error is not None:
            self.note(f"{self.status.kind} ended before it began: {error}")
            if self._launched:
                self._keep_progress()
                self._write_status()
            elif self._before is not None:
                write_text(self.folder / status.NAME, self._before.decode())

    def _blame(self) -> str:
        return f": {self.status.error}. {self.status.remedy or ''}".rstrip() if self.status.error else ""

    def _keep_progress(self) -> None:
        try:
            before = read_json(self.folder / status.NAME)
            self.status.step, self.status.steps = int(before["step"]), int(before["steps"])
        except (LanternError, KeyError, TypeError, ValueError):
            return

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

    def told_to_stop(self) -> bool:
        """Whether the file ``stop`` is there, asked while the run still waits to begin."""
        return (self.folder / "stop").exists() and not self._stale_stop

    def unfinished(self) -> bool:
        """Whether the run was asked to stop and has steps left."""
        return self.stopping and (self.status.step < self.status.steps or not self.status.steps)

    def progressed(self) -> bool:
        """Whether it is further than it was when it began, or went on."""
        return self._done is not None and self.status.step > self._done

    def _append(self, name: str, line: str) -> None:
        try:
            with (self.folder / name).open("a", encoding="utf-8") as stream:
                stream.write(line + "\n")
        except OSError as error:
            raise _unwritten(self.folder / name, error) from error

    def _write_status(self) -> None:
        self._written = time.monotonic()
        self.status.write(self.folder)


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


def _bytes_of(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None

"""A run's figures as TensorBoard events, written without TensorFlow."""

from __future__ import annotations

import platform
import time
from os import getpid
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter


class EventFile:
    """A new file of events in ``folder``; of earlier files TensorBoard forgets ``first`` and all steps after it.

    Errors: ``OSError`` if the file cannot be written.
    """

    def __init__(self, folder: Path, first: int) -> None:
        # TensorBoard reads the files of a folder in the order of their names, and what a resume cuts off must come before it.
        # Also where the clock has been put back since the files that are there.
        seconds, rest = divmod(max(time.time_ns(), _newest(folder) + 1), 1_000_000_000)
        name = f"events.out.tfevents.{seconds:010d}.{rest:09d}.{platform.node()}.{getpid()}"
        self._stream = (folder / name).open("xb")
        self._records = RecordWriter(self._stream)
        self._write(Event(wall_time=time.time(), file_version="brain.Event:2"))
        self._write(Event(wall_time=time.time(), step=first, session_log=SessionLog(status=SessionLog.START)))

    def scalars(self, step: int, figures: dict[str, float]) -> None:
        """Write a scalar for each of ``figures``."""
        values = [Summary.Value(tag=name, simple_value=value) for name, value in figures.items()]
        self._write(Event(wall_time=time.time(), step=step, summary=Summary(value=values)))

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def _write(self, event: Event) -> None:
        self._records.write(event.SerializeToString())
        self._records.flush()


def _newest(folder: Path) -> int:
    """When the newest file of events in ``folder`` was begun, in nanoseconds since 1970, by its name; 0 if there is none."""
    times = [0]
    for path in folder.glob("events.out.tfevents.*"):
        seconds, rest = path.name.split(".")[3:5]
        if seconds.isdecimal() and rest.isdecimal():
            times.append(int(seconds) * 1_000_000_000 + int(rest))
    return max(times)

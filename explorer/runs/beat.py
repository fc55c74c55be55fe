"""A run's heartbeat, for whoever watches from another machine: a count in the file ``beat`` that goes up every second.

Nobody compares clocks: a run is silent if its count has stood still for :data:`SILENCE` seconds of the watcher's own clock,
one that no change of the time of day moves.
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

EVERY = 1.0
"""Seconds between two beats."""
SILENCE = 4.5
"""Seconds without a beat after which a run is taken for dead."""
_NAME = "beat"


class Beat:
    """Beats in a thread of its own from :meth:`start` to :meth:`stop`, whatever the run is doing meanwhile."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / _NAME
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._process = os.getpid()

    def start(self) -> None:
        """Begin; where the count cannot be written, nobody hears it."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="beat", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End, at once."""
        self._ended.set()
        if self._thread is not None and self._process == os.getpid():
            self._thread.join()

    def _run(self) -> None:
        try:
            count = _read(self._path) or 0
            with self._path.open("w+b", buffering=0) as stream:
                while not self._ended.wait(EVERY):
                    count += 1
                    # Always as long, over what is there: that needs no room on a disk that is full.
                    stream.seek(0)
                    stream.write(b"%020d\n" % count)
        except OSError:
            return


def _read(path: Path) -> int | None:
    try:
        return int(path.read_bytes())
    except (OSError, ValueError):
        return None


class Listener:
    """Remembers what it heard of each run, and when."""

    def __init__(self) -> None:
        self._heard: dict[Path, tuple[int | None, float]] = {}
        self._lock = threading.Lock()

    def heard(self, folder: Path) -> float:
        """Seconds since the count of the run in ``folder`` was first seen as it is now."""
        count, now = _read(folder / _NAME), time.monotonic()
        with self._lock:
            known = self._heard.get(folder)
            if known is None or known[0] != count:
                known = self._heard[folder] = (count, now)
        return now - known[1]

    def silent(self, folder: Path) -> bool:
        """Whether the run in ``folder`` has not been heard for too long; a run that is new to the listener is not silent."""
        return self.heard(folder) > SILENCE

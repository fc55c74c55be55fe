"""A run seen from a terminal: a bar with the time left, the latest figures, and Ctrl-C that saves before it stops."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from explorer.runs.store import Run
from segmentation.progress import Watcher

_QUIET = ("milliseconds", "stage")


class Terminal:
    """Shows a run on standard error and passes everything on to ``run``, if there is one."""

    def __init__(self, title: str, run: Run | None = None) -> None:
        self.run = run
        self.stopping = False
        self.console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._progress = Progress(*columns, TimeRemainingColumn(), TextColumn("{task.fields[figures]}"), console=self.console)
        self._task = self._progress.add_task(title, total=None, figures="")

    def resume(self, step: int, steps: int) -> None:
        """Start the bar at ``step``, so that the time left is reckoned from here on."""
        self._progress.reset(self._task, completed=step, total=steps)
        if self.run is not None:
            self.run.resume(step, steps)

    def advance(self, step: int, steps: int, figures: dict[str, float]) -> None:
        """Move the bar and show the figures."""
        shown = "  ".join(f"{name} {value:.4g}" for name, value in figures.items() if name not in _QUIET)
        self._progress.update(self._task, completed=step, total=steps, figures=shown)
        if self.run is not None:
            self.run.advance(step, steps, figures)

    def picture(self, name: str, image: NDArray[np.uint8]) -> None:
        """Pass the picture on to the run."""
        if self.run is not None:
            self.run.picture(name, image)

    def note(self, text: str) -> None:
        """Print the line."""
        self.console.print(text, markup=False)
        if self.run is not None:
            self.run.note(text)

    def stop_requested(self) -> bool:
        """Whether Ctrl-C, a signal or the run's folder asked to stop."""
        if self.run is not None and self.stopping:
            self.run.stopping = True
        return self.stopping or (self.run is not None and self.run.stop_requested())

    @contextmanager
    def watching(self) -> Iterator[Watcher]:
        """Show the bar for the length of the block; the first Ctrl-C or SIGTERM asks to stop, the second one stops."""

        def ask(number: int, frame: FrameType | None) -> None:
            if self.stopping:
                raise KeyboardInterrupt
            self.stopping = True
            self.note("stopping after this step; once more to stop at once")

        before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            with self._progress:
                yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


@contextmanager
def recorded(run: Run) -> Iterator[Terminal]:
    """A run with a folder, shown on the terminal."""
    with run:
        terminal = Terminal(run.status.kind, run)
        with terminal.watching():
            yield terminal

"""A run seen from a terminal: a bar with the time left, the latest figures, and signals that save before they stop."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType

import numpy as np
from numpy.typing import NDArray
from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from explorer.runs import command, slurm
from explorer.runs.launching import requeues
from explorer.runs.store import Run
from explorer.runs.turns import Ticket, physical, turn_of
from segmentation.errors import require
from segmentation.progress import Unwatched, Watcher

_QUIET = ("milliseconds", "stage")
_ASKED_EVERY = 0.5
_HEARD = (signal.SIGINT, signal.SIGTERM, *command.LIMIT)


class _Lines(Progress):
    """The bar, and below it the figures as far as they fit: beside it they would leave it no room in a narrow terminal."""

    def get_renderables(self) -> Iterable[RenderableType]:
        """The two lines."""
        yield from super().get_renderables()
        for task in self.tasks:
            if task.fields["figures"]:
                yield Text(task.fields["figures"], no_wrap=True, overflow="ellipsis", style="dim")


class Terminal:
    """Shows a run on standard error and passes everything on to ``run``, if there is one.

    Of a run that was launched, standard error is its own log, and nothing is shown twice.
    """

    def __init__(self, title: str, run: Run | None = None) -> None:
        self.run = run
        self.stopping = False
        self.console = Console(stderr=True, quiet=run is not None and command.launched(run.folder))
        columns = (TextColumn("{task.description}"), BarColumn(24), MofNCompleteColumn(), TimeElapsedColumn())
        self._progress = _Lines(*columns, TimeRemainingColumn(), console=self.console)
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

    def use(self, devices: Sequence[str]) -> ExitStack:
        """Wait for a turn at those of ``devices`` (cpu, cuda:N) that are GPUs; the block it returns has them.

        Errors: ``KeyboardInterrupt`` if it is asked to stop meanwhile.
        """
        held, wanted = ExitStack(), physical(devices)
        if self.run is None or not wanted:
            return held
        ticket = Ticket(wanted, str(self.run.folder.absolute()))
        held.callback(ticket.close)
        try:
            while others := ticket.before():
                self._wait_for(f"waits for {', '.join(wanted)}; before it: {', '.join(others)}")
        except BaseException:
            held.close()
            raise
        ticket.begin()
        self.run.wait_for(None)
        return held

    def _wait_for(self, what: str) -> None:
        if self.run is None:
            return
        if what != self.run.status.waiting:
            self.console.print(what, markup=False)
        self.run.wait_for(what)
        if self.stopping or self.run.told_to_stop():
            raise KeyboardInterrupt
        time.sleep(_ASKED_EVERY)

    @contextmanager
    def watching(self) -> Iterator[Watcher]:
        """Show the bar for the length of the block; the first Ctrl-C or SIGTERM asks to stop, the second one stops.

        SIGUSR1 and SIGUSR2 only ask, and so does everything inside of Slurm, which does not wait for ever anyway.
        """

        def ask(number: int, frame: FrameType | None) -> None:
            limit = number in command.LIMIT
            if self.run is not None and limit:
                self.run.again = True
            if self.stopping:
                if limit or slurm.job_here() is not None:
                    return
                raise KeyboardInterrupt
            self.stopping = True
            self.note("the time is nearly over: saving" if limit else "stopping after this step; once more to stop at once")

        before = {number: signal.signal(number, ask) for number in _HEARD}
        # One that came while the program was loading has been held back until now.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, command.LIMIT)
        try:
            with self._progress:
                yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


@contextmanager
def recorded(run: Run, devices: Sequence[str] = ()) -> Iterator[Terminal]:
    """A run with a folder, shown on the terminal; it waits for its turn at those of ``devices`` that are GPUs.

    A run that ended since its time was nearly over goes back into Slurm's queue, if it was launched so. Errors:
    :class:`LanternError` if the time was too short for a single step.
    """
    with run:
        terminal = Terminal(run.status.kind, run)
        with terminal.watching(), terminal.use(devices):
            yield terminal
            if run.unfinished():
                some = run.progressed() or not run.again
                require(some, "the time limit was over before the first step", "Resume it with more --minutes.")
                asked = run.told_to_stop() or not requeues(run.folder)
                run.again = not asked and (run.again or gives_way(run))
    if run.status.state == "queued" and run.status.job is not None:
        slurm.requeue(run.status.job)


def gives_way(run: Run) -> bool:
    """Whether the run stops since Slurm wants its place for another job.

    Slurm would queue it again only if it were still there at the end of its time of grace.
    """
    return run.status.job is not None and slurm.preempted(run.status.job)


@contextmanager
def recorded_by_first(folder: Path, kind: str, first: bool, devices: Sequence[str] = ()) -> Iterator[Watcher]:
    """:func:`recorded` in the ``first`` of several processes; the others look away, and leave it to the first to stop."""
    if first:
        with recorded(Run(folder, kind), devices) as terminal:
            yield terminal
        return
    with looking_away() as watcher:
        while physical(devices) and not turn_of(str(folder.absolute())):
            time.sleep(_ASKED_EVERY)
        yield watcher


@contextmanager
def looking_away() -> Iterator[Watcher]:
    """What is shown of a process that is not the first of several: nothing, and it leaves it to the first to stop."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in _HEARD}
    try:
        yield Unwatched()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

"""How long work tells whoever watches where it is, and asks whether to go on."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Watcher(Protocol):
    """Somebody who follows a run: the terminal, a run's folder, a test."""

    def resume(self, step: int, steps: int) -> None:
        """Called once, before anything else, by work that goes on from a checkpoint ``step`` steps in."""

    def advance(self, step: int, steps: int, figures: dict[str, float]) -> None:
        """Called after each step with its number (1 to ``steps``) and its figures (losses and the like)."""

    def picture(self, name: str, image: NDArray[np.uint8]) -> None:
        """Called with a sample image, (H, W, 3) uint8, and a name without suffix."""

    def note(self, text: str) -> None:
        """Called with a line for the log."""

    def stop_requested(self) -> bool:
        """Asked after each step; after True the work saves its state and returns."""


class Unwatched:
    """A watcher that looks away: for tests and for work called from a program."""

    def resume(self, step: int, steps: int) -> None:
        """Look away."""

    def advance(self, step: int, steps: int, figures: dict[str, float]) -> None:
        """Look away."""

    def picture(self, name: str, image: NDArray[np.uint8]) -> None:
        """Look away."""

    def note(self, text: str) -> None:
        """Look away."""

    def stop_requested(self) -> bool:
        """Never ask to stop."""
        return False


class Part(Unwatched):
    """Shows ``watcher`` a part of the work as steps ``before`` + 1, 2, ... of ``total``."""

    def __init__(self, watcher: Watcher, before: int, total: int) -> None:
        self.watcher, self.before, self.total = watcher, before, total

    def advance(self, step: int, steps: int, figures: dict[str, float]) -> None:
        """Pass the step on."""
        self.watcher.advance(self.before + step, self.total, figures)

    def stop_requested(self) -> bool:
        """Pass the question on."""
        return self.watcher.stop_requested()


class Parts:
    """Shows ``watcher`` parts of a work one after the other, as steps of ``total``, of which ``there`` were done before.

    Of a long part about a thousand steps are passed on. ``unit`` is what the steps are, in words.
    """

    def __init__(self, watcher: Watcher, there: int, total: int, unit: str) -> None:
        self._watcher, self._before, self._total, self._unit = watcher, there, total, unit
        self.picture, self.note, self.stop_requested = watcher.picture, watcher.note, watcher.stop_requested
        self._told, self._last = False, 0

    def resume(self, step: int, steps: int) -> None:
        """Go on within a part."""
        self._told, self._last = True, step
        self._watcher.resume(self._before + step, self._total)

    def advance(self, step: int, steps: int, figures: dict[str, float]) -> None:
        """Pass the step on."""
        self.tell_of_before()
        if step == steps or 1000 * step // steps > 1000 * self._last // steps:
            self._last = step
            self._watcher.advance(self._before + step, self._total, figures)

    def done(self, steps: int) -> None:
        """A part of so many ``steps`` has been done."""
        self._before, self._last = self._before + steps, 0

    def tell_of_before(self) -> None:
        """Say what was done before, unless something was told already: at the end, where nothing was left to do."""
        if self._before and not self._told:
            self._watcher.note(f"resuming: {self._before} of {self._total} {self._unit} are done already")
            self._watcher.resume(self._before, self._total)
        self._told = True

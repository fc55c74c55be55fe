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

"""Work in parts that is kept as it goes: the states of all parts in one checkpoint, so that it can go on where it stopped."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor

from segmentation.checkpoints import NAME, load_checkpoint, save_checkpoint
from segmentation.configuration import check_range
from segmentation.processes import Alone
from segmentation.progress import Watcher
from segmentation.runfolder import claim
from segmentation.tensors import with_prefix, without_prefix

_KIND = "work in parts"


@dataclasses.dataclass(frozen=True)
class State:
    """Where a part of the work is: the steps that are done, and what they came to, as tensors and plain JSON values."""

    step: int
    tensors: dict[str, Tensor] = dataclasses.field(default_factory=dict)
    values: dict[str, Any] = dataclasses.field(default_factory=dict)


class Kept:
    """The states of parts of work, kept in the checkpoint of ``folder`` every so many steps; without a folder nothing is.

    Errors: :class:`LanternError` if ``every`` is no number of steps.
    """

    def __init__(self, folder: Path | None = None, every: int = 1) -> None:
        check_range("checkpoint_every", every, 1, 100_000_000)
        self.folder, self.every = folder, every
        self._states: dict[str, State] = {}

    def restore(
        self, described: dict[str, Any], steps: int, watcher: Watcher, processes: Alone | None = None, unit: str = "step"
    ) -> None:
        """Read what is kept of the work ``described``, which has ``steps`` in all, and tell ``watcher`` of it.

        Several ``processes`` read the same, and the first claims the folder. ``unit`` is what a step is called. Errors:
        :class:`LanternError` if that holds something else, or cannot be read.
        """
        folder = self.folder
        if folder is None:
            return
        (processes or Alone()).decide(lambda: claim(folder, described))
        found = load_checkpoint(folder / NAME, _KIND)
        if found is None:
            return
        if found.said:
            watcher.note(found.said)
        for name, told in found.header["states"].items():
            self._states[name] = State(int(told["step"]), without_prefix(name, found.tensors), told["values"])
        done = sum(state.step for state in self._states.values())
        watcher.note(f"resuming at {unit} {done} of {steps}")
        watcher.resume(done, steps)

    def part(self, name: str) -> KeptPart:
        """The part of the work called ``name``."""
        return KeptPart(self, name, self._states.get(name))

    def keep(self, name: str, state: State) -> None:
        """Write ``state`` down as that of the part ``name``, beside those of the others."""
        if self.folder is None:
            return
        self._states[name] = state
        tensors: dict[str, Tensor] = {}
        for part, own in self._states.items():
            tensors |= with_prefix(part, own.tensors)
        states = {part: {"step": own.step, "values": own.values} for part, own in self._states.items()}
        save_checkpoint(self.folder / NAME, tensors, {"kind": _KIND, "states": states})


class KeptPart:
    """A part of the work; ``state`` is where it was the last time, None at the beginning."""

    def __init__(self, kept: Kept, name: str, state: State | None) -> None:
        self._kept, self._name, self.state = kept, name, state
        self._saved = 0 if state is None else state.step

    def due(self, step: int, now: bool = False) -> bool:
        """Whether it is time to keep the state after ``step`` steps, or it is to be ``now``."""
        return self._kept.folder is not None and (now or step - self._saved >= self._kept.every)

    def after(self, step: int, made: Callable[[], State], now: bool) -> None:
        """Keep the state that ``made`` gives after ``step`` steps, if it is time to, or if it is to be ``now``."""
        if self.due(step, now):
            self._kept.keep(self._name, made())
            self.done(step)

    def done(self, step: int) -> None:
        """Say that the state after ``step`` steps was kept: here, or by the first of several processes."""
        self._saved = step


NOTHING = Kept()
"""Keeps nothing: for work without a folder."""


def tell(
    watcher: Watcher,
    step: int,
    steps: int,
    kept: KeptPart | None = None,
    state: Callable[[], State] | None = None,
    **figures: float,
) -> None:
    """Report a step, and keep the ``state`` after it in ``kept`` when that is due.

    Errors: ``KeyboardInterrupt`` if the watcher asks to stop, after the state is kept.
    """
    watcher.advance(step, steps, figures)
    stop = watcher.stop_requested()
    if kept is not None and state is not None:
        kept.after(step, state, now=stop or step == steps)
    if stop:
        raise KeyboardInterrupt

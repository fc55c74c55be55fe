"""Waiting for something that a process does, for as long as a busy machine may take."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from explorer.runs.listing import RunView, view

PATIENCE = 100.0


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait until ``condition`` holds."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < PATIENCE, f"in vain: {what}"
        time.sleep(0.05)


def until_state(folder: Path, *states: str) -> RunView:
    """The run in ``folder``, when it is in one of ``states``."""
    until(lambda: view(folder).state in states, f"{folder} is {view(folder)}, not {states}")
    return view(folder)


def until_step(folder: Path, step: int) -> RunView:
    """The run in ``folder``, when its status is at ``step`` or later."""
    until(lambda: view(folder).step >= step, f"{folder} at step {step}: {view(folder)}")
    return view(folder)

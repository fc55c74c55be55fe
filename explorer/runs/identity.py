"""Which process a run is, so that another one that got the same number is not taken for it; and whether it lives."""

from __future__ import annotations

import functools
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_PROC = Path("/proc")
_ENDED = "ZX"


def identity(process: int | None = None) -> dict[str, Any]:
    """What tells ``process``, by default this one, from every other: machine, boot, namespace, number and when it started.

    ``process_started`` counts the kernel's ticks since the machine booted: no change of the clock moves it. It is 0 where
    the system does not say.
    """
    number = os.getpid() if process is None else process
    _, ticks = _stat(number)
    return {"host": platform.node(), **_place(), "process": number, "process_started": ticks}


def alive(told: Mapping[str, Any]) -> bool | None:
    """Whether the process that :func:`identity` told of still runs; None if that cannot be seen from here."""
    own = {"host": platform.node(), **_place()}
    number = told.get("process")
    if not isinstance(number, int) or any(told.get(name) != value for name, value in own.items()):
        return None
    if not own["boot"]:
        return _answers(number)
    state, ticks = _stat(number)
    return state not in _ENDED and ticks == told.get("process_started")


@functools.cache
def _place() -> dict[str, str]:
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        # Containers of one machine have its boot in common, but each its own numbers.
        return {"boot": boot, "namespace": (_PROC / "self/ns/pid").readlink().name}
    except OSError:
        return {"boot": "", "namespace": ""}


def _stat(process: int) -> tuple[str, int]:
    """The state of ``process`` as a letter, X if there is none, and the ticks at which it started."""
    try:
        text = (_PROC / str(process) / "stat").read_text()
    except OSError:
        return "X", 0
    # The name before the parenthesis may hold anything, spaces and parentheses too.
    fields = text.rpartition(")")[2].split()
    return fields[0], int(fields[19])


def _answers(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True

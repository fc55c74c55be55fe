"""Real processes for tests, forked: they are there at once, where a new Python would import everything anew."""

from __future__ import annotations

import multiprocessing
import os
import socket
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from typing import Any

from accelerate import PartialState

MEETING = PartialState
"""Imported here, so that no process has to do it."""
_CONTEXT = multiprocessing.get_context("fork")


def in_a_process(work: Callable[[], Any], timeout: float = 100) -> int | None:
    """Do ``work`` in a process of its own; its exit code, negative for the signal that ended it."""
    process = _CONTEXT.Process(target=work)
    process.start()
    process.join(timeout)
    if process.is_alive():
        process.kill()
    return process.exitcode


def together(work: Callable[[int], Any], count: int = 2) -> list[BaseProcess]:
    """Start ``work`` in ``count`` processes that can meet as those of torchrun do; it is given their numbers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def one(index: int) -> None:
        world = {"RANK": index, "LOCAL_RANK": index, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count, "MASTER_PORT": port}
        os.environ.update({name: str(value) for name, value in world.items()}, MASTER_ADDR="127.0.0.1")
        work(index)

    processes: list[BaseProcess] = [_CONTEXT.Process(target=one, args=(index,)) for index in range(count)]
    for process in processes:
        process.start()
    return processes


def ended(processes: list[BaseProcess], timeout: float = 100) -> list[int | None]:
    """The exit codes of ``processes``; those that are still there by then are killed."""
    for process in processes:
        process.join(timeout)
        if process.is_alive():
            process.kill()
    return [process.exitcode for process in processes]

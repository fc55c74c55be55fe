"""Where the page has the engine compute: one thread for all calls, whose memory stays with the process.

OpenMP gives every thread that computes a team of its own. As soon as there are more threads in teams than cores, the teams
sleep between the layers of a network instead of waiting awake; and memory that is given back after each picture is fetched page
by page for the next one. Each of the two costs a fourth of a strip's time.
"""

from __future__ import annotations

import contextvars
import ctypes
import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

import gradio as gr

from explorer.ui.guard import ENGINE

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")
_THREAD = ThreadPoolExecutor(1, thread_name_prefix="engine")
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
KEPT_BYTES = 256 << 20
"""Memory that is kept for the next picture."""
_LARGEST_FROM_HEAP = 32 << 20
"""The most that the C library takes as the size of a block that it keeps."""


def in_thread(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """``function``, run in the engine's thread; its caller waits. It must not be called by what runs there already."""

    @functools.wraps(function)
    def there(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        # With what gradio keeps there about the request at hand.
        context = contextvars.copy_context()
        return _THREAD.submit(context.run, functools.partial(function, *args, **kwargs)).result()

    return there


def gather_engine_calls(page: gr.Blocks) -> None:
    """Have every callback of ``page`` that calls the engine run in its thread."""
    for listener in page.fns.values():
        if listener.concurrency_id == ENGINE and listener.fn is not None:
            listener.fn = in_thread(listener.fn)


def keep_memory() -> bool:
    """Have this process keep memory that it has used for later; returns whether its C library can be told so (glibc)."""
    try:
        tell: Any = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    # Naming one of the two switches off that the library adapts the other.
    return all(tell(*option) == 1 for option in ((_M_TRIM_THRESHOLD, KEPT_BYTES), (_M_MMAP_THRESHOLD, _LARGEST_FROM_HEAP)))

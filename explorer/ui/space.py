"""What a Hugging Face Space needs: a GPU borrowed call by call, where it lends one."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import gradio as gr

from explorer.ui.guard import ENGINE

SECONDS = 10
"""How long a call may hold the GPU: what a Space checks a visitor's quota against, before the call."""


def borrowed(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function`` with a GPU for as long as it runs, on a Space that lends them; elsewhere as it is."""
    if importlib.util.find_spec("spaces") is None:
        return function
    import spaces

    lent: Callable[..., Any] = spaces.GPU(duration=SECONDS)(function)
    return lent


def borrow_for_engine(page: gr.Blocks) -> None:
    """Have every callback of ``page`` that calls the engine borrow its GPU."""
    for listener in page.fns.values():
        if listener.concurrency_id == ENGINE and listener.fn is not None:
            listener.fn = borrowed(listener.fn)

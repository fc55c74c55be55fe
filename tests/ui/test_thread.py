"""The engine's thread: one for all calls, with the context and the errors of whoever calls."""

from __future__ import annotations

import contextvars
import inspect
import platform
import threading
from concurrent.futures import ThreadPoolExecutor

import gradio as gr
import pytest

from explorer.segmenting import PhotographSegmenter
from explorer.ui.guard import ENGINE
from explorer.ui.shell import build_page
from explorer.ui.thread import gather_engine_calls, in_thread, keep_memory
from explorer.views import Workbench
from segmentation.errors import LanternError


def test_all_calls_run_in_one_thread_one_after_the_other() -> None:
    inside, most = 0, 0
    guard = threading.Lock()

    @in_thread
    def work(number: int) -> tuple[int, int]:
        nonlocal inside, most
        with guard:
            inside += 1
            most = max(most, inside)
        threading.Event().wait(0.01)
        with guard:
            inside -= 1
        return number, threading.get_ident()

    with ThreadPoolExecutor(4) as callers:
        answers = list(callers.map(work, range(8)))
    assert [number for number, _ in answers] == list(range(8))
    [thread] = {ident for _, ident in answers}
    assert most == 1 and thread != threading.get_ident()


def test_errors_and_the_context_of_the_caller_pass() -> None:
    visitor = contextvars.ContextVar("visitor", default="nobody")
    visitor.set("somebody")
    assert in_thread(visitor.get)() == "somebody"

    @in_thread
    def refuse() -> None:
        raise LanternError("it is wrong", "Put it right.")

    with pytest.raises(LanternError, match="it is wrong"):
        refuse()


def test_gradio_still_sees_what_a_callback_asks_for() -> None:
    @in_thread
    def chosen(event: gr.SelectData) -> int:
        return int(event.index)

    assert list(inspect.signature(chosen).parameters) == ["event"]


def test_every_engine_call_of_a_page_is_gathered_and_no_other() -> None:
    threads: dict[str, str] = {}

    def noted(name: str) -> None:
        threads[name] = threading.current_thread().name

    with gr.Blocks() as page:
        button = gr.Button()
        button.click(lambda: noted("engine"), concurrency_id=ENGINE)
        button.click(lambda: noted("other"))
    gather_engine_calls(page)
    for listener in page.fns.values():
        assert listener.fn is not None
        listener.fn()
    assert threads["engine"].startswith("engine") and threads["other"] == threading.current_thread().name


def test_the_page_gathers_its_engine_calls(bench: Workbench, segmenter: PhotographSegmenter) -> None:
    calls = [fn for fn in build_page(bench, segmenter).fns.values() if fn.concurrency_id == ENGINE]
    assert len(calls) > 8
    assert {fn.fn.__code__ for fn in calls if fn.fn is not None} == {in_thread(len).__code__}


def test_memory_is_kept_where_the_c_library_can_be_told() -> None:
    assert keep_memory() is (platform.libc_ver()[0] == "glibc")


def test_a_c_library_that_cannot_be_told_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctypes.CDLL", lambda name: object())
    assert keep_memory() is False

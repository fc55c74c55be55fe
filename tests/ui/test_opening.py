"""How the page is opened: a browser, a window, a Space, and what is served to whom."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from explorer.ui import desktop, shell, space
from explorer.ui.exports import exports
from explorer.ui.guard import ENGINE
from explorer.ui.shell import AppConfig, launch_app, open_app, serve
from segmentation.errors import LanternError
from tests.ui.test_page import free_port


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What a page is launched with."""
    given: dict[str, Any] = {}

    def launch(self: gr.Blocks, **options: Any) -> tuple[None, str, None]:
        given.update(options)
        return None, "http://127.0.0.1:1/", None

    monkeypatch.setattr(gr.Blocks, "launch", launch)
    return given


def test_nothing_is_shared_and_only_exports_are_served(launched: dict[str, Any]) -> None:
    with gr.Blocks() as page:
        pass
    serve(page, "127.0.0.1", 1)
    assert launched["share"] is False and launched["server_name"] == "127.0.0.1"
    assert launched["allowed_paths"] == [str(exports().folder)] and launched["max_file_size"] == "10mb"
    assert launched["run_history"] is False and not launched.get("mcp_server") and launched["show_error"] is False


def test_uploads_go_to_a_folder_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GRADIO_TEMP_DIR", raising=False)
    shell._prepare_environment()
    assert os.environ["GRADIO_TEMP_DIR"] == str(exports().uploads) and exports().uploads.is_dir()
    monkeypatch.setenv("GRADIO_TEMP_DIR", "elsewhere")
    shell._prepare_environment()
    assert os.environ["GRADIO_TEMP_DIR"] == "elsewhere"


@pytest.mark.parametrize(
    ("config", "environment", "opened"),
    [
        (AppConfig(), {"DISPLAY": ":0"}, True),
        (AppConfig(), {}, False),
        (AppConfig(browser=False), {"DISPLAY": ":0"}, False),
        (AppConfig(window=True), {"DISPLAY": ":0"}, False),
        (AppConfig(), {"DISPLAY": ":0", "SPACE_ID": "a/b"}, False),
    ],
)
def test_a_browser_opens_where_there_is_a_screen(
    monkeypatch: pytest.MonkeyPatch, config: AppConfig, environment: dict[str, str], opened: bool
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SPACE_ID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert shell._opens_browser(config) is opened


def test_without_pywebview_the_window_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(LanternError, match="pywebview is not installed. Install it: pip install -r requirements-desktop.txt"):
        open_app(AppConfig(window=True, port=free_port()))


def test_without_a_screen_the_window_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(desktop, "has_screen", lambda: False)
    with pytest.raises(LanternError, match="no screen here for a window"):
        desktop.check_window()


class Qt(ModuleType):
    """Stands in for pywebview."""

    def __init__(self, fault: Exception | None = None) -> None:
        super().__init__("webview")
        self.settings: dict[str, Any] = {}
        self.calls: list[Any] = []
        self.fault = fault

    def create_window(self, title: str, url: str, **options: Any) -> None:
        self.calls.append((title, url))

    def start(self, **options: Any) -> None:
        self.calls.append(options["gui"])
        if self.fault is not None:
            raise self.fault


def test_the_engine_ends_with_the_window(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    qt, ended = Qt(), []
    monkeypatch.setitem(sys.modules, "webview", qt)
    page = SimpleNamespace(close=lambda verbose: ended.append(True), block_thread=lambda: pytest.fail("it waits for Ctrl-C"))
    monkeypatch.setattr(shell, "open_app", lambda config: (page, "http://127.0.0.1:5/"))
    launch_app(AppConfig(window=True))
    assert qt.calls == [("Lantern", "http://127.0.0.1:5/"), "qt"] and ended == [True]
    assert "http://127.0.0.1:5/" in capsys.readouterr().out


def test_a_qt_that_does_not_start_is_an_error_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "webview", Qt(RuntimeError("QT cannot be loaded")))
    with pytest.raises(LanternError, match=r"no window could be opened \(QT cannot be loaded\).*requirements-desktop.txt"):
        desktop.show_window("http://127.0.0.1:5/")


def test_a_space_lends_its_gpu_to_what_calls_the_engine_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    lent: list[str] = []

    def gpu(duration: int) -> Any:
        def wrapped(function: Any) -> Any:
            lent.append(f"{function.__name__} {duration}")
            return function

        return wrapped

    monkeypatch.setitem(sys.modules, "spaces", SimpleNamespace(GPU=gpu, __spec__=object()))

    def with_engine() -> None: ...

    def without() -> None: ...

    with gr.Blocks() as page:
        button = gr.Button()
        button.click(with_engine, None, None, concurrency_id=ENGINE)
        button.click(without, None, None)
    space.borrow_for_engine(page)
    assert lent == ["with_engine 10"]


def test_elsewhere_nothing_is_borrowed() -> None:
    def function() -> None: ...

    assert space.borrowed(function) is function


def test_the_desktop_extra_names_what_the_window_needs() -> None:
    wanted = (Path(__file__).resolve().parents[2] / "requirements-desktop.txt").read_text("utf-8")
    assert "pywebview[pyside6]" in wanted

"""The app in a process of its own, and a page of Chromium to drive it with."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 240.0
ACTION_MILLISECONDS = 60_000.0
# A loaded machine may take as long for what else takes a moment.
expect.set_options(timeout=ACTION_MILLISECONDS)

# Chromium as root needs no sandbox; the rest keeps it from looking for things on the network.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("browser")


@pytest.fixture(scope="session")
def app_temporary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the app keeps what visitors give, and its copies of what it shows."""
    return tmp_path_factory.mktemp("temporary")


@pytest.fixture(scope="session")
def app_url(tmp_path_factory: pytest.TempPathFactory, app_temporary: Path) -> Iterator[str]:
    """The address of a running app."""
    environment = {"LANTERN_RUNS": str(tmp_path_factory.mktemp("runs")), "GRADIO_TEMP_DIR": str(app_temporary)}
    with running_app(tmp_path_factory.mktemp("app") / "log.txt", environment) as url:
        yield url


@contextmanager
def running_app(log: Path, environment: dict[str, str]) -> Iterator[str]:
    """An app with more in its ``environment``, for the length of the block; its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with log.open("wb") as out:
        app = subprocess.Popen(
            [sys.executable, "app.py", "--port", str(port)],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
        )
    url = f"http://127.0.0.1:{port}/"
    try:
        _wait_until_it_answers(app, url, log)
        yield url
    finally:
        _end(app)


def _wait_until_it_answers(app: subprocess.Popen[bytes], url: str, log: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and app.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    ended = f"ended with {app.returncode}" if app.returncode is not None else f"gave no answer in {START_SECONDS:.0f} s"
    pytest.fail(f"app.py {ended}:\n{log.read_text(errors='replace')[-4000:]}", pytrace=False)


def _end(app: subprocess.Popen[bytes]) -> None:
    """End the app and what it started."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(app.pid, sign)
        except ProcessLookupError:
            break
        try:
            app.wait(timeout=10)
        except subprocess.TimeoutExpired:
            continue
    app.wait()


@pytest.fixture(scope="session")
def browser(chromium: str) -> Iterator[Browser]:
    """One Chromium for the whole session."""
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield launched
        launched.close()


@pytest.fixture
def console_errors() -> list[str]:
    """What the page of this test complained of; a test that means to provoke a complaint clears it."""
    return []


@pytest.fixture
def page(browser: Browser, app_url: str, console_errors: list[str]) -> Iterator[Page]:
    """A fresh page, the app open in it. Fails the test at its end if anything in ``console_errors`` is left."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, base_url=app_url)
    context.set_default_timeout(ACTION_MILLISECONDS)
    opened = context.new_page()
    ours = urlsplit(app_url).netloc

    def note(message: ConsoleMessage) -> None:
        # Other hosts cannot be reached on every machine, and the app must do without them.
        place = message.location.get("url", "")
        if message.type == "error" and urlsplit(place).netloc in ("", ours):
            console_errors.append(f"{message.text} {place}".rstrip())

    opened.on("console", note)
    opened.on("pageerror", lambda error: console_errors.append(str(error)))
    opened.goto("/")
    yield opened
    context.close()
    assert not console_errors, "the page complained: " + "; ".join(console_errors)


@pytest.fixture
def photograph(tmp_path: Path) -> Path:
    """A bright disc on a dark, noisy ground: 200x150."""
    noise = np.random.default_rng(0)
    down, across = np.indices((150, 200))
    inside = (down - 75) ** 2 + (across - 100) ** 2 < 45**2
    pixels = np.where(inside[..., None], (220, 190, 120), (40, 60, 50)) + noise.integers(-15, 16, (150, 200, 3))
    path = tmp_path / "disc.jpg"
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)
    return path

"""What every test can ask for: the folder of data, and Chromium. CI makes their absence a failure."""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import settings

# Small tensors gain nothing from many threads, and on a large machine they lose; set before anything imports torch.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

settings.register_profile("lantern", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("lantern")

# The marker that each fixture brings, and the variable that forbids a test of that kind to skip.
_MARKERS = {"data_folder": "data", "chromium": "browser", "slurm_node": "slurm"}
_REQUIRE = {"data": "LANTERN_REQUIRE_DATA", "browser": "LANTERN_REQUIRE_BROWSER", "slurm": "LANTERN_REQUIRE_SLURM"}


@pytest.fixture(autouse=True)
def no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the width of the terminal, if there is one: what is printed is compared line by line."""
    for name in ("COLUMNS", "LINES"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of photographs and masks that LANTERN_DATA names."""
    named = os.environ.get("LANTERN_DATA", "")
    if not named or not Path(named).is_dir():
        pytest.skip(f"LANTERN_DATA names no folder ({named!r})")
    return Path(named)


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a Chromium on this machine."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    pytest.skip("no chromium, chromium-browser or google-chrome in PATH")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for fixture in getattr(item, "fixturenames", ()):
            if marker := _MARKERS.get(fixture):
                item.add_marker(marker)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skip into a failure where its variable says that tests of this kind must run."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail"):
        for marker, variable in _REQUIRE.items():
            if item.get_closest_marker(marker) and os.environ.get(variable, "0") not in ("", "0"):
                report.outcome = "failed"
                report.longrepr = f"{variable} is set, yet this test was skipped: {report.longrepr}"
    return report

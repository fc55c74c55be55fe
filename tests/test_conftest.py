"""Skips count as failures where CI says so: checked by running small sessions of pytest."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SESSION = """
import pytest

def test_with_data(data_folder):
    assert data_folder.is_dir()

@pytest.mark.data
def test_marked():
    pytest.skip("says no")

@pytest.mark.xfail(strict=True)
def test_expected_failure(data_folder):
    raise ValueError

def test_plain_skip():
    pytest.skip("for a reason of its own")
"""


def run_session(folder: Path, **variables: str) -> dict[str, int]:
    (folder / "conftest.py").write_text(Path(__file__).with_name("conftest.py").read_text())
    (folder / "pytest.ini").write_text("[pytest]\nmarkers =\n    data:\n    browser:\n")
    (folder / "test_session.py").write_text(SESSION)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LANTERN_")}
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder)],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**kept, **variables, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        check=False,
    )
    words = run.stdout.strip().splitlines()[-1].replace(",", "").split()
    counts = {name: int(number) for number, name in zip(words[::2], words[1::2], strict=False) if number.isdigit()}
    return {**counts, "status": run.returncode}


@pytest.mark.parametrize(
    ("required", "expected"),
    [
        ("", {"skipped": 4, "status": 0}),
        ("1", {"failed": 1, "errors": 2, "skipped": 1, "status": 1}),
    ],
)
def test_a_skip_is_a_failure_where_data_is_required(tmp_path, required, expected):
    assert run_session(tmp_path, LANTERN_REQUIRE_DATA=required) == expected


def test_the_folder_is_used_where_it_is(tmp_path):
    counts = run_session(tmp_path, LANTERN_REQUIRE_DATA="1", LANTERN_DATA=str(tmp_path))
    assert counts == {"passed": 1, "failed": 1, "skipped": 1, "xfailed": 1, "status": 1}

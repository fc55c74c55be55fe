from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from explorer.runs.store import Run, read_status
from segmentation.errors import LanternError


def test_a_run_writes_itself_down(tmp_path: Path) -> None:
    with Run(tmp_path, "train") as run:
        assert read_status(tmp_path)["state"] == "running"
        for step in (1, 2, 3):
            run.advance(step, 3, {"loss": 1 / step})
        run.picture("first", np.full((4, 5, 3), 7, np.uint8))
        run.note("a word")
    status = read_status(tmp_path)
    assert (status["state"], status["step"], status["steps"], status["process"]) == ("done", 3, 3, os.getpid())
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [(line["step"], line["loss"]) for line in lines] == [(1, 1.0), (2, 0.5), (3, 0.333333)]
    assert (tmp_path / "samples" / "first.png").is_file()
    assert "a word" in (tmp_path / "log.txt").read_text()


def test_tensorboard_reads_its_events(tmp_path: Path) -> None:
    with Run(tmp_path, "train") as run:
        run.advance(1, 2, {"loss": 0.75})
        run.advance(2, 2, {"loss": 0.25})
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(1, 0.75), (2, 0.25)]


def test_an_error_is_recorded_and_passed_on(tmp_path: Path) -> None:

    def fail() -> None:
        with Run(tmp_path, "train") as run:
            run.advance(1, 9, {})
            raise LanternError("nothing is accepted", "Choose another direction.")

    with pytest.raises(LanternError):
        fail()
    status = read_status(tmp_path)
    assert (status["state"], status["error"], status["remedy"]) == (
        "failed",
        "nothing is accepted",
        "Choose another direction.",
    )


def test_the_file_stop_asks_it_to_stop(tmp_path: Path) -> None:
    with Run(tmp_path, "train") as run:
        run.advance(1, 9, {})
        assert not run.stop_requested()
        (tmp_path / "stop").touch()
        assert run.stop_requested()
    assert read_status(tmp_path)["state"] == "stopped"


def test_a_resumed_run_appends_and_forgets_the_stop(tmp_path: Path) -> None:
    for first in (1, 3):
        with Run(tmp_path, "train") as run:
            run.advance(first, 4, {})
            run.advance(first + 1, 4, {})
        (tmp_path / "stop").touch()
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 4
    with Run(tmp_path, "train") as run:
        assert not run.stop_requested()


def test_it_estimates_the_time_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("explorer.runs.store.time.monotonic", lambda: now[0])
    with Run(tmp_path, "train") as run:
        for step in range(1, 6):
            now[0] = 100 + 3.0 * step
            run.advance(step, 10, {})
        assert run.status.steps_per_second == pytest.approx(1 / 3)
        assert run.status.seconds_left == pytest.approx(15)


def metrics(folder: Path) -> list[dict[str, float]]:
    def refuse(constant: str) -> float:
        raise ValueError(f"{constant} is no JSON")

    return [json.loads(line, parse_constant=refuse) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_small_figures_keep_their_digits_and_nan_is_null(tmp_path: Path) -> None:
    with Run(tmp_path, "train") as run:
        run.advance(1, 1, {"rate": 1.23456789e-8, "lost": float("nan"), "far": float("-inf"), "stage": 2})
    assert metrics(tmp_path) == [{"step": 1, "rate": 1.23457e-8, "lost": None, "far": None, "stage": 2}]


@pytest.mark.parametrize("told", [True, False])
def test_a_resume_forgets_what_came_after_the_checkpoint(tmp_path: Path, told: bool) -> None:
    with Run(tmp_path, "train") as run:
        for step in range(1, 6):
            run.advance(step, 8, {"loss": float(step)})
    with (tmp_path / "metrics.jsonl").open("a") as cut_short:
        cut_short.write('{"step": 2, "lo')
    with Run(tmp_path, "train") as run:
        if told:
            run.resume(3, 8)
        for step in range(4, 9):
            run.advance(step, 8, {"loss": 10.0 * step})
    expected = [(1, 1.0), (2, 2.0), (3, 3.0), (4, 40.0), (5, 50.0), (6, 60.0), (7, 70.0), (8, 80.0)]
    assert [(line["step"], line["loss"]) for line in metrics(tmp_path)] == expected
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss")] == expected


def test_a_finished_run_repeated_stays_finished(tmp_path: Path) -> None:
    with Run(tmp_path, "train") as run:
        run.advance(4, 4, {"loss": 1.0})
    for told in (True, False):
        with Run(tmp_path, "train") as run:
            if told:
                run.resume(4, 4)
        status = read_status(tmp_path)
        assert (status["state"], status["step"], status["steps"]) == ("done", 4, 4)
    assert [line["step"] for line in metrics(tmp_path)] == [4]


def test_a_refused_command_leaves_the_record_as_it_was(tmp_path: Path) -> None:
    with Run(tmp_path, "train") as run:
        run.advance(4, 4, {})
    (tmp_path / "stop").touch()
    before = (tmp_path / "status.json").read_bytes()
    with pytest.raises(LanternError, match="another"), Run(tmp_path, "train"):
        raise LanternError("another configuration", "Choose another folder.")
    assert (tmp_path / "status.json").read_bytes() == before
    assert (tmp_path / "stop").exists()
    assert "another configuration" in (tmp_path / "log.txt").read_text()


def test_a_stop_asked_for_while_the_work_prepares_is_honoured(tmp_path: Path) -> None:
    with Run(tmp_path, "train") as run:
        run.advance(1, 4, {})
    with Run(tmp_path, "train") as run:
        (tmp_path / "stop").touch()
        assert run.stop_requested()


def test_a_folder_has_one_process_at_a_time(tmp_path: Path) -> None:
    with Run(tmp_path, "train") as run:
        run.advance(1, 4, {})
        (tmp_path / "stop").touch()
        before = (tmp_path / "status.json").read_bytes()
        ended = run_elsewhere(tmp_path)
        assert f"is being written by process {os.getpid()}" in ended.stderr
        assert ended.returncode == 1
        assert (tmp_path / "status.json").read_bytes() == before
        assert run.stop_requested()
    assert run_elsewhere(tmp_path).returncode == 0


def test_it_needs_no_tensorflow(tmp_path: Path) -> None:
    ended = run_elsewhere(tmp_path)
    assert (ended.stdout.split(), ended.stderr) == (["tensorflow:", "False"], "")
    assert list(tmp_path.glob("events.out.tfevents.*"))


def run_elsewhere(folder: Path) -> subprocess.CompletedProcess[str]:
    program = """
import sys
from pathlib import Path
from explorer.runs.store import Run
with Run(Path(sys.argv[1]), "train") as run:
    run.advance(1, 1, {"loss": 1.0})
print("tensorflow:", "tensorflow" in sys.modules)
"""
    return subprocess.run([sys.executable, "-c", program, str(folder)], capture_output=True, text=True, check=False)

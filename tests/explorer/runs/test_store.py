from __future__ import annotations

import json
import os
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
    assert status["state"] == "failed"
    assert status["error"] == "nothing is accepted. Choose another direction."


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
    clock = iter(range(0, 1000, 2))
    monkeypatch.setattr("explorer.runs.store.time.monotonic", lambda: float(next(clock)))
    with Run(tmp_path, "train") as run:
        for step in range(1, 6):
            run.advance(step, 10, {})
        assert run.status.seconds_left == pytest.approx(5 / run.status.steps_per_second)
        assert 2 <= 1 / run.status.steps_per_second <= 6

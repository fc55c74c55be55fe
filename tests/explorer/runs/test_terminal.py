from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console, Group

from explorer.runs import slurm
from explorer.runs.launching import LaunchConfig, save_launch
from explorer.runs.store import Run, read_status
from explorer.runs.terminal import Terminal, recorded, recorded_by_first
from segmentation.errors import LanternError


def test_a_resume_moves_the_bar_and_reaches_the_run(tmp_path: Path) -> None:
    with recorded(Run(tmp_path, "train")) as terminal:
        terminal.resume(30, 40)
        task = terminal._progress.tasks[0]
        assert (task.completed, task.total, task.speed) == (30, 40, None)
        terminal.advance(31, 40, {"loss": 0.5})
        assert task.completed == 31
        terminal.stopping = True
        assert terminal.stop_requested()
    status = read_status(tmp_path)
    assert (status["state"], status["step"], status["steps"]) == ("stopped", 31, 40)


def test_without_a_run_it_shows_alone() -> None:
    terminal = Terminal("encode")
    with terminal.watching() as watcher:
        watcher.resume(1, 2)
        watcher.advance(2, 2, {})
        assert not watcher.stop_requested()


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_narrow_terminal_has_room_for_the_bar(width: int) -> None:
    terminal = Terminal("train")
    terminal.resume(30, 40)
    terminal.advance(31, 40, {"loss": 0.5, "acceptance_rate": 0.25, "learning_rate": 0.001, "waiting_for_samples": 0.125})
    console = Console(width=width, force_terminal=True, color_system=None)
    with console.capture() as shown:
        console.print(Group(*terminal._progress.get_renderables()))
    bar, figures = shown.get().splitlines()
    assert bar.startswith("train ") and "31/40" in bar and "0:00:" in bar
    assert figures.startswith("loss 0.5  acceptance_rate 0.25") and len(figures) <= width


def signalled(run: Run, *numbers: signal.Signals) -> list[bool]:
    """Whether a stop was asked for before and after each of the signals ``numbers`` came to the run of ten steps at step 4."""
    asked = []
    with recorded(run) as terminal:
        terminal.advance(4, 10, {})
        asked.append(terminal.stop_requested())
        for number in numbers:
            signal.raise_signal(number)
            asked.append(terminal.stop_requested())
    return asked


def test_a_signal_asks_to_stop_and_the_second_ctrl_c_stops(tmp_path: Path) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
        before = signal.getsignal(number)
        assert signalled(Run(tmp_path / number.name, "train"), number) == [False, True]
        assert signal.getsignal(number) is before
        status = read_status(tmp_path / number.name)
        assert (status["state"], status["step"]) == ("stopped", 4)
    with pytest.raises(KeyboardInterrupt):
        signalled(Run(tmp_path / "twice", "train"), signal.SIGTERM, signal.SIGINT)
    status = read_status(tmp_path / "twice")
    assert (status["state"], status["error"]) == ("stopped", None)
    assert signalled(Run(tmp_path / "warned", "train"), signal.SIGUSR2, signal.SIGUSR2, signal.SIGUSR1)[-1]


@pytest.fixture
def job(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A job of Slurm: whether it has to give way, and what was put into the queue again."""
    told: dict[str, Any] = {"preempted": False, "again": []}
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SUBMITIT_EXECUTOR", "slurm")
    monkeypatch.setattr(slurm, "preempted", lambda number: told["preempted"])
    monkeypatch.setattr(slurm, "requeue", lambda number: told["again"].append(number))
    monkeypatch.setattr(slurm, "_ask", lambda: None)
    slurm.forget_answers()
    return told


def launched(folder: Path, monkeypatch: pytest.MonkeyPatch, config: LaunchConfig) -> Run:
    folder.mkdir(exist_ok=True)
    save_launch(folder, config)
    monkeypatch.setenv("LANTERN_RUN", str(folder))
    return Run(folder, "train")


def test_a_job_whose_time_is_nearly_over_saves_and_is_queued_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, job: dict[str, Any]
) -> None:
    on_slurm = LaunchConfig("slurm")
    signalled(launched(tmp_path / "a", monkeypatch, on_slurm), signal.SIGUSR2, signal.SIGTERM, signal.SIGTERM)
    told = json.loads((tmp_path / "a" / "status.json").read_text())
    assert (told["state"], told["process"], told["job"], job["again"]) == ("queued", None, "7", ["7"])
    for folder, config, numbers in (
        ("b", LaunchConfig("slurm", requeue=False), (signal.SIGUSR2,)),
        ("c", LaunchConfig(), (signal.SIGUSR2,)),
        ("d", on_slurm, (signal.SIGTERM,)),
    ):
        signalled(launched(tmp_path / folder, monkeypatch, config), *numbers)
        assert json.loads((tmp_path / folder / "status.json").read_text())["state"] == "stopped"
    assert job["again"] == ["7"]


def test_a_job_that_gives_way_is_queued_again_unless_it_was_asked_to_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, job: dict[str, Any]
) -> None:
    job["preempted"] = True
    signalled(launched(tmp_path / "a", monkeypatch, LaunchConfig("slurm")), signal.SIGTERM)
    assert job["again"] == ["7"]
    run = launched(tmp_path / "b", monkeypatch, LaunchConfig("slurm"))
    (tmp_path / "b" / "stop").touch()
    signalled(run, signal.SIGTERM)
    assert job["again"] == ["7"]
    assert json.loads((tmp_path / "b" / "status.json").read_text())["state"] == "stopped"


def test_a_time_too_short_for_a_step_fails_and_does_not_go_round_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, job: dict[str, Any]
) -> None:

    def too_short() -> None:
        with recorded(launched(tmp_path / "a", monkeypatch, LaunchConfig("slurm"))) as terminal:
            terminal.resume(4, 10)
            signal.raise_signal(signal.SIGUSR2)
            assert terminal.stop_requested()

    with pytest.raises(LanternError, match="before the first step"):
        too_short()
    status = json.loads((tmp_path / "a" / "status.json").read_text())
    assert (status["state"], status["remedy"], job["again"]) == ("failed", "Resume it with more --minutes.", [])


def test_the_others_of_several_processes_leave_stopping_to_the_first(tmp_path: Path) -> None:
    with recorded_by_first(tmp_path / "run", "train", first=False) as watcher:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
            signal.raise_signal(number)
        assert not watcher.stop_requested()
    assert not (tmp_path / "run").exists()


def test_what_was_launched_records_whatever_keeps_it_from_beginning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Run(tmp_path, "train") as run:
        run.advance(4, 10, {})
        run.stopping = True
    monkeypatch.setenv("LANTERN_RUN", str(tmp_path))
    with pytest.raises(LanternError, match="no generator"), recorded(Run(tmp_path, "train")):
        raise LanternError("no generator", "Give one.")
    status = read_status(tmp_path)
    assert (status["state"], status["error"], status["remedy"]) == ("failed", "no generator", "Give one.")
    assert (status["step"], status["steps"]) == (4, 10)


def test_a_fault_of_the_program_is_told_with_its_place(tmp_path: Path) -> None:

    def fail() -> None:
        with recorded(Run(tmp_path, "train")) as terminal:
            terminal.advance(1, 2, {})
            terminal.advance(2, 1 // 0, {})

    with pytest.raises(ZeroDivisionError):
        fail()
    status = read_status(tmp_path)
    assert (status["state"], status["error"]) == ("failed", "ZeroDivisionError: integer division or modulo by zero")
    assert "test_terminal.py" in (tmp_path / "log.txt").read_text()

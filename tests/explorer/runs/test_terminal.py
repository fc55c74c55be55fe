from __future__ import annotations

from pathlib import Path

from explorer.runs.store import Run, read_status
from explorer.runs.terminal import Terminal, recorded


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

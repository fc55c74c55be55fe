"""Runs on a real Slurm of one node. All of them are handed in at once, since what takes long there is to wait."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from explorer.runs import launcher, slurm
from explorer.runs.launcher import LaunchConfig
from explorer.runs.listing import metrics, view
from segmentation.errors import LanternError
from tests.explorer.runs.counting import ROOT, worker
from tests.explorer.runs.test_launcher import BECOME, LIGHT
from tests.explorer.runs.waiting import until, until_state, until_step

Started = dict[str, Path]
pytestmark = pytest.mark.timeout(170)


def started_with(folder: Path, steps: int, seconds: float, config: LaunchConfig) -> None:
    """Hand in what counts in ``folder``."""
    command = shlex.join([sys.executable, "-c", BECOME, *worker(folder, steps, seconds)[1:]])
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(slurm, "worker_command", lambda folder: command)
        launcher.start(LIGHT, folder, config, ROOT)


@pytest.fixture(scope="module")
def started(slurm_node: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    """The folders of runs that have been handed in, by what they are for."""
    root = tmp_path_factory.mktemp("slurm")
    low: dict[str, Any] = {"cluster": "slurm", "partition": "low"}
    plans = {
        "done": (20, 0.01, LaunchConfig(**low)),
        "several": (20, 0.01, LaunchConfig(**low, processes=2)),
        # The warning comes before this run ends, and it has its steps from several starts.
        "limit": (100_000, 0.02, LaunchConfig(**low, minutes=1, warning=59)),
        "preempted": (100_000, 0.02, LaunchConfig(**low)),
        "stopped": (100_000, 0.02, LaunchConfig(**low)),
        "killed": (100_000, 0.02, LaunchConfig(**low, requeue=False)),
    }
    folders = {name: root / name for name in plans}
    for name, (steps, seconds, config) in plans.items():
        started_with(folders[name], steps, seconds, config)
    yield folders
    for folder in folders.values():
        if (job := view(folder).job) is not None:
            slurm.cancel(job)


def test_a_run_on_slurm_is_done(started: Started) -> None:
    run = until_state(started["done"], "done")
    assert (run.step, run.steps, run.job is not None) == (20, 20, True)
    log = (started["done"] / "log.txt").read_text()
    assert "rank alone of 1" in log and "done at step 20 of 20" in log
    assert not list(started["done"].rglob("*.pkl"))


def test_the_tasks_of_a_job_know_each_other(started: Started) -> None:
    until_state(started["several"], "done")
    log = started["several"] / "log.txt"
    until(lambda: "rank 1 is here" in log.read_text(), "the second task")
    assert "rank 0 of 2" in log.read_text()


def test_a_run_is_asked_to_stop_and_resumed(started: Started) -> None:
    folder = started["stopped"]
    first = until_step(folder, 3)
    launcher.stop(folder)
    stopped = until_state(folder, "stopped")
    assert json.loads((folder / "count.json").read_text()) == stopped.step >= first.step
    with pytest.MonkeyPatch.context() as patched:
        command = shlex.join([sys.executable, "-c", BECOME, *worker(folder, stopped.step + 4, 0.01)[1:]])
        patched.setattr(slurm, "worker_command", lambda folder: command)
        launcher.resume(folder)
    done = until_state(folder, "done")
    assert (done.step, done.job != first.job) == (stopped.step + 4, True)
    assert [line["step"] for line in metrics(folder)] == list(range(1, done.step + 1))


def test_a_process_that_is_killed_is_seen_as_dead(started: Started) -> None:
    folder, found = started["killed"], [0]

    def at_work() -> bool:
        run = view(folder)
        found[0] = run.process or 0
        return run.step >= 2 and found[0] > 0

    until(at_work, "its process")
    # The node is this machine. Never 0: that would be this test, and all that run it.
    os.kill(found[0], signal.SIGKILL)
    assert until_state(folder, "dead").step >= 2


def test_before_its_time_is_over_a_run_saves_and_goes_back_into_the_queue(started: Started) -> None:
    folder = started["limit"]
    until(lambda: "saving" in (folder / "log.txt").read_text() if (folder / "log.txt").exists() else False, "the warning")
    first = until_state(folder, "queued")
    saved = json.loads((folder / "count.json").read_text())
    assert saved == first.step > 0
    assert until_step(folder, saved + 1).job == first.job
    assert [line["step"] for line in metrics(folder)][: saved + 1] == list(range(1, saved + 2))


def test_a_run_that_has_to_give_way_saves_and_goes_on_later(started: Started) -> None:
    folder = started["preempted"]
    before = until_step(folder, 3)
    node = ["--partition=high", "--nodes=1", "--exclusive", "--output=/dev/null", "--wrap=sleep 3"]
    subprocess.run(["sbatch", *node], check=True, timeout=30, capture_output=True)
    until(lambda: "stopping after this step" in (folder / "log.txt").read_text(), "the signal")
    until(lambda: view(folder).state != "running", "it gives way")
    saved = json.loads((folder / "count.json").read_text())
    assert saved >= before.step
    until_state(folder, "queued")
    again = until_step(folder, saved + 1)
    assert (again.state, again.job, again.process != before.process) == ("running", before.job, True)


def test_a_run_that_waits_is_taken_out_of_the_queue(slurm_node: str, tmp_path: Path) -> None:
    started_with(tmp_path / "run", 10, 0.1, LaunchConfig("slurm", options=("begin=now+1hour",)))
    run = view(tmp_path / "run")
    assert (run.state, run.waiting) == ("queued", f"waits for Slurm (job {run.job})")
    launcher.stop(tmp_path / "run")
    assert until_state(tmp_path / "run", "stopped").step == 0


def test_what_slurm_refuses_is_said(slurm_node: str, tmp_path: Path) -> None:
    with pytest.raises(LanternError, match="invalid partition"):
        started_with(tmp_path / "run", 10, 0.1, LaunchConfig("slurm", partition="nowhere"))

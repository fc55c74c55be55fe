from __future__ import annotations

import dataclasses
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from explorer.runs import slurm
from explorer.runs.beat import SILENCE
from explorer.runs.status import STATES, Status, in_words, listen, read_status, remedy_of
from segmentation.errors import LanternError
from segmentation.files import write_json
from tests.explorer.runs.counting import ROOT, worker
from tests.explorer.runs.waiting import until, until_step


def write(folder: Path, **changes: Any) -> None:
    status = Status("train", step=3, steps=9, seconds_left=8.0).of_process()
    dataclasses.replace(status, **changes).write(folder)


def test_every_state_is_said_in_a_sentence() -> None:
    told = ["is queued", "is running", "is done", "is stopped", "has failed", "is dead"]
    assert [in_words(state) for state in STATES] == told


def ended() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def test_a_run_whose_process_has_gone_is_dead_and_the_file_stays(tmp_path: Path) -> None:
    number = ended()
    for state, shown in (
        ("running", "dead"),
        ("queued", "dead"),
        ("done", "done"),
        ("failed", "failed"),
        ("stopped", "stopped"),
    ):
        write(tmp_path, state=state, process=number)
        told = read_status(tmp_path)
        assert (told["state"], told["step"]) == (shown, 3)
        assert json.loads((tmp_path / "status.json").read_text())["state"] == state
        assert told["seconds_left"] == (None if shown == "dead" else 8.0)
        write(tmp_path, state=state)
        assert read_status(tmp_path)["state"] == state


@pytest.mark.parametrize("jump", [-1e6, 1e6])
def test_a_clock_that_jumps_makes_nobody_dead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jump: float) -> None:
    write(tmp_path, state="running")
    write(tmp_path, host="elsewhere") if jump > 0 else None
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + jump)
    assert read_status(tmp_path)["state"] == "running"


def test_a_run_on_another_machine_is_dead_when_its_beat_stands_still(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [50.0]
    monkeypatch.setattr("explorer.runs.beat.time.monotonic", lambda: now[0])
    write(tmp_path, host="elsewhere")
    for count in range(4):
        (tmp_path / "beat").write_text(f"{count:020d}\n")
        assert read_status(tmp_path)["state"] == "running"
        now[0] += 4
    now[0] += 1
    assert read_status(tmp_path)["state"] == "dead"


@pytest.mark.parametrize("place", ["here", "elsewhere"])
def test_a_run_that_is_killed_is_dead_within_five_seconds(tmp_path: Path, place: str) -> None:
    """For whoever looks again and again; on another machine only its beat can be heard."""
    process = subprocess.Popen(worker(tmp_path, 100_000, 0.01), cwd=ROOT)
    try:
        until((tmp_path / "status.json").exists, "it begins")
        until_step(tmp_path, 2)
        told = json.loads((tmp_path / "status.json").read_text())

        def look() -> str:
            if place == "elsewhere":
                write_json(tmp_path / "status.json", {**told, "host": "elsewhere"})
            return str(read_status(tmp_path)["state"])

        if place == "elsewhere":
            process.send_signal(signal.SIGSTOP)
            # It is still for a moment, and then goes on: not dead.
            began = time.monotonic()
            while time.monotonic() - began < 2:
                assert look() == "running"
                time.sleep(0.1)
            process.send_signal(signal.SIGCONT)
            before = (tmp_path / "beat").read_text()
            until(lambda: (tmp_path / "beat").read_text() != before, "it beats")
        assert look() == "running"
        process.kill()
        process.wait()
        killed = time.monotonic()
        while True:
            began = time.monotonic()
            if look() == "dead":
                break
            assert began - killed < 5
            time.sleep(0.1)
    finally:
        process.kill()
        process.wait()


def test_who_looks_but_once_listens_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now, slept = [70.0], []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds
        (tmp_path / "lives" / "beat").write_text(f"{len(slept):020d}\n")

    monkeypatch.setattr("explorer.runs.beat.time.monotonic", lambda: now[0])
    monkeypatch.setattr("explorer.runs.status.time.sleep", sleep)
    folders = [tmp_path / name for name in ("lives", "gone", "here")]
    for folder in folders:
        folder.mkdir()
        write(folder, host="elsewhere" if folder.name != "here" else Status("").of_process().host)
        (folder / "beat").write_text("0\n")
    listen([*folders, tmp_path / "none"])
    assert [read_status(folder)["state"] for folder in folders] == ["running", "dead", "running"]
    assert SILENCE < sum(slept) < SILENCE + 1
    slept.clear()
    listen([folders[2]])
    assert slept == []


@pytest.mark.parametrize("text", ["[]", "{}", '{"kind": "train", "state": "asleep"}', '{"kind": 3, "state": "done"}'])
def test_another_file_of_that_name_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "status.json").write_text(text)
    with pytest.raises(LanternError, match="is no status of a run"):
        read_status(tmp_path)


def test_what_an_older_version_did_not_write_is_filled_in(tmp_path: Path) -> None:
    (tmp_path / "status.json").write_text('{"kind": "train", "state": "done", "step": 4, "steps": 4}')
    told = read_status(tmp_path)
    assert (told["state"], told["remedy"], told["job"], told["process"]) == ("done", None, None, None)


def test_what_slurm_holds_back_is_queued_and_what_it_forgot_is_dead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs: dict[str, str] | None = None
    monkeypatch.setattr(slurm, "_ask", lambda: jobs)

    def seen() -> str:
        slurm.forget_answers()
        return str(read_status(tmp_path)["state"])

    write(tmp_path, state="queued", process=None, job="7")
    assert seen() == "queued"
    for state, shown in (("PENDING", "queued"), ("RUNNING", "queued"), ("CANCELLED", "dead"), ("NODE_FAIL", "dead")):
        jobs = {"7": state}
        assert seen() == shown
    jobs = {}
    assert seen() == "dead"
    for before in ("running", "stopped", "failed"):
        write(tmp_path, state=before, process=ended(), job="7")
        jobs = {"7": "PENDING"}
        told = (seen(), read_status(tmp_path)["waiting"])
        assert told == ("queued", "waits for Slurm (job 7)")
    jobs = {"7": "RUNNING"}
    assert seen() == "failed"
    slurm.forget_answers()


def test_every_error_has_a_remedy() -> None:
    cases = [
        (LanternError("no light", "Choose another."), "no light", "Choose another."),
        (
            OSError(28, "No space left on device", "/x/y"),
            "/x/y could not be read or written (No space left on device)",
            "resume",
        ),
        (MemoryError(), "memory ran out", "smaller batch"),
        (RuntimeError("CUDA out of memory. Tried to"), "memory ran out", "smaller batch"),
        (ZeroDivisionError("division by zero"), "ZeroDivisionError: division by zero", "log.txt"),
        (KeyError(), "KeyError: KeyError", "log.txt"),
    ]
    for error, problem, remedy in cases:
        said = remedy_of(error)
        assert problem in said[0] and remedy in (said[1] or "")

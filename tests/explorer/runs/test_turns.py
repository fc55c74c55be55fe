from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from explorer.runs.turns import Ticket, physical, place, turn_of
from tests.explorer.runs.counting import ROOT, worker
from tests.explorer.runs.waiting import until, until_state, until_step


def test_a_device_has_the_same_name_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    assert physical(["cpu"]) == ()
    assert physical(["cuda", "cuda:1", "cpu", "cuda:0"]) == ("cuda:0", "cuda:1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, GPU-abc")
    assert physical(["cuda", "cuda:1"]) == ("cuda:3", "cuda:GPU-abc")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    assert physical(["cuda"]) == ()


def test_the_place_is_of_the_user_and_can_be_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("LANTERN_TURNS", raising=False)
    assert place().name.startswith("lantern-turns-")
    monkeypatch.setenv("LANTERN_TURNS", str(tmp_path))
    assert place() == tmp_path


def test_they_come_in_order_and_other_devices_do_not_wait(tmp_path: Path) -> None:
    tickets = [
        Ticket(devices, holder, tmp_path)
        for devices, holder in ((["g:0"], "a"), (["g:1"], "b"), (["g:0", "g:1"], "c"), (["g:0"], "d"), (["g:2"], "e"))
    ]
    assert [ticket.before() for ticket in tickets] == [[], [], ["a", "b"], ["a", "c"], []]
    tickets[0].close()
    assert [ticket.before() for ticket in tickets[1:4]] == [[], ["b"], ["c"]]
    tickets[1].close()
    assert (tickets[2].before(), tickets[3].before()) == ([], ["c"])
    assert not turn_of("c", tmp_path)
    tickets[2].begin()
    assert turn_of("c", tmp_path) and not turn_of("d", tmp_path)
    tickets[2].close()
    assert not turn_of("c", tmp_path)
    assert tickets[3].before() == []
    late = Ticket(["g:0"], "f", tmp_path)
    assert late.before() == ["d"]
    for ticket in (tickets[3], tickets[4], late):
        ticket.close()
    assert not list(tmp_path.glob("*.ticket"))


def test_a_killed_process_gives_its_place_up(tmp_path: Path) -> None:
    program = """
import sys
from pathlib import Path
from explorer.runs.turns import Ticket
ticket = Ticket(["g:0"], "killed", Path(sys.argv[1]))
print("taken", flush=True)
sys.stdin.read()
"""
    command = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "taken\n"
        ticket = Ticket(["g:0"], "next", tmp_path)
        assert ticket.before() == ["killed"]
        process.kill()
        process.wait()
    assert ticket.before() == []
    assert len(list(tmp_path.glob("*.ticket"))) == 1
    ticket.close()


def test_runs_that_want_the_same_gpu_are_queued_in_order_and_say_so(tmp_path: Path) -> None:
    environment = {**os.environ, "LANTERN_TURNS": str(tmp_path / "turns")}
    folders = [tmp_path / name for name in ("first", "second", "third")]
    running: list[subprocess.Popen[bytes]] = []
    for folder in folders:
        running.append(subprocess.Popen(worker(folder, 100_000, 0.01, "fake:0"), cwd=ROOT, env=environment))
        until(folder.joinpath("status.json").exists, f"{folder} begins")
        until_state(folder, "queued" if folder != folders[0] else "running")
    try:
        first, second, _ = (str(folder) for folder in folders)
        assert until_state(folders[1], "queued").waiting == f"waits for fake:0; before it: {first}"
        assert until_state(folders[2], "queued").waiting == f"waits for fake:0; before it: {first}, {second}"
        assert f"waits for fake:0; before it: {first}" in (folders[1] / "log.txt").read_text()
        running[0].kill()
        until_state(folders[0], "dead")
        until_step(folders[1], 1)
        assert until_state(folders[1], "running").waiting is None
        until(lambda: until_state(folders[2], "queued").waiting == f"waits for fake:0; before it: {second}", "third is next")
        (folders[2] / "stop").touch()
        assert until_state(folders[2], "stopped").step == 0
        running[1].terminate()
        assert until_state(folders[1], "stopped").step > 0
    finally:
        for process in running:
            process.kill()
            process.wait()

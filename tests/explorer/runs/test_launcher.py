from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from explorer.__main__ import main
from explorer.runs import launcher, slurm
from explorer.runs.command import Command, read_command
from explorer.runs.launcher import LaunchConfig
from explorer.runs.launching import read_launch
from explorer.runs.listing import metrics, tail, view
from explorer.runs.status import read_status
from segmentation.errors import LanternError
from tests.explorer.runs.counting import ROOT, worker
from tests.explorer.runs.waiting import until, until_state, until_step

LIGHT = ["runs", "list"]
"""A command that takes no time; it is checked, and then something that counts is started in its place."""


BECOME = """
import signal
signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGUSR1, signal.SIGUSR2))
import os
import sys
from pathlib import Path
from explorer.runs.outcome import starting
from explorer.runs.worker import environment, hold_back
folder = Path(sys.argv[3])
told = environment(folder, dict(os.environ))
if told.get("RANK", "0") == "0":
    starting(folder)
hold_back()
os.execve(sys.executable, [sys.executable, *sys.argv[1:]], told)
"""
"""What a worker does, but that it becomes something that counts."""


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What is started in place of the command: ``steps`` of ``seconds`` each."""
    asked: dict[str, Any] = {"steps": 20, "seconds": 0.01}

    def command(folder: Path) -> str:
        return shlex.join([sys.executable, "-c", BECOME, *worker(folder, asked["steps"], asked["seconds"])[1:]])

    monkeypatch.setattr(slurm, "worker_command", command)
    monkeypatch.chdir(ROOT)
    return asked


def state_on_disk(folder: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((folder / "status.json").read_text())
    return told


def test_a_run_is_started_watched_and_done(counting: dict[str, Any], tmp_path: Path) -> None:
    launcher.start(LIGHT, tmp_path / "run")
    assert view(tmp_path / "run").state in ("queued", "running", "done")
    run = until_state(tmp_path / "run", "done")
    assert (run.step, run.steps, run.command, run.kind) == (20, 20, tuple(LIGHT), "count")
    assert [line["square"] for line in metrics(tmp_path / "run", after=17)] == [324.0, 361.0, 400.0]
    log = "\n".join(tail(tmp_path / "run"))
    assert "rank alone of 1" in log and "done at step 20 of 20" in log
    assert read_launch(tmp_path / "run") == LaunchConfig()
    with pytest.raises(LanternError, match="There is nothing to stop"):
        launcher.stop(tmp_path / "run")


def test_the_death_of_whoever_started_it_does_not_matter(counting: dict[str, Any], tmp_path: Path) -> None:
    program = f"""
import sys
from pathlib import Path
from explorer.runs import launcher, slurm
slurm.worker_command = lambda folder: {slurm.worker_command(tmp_path / "run")!r}
launcher.start(["runs", "list"], Path({str(tmp_path / "run")!r}))
print("started", flush=True)
sys.stdin.read()
"""
    command = [sys.executable, "-c", program]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, start_new_session=True
    ) as page:
        assert page.stdout is not None
        assert page.stdout.readline() == "started\n"
        os.killpg(page.pid, signal.SIGKILL)
        page.wait()
    assert until_state(tmp_path / "run", "done").step == 20


def test_it_is_stopped_and_resumed_and_killed_and_resumed(counting: dict[str, Any], tmp_path: Path) -> None:
    folder = tmp_path / "run"
    counting.update(steps=100_000)
    launcher.start(LIGHT, folder)
    before = until_step(folder, 7)
    assert before.state == "running" and before.process is not None
    for refused in (lambda: launcher.start(LIGHT, folder), lambda: launcher.resume(folder), lambda: launcher.remove(folder)):
        with pytest.raises(LanternError):
            refused()
    launcher.stop(folder)
    stopped = until_state(folder, "stopped")
    counted = json.loads((folder / "count.json").read_text())
    assert counted == stopped.step >= before.step
    launcher.resume(folder)
    process = until_step(folder, counted + 6).process
    assert process not in (None, before.process)
    os.kill(int(process or 0), signal.SIGKILL)
    began = time.monotonic()
    until_state(folder, "dead")
    assert time.monotonic() - began < 60
    assert state_on_disk(folder)["state"] == "running"
    saved = json.loads((folder / "count.json").read_text())
    counting.update(steps=saved + 5)
    launcher.resume(folder)
    assert until_state(folder, "done").step == saved + 5
    assert [line["step"] for line in metrics(folder)] == list(range(1, saved + 6))


def test_a_resume_that_waits_comes_back_when_the_run_has_ended(counting: dict[str, Any], tmp_path: Path) -> None:
    folder = tmp_path / "run"
    counting.update(steps=100_000)
    launcher.start(LIGHT, folder)
    until_step(folder, 3)
    launcher.stop(folder)
    counted = until_state(folder, "stopped").step
    counting.update(steps=counted + 100)
    assert main(["runs", "resume", str(folder), "--wait"]) == 0
    ended = view(folder)
    assert (ended.state, ended.step) == ("done", counted + 100)
    with pytest.raises(LanternError, match="is done"):
        launcher.resume(folder)
    assert view(folder).state == "done"


def test_a_run_that_is_stopped_before_it_has_begun_can_be_resumed(counting: dict[str, Any], tmp_path: Path) -> None:
    folder = tmp_path / "run"
    counting.update(steps=100_000)
    launcher.start(LIGHT, folder)
    launcher.stop(folder)
    counted = until_state(folder, "stopped").step
    counting.update(steps=counted + 3)
    launcher.resume(folder)
    assert until_state(folder, "done").step == counted + 3


def test_two_that_start_the_same_run_at_once_start_it_once(counting: dict[str, Any], tmp_path: Path) -> None:
    counting.update(steps=100_000)
    program = f"""
import sys
from pathlib import Path
from explorer.runs import launcher, slurm
from segmentation.errors import LanternError
slurm.worker_command = lambda folder: {slurm.worker_command(tmp_path / "run")!r}
launcher._check_command = lambda wanted, folder: None
print("ready", flush=True)
sys.stdin.readline()
try:
    launcher.start(["runs", "list"], Path({str(tmp_path / "run")!r}))
    print("started")
except LanternError as error:
    print(error.problem)
"""
    starters = [
        subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        for _ in range(3)
    ]
    for starter in starters:
        assert starter.stdout is not None
        starter.stdout.readline()
    said = [starter.communicate("go\n")[0].strip() for starter in starters]
    assert said.count("started") == 1
    assert all("is being written" in one or "already" in one for one in said if one != "started"), said
    until_step(tmp_path / "run", 3)
    launcher.stop(tmp_path / "run", now=True)
    until_state(tmp_path / "run", "stopped")
    assert (tmp_path / "run" / "log.txt").read_text().count("count started by process") == 1


def test_several_processes_know_each_other(counting: dict[str, Any], tmp_path: Path) -> None:
    launcher.start(LIGHT, tmp_path / "run", LaunchConfig(processes=2))
    assert until_state(tmp_path / "run", "done").step == 20
    until(lambda: "rank 1 is here" in (tmp_path / "run" / "log.txt").read_text(), "the second process")
    assert "rank 0 of 2" in (tmp_path / "run" / "log.txt").read_text()


def test_one_of_several_processes_that_is_killed_takes_the_rest_along(
    counting: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COUNTING_FAILS", "1")
    counting.update(steps=100_000)
    launcher.start(LIGHT, tmp_path / "run", LaunchConfig(processes=2))
    until_state(tmp_path / "run", "stopped", "dead")
    assert "one of 2 processes failed (signal 9)" in (tmp_path / "run" / "log.txt").read_text()


def test_a_run_saves_before_its_time_is_over(counting: dict[str, Any], tmp_path: Path) -> None:
    counting.update(steps=100_000)
    told = {
        "SUBMITIT_EXECUTOR": "local",
        "SUBMITIT_LOCAL_NTASKS": "1",
        "SUBMITIT_LOCAL_COMMAND": slurm.worker_command(tmp_path),
        "SUBMITIT_LOCAL_TIMEOUT_S": "3600",
        "SUBMITIT_LOCAL_SIGNAL_DELAY_S": "3597",
        "SUBMITIT_STDERR_TO_STDOUT": "1",
        "SUBMITIT_LOCAL_WITH_SHELL": "",
    }
    command = [sys.executable, "-m", "explorer.runs.controller", str(tmp_path)]
    ended = subprocess.run(
        command, env={**os.environ, **told}, stdin=subprocess.DEVNULL, capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert ended.stderr == ""
    run = until_state(tmp_path, "stopped")
    assert run.step == json.loads((tmp_path / "count.json").read_text())
    assert "the time is nearly over: saving" in (tmp_path / "log.txt").read_text()


def test_a_command_line_that_is_wrong_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    for arguments, message in (
        (["tran"], "Unrecognized options: tran"),
        (["train", "--stepz", "3", "--out", str(tmp_path / "run")], "--stepz"),
        (["train", "--steps", "0", "--out", str(tmp_path / "run")], "steps is 0"),
        (["train"], "out PATH"),
        (["train", "--out", str(tmp_path / "other")], "writes to"),
        ([], "python -m explorer"),
    ):
        with pytest.raises(LanternError) as caught:
            launcher.start(arguments, tmp_path / "run")
        assert message in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_another_command_is_left_alone(tmp_path: Path) -> None:
    Command(("runs", "list", "elsewhere"), tmp_path).save(tmp_path / "run")
    with pytest.raises(LanternError, match="another command"):
        launcher.start(LIGHT, tmp_path / "run")
    assert read_command(tmp_path / "run") == Command(("runs", "list", "elsewhere"), tmp_path)
    assert not (tmp_path / "run" / "status.json").exists()


def test_a_command_that_is_no_run_and_one_that_is_refused_have_an_end_too(tmp_path: Path) -> None:
    launcher.start(["runs", "list", str(tmp_path)], tmp_path / "good")
    launcher.start(["runs", "show", str(tmp_path / "nowhere")], tmp_path / "bad")
    assert until_state(tmp_path / "good", "done").error is None
    run = until_state(tmp_path / "bad", "failed")
    assert run.error == f"{tmp_path / 'nowhere'} is no folder of a run"
    assert "runs list" in (run.remedy or "")
    assert "queued" in "\n".join(tail(tmp_path / "good")) or "good" in "\n".join(tail(tmp_path / "good"))


def test_a_run_without_a_command_and_one_without_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not launcher.slurm_available()
    with pytest.raises(LanternError, match="no Slurm on this machine"):
        launcher.start(LIGHT, tmp_path / "run", LaunchConfig(cluster="slurm"))
    (tmp_path / "status.json").write_text('{"kind": "train", "state": "stopped"}')
    with pytest.raises(LanternError, match="does not say which command"):
        launcher.resume(tmp_path)
    assert read_status(tmp_path)["state"] == "stopped"


def test_only_runs_are_deleted(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").touch()
    with pytest.raises(LanternError):
        launcher.remove(tmp_path)
    run = tmp_path / "run"
    run.mkdir()
    (run / "status.json").write_text('{"kind": "train", "state": "done"}')
    (tmp_path / "link").symlink_to(run)
    with pytest.raises(LanternError, match="is a link"):
        launcher.remove(tmp_path / "link")
    launcher.remove(run)
    assert not run.exists() and (tmp_path / "precious.txt").exists()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"cluster": "cloud"}, "cluster is 'cloud'"),
        ({"processes": 0}, "processes is 0"),
        ({"minutes": -1}, "minutes is -1"),
        ({"minutes": 1, "warning": 60}, "time limit of 1 minutes"),
        ({"gpus": 2, "nodes": 2}, "gpus, nodes with cluster local"),
        ({"cluster": "slurm", "options": ("account",)}, "has no value"),
    ],
)
def test_a_launch_that_makes_no_sense_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(LanternError, match=message):
        LaunchConfig(**values)


def test_what_slurm_is_told() -> None:
    config = LaunchConfig(
        "slurm", processes=4, nodes=2, minutes=30, partition="gpu", gpus=4, cpus=6, memory=80, options=("account=vision",)
    )
    assert LaunchConfig.from_json(config.to_json()) == config
    assert config.sbatch("lantern-train") == {
        "job_name": "lantern-train",
        "nodes": 2,
        "ntasks_per_node": 4,
        "signal_delay_s": 90,
        "partition": "gpu",
        "gpus_per_node": 4,
        "cpus_per_task": 6,
        "mem": "80G",
        "time": 30,
        "additional_parameters": {"account": "vision", "requeue": True},
    }
    least = LaunchConfig("slurm", requeue=False).sbatch("x")
    assert (least["additional_parameters"], least["time"], "mem" in least) == ({"no-requeue": True}, 0, False)


def test_the_batch_file_runs_the_command_in_every_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in (("sbatch", 'cp "$1" "$OUT"; echo Submitted batch job 42'), ("srun", ""), ("squeue", "echo 42 PENDING")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("OUT", str(tmp_path / "batch"))
    folder = tmp_path / "a run"
    launcher.start(LIGHT, folder, LaunchConfig("slurm", processes=2, minutes=10, partition="low"), tmp_path)
    batch = (tmp_path / "batch").read_text()
    for line in ("--partition=low", "--ntasks-per-node=2", "--time=10", "--signal=USR2@90", "--requeue", f"--chdir={tmp_path}"):
        assert f"#SBATCH {line}\n" in batch
    last = shlex.split(batch.strip().splitlines()[-1])
    assert last[0] == "srun" and "--kill-on-bad-exit=1" in last and f"--output={folder}/log.txt" in last
    assert last[-4:] == ["-u", "-m", "explorer.runs.worker", str(folder)]
    told = read_status(folder)
    assert (told["state"], told["job"], told["waiting"]) == ("queued", "42", "waits for Slurm (job 42)")
    assert not list(folder.rglob("*.pkl"))
    (tmp_path / "sbatch").write_text("#!/bin/sh\necho 'sbatch: error: invalid partition specified: low' >&2\nexit 1\n")
    with pytest.raises(LanternError, match="invalid partition specified"):
        launcher.start(LIGHT, tmp_path / "other", LaunchConfig("slurm"), tmp_path)
    assert not [path.name for path in (tmp_path / "other").iterdir() if path.suffix == ".json"]

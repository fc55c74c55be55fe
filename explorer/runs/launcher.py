"""Starts runs that outlive whoever started them: on this machine, or on Slurm, both through submitit.

Nothing is pickled: submitit's ``submit`` would pickle a function, so its executors are handed a command line instead.
"""

from __future__ import annotations

import importlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from explorer.runs import command, launching, slurm, status
from explorer.runs.command import Command, read_command
from explorer.runs.identity import alive
from explorer.runs.launching import MAX_MINUTES, LaunchConfig, read_launch, save_launch
from explorer.runs.status import LIVE, STARTS, Status, in_words, read_status
from segmentation.errors import LanternError, require
from segmentation.files import read_json
from segmentation.runfolder import held

__all__ = ["LaunchConfig", "remove", "resume", "slurm_available", "start", "stop"]
_TOGETHER = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""What torchrun tells a process; one of those that starts a run does not pass it on."""
_PATIENCE = 30.0
"""Seconds that a run may take to leave its folder after it has said that it has ended."""
_started: list[subprocess.Popen[bytes]] = []


def slurm_available() -> bool:
    """Whether this machine can hand jobs in to Slurm."""
    return slurm.available()


def start(arguments: Sequence[str], folder: Path, config: LaunchConfig | None = None, directory: Path | None = None) -> None:
    """Start ``python -m explorer *arguments`` (which writes to ``folder``) as a run of its own; returns at once.

    The caller's death does not matter to it. By default it runs on this machine. Relative paths among ``arguments`` count
    from ``directory``, by default the current folder; a command whose run's folder is an option (``--run``) need not be
    given it. In a folder that holds the same run already it goes on.

    Errors: :class:`LanternError` if the folder is in use or holds another run, or the command line is wrong.
    """
    folder, wanted = folder.absolute(), Command(tuple(arguments), (directory or Path.cwd()).absolute())
    _check_command(wanted, folder)
    _launch(wanted, folder, config or LaunchConfig())


def resume(folder: Path, config: LaunchConfig | None = None) -> None:
    """Start the command of the run in ``folder`` again, which goes on from its last checkpoint; returns at once.

    ``config`` is by default that of the last time, or local. Errors: :class:`LanternError` if the run is live or done, or was
    not made by a command.
    """
    folder = folder.absolute()
    told = read_status(folder)
    require(told["state"] != "done", f"{folder} is done", "For another one from the beginning: python -m explorer runs repeat.")
    before = read_command(folder)
    named = f"{folder} does not say which command made it"
    if before is None:
        raise LanternError(named, "Start the same command again by hand.")
    require(before.directory.is_dir(), f"{before.directory}, where it was started, is gone", "Make that folder again.")
    _launch(before, folder, config or read_launch(folder) or LaunchConfig(), told["kind"])


def stop(folder: Path, now: bool = False) -> None:
    """Ask the run in ``folder`` to save and stop after the step at hand; ``now``: to stop at once, without saving.

    Errors: :class:`LanternError` if it is not live.
    """
    folder = folder.absolute()
    told = read_status(folder)
    require(told["state"] in LIVE, f"{folder} {in_words(told['state'])}", "There is nothing to stop.")
    first = not (folder / "stop").exists()
    (folder / "stop").touch()
    if told["process"] is None and told["job"]:
        slurm.cancel(told["job"])
        _settle(folder, told, "stopped")
    elif now or first:
        _signal(told, 2 if now else 1)


def remove(folder: Path) -> None:
    """Delete the ``folder`` of a run that is not live, with all that is in it.

    Errors: :class:`LanternError` if it is live, or no folder of a run.
    """
    told = read_status(folder)
    require(told["state"] not in LIVE, f"{folder} {in_words(told['state'])}", "Stop it first: python -m explorer runs stop.")
    require(not folder.is_symlink(), f"{folder} is a link", "Delete the folder that it leads to.")
    with held(folder, _PATIENCE):
        shutil.rmtree(folder)


def _check_command(wanted: Command, folder: Path) -> None:
    # The program that is to be started, asked what it will say of these words: it stands above this floor.
    importlib.import_module("explorer.__main__").check(wanted.arguments)
    named = command.folder_of(wanted.arguments)
    same = named is None or (wanted.directory / named).resolve() == folder.resolve()
    require(same, f"the command writes to {named}, not to {folder}", "Name the same folder twice.")


def _launch(wanted: Command, folder: Path, config: LaunchConfig, kind: str | None = None) -> None:
    if config.cluster == "slurm":
        require(slurm.available(), "there is no Slurm on this machine (sbatch)", "Choose cluster local.")
    _check_free(folder, wanted)
    with held(folder, _PATIENCE):
        _check_free(folder, wanted)
        (folder / "stop").unlink(missing_ok=True)
        wanted.save(folder)
        save_launch(folder, config)
        queued = _as_before(folder, Status(kind or wanted.arguments[0], "queued"))
        try:
            _submit(folder, wanted, config, queued) if config.cluster == "slurm" else _spawn(folder, wanted, config, queued)
        except BaseException:
            if not (folder / status.NAME).exists():
                # It is nobody's folder still.
                for name in (command.NAME, launching.NAME):
                    (folder / name).unlink(missing_ok=True)
            raise


def _check_free(folder: Path, wanted: Command) -> None:
    if (folder / status.NAME).exists():
        told = read_status(folder)
        already = f"{folder} {in_words(told['state'])} already"
        require(told["state"] not in LIVE, already, "Stop it first, or choose another folder.")
    before = read_command(folder)
    if before is not None and before.arguments != wanted.arguments:
        told_before = f"{folder} holds the run of another command ({' '.join(before.arguments)})"
        raise LanternError(told_before, "Choose another folder, or resume that run.")


def _as_before(folder: Path, queued: Status) -> Status:
    """``queued`` with how far the run in ``folder`` had come."""
    try:
        told = read_json(folder / status.NAME)
        queued.step, queued.steps = int(told["step"]), int(told["steps"])
    except (LanternError, KeyError, TypeError, ValueError):
        pass
    return queued


def _submit(folder: Path, wanted: Command, config: LaunchConfig, queued: Status) -> None:
    parameters = config.sbatch(f"lantern-{wanted.arguments[0]}")
    parameters["additional_parameters"]["chdir"] = str(wanted.directory)
    queued.job = slurm.submit(folder / "slurm", slurm.worker_command(folder), parameters)
    slurm.forget_answers()
    queued.waiting = f"waits for Slurm (job {queued.job})"
    queued.write(folder)


def _spawn(folder: Path, wanted: Command, config: LaunchConfig, queued: Status) -> None:
    environment = {
        **{name: value for name, value in os.environ.items() if name not in _TOGETHER},
        # What submitit's own local executor tells its controller.
        "SUBMITIT_EXECUTOR": "local",
        "SUBMITIT_LOCAL_NTASKS": str(config.processes),
        "SUBMITIT_LOCAL_COMMAND": slurm.worker_command(folder),
        "SUBMITIT_LOCAL_TIMEOUT_S": str(60 * (config.minutes or MAX_MINUTES)),
        "SUBMITIT_LOCAL_SIGNAL_DELAY_S": str(config.warning),
        "SUBMITIT_LOCAL_NODEID": "0",
        "SUBMITIT_LOCAL_JOB_NUM_NODES": "1",
        "SUBMITIT_STDERR_TO_STDOUT": "1",
        "SUBMITIT_LOCAL_WITH_SHELL": "",
        "PYTHONPATH": os.pathsep.join(filter(None, (str(_source()), os.environ.get("PYTHONPATH", "")))),
    }
    if config.processes > 1:
        environment |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port())}
    with (folder / "log.txt").open("ab") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "explorer.runs.controller", str(folder)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            cwd=wanted.directory,
            env=environment,
            # A session of its own: neither Ctrl-C nor the end of the terminal reaches it.
            start_new_session=True,
        )
    _started[:] = [earlier for earlier in _started if earlier.poll() is None] + [child]
    queued.waiting = STARTS
    queued.of_process(child.pid).write(folder)
    if child.stdin is not None:
        # It has waited for this, and now finds in the folder what was written above.
        child.stdin.close()


def _source() -> Path:
    return Path(__file__).resolve().parents[2]


def _free_port() -> int:
    with socket.socket() as tried:
        tried.bind(("127.0.0.1", 0))
        port: int = tried.getsockname()[1]
        return port


def _signal(told: dict[str, Any], times: int) -> None:
    if told["job"]:
        slurm.signal_job(told["job"], "TERM")
        if times > 1:
            slurm.cancel(told["job"])
    elif alive(told):
        for _ in range(times):
            os.kill(int(told["process"]), signal.SIGTERM)


def _settle(folder: Path, told: dict[str, Any], state: str) -> None:
    """Write down the ``state`` of a run that no process will."""
    names = {field for field in Status.__dataclass_fields__ if field in told}
    Status(**{**{name: told[name] for name in names}, "state": state, "waiting": None}).write(folder)

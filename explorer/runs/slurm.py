"""Slurm as far as a run needs it: hand a job in, ask whether it waits, signal it, have it queued again."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from segmentation.errors import LanternError

_ASKED_EVERY = 2.0
_PATIENCE = 10.0
_WAITING = ("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT")
_lock = threading.Lock()
_seen: dict[str, Any] = {"at": None, "jobs": None}


def available() -> bool:
    """Whether this machine can hand jobs in to Slurm."""
    return shutil.which("sbatch") is not None and shutil.which("srun") is not None


def job_here() -> str | None:
    """The number of the job that this process is part of; None outside of Slurm."""
    return os.environ.get("SLURM_JOB_ID") or None


def own_job() -> str | None:
    """The number of the job that was handed in for the run of this process; None if it is no such run."""
    return job_here() if os.environ.get("SUBMITIT_EXECUTOR") == "slurm" else None


def submit(folder: Path, worker: str, parameters: Mapping[str, Any]) -> str:
    """Hand in a job that runs the command line ``worker`` in each of its tasks; returns its number.

    submitit writes the batch file to ``folder``. What the tasks print goes to ``log.txt`` beside it. Errors:
    :class:`LanternError` if Slurm refuses it.
    """
    from submitit.core.utils import FailedJobError, FailedSubmissionError
    from submitit.slurm.slurm import SlurmExecutor

    folder.mkdir(parents=True, exist_ok=True)
    log = str(folder.parent / "log.txt")
    # A task that fails ends the others, which would wait for it.
    srun = ["srun", "--unbuffered", f"--output={log}", "--open-mode=append", "--kill-on-bad-exit=1"]
    executor = SlurmExecutor(folder)
    more = {"output": log, **parameters.get("additional_parameters", {})}
    executor.update_parameters(
        **{**parameters, "additional_parameters": more, "use_srun": False, "stderr_to_stdout": True},
    )
    try:
        # Not submit(), which pickles a function: a command line needs none.
        return str(executor._submit_command(f"{shlex.join(srun)} {worker}").job_id)
    except (FailedJobError, FailedSubmissionError, OSError) as error:
        said = " ".join((str(error) or str(error.__cause__)).split())
        raise LanternError(
            f"Slurm refused the run ({said[-400:]})", "Look at the options; sinfo shows the partitions."
        ) from error


def worker_command(folder: Path) -> str:
    """The command line of one task of the run in ``folder``."""
    return shlex.join([sys.executable, "-u", "-m", "explorer.runs.worker", str(folder)])


def _jobs() -> dict[str, str] | None:
    """Every job that Slurm knows, with its state; None if it does not answer. Asked at most every two seconds."""
    with _lock:
        now = time.monotonic()
        if _seen["at"] is None or now - _seen["at"] > _ASKED_EVERY:
            _seen.update(at=now, jobs=_ask())
        jobs: dict[str, str] | None = _seen["jobs"]
        return jobs


def _ask() -> dict[str, str] | None:
    if shutil.which("squeue") is None:
        return None
    said = _call("squeue", "--noheader", "--states=all", "--format=%i %T")
    if said is None:
        return None
    return dict(line.split(maxsplit=1) for line in said.splitlines() if len(line.split()) == 2)


def forget_answers() -> None:
    """Ask Slurm anew the next time."""
    with _lock:
        _seen.update(at=None, jobs=None)


def waits(job: str) -> bool:
    """Whether Slurm holds the ``job`` back for now."""
    jobs = _jobs()
    return jobs is not None and jobs.get(job) in _WAITING


def forgotten(job: str) -> bool:
    """Whether Slurm answers and neither holds the ``job`` back nor runs it."""
    jobs = _jobs()
    return jobs is not None and jobs.get(job) not in (*_WAITING, "RUNNING", "COMPLETING", "SUSPENDED", "STOPPED")


def cancel(job: str) -> None:
    """Take the ``job`` out of Slurm."""
    _call("scancel", job)
    forget_answers()


def signal_job(job: str, name: str) -> None:
    """Send the signal ``name`` to every task of the ``job``."""
    _call("scancel", f"--signal={name}", job)


def preempted(job: str) -> bool:
    """Whether the ``job``, which runs, has been told to give way to another one."""
    said = _call("scontrol", "--oneliner", "show", "job", job) or ""
    told = dict(word.split("=", 1) for word in said.split() if "=" in word)
    return told.get("JobState") == "RUNNING" and told.get("PreemptTime", "None") not in ("None", "Unknown", "")


def requeue(job: str) -> bool:
    """Have Slurm start the ``job``, which runs, once more later; whether Slurm agreed."""
    return _call("scontrol", "requeue", job) is not None


def _call(*command: str) -> str | None:
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return ended.stdout if ended.returncode == 0 else None

"""How a launched command ended that never became a run of its own accord, written down where it is watched."""

from __future__ import annotations

import os
from pathlib import Path

from explorer.runs import status
from explorer.runs.command import launched_folder
from explorer.runs.slurm import own_job
from explorer.runs.status import STARTS, Status, remedy_of
from segmentation.errors import LanternError
from segmentation.files import read_json
from segmentation.runfolder import held


def starting(folder: Path) -> None:
    """Say that this process is about to become the run in ``folder``; a step that it had come to stays."""
    try:
        with held(folder):
            told = read_json(folder / status.NAME)
            kept = {name: told[name] for name in ("kind", "step", "steps", "started")}
            Status(**kept, state="queued", waiting=STARTS, job=own_job()).of_process().write(folder)
    except (LanternError, OSError, TypeError, KeyError):
        # Another process has the folder: the run will say so.
        return


def refuse(error: BaseException) -> None:
    """Record ``error`` as the end of the run that this process was launched for, if that has not begun."""
    problem, remedy = remedy_of(error)
    _conclude("failed", problem, remedy)


def finish() -> None:
    """Record that what this process was launched for is done, if it was no run that says so itself."""
    _conclude("done", None, None)


def _conclude(state: str, error: str | None, remedy: str | None) -> None:
    folder = launched_folder()
    if folder is None or int(os.environ.get("RANK") or 0) != 0:
        return
    try:
        told = read_json(folder / status.NAME)
        # Until it begins it stands there with this process, as the worker that became it has said.
        if told["state"] != "queued" or told["process"] != os.getpid():
            return
        kept = {name: told[name] for name in ("kind", "step", "steps", "started", "job")}
        Status(**kept, state=state, error=error, remedy=remedy).of_process().write(folder)
    except (LanternError, OSError, TypeError, KeyError):
        # Somebody else has the folder, or it is gone: then there is nobody to tell.
        return

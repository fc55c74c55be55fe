"""Runs as whoever watches them sees them: the page, a terminal, another program."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from explorer.runs import status
from explorer.runs.command import read_command
from explorer.runs.status import LIVE, read_status
from segmentation.errors import LanternError, require

_DEPTH = 4
_INSIDE = ("samples", "directions", "slurm")
"""Folders of a run that hold no runs."""


@dataclasses.dataclass(frozen=True)
class RunView:
    """A run as its folder tells of it; times in seconds, ``started`` and ``updated`` since 1970."""

    folder: Path
    kind: str
    state: str
    """queued, running, done, stopped, failed, or dead: its process has gone without a word."""
    step: int
    steps: int
    steps_per_second: float
    seconds_left: float | None
    error: str | None
    remedy: str | None
    waiting: str | None
    """Of a queued run: what it waits for."""
    started: float
    updated: float
    command: tuple[str, ...]
    """The arguments after ``python -m explorer``; empty if no command made it."""
    host: str
    process: int | None
    job: str | None
    """Its number in Slurm."""

    @property
    def live(self) -> bool:
        """Whether it is queued or running."""
        return self.state in LIVE

    @property
    def resumable(self) -> bool:
        """Whether it can be resumed: it has ended before its end, and a command made it."""
        return not self.live and self.state != "done" and bool(self.command)

    def to_json(self) -> dict[str, Any]:
        """The values as plain JSON types."""
        return {**dataclasses.asdict(self), "folder": str(self.folder), "command": list(self.command)}


def view(folder: Path) -> RunView:
    """The run in ``folder``. Errors: :class:`LanternError` if there is none."""
    require(
        (folder / status.NAME).is_file(), f"{folder} is no folder of a run", "Runs are listed by: python -m explorer runs list"
    )
    told = read_status(folder)
    try:
        command = read_command(folder)
    except LanternError:
        command = None
    values = {field.name: told[field.name] for field in dataclasses.fields(RunView) if field.name in told}
    return RunView(**values, folder=folder, command=() if command is None else command.arguments)


def list_runs(root: Path) -> list[RunView]:
    """Every run in a folder under ``root``, the newest first; folders whose status cannot be read are passed over."""
    found = []
    for folder in run_folders(root):
        try:
            found.append(view(folder))
        except LanternError:
            continue
    return sorted(found, key=lambda run: (run.started, str(run.folder)), reverse=True)


def run_folders(root: Path) -> Iterator[Path]:
    """The folders under ``root``, itself included, that have a status; at most four floors down."""
    for name, folders, files in os.walk(root):
        place = Path(name)
        if status.NAME in files:
            yield place
        deep = len(place.relative_to(root).parts) >= _DEPTH
        folders[:] = [] if deep else sorted(one for one in folders if one not in _INSIDE and not one.startswith("."))


def metrics(folder: Path, after: int = 0) -> list[dict[str, Any]]:
    """The figures of each step later than ``after``, from ``metrics.jsonl``; a line that is half written is left for later."""
    try:
        text = (folder / "metrics.jsonl").read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return []
    found = []
    for line in text.splitlines():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(record, dict) and record.get("step", 0) > after:
            found.append(record)
    return found


def tail(folder: Path, lines: int = 40) -> list[str]:
    """The last ``lines`` of ``log.txt``."""
    try:
        with (folder / "log.txt").open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(0, size - 400 * lines - 4096))
            text = stream.read().decode("utf-8", errors="replace")
    except FileNotFoundError:
        return []
    return text.splitlines()[-lines:] if lines > 0 else []

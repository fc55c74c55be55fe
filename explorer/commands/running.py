"""The command that looks after runs: list, show, tail, start, stop, resume, repeat, delete."""

from __future__ import annotations

import dataclasses
import io
import json
import shutil
import sys
import time
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from typing import Annotated

import tyro
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from explorer.runs import launcher
from explorer.runs.command import (
    RUNS_BESIDE,
    RUNS_BY_OPTION,
    RUNS_BY_OUT,
    folder_of,
    is_run,
    moved,
    read_command,
    runs_root,
)
from explorer.runs.launcher import LaunchConfig
from explorer.runs.launching import read_launch
from explorer.runs.listing import RunView, list_runs, metrics, run_folders, tail, view
from explorer.runs.status import STATES, in_words, listen
from segmentation.configuration import check_choice, check_range
from segmentation.errors import LanternError, require

EXITS = {"done": 0, "failed": 1, "stopped": 3, "dead": 4}
"""Exit codes of ``runs resume --wait`` and its like, by how the run ended."""
_FLAT = tyro.conf.arg(name="")
_WIDTH = 160
_LOOKED_EVERY = 0.5


@dataclasses.dataclass(frozen=True)
class List:
    """A table of the runs under a folder, the newest first."""

    root: tyro.conf.Positional[Path | None] = None
    """The folder; by default what LANTERN_RUNS names, else runs."""
    state: str | None = None
    """Only runs of this state: queued, running, done, stopped, failed or dead."""
    json: bool = False
    """As JSON."""

    def run(self) -> None:
        """Print it."""
        if self.state is not None:
            check_choice("state", self.state, STATES)
        root = runs_root() if self.root is None else self.root
        require(self.root is None or root.is_dir(), f"{root} is no folder", "Give a folder with runs in it.")
        listen(list(run_folders(root)))
        runs = [run for run in list_runs(root) if self.state in (None, run.state)]
        if self.json:
            print(json.dumps([run.to_json() for run in runs], indent=2))
            return
        if runs:
            print(_overview(runs, shutil.get_terminal_size((_WIDTH, 0)).columns))
        print(f"{len(runs)} run{'s' * (len(runs) != 1)} under {root}")


@dataclasses.dataclass(frozen=True)
class Show:
    """All that is known of a run."""

    path: tyro.conf.Positional[Path]
    """The run's folder."""
    json: bool = False
    """As JSON."""

    def run(self) -> None:
        """Print it."""
        listen([self.path])
        run = view(self.path)
        last = metrics(self.path)[-1:]
        if self.json:
            print(json.dumps({**run.to_json(), "figures": last[0] if last else {}}, indent=2))
            return
        for title, text in _facts(run):
            print(f"{title:<10}{text}")
        for name, value in (last[0] if last else {}).items():
            if name != "step":
                print(f"  {name:<20}{value}")


@dataclasses.dataclass(frozen=True)
class Tail:
    """The last lines of a run's log."""

    path: tyro.conf.Positional[Path]
    """The run's folder."""
    lines: int = 40
    """How many."""
    follow: bool = False
    """Go on with what is added, until the run has ended."""

    def run(self) -> None:
        """Print them."""
        check_range("lines", self.lines, 0, 1_000_000)
        view(self.path)
        log = self.path / "log.txt"
        position = log.stat().st_size if log.is_file() else 0
        for line in tail(self.path, self.lines):
            print(line)
        while self.follow:
            live = view(self.path).live
            if log.is_file():
                with log.open("rb") as stream:
                    stream.seek(position)
                    added = stream.read()
                position += len(added)
                print(added.decode("utf-8", errors="replace"), end="", flush=True)
            if not live:
                return
            time.sleep(_LOOKED_EVERY)


@dataclasses.dataclass(frozen=True)
class Start:
    """Start a command as a run that outlives this one: runs start -- train --steps 400 --out runs/first."""

    arguments: tyro.conf.Positional[tuple[str, ...]]
    """The command with its options, after ``--``."""
    launch: Annotated[LaunchConfig, _FLAT] = dataclasses.field(default_factory=LaunchConfig)
    """Where and how."""
    folder: Path | None = None
    """The run's folder, of a command that does not name it itself; by default a new one."""
    wait: bool = False
    """Come back when it has ended; the exit code says how: 0 done, 1 failed, 3 stopped, 4 dead."""

    def run(self) -> None:
        """Start it."""
        require(bool(self.arguments), "no command is given", "Give it after --: runs start -- train --out runs/first")
        known = ", ".join(sorted((*RUNS_BY_OUT, *RUNS_BY_OPTION, *RUNS_BESIDE)))
        name = " ".join(takewhile(lambda word: not word.startswith("-"), self.arguments[:2]))
        remedy = f"Start one of: {known}; or this one without runs start."
        require(is_run(self.arguments), f"{name!r} is no command that makes a run", remedy)
        folder = self.folder or folder_of(self.arguments) or _unused(runs_root() / self.arguments[0])
        launcher.start(self.arguments, folder, self.launch)
        _started(folder, self.wait)


@dataclasses.dataclass(frozen=True)
class Stop:
    """Ask a run to save and stop after the step at hand."""

    path: tyro.conf.Positional[Path]
    """The run's folder."""
    now: bool = False
    """Stop at once, without saving."""
    wait: bool = False
    """Come back when it has stopped; the exit code says how it ended: 0 done, 1 failed, 3 stopped, 4 dead."""

    def run(self) -> None:
        """Ask it."""
        view(self.path)
        launcher.stop(self.path, self.now)
        if self.wait:
            _wait(self.path)
        else:
            print(f"{self.path} was asked to stop")


@dataclasses.dataclass(frozen=True)
class Resume:
    """Go on with a run that was stopped, failed or died, from its last checkpoint."""

    path: tyro.conf.Positional[Path]
    """The run's folder."""
    wait: bool = False
    """Come back when it has ended; the exit code says how: 0 done, 1 failed, 3 stopped, 4 dead."""
    cluster: str | None = None
    """local or slurm; by default as the last time."""
    minutes: int | None = None
    """Another time limit."""

    def run(self) -> None:
        """Start it."""
        view(self.path)
        launcher.resume(self.path, _changed(self.path, self.cluster, self.minutes))
        _started(self.path, self.wait)


@dataclasses.dataclass(frozen=True)
class Repeat:
    """Start the command of a run once more, from the beginning, in a new folder."""

    path: tyro.conf.Positional[Path]
    """The run's folder."""
    to: Path | None = None
    """The new folder; by default the old one's name with a number."""
    wait: bool = False
    """Come back when it has ended; the exit code says how: 0 done, 1 failed, 3 stopped, 4 dead."""

    def run(self) -> None:
        """Start it."""
        view(self.path)
        before = read_command(self.path)
        if before is None:
            raise LanternError(f"{self.path} does not say which command made it", "Start the command again by hand.")
        folder = (self.to or _unused(self.path)).absolute()
        require(not folder.exists(), f"{folder} exists", "Choose a new folder.")
        launcher.start(moved(before.arguments, folder), folder, read_launch(self.path) or LaunchConfig(), before.directory)
        _started(folder, self.wait)


@dataclasses.dataclass(frozen=True)
class Delete:
    """Delete runs that are not live, with everything in their folders."""

    paths: tyro.conf.Positional[tuple[Path, ...]]
    """The runs' folders."""

    def run(self) -> None:
        """Delete them."""
        require(bool(self.paths), "no run is given", "Give the folders of runs.")
        for path in self.paths:
            view(path)
        listen(self.paths)
        for path in self.paths:
            launcher.remove(path)
            print(f"{path} is deleted")


def runs(
    action: Annotated[
        Annotated[List, tyro.conf.subcommand("list")]
        | Annotated[Show, tyro.conf.subcommand("show")]
        | Annotated[Tail, tyro.conf.subcommand("tail")]
        | Annotated[Start, tyro.conf.subcommand("start")]
        | Annotated[Stop, tyro.conf.subcommand("stop")]
        | Annotated[Resume, tyro.conf.subcommand("resume")]
        | Annotated[Repeat, tyro.conf.subcommand("repeat")]
        | Annotated[Delete, tyro.conf.subcommand("delete")],
        _FLAT,
    ],
) -> None:
    """Runs: list, show, tail, start, stop, resume, repeat and delete them.

    Args:
        action: what to do.
    """
    action.run()


def _started(folder: Path, wait: bool) -> None:
    print(f"{folder} is started", file=sys.stderr if wait else sys.stdout)
    if wait:
        _wait(folder)


def _wait(folder: Path) -> None:
    """Show how far the run in ``folder`` is until it has ended; leaves with the exit code that says how."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, TimeRemainingColumn(), console=console) as progress:
        run = view(folder)
        task = progress.add_task(run.kind, total=run.steps or None, completed=run.step)
        while run.live:
            doing = f"{run.kind}: {run.waiting}" if run.waiting else run.kind
            progress.update(task, description=doing, total=run.steps or None, completed=run.step)
            time.sleep(_LOOKED_EVERY)
            run = view(folder)
        progress.update(task, description=run.kind, total=run.steps or None, completed=run.step)
    blame = f": {run.error}. {run.remedy or ''}".rstrip() if run.error else ""
    console.print(f"{folder} {in_words(run.state)} at step {run.step} of {run.steps}{blame}", markup=False, soft_wrap=True)
    if code := EXITS[run.state]:
        sys.exit(code)


def _changed(folder: Path, cluster: str | None, minutes: int | None) -> LaunchConfig | None:
    if cluster is None and minutes is None:
        return None
    config = read_launch(folder) or LaunchConfig()
    if cluster is not None and cluster != config.cluster:
        config = LaunchConfig(cluster=cluster, processes=config.processes, minutes=config.minutes)
    return config if minutes is None else dataclasses.replace(config, minutes=minutes)


def _unused(folder: Path) -> Path:
    """``folder``, or if it is there already its name with the next number: first-2, photographs-2.run."""
    suffix = ".run" if folder.suffix == ".run" else ""
    stem, _, number = folder.name.removesuffix(suffix).rpartition("-")
    if not stem or not number.isdecimal():
        stem, number = folder.name.removesuffix(suffix), "1"
    count = int(number)
    while folder.exists():
        count += 1
        folder = folder.with_name(f"{stem}-{count}{suffix}")
    return folder


def _overview(runs: Sequence[RunView], width: int) -> str:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True, show_edge=False)
    for title in ("run", "kind", "state"):
        table.add_column(title, no_wrap=True)
    for title in ("step", "a second", "left"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("what of it")
    for run in runs:
        speed = f"{run.steps_per_second:.3g}" if run.live and run.steps_per_second else ""
        cells = (str(run.folder), run.kind, run.state, f"{run.step}/{run.steps}", speed, _span(run.seconds_left))
        table.add_row(*(Text(cell) for cell in cells), Text(run.waiting or run.error or ""))
    # Printed as text, so that a reader that has gone away is seen by whoever prints.
    console = Console(file=io.StringIO(), width=width, color_system=None)
    with console.capture() as captured:
        console.print(table)
    return "\n".join(line.rstrip() for line in captured.get().strip("\n").splitlines())


def _facts(run: RunView) -> list[tuple[str, str]]:
    where = f"process {run.process} on {run.host}" if run.process is not None else "no process"
    told = [("run", str(run.folder)), ("kind", run.kind), ("state", run.state), ("step", f"{run.step} of {run.steps}")]
    if run.live and run.steps_per_second:
        told += [("speed", f"{run.steps_per_second:.3g} steps a second, {_span(run.seconds_left)} left")]
    told += [(title, text) for title, text in (("waiting", run.waiting), ("error", run.error), ("remedy", run.remedy)) if text]
    told += [("where", f"{where}, Slurm job {run.job}" if run.job else where)]
    told += [("started", _clock(run.started)), ("updated", _clock(run.updated))]
    if run.command:
        told.append(("command", f"python -m explorer {' '.join(run.command)}"))
    return told


def _clock(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def _span(seconds: float | None) -> str:
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"

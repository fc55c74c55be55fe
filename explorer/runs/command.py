"""The command of a run, kept in its folder: with it whoever finds the folder can resume or repeat the run."""

from __future__ import annotations

import dataclasses
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

from segmentation.errors import LanternError
from segmentation.files import read_json, write_json

NAME = "command.json"
LAUNCHED = "LANTERN_RUN"
"""The environment variable that tells a launched command the folder of its run."""
LIMIT = (signal.SIGUSR1, signal.SIGUSR2)
"""The signals that say that the time is nearly over; Slurm sends one some time before it ends a job."""
RUNS_BY_OUT = ("generate", "train", "discover", "fit-generator", "fit-features", "sweep", "ablate", "reproduce")
"""Commands whose ``--out`` is the folder of their run."""
RUNS_BY_OPTION = ("directions", "rank", "calibrate", "evaluate", "measure-generator")
"""Commands that are runs with an option ``--run``, or when they are launched."""
RUNS_BESIDE = ("encode", "data export")
"""Commands whose run lies beside their ``--out``, under that name and ``.run``."""
_CODES = ".npy"
_ROOT = "LANTERN_RUNS"
_current: list[Command] = []


@dataclasses.dataclass(frozen=True)
class Command:
    """The arguments after ``python -m explorer``, and the folder from which their relative paths count."""

    arguments: tuple[str, ...]
    directory: Path

    def save(self, folder: Path) -> None:
        """Keep it in the run's ``folder``."""
        write_json(folder / NAME, {"arguments": list(self.arguments), "directory": str(self.directory)})


def runs_root() -> Path:
    """The folder of runs: what LANTERN_RUNS names, by default ``runs`` in the current folder."""
    return Path(os.environ.get(_ROOT) or "runs")


@contextmanager
def carried_out(arguments: Sequence[str]) -> Iterator[None]:
    """Say for the block that this process carries out the command with ``arguments``, for the runs that it makes."""
    before = list(_current)
    _current[:] = [Command(tuple(arguments), Path.cwd())]
    try:
        yield
    finally:
        _current[:] = before


def current() -> Command | None:
    """The command that this process carries out, None in a program that is no command."""
    return _current[0] if _current else None


def read_command(folder: Path) -> Command | None:
    """The command of the run in ``folder``; None if it was no command that made it."""
    if not (folder / NAME).is_file():
        return None
    told = read_json(folder / NAME)
    try:
        arguments = tuple(map(str, told["arguments"]))
        return Command(arguments, Path(told["directory"]))
    except (KeyError, TypeError) as error:
        raise LanternError(f"{folder / NAME} is no record of a command", "Start the command again by hand.") from error


def launched_folder() -> Path | None:
    """The run's folder that whoever launched this process gave it; None if nobody did."""
    named = os.environ.get(LAUNCHED)
    return Path(named) if named else None


def launched(folder: Path) -> bool:
    """Whether this process was launched to make the run in ``folder``."""
    named = launched_folder()
    return named is not None and named.resolve() == folder.resolve()


def folder_of(arguments: Sequence[str]) -> Path | None:
    """The run's folder that ``arguments`` name; None if they leave it to whoever launches them."""
    if not arguments:
        return None
    named = _values(arguments, "--run")
    beside = _name(arguments) in RUNS_BESIDE
    if not named and (beside or arguments[0] in RUNS_BY_OUT):
        named = _values(arguments, "--out")
    if not named:
        return None
    path = Path(named[-1])
    return folder_beside(path) if beside else path


def is_run(arguments: Sequence[str]) -> bool:
    """Whether ``arguments`` are those of a command that makes a run."""
    return _name(arguments) in (*RUNS_BY_OUT, *RUNS_BY_OPTION, *RUNS_BESIDE)


def folder_beside(out: Path) -> Path:
    """The folder of the run that makes ``out``: z.run of the file z.npy, tars.run of the folder tars."""
    named = out if out.name not in ("", "..") else out.resolve()
    return named.parent / f"{named.stem if named.suffix.lower() == _CODES else named.name}.run"


def _name(arguments: Sequence[str]) -> str:
    """The command in ``arguments``; of those of a group, such as ``data export``, with the name of the group."""
    return next((name for name in RUNS_BESIDE if list(arguments[: len(name.split())]) == name.split()), "".join(arguments[:1]))


def moved(arguments: Sequence[str], folder: Path) -> tuple[str, ...]:
    """``arguments`` with the run's ``folder`` in the place of the one that they name, if they name one."""
    if folder_of(arguments) is None:
        return tuple(arguments)
    option = "--run" if _values(arguments, "--run") else "--out"
    if _name(arguments) in RUNS_BESIDE:
        folder = folder.with_suffix(_CODES if arguments[0] == "encode" else "")
    value = str(folder)
    changed = list(arguments)
    for place, argument in enumerate(arguments):
        if argument == option and place + 1 < len(changed):
            changed[place + 1] = value
        elif argument.startswith(f"{option}="):
            changed[place] = f"{option}={value}"
    return tuple(changed)


def _values(arguments: Sequence[str], option: str) -> list[str]:
    after = [second for first, second in pairwise(arguments) if first == option]
    return after + [argument.partition("=")[2] for argument in arguments if argument.startswith(f"{option}=")]

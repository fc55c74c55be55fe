"""All runs as the page shows them: chosen by their names under one folder, never by a path that a visitor gives."""

from __future__ import annotations

import dataclasses
import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from explorer.runs.listing import RunView, list_runs, metrics, tail, view
from explorer.runs.status import in_words
from segmentation.errors import LanternError, require
from segmentation.pictures import tile
from segmentation.reading import Shards
from segmentation.shards import MANIFEST

POINTS = 400
"""Points of a curve that is drawn; longer ones are thinned."""
_FRESH_SECONDS = 0.7


@dataclasses.dataclass(frozen=True)
class Named:
    """A run and the name it goes by on the page: its folder below the folder of runs."""

    name: str
    run: RunView

    @property
    def mark(self) -> tuple[Any, ...]:
        """Changes when what a list shows of the run does."""
        run = self.run
        left = None if run.seconds_left is None else int(run.seconds_left)
        return (self.name, run.state, run.step, run.steps, left, run.error, run.waiting)


class Overview:
    """The runs under ``root``; many visitors asking each second read the disk once."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self._lock = Lock()
        self._read, self._found = -1e9, tuple[Named, ...]()
        self._curves: dict[Path, tuple[tuple[float, int], dict[str, Any]]] = {}

    def runs(self, kinds: Sequence[str] = ()) -> list[Named]:
        """Every run of ``kinds`` (of all if there are none), newest first."""
        with self._lock:
            if time.monotonic() - self._read > _FRESH_SECONDS:
                found = list_runs(self.root) if self.root.is_dir() else []
                self._found = tuple(Named(run.folder.relative_to(self.root).as_posix(), run) for run in found)
                self._read = time.monotonic()
            found_now = self._found
        return [named for named in found_now if not kinds or named.run.kind in kinds]

    def get(self, name: str) -> Named:
        """The run called ``name``, read anew; :class:`LanternError` if there is none."""
        self.forget()
        for named in self.runs():
            if named.name == name:
                return Named(name, view(named.run.folder))
        raise LanternError(f"there is no run called {str(name)[:80]!r}", "Choose one from the list; it may have been deleted.")

    def forget(self) -> None:
        """Read the disk again the next time."""
        with self._lock:
            self._read = -1e9

    def newest(self, kinds: Sequence[str] = ()) -> str | None:
        """The name of the newest live run of ``kinds``, else of the newest one; None if there is none."""
        found = self.runs(kinds)
        live = [named for named in found if named.run.live]
        return (live or found)[0].name if found else None

    def data_sets(self) -> list[str]:
        """The names of the data sets that can be trained on, newest first: those with a finished part that no run adds to."""
        found = self.runs(("generate",))
        return [named.name for named in found if not named.run.live and (named.run.folder / MANIFEST).is_file()]

    def data_set(self, name: str) -> Shards:
        """The data set of the run called ``name``.

        Errors: :class:`LanternError` if there is no such run, it is not finished, or its files are damaged; it says so without
        where on this machine they lie.
        """
        run = self.get(name).run
        require(not run.live, f"the data set {name} {in_words(run.state)}", "Wait until it is done, or stop it.")
        try:
            return Shards(run.folder)
        except LanternError as error:
            folder = str(run.folder)
            raise LanternError(error.problem.replace(folder, name), error.remedy.replace(folder, name)) from error

    def curves(self, named: Named) -> dict[str, tuple[list[float], list[float]]]:
        """The figures of the run by name: steps and values, at most :data:`POINTS` of each."""
        path = named.run.folder / "metrics.jsonl"
        try:
            found = path.stat()
        except FileNotFoundError:
            return {}
        mark = (found.st_mtime, found.st_size)
        known = self._curves.get(named.run.folder)
        if known is None or known[0] != mark:
            known = (mark, thinned(metrics(named.run.folder)))
            self._curves = {**dict(list(self._curves.items())[-16:]), named.run.folder: known}
        return known[1]


def thinned(records: Sequence[dict[str, Any]]) -> dict[str, tuple[list[float], list[float]]]:
    """Records of ``metrics.jsonl`` as a curve a figure, with the means of neighbours where there are too many."""
    curves: dict[str, tuple[list[float], list[float]]] = {}
    for record in records:
        for name, value in record.items():
            if name != "step" and isinstance(value, int | float):
                steps, values = curves.setdefault(name, ([], []))
                steps.append(float(record["step"]))
                values.append(float(value))
    return {name: (_means(steps), _means(values)) for name, (steps, values) in curves.items()}


def _means(values: list[float]) -> list[float]:
    if len(values) <= POINTS:
        return values
    return [float(part.mean()) for part in np.array_split(np.array(values), POINTS)]


def configuration(named: Named) -> str:
    """``config.json`` of the run as text; "" if it has none yet."""
    path = named.run.folder / "config.json"
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def command_line(named: Named) -> str:
    """What to type to make the run again; "" if no command made it."""
    return shlex.join(["python", "-m", "explorer", *named.run.command]) if named.run.command else ""


def log(named: Named, lines: int = 60) -> str:
    """The end of the run's log."""
    return "\n".join(tail(named.run.folder, lines))


def newest_picture(named: Named) -> Path | None:
    """The last sample picture of the run; None before the first."""
    found = sorted((named.run.folder / "samples").glob("[!.]*.png"), key=lambda path: (path.stat().st_mtime, path.name))
    return found[-1] if found else None


def read_picture(path: Path) -> NDArray[np.uint8]:
    """The picture in ``path``, (H, W, 3)."""
    with Image.open(path) as opened:
        return np.asarray(opened.convert("RGB"))


def look_into(named: Named, first: int, count: int = 12) -> tuple[NDArray[np.uint8], int]:
    """Samples of a data set from number ``first`` on, images above masks, and how many there are by now.

    Errors: :class:`LanternError` if no shard is finished yet, or there is no such sample.
    """
    folder = named.run.folder
    ready = (folder / "manifest.json").is_file()
    require(ready, f"{named.name} has no finished part yet", "Wait until its first shard is written.")
    shards = Shards(folder)
    total = len(shards)
    require(total > 0, f"{named.name} has no finished part yet", "Wait until its first shard is written.")
    require(0 <= first < total, f"there is no sample {first}", f"There are {total} so far, counted from 0.")
    shown = [shards[index] for index in range(first, min(first + count, total))]
    images = np.stack([image for image, _ in shown])
    masks = np.stack([mask for _, mask in shown])[..., None].repeat(3, -1) * np.uint8(255)
    return tile(np.concatenate([images, masks]), len(shown)), total

"""Runs that the page starts: their command lines, made from the same configurations as the command line itself."""

from __future__ import annotations

import dataclasses
import re
import time
from pathlib import Path

from explorer.engine import EngineConfig
from explorer.knobs import options
from explorer.runs.command import runs_root
from explorer.runs.launcher import LaunchConfig, start
from explorer.views import SampleView, Workbench
from segmentation.configuration import Config
from segmentation.errors import require
from segmentation.shards import ShardConfig
from segmentation.training import TrainingConfig

QUICK = TrainingConfig(steps=400, batch_size=16)
"""A training of a few minutes on two cores; the paper's, the default of the command line, takes hours there."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)


@dataclasses.dataclass(frozen=True)
class Origin(Config):
    """What a run works with: the generator, the catalogue, the place."""

    generator: str = "pocket"
    """Name, file or class of the generator."""
    directions: Path | None = None
    """Folder of the catalogue."""
    engine: EngineConfig = EngineConfig()
    """Device and precision."""

    def words(self) -> list[str]:
        """The options of a command that say so."""
        said = ["--generator", self.generator]
        if self.directions is not None:
            said += ["--directions", str(self.directions.absolute())]
        return said + self.place_words()

    def place_words(self) -> list[str]:
        """Those of them that say where it works."""
        return [word.replace("--", "--engine.", 1) if word.startswith("--") else word for word in options(self.engine)]


def origin(bench: Workbench, catalogue: str | None = None) -> Origin:
    """What a run has to be told so that it works with ``bench`` and the ``catalogue`` of that name on its shelf.

    Errors: :class:`LanternError` if there is no such catalogue.
    """
    folder = None if bench.shelf.is_plain(catalogue) else bench.shelf.place(catalogue).current
    return Origin(bench.generator, folder, bench.engine.config)


def generate_words(origin: Origin, view: SampleView, config: ShardConfig, out: Path) -> list[str]:
    """The command line of a data set of the samples of ``view``."""
    return ["generate", *origin.words(), *_view_words(view), *options(config), "--out", str(out)]


def train_words(origin: Origin, view: SampleView, config: TrainingConfig, out: Path, data: Path | None = None) -> list[str]:
    """The command line of a training on the samples of ``view``, or on those of the data set in the folder ``data``."""
    if data is not None:
        return ["train", *origin.place_words(), *options(config), "--data", str(data), "--out", str(out)]
    return ["train", *origin.words(), *_view_words(view), *options(config), "--out", str(out)]


def _view_words(view: SampleView) -> list[str]:
    said = ["--direction", str(view.direction), "--magnitude", f"{view.magnitude:g}"]
    return said if view.truncation == SampleView.truncation else [*said, "--truncation", f"{view.truncation:g}"]


def fresh_name(kind: str, root: Path | None = None) -> str:
    """A name for a run of ``kind`` that no folder has yet: the kind, the date and the time."""
    root = root or runs_root()
    name = f"{kind}-{time.strftime('%Y%m%d-%H%M%S')}"
    number = 2
    while (root / name).exists():
        name, number = f"{name.split('_')[0]}_{number}", number + 1
    return name


def folder_for(name: str, root: Path | None = None) -> Path:
    """The folder of a new run called ``name``; :class:`LanternError` if that is no name, or is taken."""
    remedy = "Take letters, digits, dots, dashes and underscores, 64 at most, the first a letter or digit."
    require(_NAME.fullmatch(name) is not None, f"{name[:80]!r} is no name for a run", remedy)
    folder = (root or runs_root()).absolute() / name
    require(not folder.exists(), f"there is a run called {name} already", "Choose another name, or resume that one.")
    return folder


def begin(words: list[str], folder: Path, place: LaunchConfig) -> None:
    """Start the command ``words`` that writes to ``folder``; returns at once.

    Errors: :class:`LanternError` as of :func:`explorer.runs.launcher.start`.
    """
    start(words, folder, place)

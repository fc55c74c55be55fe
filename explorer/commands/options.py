"""Options that several commands share."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import tyro

from explorer.directions.catalogue import Catalogue
from explorer.engine import EngineConfig
from explorer.runs.command import launched_folder
from explorer.runs.terminal import Terminal, looking_away, recorded_by_first
from explorer.sources import EngineSource, SourceConfig, read_embeddings
from explorer.views import Workbench, open_workbench
from explorer.weights.store import resolved
from segmentation.errors import LanternError, require
from segmentation.processes import Alone, join, processes_here
from segmentation.progress import Watcher
from segmentation.reading import Shards

Flat = tyro.conf.arg(name="")
"""Marks options that appear on the command line without the name of their parameter."""
OptionsT = TypeVar("OptionsT", bound="GeneratorOptions")
MAX_PICTURE = 4096
"""Images in one picture."""


@dataclasses.dataclass(frozen=True)
class GeneratorOptions:
    """Which generator, and where it runs."""

    generator: str = "pocket"
    """A name: pocket, or, where installed, bigbigan, bigbigan-resnet50, bigbigan-revnet50x4;
    a weights file: .safetensors, or BigBiGAN's .pth or .pt; a TF-Hub module: its folder or its https:// handle;
    a class of your own: module:Class or file.py:Class."""
    engine: EngineConfig = dataclasses.field(default_factory=EngineConfig)
    """Device, precision and batch size of the generator."""

    def devices(self) -> tuple[str, ...]:
        """The devices of all processes of this machine that were started together."""
        device, here = self.engine.torch_device(), processes_here()
        return tuple(f"{device.type}:{index}" for index in range(here)) if here > 1 else (str(device),)

    def joined(self: OptionsT) -> tuple[OptionsT, Alone]:
        """These options with the device of this process, and the processes that it was started with: see :func:`join`."""
        processes, device = join(self.engine.torch_device())
        own = "cpu" if device.type == "cpu" else str(device)
        alone = processes.count == 1
        return self if alone else dataclasses.replace(self, engine=dataclasses.replace(self.engine, device=own)), processes


@dataclasses.dataclass(frozen=True)
class DirectionOptions(GeneratorOptions):
    """A direction of a generator."""

    directions: Path | None = None
    """Folder of the catalogue of directions; by default the folder directions beside the generator's file;
    of a name or a handle NAME/directions in the folder that LANTERN_HOME names; pocket's is shipped."""
    direction: int | None = None
    """Index in the catalogue; by default the saliency-lighting direction."""

    def open(self) -> tuple[Workbench, int]:
        """The workbench and the index of the direction."""
        bench = open_workbench(self.generator, self.directions, self.engine)
        index = bench.catalogue.lighting if self.direction is None else self.direction
        if index is None:
            raise LanternError("the catalogue has no saliency-lighting direction", "Give one with --direction INDEX.")
        bench.catalogue.direction(index)
        return bench, index


@dataclasses.dataclass(frozen=True)
class SourceOptions(DirectionOptions):
    """A direction of a generator and the latent codes to shift along it."""

    embeddings: tuple[Path, ...] = ()
    """Latent codes of photographs (.npy, from ``encode``, or the name of installed ones) to sample around, not N(0, I); of
    several files every one gives as many samples as another."""
    magnitude: float | None = None
    """Length of the shift; by default what the catalogue says of the direction."""
    truncation: float = SourceConfig.truncation
    """Entries of the latent codes stay within plus or minus this; 4 and above: no truncation."""
    alpha: float = SourceConfig.alpha
    """With embeddings: weight of the N(0, I) noise added to them."""
    prior: float = SourceConfig.prior
    """With embeddings: share of the samples that are drawn from N(0, I) all the same."""

    def open_source_or(self, data: Path | None) -> EngineSource | Shards:
        """The source of pairs, or the data set in the folder ``data``, if there is one.

        Errors: :class:`LanternError` if ``data`` is given and another option with it that would say how samples are made.
        """
        if data is None:
            return self.open_source()
        fields = [field for field in dataclasses.fields(self) if field.name != "engine"]
        given = [f"--{field.name}" for field in fields if getattr(self, field.name) != field.default]
        problem = f"the samples of {data} are made already, and {', '.join(given)} would count for nothing"
        require(not given, problem, "Leave that out, or leave out --data.")
        return Shards(data)

    def open_source(self) -> EngineSource:
        """The source of pairs."""
        bench, index = self.open()
        magnitude = bench.catalogue.magnitude(index, self.magnitude)
        config = SourceConfig(magnitude, self.truncation, self.alpha, self.prior)
        embeddings = [read_embeddings(resolved(path), bench.engine) for path in self.embeddings]
        source = EngineSource(bench.engine, bench.catalogue.direction(index), config, embeddings, bench.catalogue.title(index))
        for doubt in source.doubts:
            shown = "; ".join(f"python -m explorer preview --embeddings {path}" for path in self.embeddings)
            print(f"warning: {doubt}; look at it: {shown}", file=sys.stderr)
        return source


def suffix_of(path: Path, *suffixes: str) -> str:
    """The suffix of ``path`` in lower case, refused unless it is one of ``suffixes``."""
    suffix = path.suffix.lower()
    require(suffix in suffixes, f"{path} ends in {path.suffix or 'nothing'}", f"End it with {' or '.join(suffixes)}.")
    return suffix


def check_picture(count: int) -> None:
    """Refuse a picture of more images than anybody looks at, before they are made."""
    remedy = f"Choose at most {MAX_PICTURE}, or write arrays where the command can."
    require(count <= MAX_PICTURE, f"a picture of {count} images is too large", remedy)


def second_shift(catalogue: Catalogue, second: int | None, magnitude: float | None) -> tuple[int, float]:
    """Index and length of the shift along a second direction; a length of 0 if there is none."""
    if second is None:
        require(magnitude is None, "there is a second magnitude and no second direction", "Give --second INDEX too.")
        return 0, 0.0
    catalogue.direction(second)
    return second, catalogue.magnitude(second, magnitude)


@contextmanager
def watched(kind: str, folder: Path | None, devices: Sequence[str], first: bool = True) -> Iterator[Watcher]:
    """Show work of that ``kind`` on the terminal; with a ``folder`` as a run, to be watched and stopped elsewhere.

    It gets a folder by :func:`run_at`. Of several processes all but the ``first`` look away.
    """
    if folder is not None:
        with recorded_by_first(folder, kind, first, devices) as watcher:
            yield watcher
    else:
        with Terminal(kind).watching() if first else looking_away() as watcher:
            yield watcher


def run_at(folder: Path | None) -> Path | None:
    """The run's folder that was asked for; else that of whoever launched this command as a run; else there is none."""
    return launched_folder() if folder is None else folder

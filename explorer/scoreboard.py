"""The benchmarks as the page shows them: what there is to score on, the command that does it, and the table so far."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path

from explorer.segmenting import Networks
from segmentation.errors import require
from segmentation.files import read_json
from segmentation.inference import InferenceConfig
from segmentation.layouts import survey
from segmentation.methods import CLASSICAL
from segmentation.metrics import PROTOCOLS
from segmentation.published import TABLES
from segmentation.refinement import KINDS

_ROOT = "LANTERN_DATASETS"
MAX_LIMIT = 100_000


def datasets_root() -> Path:
    """The folder of data sets: what LANTERN_DATASETS names, by default ``datasets`` in the current folder."""
    return Path(os.environ.get(_ROOT) or "datasets")


def available(root: Path) -> dict[str, int]:
    """The data sets that can be read under ``root``, with their numbers of images; none if there is no such folder."""
    if not root.is_dir():
        return {}
    return {line.name: line.found for line in survey(root) if line.found}


@dataclasses.dataclass(frozen=True)
class Wish:
    """What a visitor wants scored."""

    table: int
    """The paper's table, 1 to 4."""
    networks: tuple[str, ...] = ()
    """Names of :class:`explorer.segmenting.Networks`; each is a row."""
    methods: tuple[str, ...] = ()
    """Classical methods, each a row."""
    datasets: tuple[str, ...] = ()
    """Data sets beside those of the table."""
    protocol: str = PROTOCOLS[0]
    refinement: str = KINDS[0]
    limit: int = 0
    """Only so many images of each data set; 0: all."""
    size: int = 0
    """Shorter side in pixels at which networks see the images; 0: that of their training."""
    structure: bool = False
    """Also S-measure, E-measure and weighted F."""

    def __post_init__(self) -> None:
        require(self.table in TABLES, f"the paper has no table {self.table}", "Choose 1, 2, 3 or 4.")
        unknown = [name for name in self.methods if name not in CLASSICAL]
        require(not unknown, f"no method is called {', '.join(unknown)}", f"Known: {', '.join(CLASSICAL)}.")
        require(self.protocol in PROTOCOLS, f"the protocol is {self.protocol!r}", f"Choose one of: {', '.join(PROTOCOLS)}.")
        require(self.refinement in KINDS, f"the refinement is {self.refinement!r}", f"Choose one of: {', '.join(KINDS)}.")
        inside = 0 <= self.limit <= MAX_LIMIT
        require(inside, f"the number of images is {self.limit}", f"Choose 0 (all of them) to {MAX_LIMIT}.")
        InferenceConfig(size=self.size or None)


def reproduce_words(wish: Wish, networks: Networks, root: Path, device: str, out: Path) -> list[str]:
    """The command line that scores what ``wish`` names on the data sets under ``root``.

    Errors: :class:`LanternError` if a network or data set is not there, or there is no data set to score on.
    """
    words = ["reproduce", "--table", str(wish.table), "--out", str(out), "--device", device]
    there = available(root)
    absent = [name for name in wish.datasets if name not in there]
    require(not absent, f"there is no data set {', '.join(absent)}", f"Put it into the folder that {_ROOT} names.")
    words += ["--root", str(root.absolute())]
    if wish.datasets:
        words += ["--datasets", *wish.datasets]
    if wish.networks:
        words += ["--weights", *(f"{name.replace('=', '-')}={networks.get(name).weights.absolute()}" for name in wish.networks)]
    _check_any(wish, there)
    words += ["--methods", *wish.methods] if wish.methods else []
    words += ["--protocol", wish.protocol] if wish.protocol != PROTOCOLS[0] else []
    words += ["--refinement.kind", wish.refinement] if wish.refinement != KINDS[0] else []
    words += ["--limit", str(wish.limit)] if wish.limit else []
    words += ["--inference.size", str(wish.size)] if wish.size else []
    return words + (["--structure"] if wish.structure else [])


def _check_any(wish: Wish, there: Mapping[str, int]) -> None:
    wanted = [name for name, _ in TABLES[wish.table].columns]
    problem = f"no data set of table {wish.table} ({', '.join(wanted)}) lies in the folder that {_ROOT} names"
    remedy = (
        f"Put one there, or choose a further data set that is there. For another folder start the page anew with "
        f"{_ROOT}=FOLDER before its command; `python -m explorer datasets list --root FOLDER` says what is expected in it."
    )
    require(bool(wish.datasets) or any(name in there for name in wanted), problem, remedy)


@dataclasses.dataclass(frozen=True)
class Board:
    """A table as far as it is."""

    markdown: str
    """The table with its notes; "" as long as there is none."""
    pictures: tuple[tuple[Path, str], ...]
    """The best and the worst images: file and caption."""
    mark: float
    """Changes when the table does."""


def read_board(folder: Path) -> Board:
    """The table in the run's ``folder``, with the pictures that its scores name.

    Errors: :class:`LanternError` if a file of scores is damaged.
    """
    table = folder / "table.md"
    if not table.is_file():
        return Board("", (), 0.0)
    pictures: list[tuple[Path, str]] = []
    for path in sorted((folder / "scores").glob("*.json")):
        for file, caption in read_json(path).get("pictures", []):
            # Only files of the run itself, whatever the record says.
            picture = folder / "pictures" / Path(str(file)).name
            if picture.is_file():
                pictures.append((picture, str(caption)))
    return Board(table.read_text(encoding="utf-8"), tuple(pictures), table.stat().st_mtime)

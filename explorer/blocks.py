"""The blocks of an encoding: files that are whole or not there, each with the latent codes of a few photographs."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from segmentation.errors import LanternError, require
from segmentation.files import read_json, write_arrays, write_json


class Block(NamedTuple):
    """What became of n photographs."""

    codes: NDArray[np.float32]
    """Latent codes of those that have one, (m, d)."""
    kept: NDArray[np.bool_]
    """Which these are, (n,)."""
    reasons: list[str]
    """Why the others have none, in their order."""


class Blocks:
    """``count`` photographs in blocks of ``size``, in ``folder``, which several processes may fill at the same time."""

    def __init__(self, folder: Path, count: int, size: int) -> None:
        self.folder, self.count = folder, count
        self.ranges = [range(start, min(start + size, count)) for start in range(0, count, size)]

    def missing(self) -> list[int]:
        """The numbers of the blocks that are not there yet."""
        there = {path.name for path in self.folder.glob("block-*.npz")}
        return [number for number in range(len(self.ranges)) if self._path(number).name not in there]

    def photographs_without(self, missing: list[int]) -> int:
        """How many photographs the blocks other than ``missing`` hold."""
        return self.count - sum(len(self.ranges[number]) for number in missing)

    def write(self, number: int, block: Block) -> None:
        """Save a block; errors as of :func:`segmentation.files.replacing`."""
        arrays = {"codes": block.codes, "kept": block.kept, "reasons": np.array(block.reasons, np.str_)}
        write_arrays(self._path(number), arrays)

    def read(self, number: int) -> Block:
        """A block; one that is damaged is removed and reported by :class:`LanternError`."""
        path = self._path(number)
        try:
            with np.load(path, allow_pickle=False) as arrays:
                block = Block(arrays["codes"], arrays["kept"], [str(reason) for reason in arrays["reasons"]])
            good = int(block.kept.sum())
            fits = len(block.kept) == len(self.ranges[number]) == good + len(block.reasons) and len(block.codes) == good
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            fits = False
        if not fits:
            path.unlink(missing_ok=True)
            raise LanternError(f"{path} was damaged and is removed", "Run the same command again: it makes that block anew.")
        return block

    def clear(self) -> None:
        """Remove all blocks."""
        for path in self.folder.glob("block-*.npz"):
            path.unlink(missing_ok=True)

    def _path(self, number: int) -> Path:
        return self.folder / f"block-{number:07d}.npz"


def claim_encoding(folder: Path, described: dict[str, Any]) -> None:
    """As :func:`segmentation.runfolder.claim` for what ``describe`` of an encoding gives; the error says what is different."""
    path = folder / "config.json"
    if not path.exists():
        write_json(path, described)
        return
    before = read_json(path)
    require(isinstance(before, dict), f"{path} is not that of an encoding", "Choose another file for the embeddings.")
    problem = f"{folder} holds an encoding with {'; '.join(_differences(before, described))}"
    require(before == described, problem, f"Repeat that one, choose another --out, or remove {folder} to begin anew.")


def _differences(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    plain = [name for name, value in now.items() if not isinstance(value, dict)]
    found = [f"another {name} ({before.get(name)}, not {now[name]})" for name in plain if before.get(name) != now[name]]
    own, photographs = before.get("encoding") or {}, before.get("photographs") or {}
    found += [f"{name} {own.get(name)}, not {value}" for name, value in now["encoding"].items() if own.get(name) != value]
    if photographs != now["photographs"]:
        count = now["photographs"]["count"]
        before_count = photographs.get("count")
        how = "other names" if before_count == count else f"{before_count}, not {count}"
        found.append(f"another list of photographs ({how})")
    return found or ["another configuration"]

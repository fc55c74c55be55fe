"""A data set of :mod:`segmentation.shards`, read back by memory map: any sample at any time, and whether it is whole."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segmentation.errors import LanternError, require
from segmentation.files import read_json
from segmentation.progress import Unwatched, Watcher
from segmentation.shards import FORMAT, MANIFEST, record_file

_OPEN = 64
"""Shards that are mapped at a time: every map holds two open files, and a process may have few."""
_BLOCK = 1 << 22
_AGAIN = "then run the same generate command again: it makes that shard alone, and as it was"


def read_manifest(folder: Path) -> dict[str, Any]:
    """What ``manifest.json`` in ``folder`` says.

    Errors: :class:`LanternError` if there is none, or it is that of something else.
    """
    path = folder / MANIFEST
    require(path.is_file(), f"{folder} holds no data set (there is no {MANIFEST})", "Give the folder of a generate run.")
    manifest = read_json(path)
    ours = isinstance(manifest, dict) and manifest.get("format") == FORMAT
    require(ours, f"{path} is not a manifest of this version", "Generate the data set again, into another folder.")
    require(bool(manifest["shards"]), f"no shard of {folder} is finished", "Run the same generate command again to go on.")
    result: dict[str, Any] = manifest
    return result


class Shards:
    """A data set on disk, indexable: ``len`` samples, each an image (R, R, 3) uint8 and a mask (R, R) bool.

    Nothing but what is asked for is read, and no more than that is held. Errors: :class:`LanternError` if the manifest or a
    file is missing, or a file has not the length that it was written with.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.manifest = folder, read_manifest(folder)
        self.resolution = int(self.manifest["resolution"])
        self.records: list[dict[str, Any]] = self.manifest["shards"]
        self.sizes = [int(record["count"]) for record in self.records]
        self._starts = np.cumsum([0, *self.sizes])
        for record in self.records:
            fault = _missing(folder, record)
            require(not fault, fault, f"Remove {folder / record_file(record['number'])}, {_AGAIN}.")
        self._maps = lru_cache(_OPEN)(self._map)

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        shard = int(np.searchsorted(self._starts, index, side="right")) - 1
        images, masks = self._maps(shard)
        inside = index - int(self._starts[shard])
        bits = np.unpackbits(masks[inside], count=self.resolution**2)
        return np.array(images[inside]), bits.reshape(self.resolution, self.resolution).astype(bool)

    def __iter__(self) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.bool_]]]:
        return (self[index] for index in range(len(self)))

    def batch(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        """The samples ``indices`` as images (B, 3, R, R), float32 in [-1, 1], and masks (B, R, R), bool."""
        images, masks = zip(*(self[index] for index in indices), strict=True)
        pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
        return pixels.float() / 127.5 - 1, torch.from_numpy(np.stack(masks))

    @property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits that change with any sample."""
        sums = [(record["images"]["sha256"], record["masks"]["sha256"]) for record in self.records]
        return hashlib.sha256(json.dumps([self.resolution, sums]).encode()).hexdigest()[:16]

    def describe(self) -> dict[str, Any]:
        """What made the samples, as plain JSON types."""
        config, source = self.manifest["config"], self.manifest["source"]
        return {"data": self.fingerprint, "samples": len(self), "shards": config, "source": source}

    def _map(self, shard: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        record = self.records[shard]
        shapes = {"images": (self.resolution, self.resolution, 3), "masks": (-(-(self.resolution**2) // 8),)}
        images, masks = (
            _mapped(self.folder / record[kind]["file"], (record["count"], *shape)) for kind, shape in shapes.items()
        )
        return images, masks


def _missing(folder: Path, record: dict[str, Any]) -> str:
    """What is wrong with the files of a shard at first sight; empty if nothing."""
    for kind in ("images", "masks"):
        path, expected = folder / record[kind]["file"], record[kind]["bytes"]
        if not path.is_file():
            return f"{path} does not exist"
        if (size := path.stat().st_size) != expected:
            return f"{path} is damaged: it has {size} bytes instead of {expected}"
    return ""


def _mapped(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    remedy = "Look at the data set: python -m explorer data verify"
    try:
        mapped: NDArray[np.uint8] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise LanternError(f"{path} is damaged ({error})", remedy) from error
    fits = mapped.dtype == np.uint8 and mapped.shape == shape
    require(fits, f"{path} holds {mapped.dtype} {mapped.shape} instead of uint8 {shape}", remedy)
    return mapped


@dataclasses.dataclass(frozen=True)
class Damage:
    """A shard that is not as it was written."""

    number: int
    """Which one."""
    problem: str
    """What is wrong with it."""
    remedy: str
    """What to do about it."""


def verify(folder: Path, watcher: Watcher | None = None) -> list[Damage]:
    """The shards in ``folder`` whose files do not have the checksums of the manifest; reads all of them.

    Errors: :class:`LanternError` if there is no manifest.
    """
    watcher, manifest = watcher or Unwatched(), read_manifest(folder)
    found: list[Damage] = []
    for position, record in enumerate(manifest["shards"], 1):
        fault = _missing(folder, record) or _altered(folder, record)
        if fault:
            number = int(record["number"])
            found.append(Damage(number, fault, f"Remove {folder / record_file(number)}, {_AGAIN}."))
        watcher.advance(position, len(manifest["shards"]), {"damaged": len(found)})
        if watcher.stop_requested():
            break
    return found


def _altered(folder: Path, record: dict[str, Any]) -> str:
    for kind in ("images", "masks"):
        path, digest = folder / record[kind]["file"], hashlib.sha256()
        try:
            with path.open("rb") as stream:
                while block := stream.read(_BLOCK):
                    digest.update(block)
        except OSError as error:
            return f"{path} cannot be read ({error.strerror or error})"
        if digest.hexdigest() != record[kind]["sha256"]:
            return f"{path} is damaged: its contents do not have the checksum that they were written with"
    return ""

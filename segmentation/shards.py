"""Accepted samples on disk: shards of 8-bit images and packed masks under one manifest, read back by memory map."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segmentation.configuration import Config, check_range
from segmentation.errors import LanternError, require
from segmentation.files import read_json, write_array, write_json
from segmentation.pictures import to_uint8
from segmentation.progress import Watcher
from segmentation.runfolder import claim
from segmentation.synthesis import AcceptedStream, PairSource, Position, SynthesisConfig


@dataclasses.dataclass(frozen=True)
class ShardConfig(Config):
    """A data set of accepted samples."""

    count: int = 1000
    """Accepted samples in all."""
    shard_size: int = 512
    """Samples a shard; a shard is the unit of resume."""
    seed: int = 0
    """Seed of the samples."""
    synthesis: SynthesisConfig = SynthesisConfig()
    """Which samples are accepted."""

    def __post_init__(self) -> None:
        check_range("count", self.count, 1, 1_000_000_000)
        check_range("shard_size", self.shard_size, 1, 65536)
        check_range("seed", self.seed, 0, 2**63 - 1)


def write_shards(source: PairSource, config: ShardConfig, out: Path, watcher: Watcher) -> dict[str, Any] | None:
    """Generate ``config.count`` accepted samples of ``source`` into ``out``; go on where ``out`` stopped.

    Writes ``images-NNNNN.npy`` ((n, R, R, 3) uint8), ``masks-NNNNN.npy`` ((n, R x R / 8) uint8, bits packed) and
    ``manifest.json`` after each shard. Reports, and asks whether to stop, every ``config.synthesis.candidates`` samples; those
    that are not in a finished shard by then are made again on resume. Returns the manifest, or None if the watcher asked to
    stop. Errors: :class:`LanternError` if ``out`` holds another data set, the disk is full, or nothing is accepted.
    """
    claim(out, {"shards": config.to_json(), "source": source.describe()})
    path = out / "manifest.json"
    fresh = {"resolution": source.resolution, "shards": [], "position": Position().to_json(), "funnel": {}}
    manifest: dict[str, Any] = read_json(path) if path.exists() else fresh
    stream = AcceptedStream(source, config.synthesis, config.seed, "data set", Position.from_json(manifest["position"]))
    done = sum(manifest["shards"])
    if done:
        watcher.resume(done, config.count)
    while done < config.count:
        size = min(config.shard_size, config.count - done)
        shard = _take_shard(stream, size, done, config, watcher)
        if shard is None:
            return None
        number = len(manifest["shards"])
        write_array(out / f"images-{number:05d}.npy", shard[0])
        write_array(out / f"masks-{number:05d}.npy", shard[1])
        shards = [*manifest["shards"], size]
        manifest = {**manifest, "shards": shards, "position": stream.position.to_json(), "funnel": stream.funnel}
        write_json(path, manifest)
        done += size
        watcher.advance(done, config.count, {"acceptance_rate": stream.acceptance_rate})
        if done < config.count and watcher.stop_requested():
            return None
    return manifest


def _take_shard(
    stream: AcceptedStream, size: int, before: int, config: ShardConfig, watcher: Watcher
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]] | None:
    """The next ``size`` samples as 8-bit images and packed masks; None if the watcher asked to stop on the way."""
    images: list[NDArray[np.uint8]] = []
    masks: list[NDArray[np.uint8]] = []
    taken = 0
    while taken < size:
        count = min(config.synthesis.candidates, size - taken)
        some_images, some_masks = stream.take(count)
        images.append(to_uint8(some_images))
        masks.append(np.packbits(some_masks.flatten(1).cpu().numpy(), axis=1))
        taken += count
        if taken < size:
            watcher.advance(before + taken, config.count, {"acceptance_rate": stream.acceptance_rate})
            if watcher.stop_requested():
                return None
    return np.concatenate(images), np.concatenate(masks)


class Shards:
    """A data set written by :func:`write_shards`, read by memory map: indexable, of the length it was asked for."""

    def __init__(self, folder: Path) -> None:
        manifest = read_json(folder / "manifest.json")
        self.resolution, self.sizes = int(manifest["resolution"]), [int(size) for size in manifest["shards"]]
        self._starts = np.cumsum([0, *self.sizes])
        self._images = [_map(folder / f"images-{i:05d}.npy", size) for i, size in enumerate(self.sizes)]
        self._masks = [_map(folder / f"masks-{i:05d}.npy", size) for i, size in enumerate(self.sizes)]

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Image (R, R, 3) uint8 and mask (R, R) bool of sample ``index``."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        shard = int(np.searchsorted(self._starts, index, side="right")) - 1
        inside = index - int(self._starts[shard])
        bits = np.unpackbits(self._masks[shard][inside], count=self.resolution**2)
        return np.array(self._images[shard][inside]), bits.reshape(self.resolution, self.resolution).astype(bool)


def _map(path: Path, size: int) -> NDArray[np.uint8]:
    require(path.is_file(), f"{path} does not exist", "Generate the data set again into the same folder.")
    try:
        mapped: NDArray[np.uint8] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise LanternError(f"{path} is cut short ({error})", "Delete the folder and generate it again.") from error
    require(len(mapped) == size, f"{path} holds {len(mapped)} samples instead of {size}", "Generate the data set again.")
    return mapped

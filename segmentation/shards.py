"""Accepted samples to disk: shards of 8-bit images and packed masks under one manifest (:mod:`segmentation.reading` reads it).

Every shard is its own stream of randomness, made of the seed and the shard's number. So a shard is what a resume makes anew,
and the data set is the same whatever number of processes made it.
"""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from segmentation.configuration import Config, check_range
from segmentation.errors import LanternError
from segmentation.files import ArrayWriter, array_in_parts, read_json, write_json
from segmentation.pictures import to_uint8
from segmentation.processes import Alone
from segmentation.progress import Watcher
from segmentation.runfolder import Attendance, StopFile, claim
from segmentation.synthesis import AcceptedStream, PairSource, SynthesisConfig

FORMAT = "lantern shards 2"
"""What a manifest says of itself; data sets of another form are refused."""
MANIFEST = "manifest.json"
_LOOK_EVERY = 0.2
"""Seconds between two looks at what the other processes have done."""


@dataclasses.dataclass(frozen=True)
class ShardConfig(Config):
    """A data set of accepted samples."""

    count: int = 1000
    """Accepted samples in all."""
    shard_size: int = 512
    """Samples a shard; a shard is the unit of resume."""
    seed: int = 0
    """Seed of the samples; every shard has a stream of its own, made of it and the shard's number."""
    synthesis: SynthesisConfig = SynthesisConfig()
    """Which samples are accepted."""

    def __post_init__(self) -> None:
        check_range("count", self.count, 1, 1_000_000_000)
        check_range("shard_size", self.shard_size, 1, 65536)
        check_range("seed", self.seed, 0, 2**63 - 1)

    @property
    def shards(self) -> int:
        """How many shards there are."""
        return -(-self.count // self.shard_size)

    def size(self, number: int) -> int:
        """Samples in the shard ``number``; the last one has what is left."""
        return min(self.shard_size, self.count - number * self.shard_size)


def shard_file(kind: str, number: int) -> str:
    """The name of the file of a shard that holds its ``images`` or ``masks``."""
    return f"{kind}-{number:05d}.npy"


def record_file(number: int) -> str:
    """The name of the file that says what is in the shard ``number``; it is written last."""
    return f"shard-{number:05d}.json"


def shard_stream(source: PairSource, config: ShardConfig, number: int) -> AcceptedStream:
    """The samples of the shard ``number``: a stream that no other shard and no training has."""
    return AcceptedStream(source, config.synthesis, config.seed, f"shard {number}")


def write_shards(
    source: PairSource, config: ShardConfig, out: Path, watcher: Watcher, processes: Alone | None = None
) -> dict[str, Any] | None:
    """Generate ``config.count`` accepted samples of ``source`` into ``out``; go on where ``out`` stopped.

    Writes for each shard ``images-NNNNN.npy`` ((n, R, R, 3) uint8), ``masks-NNNNN.npy`` ((n, R x R / 8) uint8, bits packed) and
    ``shard-NNNNN.json`` (verdicts, checksums), and ``manifest.json``, which has all of that. Holds a batch of candidates at a
    time, however many samples there are. Reports, and asks whether to stop, every ``config.synthesis.candidates`` samples;
    those that are not in a finished shard by then are made again on resume. Of several ``processes`` each makes every N-th
    shard; the first writes the manifest, and only its ``watcher`` is told of the others. Returns the manifest, or None if it
    was stopped, and in the other processes. Errors: :class:`LanternError` if ``out`` holds another data set, the disk is full,
    nothing is accepted, or another process has ended before its shards were there.
    """
    processes = processes or Alone()
    described = {"shards": config.to_json(), "source": source.describe()}
    processes.decide(lambda: claim(out, described))
    writing = _Writing(source, config, out, watcher, processes)
    if processes.count == 1:
        return writing.run()
    with writing.attendance:
        processes.wait()
        return writing.run()


class _Stopped(Exception):
    """The watcher asked to stop in the middle of a shard."""


class _Writing:
    """One process's part in a data set."""

    def __init__(self, source: PairSource, config: ShardConfig, out: Path, watcher: Watcher, processes: Alone) -> None:
        self.source, self.config, self.out, self.watcher, self.processes = source, config, out, watcher, processes
        self.records: dict[int, dict[str, Any]] = {}
        self.funnel: Counter[str] = Counter({"generated": 0, "kept": 0})
        self.done = 0
        self.stop, self.attendance = StopFile(out), Attendance(out, processes.index, processes.count)

    def run(self) -> dict[str, Any] | None:
        """Make the shards of this process that are not there yet."""
        missing = self._look()
        if self.done:
            self.watcher.resume(self.done, self.config.count)
        try:
            for number in missing:
                if number % self.processes.count == self.processes.index:
                    self._make(number)
                    self._tell_of_shards()
            if self.processes.first:
                self._wait()
        except _Stopped:
            self._publish()
            return None
        return self._publish() if self.processes.first else None

    def _make(self, number: int) -> None:
        """Write a shard, and then what is in it."""
        size, side = self.config.size(number), self.source.resolution
        stream = shard_stream(self.source, self.config, number)
        for left in self.out.glob(f".*-{number:05d}.npy.*"):
            # Of a process that was killed while it wrote.
            left.unlink(missing_ok=True)
        with (
            array_in_parts(self.out / shard_file("images", number), (size, side, side, 3), np.uint8) as images,
            array_in_parts(self.out / shard_file("masks", number), (size, -(-side * side // 8)), np.uint8) as masks,
        ):
            while images.rows < size:
                some_images, some_masks = stream.take(min(self.config.synthesis.candidates, size - images.rows))
                images.append(to_uint8(some_images))
                masks.append(np.packbits(some_masks.flatten(1).cpu().numpy(), axis=1))
                if images.rows < size:
                    self._tell(images.rows, stream.funnel)
        files = {"images": _described(images, number, "images"), "masks": _described(masks, number, "masks")}
        record = {"number": number, "count": size, "funnel": stream.funnel, **files}
        write_json(self.out / record_file(number), record)
        self._add(record)

    def _add(self, record: dict[str, Any]) -> None:
        self.records[record["number"]] = record
        self.funnel.update(record["funnel"])
        self.done += record["count"]

    def _tell(self, taken: int, funnel: dict[str, int]) -> None:
        """Report how many samples there are; raises :class:`_Stopped` if that is to be all."""
        counts = Counter(self.funnel)
        counts.update(funnel)
        rate = counts["kept"] / counts["generated"] if counts["generated"] else float("nan")
        self.watcher.advance(self.done + taken, self.config.count, {"acceptance_rate": rate})
        if self.done + taken < self.config.count and self._asked_to_stop():
            raise _Stopped

    def _tell_of_shards(self) -> None:
        """The same after a shard, with the manifest as it is then."""
        if self.processes.count > 1 and self.processes.first:
            self._look()
        self._publish()
        self._tell(0, {})

    def _asked_to_stop(self) -> bool:
        """Also by the file of the first process, and by its end."""
        asked = self.watcher.stop_requested() or self.stop.asked()
        return asked or (not self.processes.first and 0 in self.attendance.absent())

    def _wait(self) -> None:
        """Until the shards of all processes are there."""
        before = self.done
        while missing := self._look():
            if self.done > before:
                before = self.done
                self._tell_of_shards()
            if self._asked_to_stop():
                raise _Stopped
            count = self.processes.count
            gone = [index for index in self.attendance.absent() if any(number % count == index for number in missing)]
            # Once more, since it may have ended after its last shard.
            if gone and any(number % count in gone for number in self._look()):
                self._publish()
                problem = f"process {gone[0]} of {count} has ended before its shards were done"
                raise LanternError(problem, "Run the same command again: it goes on with the shards that are missing.")
            time.sleep(_LOOK_EVERY)
        if self.done > before:
            self._tell_of_shards()

    def _look(self) -> list[int]:
        """Read the records of shards that are new; the numbers of those that are not there yet."""
        missing = []
        for number in range(self.config.shards):
            if number not in self.records:
                record = read_record(self.out, number)
                if record is None or record["count"] != self.config.size(number):
                    missing.append(number)
                else:
                    self._add(record)
        return missing

    def _publish(self) -> dict[str, Any]:
        """Write the manifest of what is there; the manifest."""
        records = [self.records[number] for number in sorted(self.records)]
        manifest = {
            "format": FORMAT,
            "resolution": self.source.resolution,
            "samples": self.done,
            "config": self.config.to_json(),
            "source": self.source.describe(),
            "streams": {"seed": self.config.seed, "first": 0, "last": self.config.shards - 1},
            "funnel": dict(self.funnel),
            "shards": records,
        }
        if self.processes.first:
            write_json(self.out / MANIFEST, manifest)
        return manifest


def _described(writer: ArrayWriter, number: int, kind: str) -> dict[str, Any]:
    return {"file": shard_file(kind, number), "bytes": writer.bytes, "sha256": writer.checksum}


def read_record(folder: Path, number: int) -> dict[str, Any] | None:
    """What the shard ``number`` in ``folder`` holds; None if one of its files is missing or has another length."""
    path = folder / record_file(number)
    if not path.is_file():
        return None
    try:
        record: dict[str, Any] = read_json(path)
        whole = all((folder / record[kind]["file"]).stat().st_size == record[kind]["bytes"] for kind in ("images", "masks"))
        return record if whole and record["number"] == number else None
    except (OSError, LanternError, KeyError, TypeError):
        return None

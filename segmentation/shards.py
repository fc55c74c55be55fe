"""Accepted samples to disk: shards of 8-bit images and packed masks under one manifest (:mod:`segmentation.reading` reads it).

Every shard is its own stream of randomness, made of the seed and the shard's number. So a shard is what a resume makes anew,
and the data set is the same whatever number of processes made it.
"""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from segmentation.configuration import Config, check_range
from segmentation.errors import LanternError
from segmentation.files import read_json, write_json
from segmentation.growing import GrowingArray, growing
from segmentation.pictures import to_uint8
from segmentation.processes import Alone
from segmentation.progress import Watcher
from segmentation.runfolder import Attendance, StopFile, claim
from segmentation.synthesis import AcceptedStream, PairSource, Position, SynthesisConfig

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
    """Samples a shard; a shard is made by one process, and is what is made anew if it is lost."""
    checkpoint_every: int | None = None
    """Accepted samples between two times that a shard which is not full yet is saved; None: only at its end, and at a stop."""
    seed: int = 0
    """Seed of the samples; every shard has a stream of its own, made of it and the shard's number."""
    synthesis: SynthesisConfig = SynthesisConfig()
    """Which samples are accepted."""

    def __post_init__(self) -> None:
        check_range("count", self.count, 1, 1_000_000_000)
        check_range("shard_size", self.shard_size, 1, 65536)
        if self.checkpoint_every is not None:
            check_range("checkpoint_every", self.checkpoint_every, 1, 1_000_000_000)
        check_range("seed", self.seed, 0, 2**63 - 1)

    @property
    def shards(self) -> int:
        """How many shards there are."""
        return -(-self.count // self.shard_size)

    def counting(self) -> dict[str, Any]:
        """The values that count for the samples, as plain JSON types: not how often they are saved."""
        return {name: value for name, value in self.to_json().items() if name != "checkpoint_every"}

    def size(self, number: int) -> int:
        """Samples in the shard ``number``; the last one has what is left."""
        return min(self.shard_size, self.count - number * self.shard_size)


def shard_file(kind: str, number: int) -> str:
    """The name of the file of a shard that holds its ``images`` or ``masks``."""
    return f"{kind}-{number:05d}.npy"


def record_file(number: int) -> str:
    """The name of the file that says what is in the shard ``number``; it is written last."""
    return f"shard-{number:05d}.json"


def shard_stream(source: PairSource, config: ShardConfig, number: int, start: Position | None = None) -> AcceptedStream:
    """The samples of the shard ``number``, from ``start`` on: a stream that no other shard and no training has."""
    return AcceptedStream(source, config.synthesis, config.seed, f"shard {number}", start)


def write_shards(
    source: PairSource, config: ShardConfig, out: Path, watcher: Watcher, processes: Alone | None = None
) -> dict[str, Any] | None:
    """Generate ``config.count`` accepted samples of ``source`` into ``out``; go on where ``out`` stopped.

    Writes for each shard ``images-NNNNN.npy`` ((n, R, R, 3) uint8), ``masks-NNNNN.npy`` ((n, R x R / 8) uint8, bits packed) and
    ``shard-NNNNN.json`` (verdicts, checksums), and ``manifest.json``, which has all of that. Holds a batch of candidates at a
    time, however many samples there are. Reports, and asks whether to stop, every ``config.synthesis.candidates`` samples; a
    shard that is not full is saved then if it is time to, and a resume goes on within it. Of several ``processes`` each makes
    every N-th shard; the first writes the manifest, and only its ``watcher`` is told of the others. Returns the manifest, or
    None if it was stopped, and in the other processes. Errors: :class:`LanternError` if ``out`` holds another data set, the
    disk is full, nothing is accepted, or another process has ended before the data set was done.
    """
    processes = processes or Alone()
    described = {"shards": config.counting(), "source": source.describe()}
    processes.decide(lambda: claim(out, described))
    writing = _Writing(source, config, out, watcher, processes)
    if processes.count == 1:
        return writing.run()
    with writing.attendance:
        processes.wait()
        return writing.run()


class _Shard:
    """The shard ``number`` of ``source`` on its way to the folder ``out``, begun where it was saved the last time."""

    def __init__(self, source: PairSource, config: ShardConfig, out: Path, number: int) -> None:
        self.config, self.out, self.number, self.size = config, out, number, config.size(number)
        side = source.resolution
        self._shapes = {"images": (self.size, side, side, 3), "masks": (self.size, -(-side * side // 8))}
        self._note = out / f".{record_file(number)}.part"
        self.arrays, start = self._begun()
        self.saved = self.rows
        self.stream = shard_stream(source, config, number, start)

    @property
    def rows(self) -> int:
        """Samples that are in it."""
        return self.arrays["images"].rows

    def _begun(self) -> tuple[dict[str, GrowingArray], Position]:
        try:
            told = read_json(self._note)
            start = Position.from_json(told["position"])
            arrays = self._opened(int(told["rows"]))
        except (LanternError, OSError, EOFError, KeyError, TypeError, ValueError):
            # Never saved, or not to be had any more.
            return self._opened(0), Position()
        if all(arrays[kind].checksum == told[kind] for kind in arrays):
            return arrays, start
        self._close(arrays)
        return self._opened(0), Position()

    def _opened(self, rows: int) -> dict[str, GrowingArray]:
        arrays: dict[str, GrowingArray] = {}
        try:
            for kind, shape in self._shapes.items():
                arrays[kind] = GrowingArray(self.out / shard_file(kind, self.number), shape, np.uint8, rows)
        except BaseException:
            self._close(arrays)
            raise
        return arrays

    def _close(self, arrays: dict[str, GrowingArray]) -> None:
        """Close the files, of which what matters is on the disk already."""
        for array in arrays.values():
            with suppress(LanternError):
                array.close()

    def __enter__(self) -> _Shard:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._close(self.arrays)
        if error is not None and not self._note.exists():
            # Nobody can go on with it, and the disk may be full.
            for array in self.arrays.values():
                growing(array.path).unlink(missing_ok=True)

    def more(self) -> None:
        """Add the next samples, as many as candidates are made at once or as there is room for."""
        images, masks = self.stream.take(min(self.config.synthesis.candidates, self.size - self.rows))
        self.arrays["images"].append(to_uint8(images))
        self.arrays["masks"].append(np.packbits(masks.flatten(1).cpu().numpy(), axis=1))

    def save(self) -> None:
        """Have it on the disk as far as it is, so that it can be gone on with."""
        if self.saved == self.rows:
            return
        for array in self.arrays.values():
            array.settle()
        sums = {kind: array.checksum for kind, array in self.arrays.items()}
        write_json(self._note, {"rows": self.rows, "position": self.stream.position.to_json(), **sums})
        self.saved = self.rows

    def finish(self) -> dict[str, Any]:
        """Put the files in their places, and then the record of what is in them; the record."""
        files = {}
        for kind, array in self.arrays.items():
            array.finish()
            files[kind] = {"file": array.path.name, "bytes": array.bytes, "sha256": array.checksum}
        record = {"number": self.number, "count": self.size, "funnel": self.stream.funnel, **files}
        write_json(self.out / record_file(self.number), record)
        self._note.unlink(missing_ok=True)
        return record


class _Stopped(Exception):
    """The watcher asked to stop in the middle of a shard."""


class _Writing:
    """One process's part in a data set."""

    def __init__(self, source: PairSource, config: ShardConfig, out: Path, watcher: Watcher, processes: Alone) -> None:
        self.source, self.config, self.out, self.watcher, self.processes = source, config, out, watcher, processes
        self.records: dict[int, dict[str, Any]] = {}
        self.funnel: Counter[str] = Counter({"generated": 0, "kept": 0})
        self.done = 0
        self.stop = StopFile(out)
        self.attendance = Attendance(out, processes.index, processes.count, "the data set was done", "shards")

    def run(self) -> dict[str, Any] | None:
        """Make the shards of this process that are not there yet."""
        missing = self._look()
        if self.done:
            self.watcher.note(f"resuming at sample {self.done} of {self.config.count}")
            self.watcher.resume(self.done, self.config.count)
        try:
            for number in missing:
                if number % self.processes.count == self.processes.index:
                    self._make(number)
                    self._tell_of_shards()
            if self.processes.first:
                self._wait()
        except _Stopped:
            self.attendance.leave_after_first()
            self._publish()
            return None
        self.attendance.leave_after_first()
        return self._publish() if self.processes.first else None

    def _make(self, number: int) -> None:
        """Write a shard, and then what is in it."""
        every = self.config.checkpoint_every or self.config.shard_size
        with _Shard(self.source, self.config, self.out, number) as shard:
            while shard.rows < shard.size:
                shard.more()
                if shard.rows < shard.size:
                    try:
                        self._tell(shard.rows, shard.stream.funnel)
                    except _Stopped:
                        shard.save()
                        raise
                    if shard.rows - shard.saved >= every:
                        shard.save()
            self._add(shard.finish())

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
                raise self.attendance.ended(gone[0])
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
            "config": self.config.counting(),
            "source": self.source.describe(),
            "streams": {"seed": self.config.seed, "first": 0, "last": self.config.shards - 1},
            "funnel": dict(self.funnel),
            "shards": records,
        }
        if self.processes.first:
            write_json(self.out / MANIFEST, manifest)
        return manifest


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

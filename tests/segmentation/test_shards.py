from __future__ import annotations

import dataclasses
import json
import os
import resource
import signal
import sys
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from segmentation.errors import LanternError
from segmentation.exporting import export
from segmentation.feeding import ShardFeed
from segmentation.pictures import to_uint8
from segmentation.processes import Alone, join
from segmentation.progress import Unwatched
from segmentation.reading import Shards, read_manifest, verify
from segmentation.runfolder import Attendance
from segmentation.shards import ShardConfig, shard_stream, write_shards
from segmentation.synthesis import AcceptedStream, SynthesisConfig
from tests.segmentation.forked import ended, in_a_process, together
from tests.segmentation.sources import Brightness, disc_source

pytestmark = pytest.mark.timeout(300)

CONFIG = ShardConfig(count=23, shard_size=8, seed=2, synthesis=SynthesisConfig(candidates=16))


class StopAfter(Unwatched):
    def __init__(self, steps: int) -> None:
        self.left = steps

    def stop_requested(self) -> bool:
        self.left -= 1
        return self.left <= 0


class One(Alone):
    """The ``index``-th of ``count`` processes that never wait for each other."""

    def __init__(self, index: int, count: int) -> None:
        self.index, self.count = index, count


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_each_shard_holds_the_samples_of_its_own_stream(tmp_path: Path) -> None:
    manifest = write_shards(disc_source(), CONFIG, tmp_path, Unwatched())
    assert manifest is not None
    shards = Shards(tmp_path)
    assert (len(shards), shards.sizes, manifest["samples"]) == (23, [8, 8, 7], 23)
    streams = [AcceptedStream(disc_source(), CONFIG.synthesis, 2, f"shard {number}") for number in range(3)]
    parts = [stream.take(size) for stream, size in zip(streams, shards.sizes, strict=True)]
    images, masks = (torch.cat(kind) for kind in zip(*parts, strict=True))
    for index, (image, mask) in enumerate(shards):
        assert np.array_equal(image, to_uint8(images[index : index + 1])[0])
        assert np.array_equal(mask, masks[index].numpy())
    assert len({image.tobytes() for image, _ in shards}) == 23
    funnels = [stream.funnel for stream in streams]
    assert manifest["funnel"] == {name: sum(f.get(name, 0) for f in funnels) for name in manifest["funnel"]}


@pytest.mark.parametrize("stop_at", [1, 2, 3])
def test_an_interrupted_data_set_goes_on_to_the_same_files(tmp_path: Path, stop_at: int) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    config = dataclasses.replace(CONFIG, synthesis=SynthesisConfig(candidates=5))
    write_shards(disc_source(), config, whole, Unwatched())
    assert write_shards(disc_source(), config, parts, StopAfter(stop_at)) is None
    assert read(parts / "manifest.json")["samples"] == 8 * (stop_at // 2)
    write_shards(disc_source(), config, parts, Unwatched())
    assert contents(parts) == contents(whole)


@pytest.mark.parametrize("at", [4, 6, 8, 14, 22])
def test_a_shard_is_saved_on_the_way_and_gone_on_with_after_a_kill(tmp_path: Path, at: int) -> None:
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    config = dataclasses.replace(CONFIG, checkpoint_every=3, synthesis=SynthesisConfig(candidates=2))
    assert in_a_process(lambda: write_shards(disc_source(), config, killed, Dying(at))) == -signal.SIGKILL
    source = Counting()
    # How often it is saved may be different from one time to the next.
    rest = dataclasses.replace(config, checkpoint_every=None)
    write_shards(source, rest, killed, Unwatched())
    write_shards(disc_source(), rest, whole, Unwatched())
    assert contents(killed) == contents(whole)
    name, batch = source.keys[0][1:]
    assert name == f"shard {at // 8}"
    # After every second batch of two samples there is a save, once it has been reported.
    assert (batch == 0) == (at % 8 < 6), "what was saved must not be made again"


def test_a_shard_that_is_saved_and_damaged_is_begun_anew(tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIG, count=8, checkpoint_every=2, synthesis=SynthesisConfig(candidates=2))
    for damage in ("cut", "changed", "missing"):
        folder, whole = tmp_path / damage, tmp_path / "whole"
        assert write_shards(disc_source(), config, folder, StopAfter(3)) is None
        part = folder / ".images-00000.npy.part"
        content = bytearray(part.read_bytes())
        if damage == "changed":
            content[-1] ^= 1
        part.write_bytes(content[:-5] if damage == "cut" else content)
        if damage == "missing":
            part.unlink()
        write_shards(disc_source(), config, folder, Unwatched())
        write_shards(disc_source(), config, whole, Unwatched())
        assert contents(folder) == contents(whole)


def test_a_full_disk_is_said_and_the_shards_before_stay(tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIG, count=40, shard_size=8, synthesis=SynthesisConfig(candidates=4))
    whole, full = tmp_path / "whole", tmp_path / "full"
    write_shards(disc_source(), config, whole, Unwatched())
    length = (whole / "images-00000.npy").stat().st_size

    class Filling(Unwatched):
        """Leaves no room for another shard after the second."""

        def advance(self, step: int, steps: int, figures: dict[str, float]) -> None:
            if step == 16:
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                resource.setrlimit(resource.RLIMIT_FSIZE, (length - 9, length - 9))

    def filled() -> None:
        try:
            write_shards(disc_source(), config, full, Filling())
        except LanternError as error:
            sys.exit(2 if "the disk is full" in str(error) and "images-00002.npy" in str(error) else 3)

    assert in_a_process(filled) == 2
    assert len(Shards(full)) == 16 and verify(full) == []
    assert not list(full.glob(".*")), "what cannot be gone on with gives its room back"
    write_shards(disc_source(), config, full, Unwatched())
    assert contents(full) == contents(whole)


class Dying(Unwatched):
    """Kills its process after ``step``."""

    def __init__(self, step: int) -> None:
        self.step = step

    def advance(self, step: int, steps: int, figures: dict[str, float]) -> None:
        if step == self.step:
            os.kill(os.getpid(), signal.SIGKILL)


def test_a_process_killed_while_it_writes_loses_that_shard_alone(tmp_path: Path) -> None:
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    config = dataclasses.replace(CONFIG, synthesis=SynthesisConfig(candidates=4))
    assert in_a_process(lambda: write_shards(disc_source(), config, killed, Dying(20))) == -signal.SIGKILL
    assert len(Shards(killed)) == 16, "what was reported as saved is there"
    before = {name: (killed / name).stat().st_mtime_ns for name in ("images-00000.npy", "masks-00001.npy")}
    assert [path for path in killed.iterdir() if path.name.startswith(".")], "the test must see a file half written"
    write_shards(disc_source(), config, killed, Unwatched())
    write_shards(disc_source(), config, whole, Unwatched())
    assert contents(killed) == contents(whole)
    assert before == {name: (killed / name).stat().st_mtime_ns for name in before}


def test_it_reports_and_stops_within_a_shard(tmp_path: Path) -> None:
    class Record(StopAfter):
        def __init__(self, steps: int) -> None:
            super().__init__(steps)
            self.seen: list[tuple[str, int, int]] = []

        def resume(self, step: int, steps: int) -> None:
            self.seen.append(("resume", step, steps))

        def advance(self, step: int, steps: int, figures: dict[str, float]) -> None:
            self.seen.append(("advance", step, steps))

    config = dataclasses.replace(CONFIG, shard_size=16, synthesis=SynthesisConfig(candidates=6))
    first, second = Record(4), Record(1000)
    assert write_shards(disc_source(), config, tmp_path, first) is None
    assert first.seen == [("advance", step, 23) for step in (6, 12, 16, 22)]
    assert Shards(tmp_path).sizes == [16]
    assert write_shards(disc_source(), config, tmp_path, second) is not None
    assert second.seen == [("resume", 16, 23), ("advance", 23, 23)], "the six of the shard that was begun are kept"


class Counting:
    """The discs, with the keys that were asked for."""

    def __init__(self, dies_at: int = 0) -> None:
        self.source, self.keys = disc_source(), list[tuple[int | str, ...]]()
        self.resolution, self.dies_at = self.source.resolution, dies_at

    def pairs(self, count: int, key: tuple[int | str, ...]) -> tuple[Tensor, Tensor]:
        self.keys.append(key)
        if len(self.keys) == self.dies_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.source.pairs(count, key)

    def describe(self) -> dict[str, Any]:
        return self.source.describe()


@pytest.mark.parametrize("damage", ["cut", "removed", "record"])
def test_a_lost_shard_is_made_again_alone_and_as_it_was(tmp_path: Path, damage: str) -> None:
    write_shards(disc_source(), CONFIG, tmp_path, Unwatched())
    before = contents(tmp_path)
    path = tmp_path / ("shard-00001.json" if damage == "record" else "images-00001.npy")
    path.unlink() if damage == "removed" else path.write_bytes(path.read_bytes()[:-5])
    source = Counting()
    write_shards(source, CONFIG, tmp_path, Unwatched())
    made = source.keys
    assert {key[1] for key in made} == {"shard 1"}
    assert contents(tmp_path) == before


@pytest.mark.parametrize("count", [2, 3])
def test_the_data_set_does_not_depend_on_the_number_of_processes(tmp_path: Path, count: int) -> None:
    one, many = tmp_path / "one", tmp_path / "many"

    def work(index: int) -> None:
        processes, _ = join(torch.device("cpu"))
        source = Counting()
        made = write_shards(source, CONFIG, many, Unwatched(), processes)
        assert (made is not None) == processes.first
        assert {key[1] for key in source.keys} == {f"shard {number}" for number in range(3) if number % count == index}

    processes = together(work, count)
    write_shards(disc_source(), CONFIG, one, Unwatched())
    assert ended(processes) == [0] * count
    assert contents(many) == contents(one)


@pytest.mark.parametrize("killed", [0, 1])
def test_if_one_of_two_is_killed_the_other_ends_and_a_resume_goes_on(tmp_path: Path, killed: int) -> None:
    one, two = tmp_path / "one", tmp_path / "two"

    def work(index: int) -> None:
        processes, _ = join(torch.device("cpu"))
        source = Counting(dies_at=1 if index == killed else 0)
        try:
            write_shards(source, CONFIG, two, Unwatched(), processes)
        except LanternError as error:
            sys.exit(2 if f"process {killed} of 2 has ended before the data set was done" in str(error) else 3)

    codes = ended(together(work))
    assert codes[killed] == -signal.SIGKILL
    assert codes[1 - killed] == 2
    write_shards(disc_source(), CONFIG, one, Unwatched())
    write_shards(disc_source(), CONFIG, two, Unwatched())
    left = contents(two)
    for index in (0, 1):
        left.pop(f"process-{index:05d}.lock", None)
    assert left == contents(one)


def test_a_process_that_has_ended_is_missed(tmp_path: Path) -> None:
    """The second of two never comes."""
    with pytest.raises(LanternError, match=r"process 1 of 2 has ended before the data set was done\. Run the same command"):
        write_shards(disc_source(), CONFIG, tmp_path, Unwatched(), One(0, 2))
    assert Shards(tmp_path).sizes == [8, 7]
    assert write_shards(disc_source(), CONFIG, tmp_path, Unwatched()) is not None
    assert len(Shards(tmp_path)) == 23


def test_two_processes_of_the_same_number_are_refused(tmp_path: Path) -> None:
    with Attendance(tmp_path, 1, 2), pytest.raises(LanternError, match="another process 1"), Attendance(tmp_path, 1, 2):
        pass
    with Attendance(tmp_path, 0, 3) as first:
        assert first.absent() == [1, 2]
        with Attendance(tmp_path, 2, 3):
            assert first.absent() == [1]


def test_one_that_leaves_is_told_from_one_that_falls(tmp_path: Path) -> None:
    gone = r"process 0 of 2 has ended before the wall was built\. Run the same command again: it goes on with the stones"
    with Attendance(tmp_path, 1, 2, "the wall was built", "stones") as second:
        # It has not come yet.
        second.leave_after_first()
        with Attendance(tmp_path, 0, 2) as first:
            assert second.absent() == []
            waiting = threading.Thread(target=second.leave_after_first)
            waiting.start()
            first.leave_after_first()
            waiting.join(0.2)
            assert waiting.is_alive()
        waiting.join(30)
        assert not waiting.is_alive() and second.absent() == [0]
        with pytest.raises(ValueError, match="full"), Attendance(tmp_path, 0, 2):
            raise ValueError("full")
        assert second.absent() == [0]
        with pytest.raises(LanternError, match=gone):
            second.leave_after_first()

        def falls() -> None:
            with Attendance(tmp_path, 0, 2):
                os.kill(os.getpid(), signal.SIGKILL)

        assert in_a_process(falls) == -signal.SIGKILL
        with pytest.raises(LanternError, match=gone):
            second.leave_after_first()


def test_another_data_set_in_the_folder_is_refused(tmp_path: Path) -> None:
    write_shards(disc_source(), CONFIG, tmp_path, Unwatched())
    with pytest.raises(LanternError, match="another configuration"):
        write_shards(disc_source(magnitude=4.0), CONFIG, tmp_path, Unwatched())


def test_the_manifest_says_what_made_it(tmp_path: Path) -> None:
    write_shards(disc_source(), CONFIG, tmp_path, Unwatched())
    manifest = read_manifest(tmp_path)
    assert manifest["source"]["fingerprint"] == "disc-1"
    assert manifest["source"]["magnitude"] == 5.0
    assert ShardConfig.from_json(manifest["config"]) == CONFIG
    assert manifest["streams"] == {"seed": 2, "first": 0, "last": 2}
    assert manifest["funnel"]["generated"] == sum(n for name, n in manifest["funnel"].items() if name != "generated")
    assert [record["count"] for record in manifest["shards"]] == [8, 8, 7]


def test_memory_does_not_grow_with_the_number_of_samples(tmp_path: Path) -> None:
    def peak(count: int) -> int:
        config = ShardConfig(count=count, shard_size=count, synthesis=SynthesisConfig(candidates=32))
        source = Brightness()
        tracemalloc.start()
        write_shards(source, config, tmp_path / str(count), Unwatched())
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(32)
    few, many = peak(128), peak(1024)
    images = 1024 * 16 * 16 * 3
    assert many < few + images / 4, "a shard's images are never all in memory"


def test_a_million_samples_need_little_memory_to_write_read_train_on_and_export(tmp_path: Path) -> None:
    """What a shard more takes, taken times the shards of a million samples, with the rest is a small part of 2 GiB."""

    def peaks(count: int) -> dict[str, int]:
        found, folder = dict[str, int](), tmp_path / str(count)
        config = ShardConfig(count=count, shard_size=1, synthesis=SynthesisConfig(candidates=8))
        source = Brightness()

        def work() -> Iterator[tuple[str, Callable[[], object]]]:
            yield "write", lambda: write_shards(source, config, folder, Unwatched())
            yield "look", lambda: write_shards(source, config, folder, Unwatched())
            shards = Shards(folder)
            yield "verify", lambda: verify(folder)
            feed = ShardFeed(shards, 0, 8, 2, Alone())
            yield "train", lambda: [feed.batch(step) for step in range(count // 8)][-1:]
            yield "export", lambda: export(shards, folder / "tars", "webdataset", Unwatched(), folder / "tars.run")

        for name, step in work():
            tracemalloc.start()
            step()
            found[name] = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        return found

    peaks(16)
    few, many = peaks(16), peaks(144)
    million = -(-1_000_000 // ShardConfig.shard_size)
    for name in few:
        # A batch is small here, and of the same size in both.
        a_shard = max(0.0, (many[name] - few[name]) / 128)
        assert few[name] + a_shard * million < 2**30 / 8, (name, few[name], a_shard)


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def test_streams_of_shards_and_seeds_are_apart() -> None:
    source = disc_source()
    other = dataclasses.replace(CONFIG, seed=3)
    first = [shard_stream(source, config, number).take(2)[0] for config, number in ((CONFIG, 1), (CONFIG, 2), (other, 1))]
    assert not any(torch.equal(first[a], first[b]) for a, b in ((0, 1), (0, 2), (1, 2)))

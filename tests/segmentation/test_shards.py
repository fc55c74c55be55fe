from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from segmentation.errors import LanternError
from segmentation.pictures import to_uint8
from segmentation.progress import Unwatched
from segmentation.shards import ShardConfig, Shards, write_shards
from segmentation.synthesis import AcceptedStream, SynthesisConfig
from tests.segmentation.sources import disc_source

CONFIG = ShardConfig(count=23, shard_size=8, seed=2, synthesis=SynthesisConfig(candidates=16))


class StopAfter(Unwatched):
    def __init__(self, steps: int) -> None:
        self.left = steps

    def stop_requested(self) -> bool:
        self.left -= 1
        return self.left <= 0


def test_it_holds_the_streams_samples(tmp_path: Path) -> None:
    manifest = write_shards(disc_source(), CONFIG, tmp_path, Unwatched())
    assert manifest is not None
    assert manifest["shards"] == [8, 8, 7]
    shards = Shards(tmp_path)
    images, masks = AcceptedStream(disc_source(), CONFIG.synthesis, 2, "data set").take(23)
    assert len(shards) == 23
    for index in range(23):
        image, mask = shards[index]
        assert np.array_equal(image, to_uint8(images[index : index + 1])[0])
        assert np.array_equal(mask, masks[index].numpy())
    with pytest.raises(IndexError):
        shards[23]


def test_an_interrupted_data_set_goes_on_to_the_same_files(tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    write_shards(disc_source(), CONFIG, whole, Unwatched())
    assert write_shards(disc_source(), CONFIG, parts, StopAfter(1)) is None
    assert len(Shards(parts)) == 8
    write_shards(disc_source(), CONFIG, parts, Unwatched())
    names = sorted(path.name for path in whole.iterdir())
    assert names == sorted(path.name for path in parts.iterdir())
    assert all((whole / name).read_bytes() == (parts / name).read_bytes() for name in names)


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
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    write_shards(disc_source(), config, whole, Unwatched())
    first, second = Record(4), Record(1000)
    assert write_shards(disc_source(), config, parts, first) is None
    assert first.seen == [("advance", step, 23) for step in (6, 12, 16, 22)]
    assert Shards(parts).sizes == [16]
    assert write_shards(disc_source(), config, parts, second) is not None
    assert second.seen == [("resume", 16, 23), ("advance", 22, 23), ("advance", 23, 23)]
    names = sorted(path.name for path in whole.iterdir())
    assert all((whole / name).read_bytes() == (parts / name).read_bytes() for name in names)


def test_another_data_set_in_the_folder_is_refused(tmp_path: Path) -> None:
    write_shards(disc_source(), CONFIG, tmp_path, Unwatched())
    with pytest.raises(LanternError, match="another configuration"):
        write_shards(disc_source(magnitude=4.0), CONFIG, tmp_path, Unwatched())


def test_missing_and_damaged_shards_are_named(tmp_path: Path) -> None:
    write_shards(disc_source(), CONFIG, tmp_path, Unwatched())
    path = tmp_path / "images-00001.npy"
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(LanternError, match="images-00001"):
        Shards(tmp_path)
    path.unlink()
    with pytest.raises(LanternError, match="images-00001"):
        Shards(tmp_path)
    with pytest.raises(LanternError, match="manifest"):
        Shards(tmp_path / "none")


def test_the_manifest_says_what_made_it(tmp_path: Path) -> None:
    manifest = write_shards(disc_source(), CONFIG, tmp_path, Unwatched())
    described = json.loads((tmp_path / "config.json").read_text())
    assert described["source"]["fingerprint"] == "disc-1"
    assert described["shards"]["seed"] == 2
    assert manifest is not None
    assert manifest["funnel"]["kept"] >= 23

"""What the page reads of runs on the disk, from folders that real runs wrote."""

from __future__ import annotations

import dataclasses
import json
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from explorer import overview as subject
from explorer.archives import pack
from explorer.overview import POINTS, Overview, command_line, configuration, log, look_into, newest_picture, thinned
from explorer.runs.command import Command
from explorer.runs.listing import RunView, list_runs
from explorer.runs.status import Status
from explorer.runs.store import Run
from segmentation.errors import LanternError
from segmentation.progress import Unwatched
from segmentation.reading import Shards
from segmentation.shards import ShardConfig, write_shards
from segmentation.synthesis import SynthesisConfig
from tests.segmentation.sources import disc_source


def a_run(folder: Path, kind: str = "train", steps: int = 3) -> None:
    with Run(folder, kind) as run:
        for step in range(1, steps + 1):
            run.advance(step, steps, {"loss": 1 / step, "acceptance_rate": 0.5})


def test_runs_are_listed_newest_first_by_their_folders_and_kinds(tmp_path: Path) -> None:
    for place, (name, kind) in enumerate((("first", "train"), ("deep/second", "generate"), ("third", "train"))):
        a_run(tmp_path / name, kind)
        status = dataclasses.replace(Status(kind, "done", 3, 3), started=100.0 + place)
        status.write(tmp_path / name)
    overview = Overview(tmp_path)
    assert [named.name for named in overview.runs()] == ["third", "deep/second", "first"]
    assert [named.name for named in overview.runs(("train",))] == ["third", "first"]
    assert overview.newest(("generate",)) == "deep/second" and overview.newest(("discover",)) is None


def test_a_run_at_work_comes_before_newer_ones_that_have_ended(tmp_path: Path) -> None:
    with Run(tmp_path / "old", "train") as working:
        working.advance(1, 5, {})
        a_run(tmp_path / "new")
        assert Overview(tmp_path).newest() == "old"
    overview = Overview(tmp_path)
    assert overview.newest() == "new"


@pytest.mark.parametrize("name", ["../outside", "/etc", "", "none", "first/../../outside"])
def test_only_names_from_the_list_are_taken(name: str, tmp_path: Path) -> None:
    a_run(tmp_path / "runs" / "first")
    a_run(tmp_path / "outside")
    with pytest.raises(LanternError, match="no run called"):
        Overview(tmp_path / "runs").get(name)


def test_many_visitors_read_the_disk_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a_run(tmp_path / "first")
    asked: list[Path] = []

    def listed(root: Path) -> list[RunView]:
        asked.append(root)
        return list_runs(root)

    monkeypatch.setattr(subject, "list_runs", listed)
    monkeypatch.setattr(time, "monotonic", lambda: 50.0)
    overview = Overview(tmp_path)
    for _ in range(20):
        overview.runs()
    assert len(asked) == 1
    monkeypatch.setattr(time, "monotonic", lambda: 51.0)
    overview.runs()
    assert len(asked) == 2


def test_curves_hold_every_figure_and_follow_the_file(tmp_path: Path) -> None:
    a_run(tmp_path / "first")
    overview = Overview(tmp_path)
    named = overview.get("first")
    assert overview.curves(named) == {
        "loss": ([1, 2, 3], pytest.approx([1, 0.5, 1 / 3])),
        "acceptance_rate": ([1, 2, 3], [0.5] * 3),
    }
    with (tmp_path / "first" / "metrics.jsonl").open("a") as stream:
        stream.write(json.dumps({"step": 4, "iou": 0.25}) + "\n")
    assert overview.curves(named)["iou"] == ([4], [0.25])
    assert overview.curves(subject.Named("x", dataclasses.replace(named.run, folder=tmp_path / "none"))) == {}


def test_long_curves_are_thinned_to_the_means_of_neighbours() -> None:
    steps, values = thinned([{"step": step, "loss": float(step % 2), "gone": None} for step in range(1, 8001)])["loss"]
    assert len(steps) == len(values) == POINTS
    assert steps == sorted(steps) and steps[0] < 20 and steps[-1] > 7980 and set(values) == {0.5}


def test_the_command_that_repeats_it_is_quoted_for_a_shell(tmp_path: Path) -> None:
    a_run(tmp_path / "first")
    overview = Overview(tmp_path)
    assert command_line(overview.get("first")) == "" and configuration(overview.get("first")) == ""
    Command(("train", "--out", "a b"), tmp_path).save(tmp_path / "first")
    (tmp_path / "first" / "config.json").write_text('{"steps": 3}')
    assert command_line(overview.get("first")) == "python -m explorer train --out 'a b'"
    assert configuration(overview.get("first")) == '{"steps": 3}'
    assert "train started by process" in log(overview.get("first"))


def test_the_newest_picture_is_shown(tmp_path: Path) -> None:
    with Run(tmp_path / "first", "train") as run:
        assert newest_picture(Overview(tmp_path).get("first")) is None
        for step in (1, 2):
            run.picture(f"{step:06d}", np.full((4, 6, 3), step, np.uint8))
    # What is being written has another name until it is whole.
    (tmp_path / "first" / "samples" / ".000003.png.part.png").write_bytes(b"half")
    path = newest_picture(Overview(tmp_path).get("first"))
    assert path is not None and path.name == "000002.png" and (subject.read_picture(path) == 2).all()


@pytest.fixture
def data_set(tmp_path: Path) -> Path:
    write_shards(
        disc_source(),
        ShardConfig(count=10, shard_size=4, synthesis=SynthesisConfig(candidates=8)),
        tmp_path / "data",
        Unwatched(),
    )
    a_run(tmp_path / "data", "generate")
    return tmp_path / "data"


def test_a_look_into_a_data_set_shows_its_samples(data_set: Path) -> None:
    named = Overview(data_set.parent).get("data")
    picture, total = look_into(named, 3, 5)
    shards = Shards(data_set)
    side = shards.resolution
    assert total == 10 and picture.shape == (2 * side, 5 * side, 3)
    for place in range(5):
        image, mask = shards[3 + place]
        assert (picture[:side, place * side : (place + 1) * side] == image).all()
        assert (picture[side:, place * side : (place + 1) * side] == 255 * mask[..., None]).all()
    assert look_into(named, 9, 5)[0].shape == (2 * side, side, 3)
    with pytest.raises(LanternError, match="no sample 10.*There are 10"):
        look_into(named, 10)


def test_a_look_before_the_first_shard_says_so(tmp_path: Path) -> None:
    a_run(tmp_path / "data", "generate")
    with pytest.raises(LanternError, match="no finished part yet"):
        look_into(Overview(tmp_path).get("data"), 0)


def test_an_archive_holds_what_the_program_reads_and_nothing_of_its_work(data_set: Path, tmp_path: Path) -> None:
    (data_set / "checkpoint.safetensors").write_bytes(b"x")
    path = pack(data_set, tmp_path / "out" / "data.zip")
    with zipfile.ZipFile(path) as archive:
        names = {name.removeprefix("data/") for name in archive.namelist()}
        archive.extractall(tmp_path / "taken")
    assert {"manifest.json", "config.json", "images-00000.npy", "masks-00002.npy"} <= names
    assert not {name for name in names if name.startswith(("lock", "log", "status", "checkpoint", "events"))}
    assert len(Shards(tmp_path / "taken" / "data")) == 10


def test_nothing_is_packed_before_there_is_something_nor_what_is_too_large(
    tmp_path: Path, data_set: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_run(tmp_path / "empty")
    with pytest.raises(LanternError, match="empty has nothing finished yet"):
        pack(tmp_path / "empty", tmp_path / "x.zip")
    monkeypatch.setattr("explorer.archives.LARGEST", 100)
    with pytest.raises(LanternError, match="too much for a browser"):
        pack(data_set, tmp_path / "x.zip")

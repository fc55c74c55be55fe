"""Several processes that train one U-Net, over gloo."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from segmentation.errors import LanternError
from segmentation.feeding import Batch, StreamFeed
from segmentation.processes import Alone, Several, join
from segmentation.progress import Unwatched
from segmentation.reading import Shards
from segmentation.shards import ShardConfig, write_shards
from segmentation.tensors import load_tensors
from segmentation.training import feed_for, train
from tests.segmentation.forked import ended, together
from tests.segmentation.sources import disc_source
from tests.segmentation.test_training import CPU, Notebook, configuration

pytestmark = pytest.mark.timeout(300)

CONFIG = configuration(steps=4, batch_size=9, held_out=6, validate_every=2, learning_rate=5e-4)


class Book(Notebook):
    """Keeps figures in a file."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def advance(self, step: int, steps: int, figures: dict[str, float]) -> None:
        with self.path.open("a") as lines:
            lines.write(json.dumps([step, figures]) + "\n")


def figures_in(path: Path) -> dict[int, dict[str, float]]:
    return dict(map(json.loads, path.read_text().splitlines()))


@pytest.mark.parametrize("kind", ["online", "shards"])
def test_two_processes_train_the_network_that_one_does(tmp_path: Path, kind: str) -> None:
    data, one, two = tmp_path / "data", tmp_path / "one", tmp_path / "two"
    if kind == "shards":
        write_shards(disc_source(), ShardConfig(count=30, shard_size=16), data, Unwatched())

    def source() -> Any:
        return Shards(data) if kind == "shards" else disc_source()

    def work(index: int) -> None:
        processes, device = join(CPU)
        training = train(source(), CONFIG, two, Book(tmp_path / f"lines-{index}"), device, processes)
        assert training is not None and training.processes.count == 2

    processes = together(work)
    alone = Notebook()
    training = train(source(), CONFIG, one, alone, CPU)
    assert ended(processes) == [0, 0]
    found = figures_in(tmp_path / "lines-0")
    assert not (tmp_path / "lines-1").exists(), "the first alone tells"
    for step in range(1, 5):
        assert found[step]["loss"] == pytest.approx(alone.figures[step]["loss"], abs=1e-5)
        # Of the candidates of both, as the funnel is.
        assert found[step].get("acceptance_rate") == alone.figures[step].get("acceptance_rate")
    assert ("acceptance_rate" in found[4]) == (kind == "online")
    for name in ("held_out_loss", "max_f", "accuracy"):
        assert found[4][name] == pytest.approx(alone.figures[4][name], abs=1e-3)
    states = [load_tensors(folder / "checkpoint.safetensors") for folder in (one, two)]
    for name, value in states[0][0].items():
        if name.startswith("net."):
            assert torch.allclose(value, states[1][0][name], rtol=0, atol=1e-5), name
    assert states[0][1]["positions"] == states[1][1]["positions"]
    assert training is not None
    assert states[1][1]["funnel"] == training.funnel
    if kind == "online":
        assert found[4]["acceptance_rate"] == training.funnel["kept"] / training.funnel["generated"]
    assert (one / "config.json").read_text() == (two / "config.json").read_text()


def test_what_two_have_begun_one_or_three_can_go_on_with(tmp_path: Path) -> None:
    whole, rest = Notebook(), Notebook()
    train(disc_source(), CONFIG, tmp_path / "whole", whole, CPU)

    def work(index: int) -> None:
        processes, device = join(CPU)
        assert train(disc_source(), CONFIG, tmp_path / "parts", Notebook(3), device, processes) is None

    assert ended(together(work)) == [0, 0]
    train(disc_source(), CONFIG, tmp_path / "parts", rest, CPU)
    assert sorted(rest.figures) == [4]
    assert rest.figures[4]["loss"] == pytest.approx(whole.figures[4]["loss"], abs=1e-5)


@pytest.mark.parametrize("killed", [0, 1])
def test_if_one_of_two_is_killed_the_other_ends_with_an_error_and_a_resume_goes_on(
    tmp_path: Path, killed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, rest = Notebook(), Notebook()
    train(disc_source(), CONFIG, tmp_path / "whole", whole, CPU)

    def work(index: int) -> None:
        processes, device = join(CPU)
        if index == killed:
            monkeypatch.setattr(StreamFeed, "batch", dying)
        try:
            train(disc_source(), CONFIG, tmp_path / "parts", Notebook(), device, processes)
        except LanternError as error:
            (tmp_path / "said").write_text(str(error))
            raise

    batch = StreamFeed.batch

    def dying(feed: StreamFeed, step: int) -> Batch:
        if step == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return batch(feed, step)

    codes = ended(together(work))
    assert codes[killed] == -signal.SIGKILL and codes[1 - killed] == 1
    said = (tmp_path / "said").read_text()
    assert "another of the 2 processes has ended" in said and "to go on from the last checkpoint" in said
    train(disc_source(), CONFIG, tmp_path / "parts", rest, CPU)
    assert min(rest.figures) == 3
    assert rest.figures[4]["loss"] == pytest.approx(whole.figures[4]["loss"], abs=1e-5)


@pytest.mark.parametrize("count", [2, 3, 8])
def test_every_process_has_other_samples_and_together_they_are_the_batch(tmp_path: Path, count: int) -> None:
    write_shards(disc_source(), ShardConfig(count=30, shard_size=16), tmp_path, Unwatched())
    for source in (disc_source(), Shards(tmp_path)):
        parts = [feed_for(source, CONFIG, Several(index, count, CPU)) for index in range(count)]
        whole = feed_for(source, CONFIG, Alone())
        for step in range(2):
            expected = [image.numpy().tobytes() for image in whole.batch(step).images]
            found = [image.numpy().tobytes() for feed in parts for image in feed.batch(step).images]
            assert sorted(found) == sorted(expected)
            assert len(set(found)) == 9


def test_more_processes_than_samples_are_refused(tmp_path: Path) -> None:
    for config, count in ((CONFIG, 9), (configuration(streams=2), 3), (configuration(batch_size=2), 3)):
        with pytest.raises(LanternError, match=rf"{count} processes are to share batches .* raise --streams"):
            feed_for(disc_source(), config, Several(0, count, CPU))

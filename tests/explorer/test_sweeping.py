from __future__ import annotations

import json
import os
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from explorer.commands.sweeping import training_arguments
from explorer.runs.store import read_status
from explorer.sweeping import SweepConfig, best, read_summary, spread, sweep
from segmentation.errors import LanternError
from segmentation.processes import join
from segmentation.progress import Unwatched, Watcher
from segmentation.training import Training, TrainingConfig, train
from tests.segmentation.forked import ended, together
from tests.segmentation.sources import disc_source
from tests.segmentation.test_training import configuration

pytestmark = pytest.mark.timeout(300)

CPU = torch.device("cpu")
TRAINING = configuration(steps=2, batch_size=4, held_out=4, validate_every=2, seed=5)


class Counter(Unwatched):
    """Notes how far the sweep is; asks to stop after ``until`` steps of this life."""

    def __init__(self, until: int = 0) -> None:
        self.until, self.seen, self.begun = until, list[tuple[int, int]](), list[tuple[int, int]]()

    def resume(self, step: int, steps: int) -> None:
        self.begun.append((step, steps))

    def advance(self, step: int, steps: int, figures: dict[str, float]) -> None:
        self.seen.append((step, steps))

    def stop_requested(self) -> bool:
        return len(self.seen) + 1 == self.until


def made(config: SweepConfig, out: Path, watcher: Watcher, **more: Any) -> dict[str, Any] | None:
    def one(training: TrainingConfig, folder: Path, watching: Watcher) -> Training | None:
        return train(disc_source(), training, folder, watching, CPU, more.get("processes"))

    return sweep(one, config, TRAINING, {"source": disc_source().describe()}, out, watcher, **more)


@pytest.fixture(scope="module", autouse=True)
def _hasty() -> Iterator[None]:
    """Nothing here has to survive a power cut."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: None)
        yield


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory, _hasty: None) -> tuple[Path, dict[str, Any]]:
    """A finished sweep over three seeds."""
    out, watcher = tmp_path_factory.mktemp("sweep"), Counter()
    found = made(SweepConfig(seeds=3), out, watcher, judge=lambda weights: {"max_f": len(weights.parts[-2]) / 10})
    assert found is not None
    assert watcher.seen == [(step, 6) for step in range(1, 7)] and watcher.begun == []
    return out, found


def test_means_and_deviations_are_those_of_the_seeds(seeds: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    out, found = seeds
    assert [row["seed"] for row in found["seeds"]] == [5, 6, 7]
    for number, row in enumerate(found["seeds"]):
        alone = Unwatched()
        folder = tmp_path / str(number)
        training = train(disc_source(), configuration(**{**KEYS, "seed": 5 + number}), folder, alone, CPU)
        assert training is not None and training.scores == row["held_out"]
    for name in ("iou", "max_f", "accuracy", "held_out_loss"):
        values = [row["held_out"][name] for row in found["seeds"]]
        assert found["held_out"][name] == {"mean": statistics.fmean(values), "std": statistics.stdev(values)}
    assert found["scores"] == {"max_f": {"mean": 0.9, "std": 0.0}}
    assert read_summary(out) == found


KEYS: dict[str, Any] = {"steps": 2, "batch_size": 4, "held_out": 4, "validate_every": 2}


def test_every_training_is_a_run_of_its_own(seeds: tuple[Path, dict[str, Any]]) -> None:
    out, found = seeds
    for row in found["seeds"]:
        folder = out / row["folder"]
        assert (read_status(folder)["kind"], read_status(folder)["state"], read_status(folder)["step"]) == ("train", "done", 2)
        assert len((folder / "metrics.jsonl").read_text().splitlines()) == 2
        assert {"unet.safetensors", "checkpoint.safetensors", "config.json"} <= {path.name for path in folder.iterdir()}


def test_a_finished_sweep_trains_nothing_again(seeds: tuple[Path, dict[str, Any]]) -> None:
    out, found = seeds
    watcher = Counter()
    assert made(SweepConfig(seeds=3), out, watcher, judge=lambda weights: {}) == found
    assert watcher.seen == []
    with pytest.raises(LanternError, match="another configuration"):
        made(SweepConfig(seeds=4), out, watcher)


@pytest.mark.parametrize(("until", "done"), [(1, 1), (2, 2), (3, 2), (4, 4)])
def test_a_stopped_sweep_goes_on(seeds: tuple[Path, dict[str, Any]], tmp_path: Path, until: int, done: int) -> None:
    assert made(SweepConfig(seeds=3), tmp_path, Counter(until)) is None
    watcher = Counter()
    found = made(SweepConfig(seeds=3), tmp_path, watcher)
    assert found is not None
    assert [row["held_out"] for row in found["seeds"]] == [row["held_out"] for row in seeds[1]["seeds"]]
    assert watcher.begun == [(done, 6)] and watcher.seen[0] == (done + 1, 6)


def test_held_out_samples_choose_the_schedule(tmp_path: Path) -> None:
    config = SweepConfig(seeds=2, try_learning_rates=(1e-7, 0.02), try_steps=(1, 6), choose_by="held_out_loss")
    watcher = Counter()
    found = made(config, tmp_path, watcher)
    assert found is not None
    assert [one["settings"] for one in found["tried"]] == [
        {"steps": steps, "learning_rate": rate} for steps in (1, 6) for rate in (1e-7, 0.02)
    ]
    losses = [one["held_out"]["held_out_loss"] for one in found["tried"]]
    assert found["chosen"] == found["tried"][losses.index(min(losses))]["settings"]
    assert found["seeds"][0]["held_out"] == found["tried"][losses.index(min(losses))]["held_out"], "it is not trained twice"
    assert found["seeds"][0]["folder"].startswith("tried/") and found["seeds"][1]["folder"] == "seeds/seed-0006"
    last = watcher.seen[-1]
    assert last[0] == last[1] == len(watcher.seen)


def test_batch_size_and_decay_are_chosen_too(tmp_path: Path) -> None:
    found = made(SweepConfig(seeds=1, try_batch_sizes=(4, 6), try_decays=(0.2, 1.0)), tmp_path, Counter())
    assert found is not None
    settings = [one["settings"] for one in found["tried"]]
    assert settings == [{"batch_size": size, "decay": decay} for size in (4, 6) for decay in (0.2, 1.0)]
    scores = [one["held_out"]["iou"] for one in found["tried"]]
    assert found["chosen"] == settings[scores.index(max(scores))] and found["chosen_by"] == "iou"
    trained = json.loads((tmp_path / found["seeds"][0]["folder"] / "config.json").read_text())["training"]
    assert trained.items() >= found["chosen"].items()


def test_ten_seeds_as_in_the_paper_are_the_default(tmp_path: Path) -> None:
    found = made(SweepConfig(), tmp_path, Counter())
    assert found is not None
    assert [row["seed"] for row in found["seeds"]] == list(range(TRAINING.seed, TRAINING.seed + 10))
    values = [row["held_out"]["iou"] for row in found["seeds"]]
    assert found["held_out"]["iou"] == {"mean": statistics.fmean(values), "std": statistics.stdev(values)}
    assert len(set(values)) > 5


def test_the_best_is_the_lowest_loss_or_the_highest_score() -> None:
    rows = (("a", 0.5, 1), ("b", 0.7, 2))
    tried = [{"name": name, "held_out": {"iou": iou, "held_out_loss": loss}} for name, iou, loss in rows]
    assert best(tried, "iou")["name"] == "b" and best(tried, "held_out_loss")["name"] == "a"
    assert spread([3.0]) == {"mean": 3.0, "std": None}


def test_two_processes_sweep_together(tmp_path: Path, seeds: tuple[Path, dict[str, Any]]) -> None:
    def work(index: int) -> None:
        processes, _ = join(CPU)
        found = made(SweepConfig(seeds=2), tmp_path / "two", Counter(), processes=processes)
        assert found is not None
        (tmp_path / str(index)).write_text(json.dumps(found))

    assert ended(together(work)) == [0, 0]
    found = [json.loads((tmp_path / name).read_text()) for name in ("0", "1")]
    assert found[0] == found[1] == read_summary(tmp_path / "two")
    for row, alone in zip(found[0]["seeds"], seeds[1]["seeds"], strict=False):
        assert row["held_out"]["held_out_loss"] == pytest.approx(alone["held_out"]["held_out_loss"], abs=1e-3)


@pytest.mark.parametrize("values", [{"seeds": 0}, {"choose_by": "luck"}])
def test_bad_sweeps_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(LanternError):
        SweepConfig(**values)


def test_a_bad_schedule_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    with pytest.raises(LanternError, match="batch_size is 1"):
        made(SweepConfig(try_batch_sizes=(4, 1)), tmp_path, Counter())
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(LanternError, match="holds no sweep"):
        read_summary(tmp_path)


def test_a_training_of_a_sweep_has_the_command_that_makes_it_alone() -> None:
    given = "sweep --generator g.safetensors --seeds 3 --try-steps 1 12 --images a --masks b --batch-size 7 --unet.width 4"
    config, folder = TrainingConfig(steps=12, batch_size=7, seed=6), Path("x/seeds/seed-0006")
    kept = "train --generator g.safetensors --unet.width 4"
    changed = f"--seed 6 --steps 12 --batch-size 7 --learning-rate 0.001 --decay 0.2 --out {folder}"
    assert training_arguments([*given.split(), "--out", "x"], config, folder) == f"{kept} {changed}".split()

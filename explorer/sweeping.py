"""Sweeps: the same training with several seeds, after a choice among schedules by the held-out synthetic samples.

The paper gives means over ten runs, and chooses batch size, schedule and steps on held-out synthetic data (section 3.3).
"""

from __future__ import annotations

import dataclasses
import itertools
import statistics
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explorer.runs.store import Run
from segmentation.configuration import Config, check_choice, check_range
from segmentation.errors import LanternError
from segmentation.files import read_json, write_json
from segmentation.processes import Alone
from segmentation.progress import Unwatched, Watcher
from segmentation.runfolder import claim
from segmentation.training import Training, TrainingConfig

RESULT, SUMMARY = "result.json", "sweep.json"
FIGURES = ("iou", "max_f", "accuracy", "held_out_loss")
_GRID = {"steps": "try_steps", "batch_size": "try_batch_sizes", "learning_rate": "try_learning_rates", "decay": "try_decays"}
TrainOne = Callable[[TrainingConfig, Path, Watcher], Training | None]
"""Trains with a configuration in a folder, told to a watcher; None if it was stopped."""
Judge = Callable[[Path], dict[str, float]]
"""Scores the weights in a file on photographs."""
Opened = Callable[[TrainingConfig, Path], AbstractContextManager[object]]
"""What holds while a training of that configuration runs in that folder."""


@dataclasses.dataclass(frozen=True)
class SweepConfig(Config):
    """Which trainings a sweep makes; with nothing to try it is the given one, with several seeds."""

    seeds: int = 10
    """Trainings of the chosen schedule, with the seeds from --seed on."""
    try_steps: tuple[int, ...] = ()
    """Numbers of steps to choose from."""
    try_batch_sizes: tuple[int, ...] = ()
    """Batch sizes to choose from."""
    try_learning_rates: tuple[float, ...] = ()
    """Learning rates to choose from."""
    try_decays: tuple[float, ...] = ()
    """Factors of the rate's fall to choose from; 1: it does not fall."""
    choose_by: str = "iou"
    """The figure of the held-out synthetic samples that chooses: ``iou``, ``max_f``, ``accuracy`` or ``held_out_loss``."""

    def __post_init__(self) -> None:
        check_range("seeds", self.seeds, 1, 10_000)
        check_choice("choose_by", self.choose_by, FIGURES)

    def schedules(self, training: TrainingConfig) -> list[dict[str, Any]]:
        """Every combination of what is to be tried, as fields of a :class:`TrainingConfig`; one empty one if nothing is."""
        tried = {field: getattr(self, name) for field, name in _GRID.items() if getattr(self, name)}
        combined = [dict(zip(tried, values, strict=True)) for values in itertools.product(*tried.values())]
        for settings in combined:
            # Refused now rather than after hours.
            dataclasses.replace(training, **settings)
        return combined


def sweep(
    train: TrainOne,
    config: SweepConfig,
    training: TrainingConfig,
    described: Mapping[str, Any],
    out: Path,
    watcher: Watcher,
    judge: Judge | None = None,
    processes: Alone | None = None,
    opened: Opened | None = None,
) -> dict[str, Any] | None:
    """Make the trainings of a sweep one after the other, each a run in a folder of its own; go on where ``out`` stopped.

    Schedules are tried in ``out/tried``, with the first seed; the one with the best held-out figure is trained with all seeds,
    in ``out/seeds``. ``described`` says what else belongs to the sweep (source, photographs). Writes ``config.json``, and after
    every training ``sweep.json``: what was tried and chosen, each seed's figures and, with a ``judge``, its scores, means and
    standard deviations. Returns that, or None if the watcher asked to stop. Errors: :class:`LanternError` if ``out`` holds
    another sweep, or as of the trainings.
    """
    work = _Sweep(train, config, training, out, watcher, judge, processes or Alone(), opened)
    whole = {"sweep": config.to_json(), "training": training.counting(), **described}
    work.processes.decide(lambda: claim(out, whole))
    return work.run()


class _Sweep:
    """The trainings of a sweep in the folder ``out``, and what has come of them."""

    def __init__(
        self,
        train: TrainOne,
        config: SweepConfig,
        training: TrainingConfig,
        out: Path,
        watcher: Watcher,
        judge: Judge | None,
        processes: Alone,
        opened: Opened | None,
    ) -> None:
        self.train, self.config, self.training, self.out, self.judge = train, config, training, out, judge
        self.processes, self.watcher = processes, watcher if processes.first else Unwatched()
        self.opened = opened
        self.schedules = config.schedules(training)
        self.tried: list[dict[str, Any]] = []
        self.seeds: list[dict[str, Any]] = []
        self.chosen: dict[str, Any] = self.schedules[0]
        self.progress = _Progress(self.watcher, self._steps())

    def run(self) -> dict[str, Any] | None:
        """Make the trainings that are not there yet."""
        if len(self.schedules) > 1:
            for settings in self.schedules:
                result = self._one(settings, self.training.seed)
                if result is None:
                    return None
                self.tried.append({"settings": settings, **result})
                self._summarise()
                if self.processes.decide(self.progress.stop_requested):
                    return None
            self.chosen = best(self.tried, self.config.choose_by)["settings"]
            self.progress.total = self._steps()
        for seed in range(self.training.seed, self.training.seed + self.config.seeds):
            result = self._one(self.chosen, seed)
            if result is None:
                return None
            self.seeds.append(result)
            self._summarise()
            if len(self.seeds) < self.config.seeds and self.processes.decide(self.progress.stop_requested):
                return None
        return self._summary()

    def _steps(self) -> int:
        """Steps of all trainings, as far as it is known how many."""
        tried = sum(settings.get("steps", self.training.steps) for settings in self.schedules if len(self.schedules) > 1)
        again = self.config.seeds - (len(self.schedules) > 1)
        return tried + again * int(self.chosen.get("steps", self.training.steps))

    def _one(self, settings: dict[str, Any], seed: int) -> dict[str, Any] | None:
        """What came of a training; trained now if it has not been. None if it was stopped."""
        config = dataclasses.replace(self.training, **settings, seed=seed)
        folder = self._folder(settings, seed)
        if not self.processes.decide((folder / RESULT).exists):
            with self._watched(config, folder) as watcher:
                done = self.train(config, folder, watcher)
                if done is None:
                    return None
                self.processes.decide(partial(self._keep, done, folder))
        self.progress.count(folder, config.steps)
        result: dict[str, Any] = self.processes.gather(read_json(folder / RESULT) if self.processes.first else None)[0]
        return result

    def _folder(self, settings: dict[str, Any], seed: int) -> Path:
        if len(self.schedules) > 1 and seed == self.training.seed:
            return self.out / "tried" / "_".join(f"{name}-{value:g}" for name, value in settings.items())
        return self.out / "seeds" / f"seed-{seed:04d}"

    def _keep(self, done: Training, folder: Path) -> bool:
        scores = None if self.judge is None else self.judge(folder / "unet.safetensors")
        result = {"seed": done.config.seed, "steps": done.step, "folder": str(folder.relative_to(self.out))}
        write_json(folder / RESULT, {**result, "held_out": done.scores, "scores": scores})
        return True

    @contextmanager
    def _watched(self, config: TrainingConfig, folder: Path) -> Iterator[Watcher]:
        if not self.processes.first:
            yield Unwatched()
            return
        self.watcher.note(f"training in {folder.relative_to(self.out)}")
        with self.opened(config, folder) if self.opened else _nothing(), Run(folder, "train") as run:
            yield _Child(run, self.progress)

    def _summary(self) -> dict[str, Any]:
        summary: dict[str, Any] = {"chosen": self.chosen, "chosen_by": self.config.choose_by, "tried": self.tried}
        summary |= {"seeds": self.seeds, "of_seeds": self.config.seeds}
        for kind in ("held_out", "scores"):
            rows = [row[kind] for row in self.seeds if row[kind]]
            summary[kind] = {name: spread([row[name] for row in rows]) for name in (rows[0] if rows else {})}
        return summary

    def _summarise(self) -> None:
        if self.processes.first:
            write_json(self.out / SUMMARY, self._summary())


@contextmanager
def _nothing() -> Iterator[None]:
    yield


def best(tried: list[dict[str, Any]], figure: str) -> dict[str, Any]:
    """The first of ``tried`` with the best held-out ``figure``: the lowest loss, otherwise the highest."""
    sign = -1 if figure == "held_out_loss" else 1
    return max(tried, key=lambda one: sign * one["held_out"][figure])


def spread(values: list[float]) -> dict[str, float | None]:
    """Mean and standard deviation (of a sample: over n - 1) of ``values``; of a single one there is no deviation."""
    return {"mean": statistics.fmean(values), "std": statistics.stdev(values) if len(values) > 1 else None}


class _Progress:
    """The steps of a sweep: those of the trainings ``before`` the one at hand, and how many there are in ``total``."""

    def __init__(self, watcher: Watcher, total: int) -> None:
        self.watcher, self.total, self.before = watcher, total, 0
        self._begun = self._stopping = False
        self._counted: set[Path] = set()

    def count(self, folder: Path, steps: int) -> None:
        """The training in ``folder`` is done; one that was tried may be asked for again as the first seed."""
        self.before += steps if folder not in self._counted else 0
        self._counted.add(folder)

    def stop_requested(self) -> bool:
        """Whether anybody has ever asked the sweep to stop."""
        self._stopping = self._stopping or self.watcher.stop_requested()
        return self._stopping

    def begin(self, step: int) -> None:
        """Say where the sweep goes on, once."""
        if not self._begun and self.before + step:
            self.watcher.resume(self.before + step, self.total)
        self._begun = True


class _Child:
    """Follows a training of a sweep: its own ``run`` is told all of it, the sweep's watcher how far everything is."""

    def __init__(self, run: Run, progress: _Progress) -> None:
        self.run, self.progress = run, progress

    def resume(self, step: int, steps: int) -> None:
        """Tell both."""
        self.progress.begin(step)
        self.run.resume(step, steps)

    def advance(self, step: int, steps: int, figures: dict[str, float]) -> None:
        """Tell both."""
        self.progress.begin(step - 1)
        self.run.advance(step, steps, figures)
        self.progress.watcher.advance(self.progress.before + step, self.progress.total, figures)

    def picture(self, name: str, image: NDArray[np.uint8]) -> None:
        """Keep it with the training."""
        self.run.picture(name, image)

    def note(self, text: str) -> None:
        """Keep it with the training."""
        self.run.note(text)

    def stop_requested(self) -> bool:
        """Whether the sweep or this training is to stop."""
        if self.progress.stop_requested():
            self.run.stopping = True
        return self.run.stop_requested()


def read_summary(out: Path) -> dict[str, Any]:
    """What a sweep in ``out`` has found so far; :class:`LanternError` if there is none."""
    if not (out / SUMMARY).is_file():
        raise LanternError(f"{out} holds no sweep that has finished a training", "Start it: python -m explorer sweep --out DIR")
    summary: dict[str, Any] = read_json(out / SUMMARY)
    return summary

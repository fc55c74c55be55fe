"""The ablation of Table 4 as one run of runs: each part of the method added in turn, several seeds each."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explorer.benchmarking import Entry, Figures, Found, Scores, protocol_of, slug
from explorer.runs.store import Run
from explorer.sources import EngineSource
from segmentation.configuration import Config, check_range
from segmentation.errors import require
from segmentation.files import read_json
from segmentation.filters import FilterConfig
from segmentation.progress import Watcher
from segmentation.published import published_table
from segmentation.tables import Row, Table, measured_row, published_rows
from segmentation.training import TrainingConfig, train

VARIANTS = (
    ("Base", False, ()),
    ("+ embeddings", True, ()),
    ("+ size filter", True, ("size",)),
    ("+ histogram", True, ("size", "histogram")),
    ("+ connected components", True, ("size", "histogram", "components")),
)
"""The rows: name, whether codes are sampled around embeddings, and the filters that are applied."""


@dataclasses.dataclass(frozen=True)
class AblationConfig(Config):
    """Which trainings are made."""

    seeds: int = 3
    """Trainings of each row, with the seeds 0, 1, ...; the paper's rows are means of ten."""
    training: TrainingConfig = TrainingConfig()
    """The schedule, network and filters' thresholds; its seed and which filters are on are set by the ablation."""

    def __post_init__(self) -> None:
        check_range("seeds", self.seeds, 1, 1000)

    def child(self, filters: Sequence[str], seed: int) -> TrainingConfig:
        """The training of a row with those ``filters`` on."""
        size, histogram, components = (name in filters for name in ("size", "histogram", "components"))
        before: FilterConfig = self.training.synthesis.filters
        kept = dataclasses.replace(before, size=size, histogram=histogram, components=components)
        synthesis = dataclasses.replace(self.training.synthesis, filters=kept)
        return dataclasses.replace(self.training, seed=seed, synthesis=synthesis)


def without_embeddings(source: EngineSource) -> EngineSource:
    """``source`` with its latent codes drawn from N(0, I)."""
    return EngineSource(source.engine, source.direction, source.config, (), source.note)


def ablate(
    source: EngineSource,
    config: AblationConfig,
    found: Found,
    scores: Scores,
    out: Path,
    watcher: Watcher,
    done: Callable[[Table], None],
) -> Table | None:
    """Train and score every row of :data:`VARIANTS` for every seed; each training is an ordinary run in ``out``.

    What is finished is not done again, and a training that was stopped goes on. ``done`` gets the table after every score.
    Returns None if the watcher asked to stop. Errors: :class:`LanternError` if ``source`` has no embeddings, there is no data
    set to score on, or a row accepts no sample.
    """
    remedy = "Make them with python -m explorer encode, and give --embeddings Z.npy."
    require(bool(source.embeddings), "the ablation needs embeddings", remedy)
    require(bool(found.datasets), "there is no data set to score on", "Give --root DIR, or --images DIR and --masks DIR.")
    rows: dict[str, list[Figures]] = {}
    place = _Whole(watcher, len(VARIANTS) * config.seeds, config.training.steps)
    for title, embedded, filters in VARIANTS:
        for seed in range(config.seeds):
            child = out / f"{slug(title)}-seed{seed}"
            samples = source if embedded else without_embeddings(source)
            if not _trained(samples, config.child(filters, seed), child, place):
                return None
            figures: Figures = {}
            for name, dataset in found.datasets.items():
                entry = Entry(f"{title} seed {seed}", weights=(child / "unet.safetensors",))
                part = scores.of(entry, 0, dataset, place)
                if part is None:
                    return None
                figures |= {(name, metric): value for metric, value in part.items()}
            rows.setdefault(title, []).append(figures)
            place.finish()
            table = _table(rows, config, found, scores, source)
            done(table)
    place.tell_of_before(0)
    return table


def _trained(source: EngineSource, config: TrainingConfig, folder: Path, watcher: _Whole) -> bool:
    """Whether the training in ``folder`` is done, now or already."""
    if (folder / "unet.safetensors").is_file():
        kept = read_json(folder / "config.json")
        # What is not in the record does not count for the result.
        same = kept["source"] == source.describe() and kept["training"].items() <= config.to_json().items()
        require(same, f"{folder} holds a training with another configuration", "Choose another folder.")
        return True
    with Run(folder, "train") as run:
        watcher.run = run
        try:
            return train(source, config, folder, watcher, source.engine.device) is not None
        finally:
            watcher.run = None


def _table(rows: dict[str, list[Figures]], config: AblationConfig, found: Found, scores: Scores, source: EngineSource) -> Table:
    size = scores.inference.size or source.resolution
    protocol = protocol_of(scores.config, scores.inference, size)
    told = source.describe()
    steps = f"{config.training.steps} steps of {config.training.batch_size}"
    measured: list[Row] = [
        measured_row(title, runs, protocol, f"this program, {source.engine.name}, {steps}") for title, runs in rows.items()
    ]
    facts = (
        f"generator {told['fingerprint']}, direction {told['direction_fingerprint']}, embeddings {' '.join(told['embeddings'])}"
    )
    seeds = f"seeds 0 to {config.seeds - 1}" if config.seeds > 1 else "seed 0"
    notes = (f"Measured with {facts}, {seeds}.", *found.notes, *dict.fromkeys(scores.notes))
    published = published_table(4)
    return Table("Table 4: Ablation", found.columns, (*published_rows(published), *measured), notes, tuple(scores.pictures))


class _Whole:
    """Trainings and their scores one after the other as one ablation; a training's own run is told as well."""

    def __init__(self, watcher: Watcher, children: int, steps: int) -> None:
        self._watcher, self._children, self._steps = watcher, children, steps
        self.run: Run | None = None
        self._before = 0
        """Trainings that are there with their scores."""
        self._told = self._made = False
        """Whether anything was told of the whole, and whether anything was done for the training at hand."""

    def resume(self, step: int, steps: int) -> None:
        """Tell the training's own run, and that the whole goes on there."""
        if self.run is not None:
            self.run.resume(step, steps)
            self.tell_of_before(step)

    def advance(self, step: int, steps: int, figures: dict[str, float]) -> None:
        """Tell both of a training's step; a scoring's image is no step of the whole."""
        self._made = True
        if self.run is not None:
            self.tell_of_before(0)
            self.run.advance(step, steps, figures)
            self._watcher.advance(self._before * self._steps + step, self._children * self._steps, figures)
        else:
            # Where nothing was told before its scores, the training was there.
            self.tell_of_before(self._steps)

    def finish(self) -> None:
        """The training and its scores are there."""
        self._before += 1
        if self._made:
            self._watcher.advance(self._before * self._steps, self._children * self._steps, {"trainings": self._before})
        self._made = False

    def tell_of_before(self, step: int) -> None:
        """Say that the ablation goes on at the ``step`` of the training at hand, unless anything was told already."""
        reached, steps = self._before * self._steps + step, self._children * self._steps
        if reached and not self._told:
            self._watcher.note(f"resuming at step {reached} of {steps} of all trainings")
            self._watcher.resume(reached, steps)
        self._told = True

    def picture(self, name: str, image: NDArray[np.uint8]) -> None:
        """Tell the training's own run."""
        if self.run is not None:
            self.run.picture(name, image)

    def note(self, text: str) -> None:
        """Tell both."""
        self._watcher.note(text)
        if self.run is not None:
            self.run.note(text)

    def stop_requested(self) -> bool:
        """Whether either is asked to stop."""
        asked = self._watcher.stop_requested()
        if self.run is not None:
            asked = self.run.stop_requested() or asked
            self.run.stopping = asked
        return asked


def describe(source: EngineSource, config: AblationConfig, found: Found, scores: Scores) -> dict[str, Any]:
    """What an ablation's folder belongs to."""
    trained = {**config.to_json(), "training": config.training.counting()}
    parts = {"ablation": trained, "source": source.describe(), "scoring": scores.config.to_json()}
    return {**parts, "inference": scores.inference.to_json(), "datasets": list(found.datasets)}

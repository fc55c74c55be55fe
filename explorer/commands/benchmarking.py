"""Commands that print the paper's tables with one's own rows: reproduce and ablate."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

from explorer.ablation import AblationConfig, describe
from explorer.ablation import ablate as run_ablation
from explorer.benchmarking import Places, Scores, entries_of, find, write_table
from explorer.benchmarking import reproduce as run_table
from explorer.commands.options import Flat, GeneratorOptions, SourceOptions
from explorer.engine import EngineConfig
from explorer.runs.store import Run
from explorer.runs.terminal import recorded, recorded_by_first
from segmentation.inference import InferenceConfig
from segmentation.processes import first_process, join
from segmentation.published import published_table
from segmentation.runfolder import claim
from segmentation.scoring import ScoringConfig
from segmentation.tables import Table

_STOPPED = "stopped; run the same command again to go on in"


@dataclasses.dataclass(frozen=True)
class ScoreOptions(Places):
    """Data sets, and how they are scored."""

    scoring: Annotated[ScoringConfig, Flat] = ScoringConfig()
    """What is measured."""
    inference: InferenceConfig = InferenceConfig()
    """How images are shown to a network."""


def reproduce(
    options: Annotated[ScoreOptions, Flat],
    table: int,
    out: Path,
    weights: tuple[str, ...] = (),
    methods: tuple[str, ...] = (),
    device: str = "auto",
    checkpoint_every: int = 100,
) -> None:
    """One of the paper's tables, with rows of one's own; the same command goes on where it stopped.

    Without weights and methods it is the published table, with what it takes to run its rows. Several processes share the
    images: torchrun --nproc-per-node N -m explorer reproduce ..., or accelerate launch.

    Args:
        options: the data sets, and how they are scored.
        table: 1 (objects), 2 (saliency), 3 (localisation) or 4 (ablation).
        out: folder of the run (table.md, table.csv, table.html with pictures, table.json, scores/ with a file a score).
        weights: U-Nets, each PATH or NAME=PATH: a file, an installed name, the folder of a training or of several; those of
            one NAME are one row, with mean and standard deviation.
        methods: classical methods: hs, wctr, wsc, centre, border, border-otsu, mbd.
        device: auto (a GPU where there is one), cpu, cuda or cuda:N.
        checkpoint_every: images between two times that a score which is being measured is saved.
    """
    published = published_table(table)
    entries = entries_of(weights, methods)
    found = find(published, options, options.scoring)
    engine, first = EngineConfig(device=device), first_process()
    with recorded_by_first(out, "reproduce", first, GeneratorOptions(engine=engine).devices()) as watcher:
        processes, place = join(engine.torch_device())
        scores = Scores(out, options.scoring, options.inference, str(place), checkpoint_every, processes)
        belongs = {"table": table, "scoring": options.scoring.to_json(), "inference": options.inference.to_json()}
        processes.decide(lambda: claim(out, belongs))
        watcher.stop_requested()
        done = run_table(table, entries, found, scores, watcher, lambda part: write_table(out, part) if first else None)
    if first:
        _conclude(done, out)


def ablate(
    options: Annotated[SourceOptions, Flat],
    config: Annotated[AblationConfig, Flat],
    score: ScoreOptions,
    out: Path,
    checkpoint_every: int | None = None,
) -> None:
    """Table 4: the parts of the method added in turn, several seeds each; the same command goes on where it stopped.

    Args:
        options: the generator, the direction and the embeddings.
        config: the trainings.
        score: the data sets, and how they are scored.
        out: folder of the run; each training is a run in it (table.md, table.csv, table.html, table.json beside them).
        checkpoint_every: steps of a training, and images of a score, between two saves; by default what
            --training.checkpoint-every says, and 100 images.
    """
    if checkpoint_every is not None:
        config = dataclasses.replace(config, training=dataclasses.replace(config.training, checkpoint_every=checkpoint_every))
    found = find(published_table(4), score, score.scoring)
    with recorded(Run(out, "ablate"), options.devices()) as watcher:
        source = options.open_source()
        scores = Scores(out, score.scoring, score.inference, str(source.engine.device), checkpoint_every or 100)
        claim(out, describe(source, config, found, scores))
        done = run_ablation(source, config, found, scores, out, watcher, lambda part: write_table(out, part))
    _conclude(done, out)


def _conclude(table: Table | None, out: Path) -> None:
    if table is None:
        print(f"{_STOPPED} {out}")
        return
    print(table.markdown())
    shows = " shows the best and the worst images" if table.pictures else ""
    print(f"{out / 'table.html'}{shows}")

"""The command that trains with several seeds, after a choice among schedules."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from shutil import rmtree
from typing import Annotated, Any

from rich import box
from rich.console import Console
from rich.table import Table

from explorer.commands.options import Flat, SourceOptions
from explorer.runs import command
from explorer.runs.terminal import recorded_by_first
from explorer.sweeping import SweepConfig
from explorer.sweeping import sweep as run_sweep
from segmentation.benchmark import score_segmenter
from segmentation.datasets import MaskedImages
from segmentation.errors import require
from segmentation.inference import load_segmenter
from segmentation.kept import Kept
from segmentation.processes import first_process
from segmentation.progress import Watcher
from segmentation.training import Training, TrainingConfig, train

_OWN = ("--seeds", "--try-steps", "--try-batch-sizes", "--try-learning-rates", "--try-decays", "--choose-by")
_SCORING = ("--images", "--masks")
_CHANGED = ("--out", "--seed", "--steps", "--batch-size", "--learning-rate", "--decay")


def sweep(
    options: Annotated[SourceOptions, Flat],
    config: Annotated[SweepConfig, Flat],
    training: Annotated[TrainingConfig, Flat],
    out: Path,
    data: Path | None = None,
    images: Path | None = None,
    masks: Path | None = None,
) -> None:
    """Train with several seeds, and give mean and standard deviation; the same command goes on where it stopped.

    With --try-... schedules are tried first, and the held-out synthetic samples choose one, as in the paper. Every training
    is a run of its own below the folder of the sweep.

    Args:
        options: the generator, the direction and the latent codes; with --data only --engine.device may be given.
        config: how many seeds, and what to choose from.
        training: the schedule, of which --try-... changes one thing or another; the defaults are the paper's.
        out: folder of the sweep (sweep.json: figures of every seed, means, standard deviations).
        data: folder of a data set that generate made, to train on; by default samples are made on the way.
        images: folder of photographs to score every seed on, as evaluate does.
        masks: folder of their hand-made masks.
    """
    require((images is None) == (masks is None), "a score needs photographs and their masks", "Give both --images and --masks.")
    judged = {} if images is None or masks is None else {"photographs": len(MaskedImages(images, masks))}
    with recorded_by_first(out, "sweep", first_process(), options.devices()) as watcher:
        options, processes = options.joined()
        source = options.open_source_or(data)
        device = options.engine.torch_device()

        def train_one(one: TrainingConfig, folder: Path, watching: Watcher) -> Training | None:
            return train(source, one, folder, watching, device, processes)

        def judge(weights: Path) -> dict[str, float]:
            assert images is not None
            assert masks is not None
            interim = weights.with_name("photographs")
            scores = score_segmenter(load_segmenter(weights, device), images, masks, kept=Kept(interim, 100)).scores
            rmtree(interim)
            return {"max_f": scores.max_f, "iou": scores.iou, "accuracy": scores.accuracy}

        described = {"source": source.describe(), **judged}
        scoring = judge if judged else None
        found = run_sweep(train_one, config, training, described, out, watcher, scoring, processes, _as_training)
    if not processes.first:
        return
    if found is None:
        print(f"stopped; run the same command again to go on in {out}")
        return
    print(_tables(found))
    print(f"{out / 'sweep.json'}: {len(found['seeds'])} seeds")


def _as_training(config: TrainingConfig, folder: Path) -> AbstractContextManager[None]:
    """For the length of the block this process carries out the command that makes one training of the sweep by itself."""
    own = command.current()
    return nullcontext() if own is None else command.carried_out(training_arguments(own.arguments, config, folder))


def training_arguments(arguments: Sequence[str], config: TrainingConfig, folder: Path) -> list[str]:
    """The arguments of ``train`` that make the training of ``config`` in ``folder`` as a sweep with ``arguments`` does."""
    kept, dropping = ["train"], False
    for argument in arguments[1:]:
        if argument.startswith("--"):
            name = argument.partition("=")[0].replace("_", "-")
            dropping = name in (*_OWN, *_SCORING, *_CHANGED)
        if not dropping:
            kept.append(argument)
    changed: dict[str, float] = {"--seed": config.seed, "--steps": config.steps, "--batch-size": config.batch_size}
    changed |= {"--learning-rate": config.learning_rate, "--decay": config.decay}
    return [*kept, *(word for name, value in changed.items() for word in (name, str(value))), "--out", str(folder)]


def _tables(found: dict[str, Any]) -> str:
    console = Console(width=120)
    with console.capture() as captured:
        if found["tried"]:
            console.print(_table("tried", [(_settings(one["settings"]), one["held_out"]) for one in found["tried"]], {}))
            console.print(f"chosen by {found['chosen_by']}: {_settings(found['chosen'])}")
        for kind, title in (("held_out", "held-out synthetic samples"), ("scores", "photographs")):
            rows = [(f"seed {row['seed']}", row[kind]) for row in found["seeds"] if row[kind]]
            if rows:
                console.print(_table(title, rows, found[kind]))
    return captured.get().rstrip()


def _settings(settings: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in settings.items()) or "the given schedule"


def _table(title: str, rows: list[tuple[str, dict[str, float]]], spreads: dict[str, dict[str, float | None]]) -> Table:
    names = list(rows[0][1])
    table = Table(title, *names, box=box.SIMPLE)
    for name, figures in rows:
        table.add_row(name, *(f"{figures[figure]:.4f}" for figure in names))
    for kind in ("mean", "std") if spreads else ():
        values = [spreads[name][kind] for name in names]
        table.add_row(kind, *("" if value is None else f"{value:.4f}" for value in values))
    return table

"""Commands that make something that lasts: a data set, a segmenter, a generator."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from explorer.commands.options import Flat, GeneratorOptions, SourceOptions
from explorer.directions.catalogue import update
from explorer.engine import EngineConfig
from explorer.generators.feature_fitting import FeatureConfig, fit_features
from explorer.generators.fitting import fit_generator
from explorer.generators.recipe import FitConfig
from explorer.generators.registry import open_pocket
from explorer.runs.store import Run
from explorer.runs.terminal import recorded, recorded_by_first
from segmentation.processes import first_process
from segmentation.shards import ShardConfig, write_shards
from segmentation.training import TrainingConfig
from segmentation.training import train as train_segmenter


def choose(directions: Path, direction: int, sign: int | None = None, magnitude: float | None = None) -> None:
    """Choose the saliency-lighting direction of a catalogue by hand, after a look at it.

    Args:
        directions: folder of the catalogue.
        direction: index of the direction that makes the object lighter and the background darker.
        sign: 1 or -1: which way it is to be walked; by default as it is.
        magnitude: length of the shift; by default as it is.
    """
    changed = update(directions, lambda catalogue: catalogue.with_lighting(direction, sign, magnitude), "choose")
    chosen = changed.entries[direction]
    print(f"saliency lighting in {directions}: direction {direction}, sign {chosen.sign}, magnitude {chosen.magnitude:g}")


def generate(options: Annotated[SourceOptions, Flat], config: Annotated[ShardConfig, Flat], out: Path) -> None:
    """A data set of accepted samples on disk; the same command goes on where it stopped.

    Several processes share the shards: torchrun --nproc-per-node N -m explorer generate ..., or accelerate launch. The data set
    is the same whatever their number.

    Args:
        options: the generator, the direction and the latent codes.
        config: how many samples, and which are accepted.
        out: folder of the data set (images-*.npy, masks-*.npy, manifest.json).
    """
    with recorded_by_first(out, "generate", first_process(), options.devices()) as watcher:
        options, processes = options.joined()
        manifest = write_shards(options.open_source(), config, out, watcher, processes)
    if not processes.first:
        return
    if manifest is None:
        print(f"stopped; run the same command again to go on in {out}")
    else:
        print(f"{manifest['samples']} samples in {out}; {_funnel(manifest['funnel'])}")


def train(
    options: Annotated[SourceOptions, Flat], config: Annotated[TrainingConfig, Flat], out: Path, data: Path | None = None
) -> None:
    """Train a U-Net on accepted samples; the same command goes on where it stopped.

    Several processes train one U-Net together: torchrun --nproc-per-node N -m explorer train ..., or accelerate launch; the
    batches are shared out.

    Args:
        options: the generator, the direction and the latent codes; with --data only --engine.device may be given.
        config: the schedule; the defaults are the paper's.
        out: folder of the run (unet.safetensors at the end, best.safetensors and checkpoint.safetensors on the way).
        data: folder of a data set that generate made, to train on; by default samples are made on the way.
    """
    with recorded_by_first(out, "train", first_process(), options.devices()) as watcher:
        options, processes = options.joined()
        source = options.open_source_or(data)
        training = train_segmenter(source, config, out, watcher, options.engine.torch_device(), processes)
    if not processes.first:
        return
    if training is None:
        print(f"stopped; run the same command again to go on in {out}")
    else:
        made = f"; {_funnel(training.funnel)}" if training.funnel else ""
        print(f"{out / 'unet.safetensors'}: {training.step} steps{made}")


def fit(
    images: tuple[Path, ...],
    out: Path,
    config: Annotated[FitConfig, Flat],
    favoured: tuple[Path, ...] = (),
    start: str | None = None,
    device: str = "auto",
    compiled: bool | None = None,
) -> None:
    """Fit a pocket generator to photographs; the same command goes on where it stopped.

    On several GPUs: accelerate launch -m explorer fit-generator ..., or torchrun; the batches are shared out.

    Args:
        images: folders or tars of photographs; each is cropped to the square in the middle.
        out: folder of the run (generator.safetensors: the best so far, newest.safetensors, samples on the way).
        config: the shape of the generator and the four stages.
        favoured: folders or tars of photographs that are fitted to as well, and drawn more often (--favoured-share).
        start: begin from this generator, in stage 3: pocket, or a file that fit-generator wrote.
        device: auto (a GPU where there is one), cpu, cuda or cuda:N.
        compiled: compile the networks first, slow to start and faster then; by default on a GPU.
    """
    engine = EngineConfig(device=device)
    place = engine.torch_device()
    with recorded_by_first(out, "fit-generator", first_process(), GeneratorOptions(engine=engine).devices()) as watcher:
        begun = None if start is None else open_pocket(start)
        generator = fit_generator(images, out, config, watcher, place, compiled=compiled, favoured=favoured, start=begun)
    if not first_process():
        return
    print(f"stopped; run the same command again to go on in {out}" if generator is None else f"{out / 'generator.safetensors'}")


def features(
    images: tuple[Path, ...],
    out: Path,
    config: Annotated[FeatureConfig, Flat],
    device: str = "auto",
) -> None:
    """Fit a feature network to photographs, without labels; the same command goes on where it stopped.

    Args:
        images: folders or tars of photographs; each is cropped to the square in the middle.
        out: folder of the run (features.safetensors in the end).
        config: the schedule.
        device: auto (a GPU where there is one), cpu, cuda or cuda:N.
    """
    place = EngineConfig(device=device).torch_device()
    with recorded(Run(out, "fit-features"), (str(place),)) as watcher:
        network = fit_features(images, out, config, watcher, place)
    print(f"stopped; run the same command again to go on in {out}" if network is None else f"{out / 'features.safetensors'}")


def _funnel(funnel: dict[str, int]) -> str:
    reasons = ", ".join(f"{number} by {name}" for name, number in funnel.items() if name not in ("generated", "kept"))
    return f"of {funnel['generated']} candidates {funnel['kept']} kept" + (f", rejected {reasons}" if reasons else "")

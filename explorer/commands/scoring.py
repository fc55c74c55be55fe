"""Commands that put a segmenter to use, and that measure: predict, evaluate and measure-generator."""

from __future__ import annotations

from math import isnan
from pathlib import Path
from typing import Annotated

from explorer.commands.options import Flat, GeneratorOptions, run_at, suffix_of, watched
from explorer.embedding import codes_of
from explorer.engine import Engine, EngineConfig
from explorer.generators.features import load_features
from explorer.generators.photographs import describe_photographs, load_collections
from explorer.generators.quality import Quality, QualityConfig, measure_quality, sample_count, steps_of
from explorer.generators.registry import load_generator
from explorer.runs.terminal import Terminal
from explorer.segmenting import WEIGHTS
from explorer.weights.store import resolved
from segmentation.benchmark import score_predictions, score_segmenter
from segmentation.errors import LanternError, require
from segmentation.files import write_image, write_json
from segmentation.inference import InferenceConfig, load_segmenter, predict_folder
from segmentation.kept import Kept
from segmentation.pictures import image_grid
from segmentation.processes import first_process, join


def predict(
    config: Annotated[InferenceConfig, Flat],
    images: Path,
    out: Path,
    weights: Path | None = None,
    device: str = "auto",
) -> None:
    """Saliency maps of photographs.

    Args:
        config: how images are shown to the network.
        images: a folder of images (with its subfolders), or one image.
        out: folder of the saliency maps (8-bit grey PNG of the image's size and name).
        weights: the U-Net (.safetensors of a training, the authors' .pth, or the name of an installed one); by default the
            shipped one.
        device: auto (a GPU where there is one), cpu, cuda or cuda:N.
    """
    segmenter = load_segmenter(resolved(weights or WEIGHTS), EngineConfig(device=device).torch_device(), config)
    terminal = Terminal("predict")
    with terminal.watching() as watcher:
        report = predict_folder(segmenter, images, out, watcher)
    stopped = ", stopped before the end" if report.stopped else ""
    print(f"{len(report.written)} saliency maps in {out}, {len(report.skipped)} images skipped{stopped}")


def evaluate(
    config: Annotated[InferenceConfig, Flat],
    masks: Path,
    images: Path | None = None,
    predictions: Path | None = None,
    weights: Path | None = None,
    json: Path | None = None,
    protocol: str = "voynov",
    device: str = "auto",
    run: Path | None = None,
    checkpoint_every: int = 100,
) -> None:
    """Score a U-Net, or saliency maps already on disk, against hand-made masks.

    Several processes share the images: torchrun --nproc-per-node N -m explorer evaluate ..., or accelerate launch.

    Args:
        config: how images are shown to the network.
        masks: folder of masks, named as the images.
        images: folder of images.
        predictions: folder of saliency maps, in place of images and weights.
        weights: the U-Net (.safetensors of a training, the authors' .pth, or the name of an installed one); by default the
            shipped one.
        json: where to write the scores, with what made them.
        protocol: which definition of max F: voynov, per-image or pysod.
        device: auto (a GPU where there is one), cpu, cuda or cuda:N.
        run: folder of a run that keeps a record of it, so that it can be watched and stopped from elsewhere, and goes on
            where it stopped (scores.json in the end).
        checkpoint_every: with a run: images between two times that what was gathered is saved.
    """
    if (images is None) == (predictions is None):
        raise LanternError("evaluate needs either images or predictions", "Give --images DIR, or --predictions DIR.")
    require(json is None or not json.is_dir(), f"{json} is a folder", "Give the path of a file, for example scores.json.")
    folder, engine = run_at(run), EngineConfig(device=device)
    kept = Kept(folder, checkpoint_every)
    devices = GeneratorOptions(engine=engine).devices() if images else ()
    with watched("evaluate", folder, devices, first_process()) as watcher:
        processes, place = join(engine.torch_device())
        if predictions is not None:
            result = score_predictions(predictions, masks, watcher, protocol, kept, processes)
        elif images is not None:
            segmenter = load_segmenter(resolved(weights or WEIGHTS), place, config)
            result = score_segmenter(segmenter, images, masks, watcher, protocol, kept, processes)
        if folder is not None and processes.first and not result.stopped:
            write_json(folder / "scores.json", result.to_json())
    if not processes.first:
        return
    if result.stopped:
        print("stopped before the last image; the scores are of the images before")
    if json is not None:
        write_json(json, result.to_json())
    scores = result.scores
    print(f"max F {scores.max_f:.4f}  IoU {scores.iou:.4f}  accuracy {scores.accuracy:.4f}  MAE {scores.mae:.4f}")
    print(f"{scores.images} images, protocol {scores.protocol}")


def measure(
    options: Annotated[GeneratorOptions, Flat],
    config: Annotated[QualityConfig, Flat],
    images: tuple[Path, ...],
    json: Path | None = None,
    picture: Path | None = None,
    features: Path | None = None,
    run: Path | None = None,
    checkpoint_every: int = 1000,
) -> None:
    """Measure a generator against the photographs that its fit held out, by features learned without labels.

    Without an encoder there are no figures of reconstruction; one that takes images of another size gets the photographs
    scaled from the generator's.

    Args:
        options: the generator.
        config: how many samples, and which photographs were held out.
        images: the folders or tars of photographs that it was fitted to, in the same order.
        json: where to write the figures, with what made them.
        picture: where to draw held-out photographs, their reconstructions and samples (.png, .jpg).
        features: the feature network (.safetensors of fit-features); by default the shipped one.
        run: folder of a run that keeps a record of it, so that it can be watched and stopped from elsewhere, and goes on
            where it stopped.
        checkpoint_every: with a run: images between two times that what was seen of them is saved.
    """
    require(json is None or not json.is_dir(), f"{json} is a folder", "Give the path of a file, for example quality.json.")
    if picture is not None:
        suffix_of(picture, ".png", ".jpg")
    folder = run_at(run)
    kept = Kept(folder, checkpoint_every)
    with watched("measure-generator", folder, options.devices()) as watcher:
        engine = Engine(load_generator(options.generator), options.engine)
        network = (load_features() if features is None else load_features(features)).to(engine.device)
        photographs, _, unreadable = load_collections(images, engine.resolution)
        codes = engine.codes(sample_count(config, len(photographs)), config.seed)
        seen = engine.encoder_resolution if engine.can_encode else None
        reconstruct = (lambda batch: engine.images(codes_of(engine, batch))) if engine.can_encode else None
        named = {"name": engine.name, "fingerprint": engine.fingerprint}
        generator = {**named, "resolution": engine.resolution, "encoder_resolution": seen}
        seen_of = {"generator": generator, "photographs": describe_photographs(photographs)}
        made_from = {**seen_of, "config": config.to_json(), "precision": engine.config.precision}
        kept.restore({**made_from, "features": network.fingerprint}, steps_of(config, len(photographs)), watcher)
        quality, shown = measure_quality(
            lambda first: engine.image_batches(codes[first:]), photographs, reconstruct, network, config, watcher, kept
        )
        # Inside of the run: who waits for its end looks for them then.
        if json is not None:
            write_json(json, {**quality.to_json(), "provenance": made_from})
        if picture is not None:
            write_image(picture, image_grid(shown, 12))
    for name in unreadable:
        print(f"passed over, no image: {name}")
    if seen not in (None, engine.resolution):
        print(f"the encoder takes {seen} px, and got the photographs scaled from {engine.resolution} px")
    print(_described(quality))


def _described(quality: Quality) -> str:
    reconstruction = (
        f"reconstruction: squared error {quality.reconstruction_error:.4f} (other photographs: {quality.unrelated_error:.4f}),"
        f" feature distance {quality.reconstruction_distance:.4f} ({quality.unrelated_distance:.4f})"
    )
    lines = [
        f"Frechet distance to {quality.held_out} held-out photographs {quality.frechet:.3f}"
        f" (as many photographs as the {quality.samples} samples: {quality.frechet_floor:.3f})",
        f"precision {quality.precision:.3f}  recall {quality.recall:.3f} (photographs: {quality.ceiling:.3f})",
        "reconstruction: none, the generator has no encoder" if isnan(quality.reconstruction_error) else reconstruction,
        f"near-duplicates {quality.near_duplicates:.3f} (photographs: 0.01)",
    ]
    return "\n".join(lines)

"""Commands that put a segmenter to use: predict and evaluate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from explorer.commands.options import Flat
from explorer.engine import EngineConfig
from explorer.runs.terminal import Terminal
from explorer.segmenting import WEIGHTS
from segmentation.benchmark import score_predictions, score_segmenter
from segmentation.errors import LanternError, require
from segmentation.files import write_json
from segmentation.inference import InferenceConfig, load_segmenter, predict_folder


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
        weights: the U-Net (.safetensors of a training, or the authors' .pth); by default the shipped one.
        device: auto (a GPU where there is one), cpu, cuda or cuda:N.
    """
    segmenter = load_segmenter(weights or WEIGHTS, EngineConfig(device=device).torch_device(), config)
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
) -> None:
    """Score a U-Net, or saliency maps already on disk, against hand-made masks.

    Args:
        config: how images are shown to the network.
        masks: folder of masks, named as the images.
        images: folder of images.
        predictions: folder of saliency maps, in place of images and weights.
        weights: the U-Net (.safetensors of a training, or the authors' .pth); by default the shipped one.
        json: where to write the scores, with what made them.
        protocol: which definition of max F: voynov.
        device: auto (a GPU where there is one), cpu, cuda or cuda:N.
    """
    if (images is None) == (predictions is None):
        raise LanternError("evaluate needs either images or predictions", "Give --images DIR, or --predictions DIR.")
    require(json is None or not json.is_dir(), f"{json} is a folder", "Give the path of a file, for example scores.json.")
    terminal = Terminal("evaluate")
    with terminal.watching() as watcher:
        if predictions is not None:
            result = score_predictions(predictions, masks, watcher, protocol)
        elif images is not None:
            segmenter = load_segmenter(weights or WEIGHTS, EngineConfig(device=device).torch_device(), config)
            result = score_segmenter(segmenter, images, masks, watcher, protocol)
    if result.stopped:
        print("stopped before the last image; the scores are of the images before")
    if json is not None:
        write_json(json, result.to_json())
    scores = result.scores
    print(f"max F {scores.max_f:.4f}  IoU {scores.iou:.4f}  accuracy {scores.accuracy:.4f}")
    print(f"{scores.images} images, protocol {scores.protocol}")

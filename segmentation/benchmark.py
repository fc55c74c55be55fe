"""Score a segmenter, or saliency maps on disk, against hand-made masks (paper, section 4.1)."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segmentation.datasets import MASK_SUFFIXES, MaskedImages, by_stem, few, read_grey, read_mask
from segmentation.errors import LanternError, require
from segmentation.inference import Prepared, Segmenter
from segmentation.metrics import SaliencyMetrics, SaliencyScores
from segmentation.progress import Unwatched, Watcher

_Map = NDArray[np.float32]
_Mask = NDArray[np.bool_]


@dataclasses.dataclass(frozen=True)
class BenchmarkResult:
    """Scores, and what they were made from."""

    scores: SaliencyScores
    provenance: dict[str, Any]
    """Weights or folder of predictions, settings, folders, how many images there were and how many were scored."""
    stopped: bool
    """Whether the watcher asked to stop before the last image; the scores are then of the images before that."""

    def to_json(self) -> dict[str, Any]:
        """The scores at the top (max_f, iou, accuracy, images, protocol), the rest beside them, as plain JSON types."""
        return {**self.scores.to_json(), "stopped": self.stopped, "provenance": self.provenance}


def score_segmenter(
    segmenter: Segmenter, images: Path, masks: Path, watcher: Watcher | None = None, protocol: str = "voynov"
) -> BenchmarkResult:
    """Scores of ``segmenter`` on the folder ``images`` against the folder ``masks``, at the images' own sizes.

    Errors: :class:`LanternError` as of :class:`segmentation.datasets.MaskedImages` and :meth:`Segmenter.saliency`.
    """
    dataset = MaskedImages(images, masks)
    scored = ((saliency, mask) for mask, saliency in segmenter.stream(_prepared(segmenter, dataset)))
    scores, stopped = _score(scored, len(dataset), protocol, watcher or Unwatched())
    folders = {"images_folder": _tail(images), "masks_folder": _tail(masks)}
    provenance = {"segmenter": segmenter.provenance(), **folders, "images": scores.images, "of_images": len(dataset)}
    return BenchmarkResult(scores, provenance, stopped)


def score_predictions(
    predictions: Path, masks: Path, watcher: Watcher | None = None, protocol: str = "voynov"
) -> BenchmarkResult:
    """Scores of the saliency maps in the folder ``predictions`` (8- or 16-bit grey) against the folder ``masks``.

    A map and its mask share their path within the folder, without suffix; maps without a mask are passed over. Errors:
    :class:`LanternError` if a folder is missing or empty, a mask is without its map, or sizes differ.
    """
    watcher = watcher or Unwatched()
    maps, truths = by_stem(predictions, MASK_SUFFIXES), by_stem(masks, MASK_SUFFIXES)
    missing = [name for name in truths if name not in maps]
    remedy = "Predict every image, and give a saliency map the name of its mask."
    require(not missing, f"{predictions} lacks {len(missing)} of {len(truths)} predictions ({few(missing)})", remedy)
    spare = [name for name in maps if name not in truths]
    if spare:
        watcher.note(f"passed over: {len(spare)} saliency maps without a mask ({few(spare)})")
    scored = (_read_pair(maps[name], truth) for name, truth in truths.items())
    scores, stopped = _score(scored, len(truths), protocol, watcher)
    folders = {"predictions_folder": _tail(predictions), "masks_folder": _tail(masks)}
    return BenchmarkResult(scores, {**folders, "images": scores.images, "of_images": len(truths)}, stopped)


def _score(scored: Iterable[tuple[_Map, _Mask]], count: int, protocol: str, watcher: Watcher) -> tuple[SaliencyScores, bool]:
    metrics = SaliencyMetrics(protocol)
    started = time.perf_counter()
    for done, (saliency, mask) in enumerate(scored, 1):
        metrics.step(saliency, mask)
        watcher.advance(done, count, {"images_per_second": done / (time.perf_counter() - started)})
        if watcher.stop_requested() and done < count:
            return metrics.results(), True
    return metrics.results(), False


def _prepared(segmenter: Segmenter, dataset: MaskedImages) -> Iterator[tuple[_Mask, Prepared]]:
    for name, image, mask in dataset:
        try:
            prepared = segmenter.prepare(image)
        except LanternError as error:
            raise LanternError(f"{name}: {error.problem}", error.remedy) from error
        yield mask, prepared


def _read_pair(prediction: Path, truth: Path) -> tuple[_Map, _Mask]:
    saliency, mask = read_grey(prediction), read_mask(truth)
    if saliency.shape != mask.shape:
        sizes = [f"{array.shape[1]}x{array.shape[0]}" for array in (saliency, mask)]
        raise LanternError(
            f"the saliency map {prediction} is {sizes[0]} pixels, its mask {sizes[1]}", "Resize the map to the image's size."
        )
    return saliency, mask


def _tail(folder: Path) -> str:
    return "/".join(folder.resolve().parts[-2:])

"""Score a segmenter, or saliency maps on disk, against hand-made masks (paper, section 4.1)."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segmentation.checkpoints import NAME, load_checkpoint, save_checkpoint
from segmentation.configuration import check_range
from segmentation.datasets import MASK_SUFFIXES, MaskedImages, by_stem, few, read_grey, read_mask
from segmentation.errors import LanternError, require
from segmentation.inference import Prepared, Segmenter, Taken
from segmentation.metrics import SaliencyMetrics, SaliencyScores
from segmentation.progress import Unwatched, Watcher
from segmentation.runfolder import claim

_KIND = "scores on the way"
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


class Interim:
    """Scores on the way, kept in ``folder`` every so many images, so that scoring can go on where it stopped.

    Errors: :class:`LanternError` if the folder holds the scores of something else.
    """

    def __init__(self, folder: Path, every: int = 100) -> None:
        check_range("checkpoint_every", every, 1, 100_000_000)
        self.folder, self.every = folder, every

    def restore(self, metrics: SaliencyMetrics, described: dict[str, Any], count: int, watcher: Watcher) -> None:
        """Give ``metrics`` what was gathered of the work ``described``, and tell ``watcher`` of it."""
        claim(self.folder, {**described, "of_images": count, "protocol": metrics.protocol})
        saved = load_checkpoint(self.folder / NAME, _KIND)
        if saved is None:
            return
        if saved.said:
            watcher.note(saved.said)
        metrics.restore(saved.tensors, saved.header["metrics"])
        watcher.note(f"resuming at image {metrics.images} of {count}")
        watcher.resume(metrics.images, count)

    def save(self, metrics: SaliencyMetrics) -> None:
        """Keep what ``metrics`` have gathered."""
        tensors, told = metrics.state()
        save_checkpoint(self.folder / NAME, tensors, {"kind": _KIND, "metrics": told})


def score_segmenter(
    segmenter: Segmenter,
    images: Path,
    masks: Path,
    watcher: Watcher | None = None,
    protocol: str = "voynov",
    interim: Interim | None = None,
) -> BenchmarkResult:
    """Scores of ``segmenter`` on the folder ``images`` against the folder ``masks``, at the images' own sizes.

    With ``interim`` it goes on where it stopped. Errors: :class:`LanternError` as of
    :class:`segmentation.datasets.MaskedImages` and :meth:`Segmenter.saliency`.
    """
    dataset = MaskedImages(images, masks)

    def scored(first: int) -> tuple[Iterator[tuple[_Map, _Mask]], Taken[Any]]:
        taken = Taken(_prepared(segmenter, dataset, first))
        return ((saliency, mask) for mask, saliency in segmenter.stream(taken)), taken

    folders = {"images_folder": _tail(images), "masks_folder": _tail(masks)}
    described = {"segmenter": segmenter.provenance(), **folders}
    scores, stopped = _score(scored, len(dataset), protocol, watcher or Unwatched(), interim, described)
    provenance = {**described, "images": scores.images, "of_images": len(dataset)}
    return BenchmarkResult(scores, provenance, stopped)


def score_predictions(
    predictions: Path,
    masks: Path,
    watcher: Watcher | None = None,
    protocol: str = "voynov",
    interim: Interim | None = None,
) -> BenchmarkResult:
    """Scores of the saliency maps in the folder ``predictions`` (8- or 16-bit grey) against the folder ``masks``.

    A map and its mask share their path within the folder, without suffix; maps without a mask are passed over. With
    ``interim`` it goes on where it stopped. Errors: :class:`LanternError` if a folder is missing or empty, a mask is without
    its map, or sizes differ.
    """
    watcher = watcher or Unwatched()
    maps, truths = by_stem(predictions, MASK_SUFFIXES), by_stem(masks, MASK_SUFFIXES)
    missing = [name for name in truths if name not in maps]
    remedy = "Predict every image, and give a saliency map the name of its mask."
    require(not missing, f"{predictions} lacks {len(missing)} of {len(truths)} predictions ({few(missing)})", remedy)
    spare = [name for name in maps if name not in truths]
    if spare:
        watcher.note(f"passed over: {len(spare)} saliency maps without a mask ({few(spare)})")

    def scored(first: int) -> tuple[Iterator[tuple[_Map, _Mask]], Taken[Any]]:
        taken = Taken(islice(truths.items(), first, None))
        return (_read_pair(maps[name], truth) for name, truth in taken), taken

    folders = {"predictions_folder": _tail(predictions), "masks_folder": _tail(masks)}
    scores, stopped = _score(scored, len(truths), protocol, watcher, interim, folders)
    return BenchmarkResult(scores, {**folders, "images": scores.images, "of_images": len(truths)}, stopped)


def _score(
    scored: Callable[[int], tuple[Iterator[tuple[_Map, _Mask]], Taken[Any]]],
    count: int,
    protocol: str,
    watcher: Watcher,
    interim: Interim | None,
    described: dict[str, Any],
) -> tuple[SaliencyScores, bool]:
    metrics = SaliencyMetrics(protocol)
    if interim is not None:
        interim.restore(metrics, described, count, watcher)
    first, started = metrics.images, time.perf_counter()
    pairs, taken = scored(first)
    saved, stop = first, False
    for done, (saliency, mask) in enumerate(pairs, first + 1):
        metrics.step(saliency, mask)
        watcher.advance(done, count, {"images_per_second": (done - first) / (time.perf_counter() - started)})
        stop = stop or watcher.stop_requested()
        whole = taken.all_given(done - first)
        if interim is not None and whole and (stop or done == count or done - saved >= interim.every):
            interim.save(metrics)
            saved = done
        if stop and done < count and (interim is None or whole):
            return metrics.results(), True
    return metrics.results(), False


def _prepared(segmenter: Segmenter, dataset: MaskedImages, first: int) -> Iterator[tuple[_Mask, Prepared]]:
    for name, image, mask in (dataset[index] for index in range(first, len(dataset))):
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

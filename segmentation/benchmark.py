"""Score a segmenter, or saliency maps on disk, against hand-made masks (paper, section 4.1)."""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from segmentation.checkpoints import NAME, load_checkpoint, save_checkpoint
from segmentation.configuration import check_range
from segmentation.datasets import MASK_SUFFIXES, MaskedImages, by_stem, few, read_grey, read_mask
from segmentation.errors import LanternError, require
from segmentation.inference import Prepared, Segmenter, Taken
from segmentation.metrics import SaliencyMetrics, SaliencyScores
from segmentation.processes import Alone, shares
from segmentation.progress import Unwatched, Watcher
from segmentation.runfolder import claim
from segmentation.surroundings import surroundings

_KIND = "scores on the way"
_Map = NDArray[np.float32]
_Mask = NDArray[np.bool_]


@dataclasses.dataclass(frozen=True)
class BenchmarkResult:
    """Scores, and what they were made from."""

    scores: SaliencyScores
    provenance: dict[str, Any]
    """Weights and what their file says of their training, or folder of predictions; settings, folders, the fingerprint of all
    files, how many images there were and how many were scored, hardware and versions."""
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

    def restore(
        self, metrics: SaliencyMetrics, described: dict[str, Any], count: int, watcher: Watcher, processes: Alone
    ) -> None:
        """Give ``metrics`` what was gathered of the work ``described``, and tell ``watcher`` of it."""
        belongs = {**described, "of_images": count, "protocol": metrics.protocol}
        processes.decide(lambda: claim(self.folder, belongs))
        saved = load_checkpoint(self.folder / NAME, _KIND)
        if saved is None:
            return
        if saved.said:
            watcher.note(saved.said)
        metrics.add({**saved.header["metrics"], "curves": {name: curve.tolist() for name, curve in saved.tensors.items()}})
        watcher.note(f"resuming at image {metrics.images} of {count}")
        watcher.resume(metrics.images, count)

    def save(self, metrics: SaliencyMetrics) -> None:
        """Keep what ``metrics`` have gathered."""
        told = metrics.state()
        curves = {name: torch.tensor(curve, dtype=torch.float64) for name, curve in told.pop("curves").items()}
        save_checkpoint(self.folder / NAME, curves, {"kind": _KIND, "metrics": told})


def score_segmenter(
    segmenter: Segmenter,
    images: Path,
    masks: Path,
    watcher: Watcher | None = None,
    protocol: str = "voynov",
    interim: Interim | None = None,
    processes: Alone | None = None,
) -> BenchmarkResult:
    """Scores of ``segmenter`` on the folder ``images`` against the folder ``masks``, at the images' own sizes.

    With ``interim`` it goes on where it stopped; several ``processes`` share the images. Errors: :class:`LanternError` as of
    :class:`segmentation.datasets.MaskedImages` and :meth:`Segmenter.saliency`.
    """
    dataset = MaskedImages(images, masks)

    def pairs(prepared: Iterator[tuple[_Mask, Prepared]]) -> Iterator[tuple[_Map, _Mask]]:
        return ((saliency, mask) for mask, saliency in segmenter.stream(prepared))

    folders = {"images_folder": _tail(images), "masks_folder": _tail(masks)}
    described = {"segmenter": segmenter.provenance(), **folders}
    work = _Work(partial(_prepared, segmenter, dataset), pairs, len(dataset), protocol, described)
    scores, stopped = _score(work, watcher or Unwatched(), interim, processes or Alone())
    provenance = {
        **described,
        "made_by": segmenter.made_by,
        "data": {"fingerprint": _mark(dataset.files)},
        "images": scores.images,
        "of_images": len(dataset),
        "surroundings": surroundings(),
    }
    return BenchmarkResult(scores, provenance, stopped)


def score_predictions(
    predictions: Path,
    masks: Path,
    watcher: Watcher | None = None,
    protocol: str = "voynov",
    interim: Interim | None = None,
    processes: Alone | None = None,
) -> BenchmarkResult:
    """Scores of the saliency maps in the folder ``predictions`` (8- or 16-bit grey) against the folder ``masks``.

    A map and its mask share their path within the folder, without suffix; maps without a mask are passed over. With
    ``interim`` it goes on where it stopped; several ``processes`` share the maps. Errors: :class:`LanternError` if a folder is
    missing or empty, a mask is without its map, or sizes differ.
    """
    watcher = watcher or Unwatched()
    maps, truths = by_stem(predictions, MASK_SUFFIXES), by_stem(masks, MASK_SUFFIXES)
    missing = [name for name in truths if name not in maps]
    remedy = "Predict every image, and give a saliency map the name of its mask."
    require(not missing, f"{predictions} lacks {len(missing)} of {len(truths)} predictions ({few(missing)})", remedy)
    spare = [name for name in maps if name not in truths]
    if spare:
        watcher.note(f"passed over: {len(spare)} saliency maps without a mask ({few(spare)})")

    names = list(truths)

    def read(places: Sequence[int]) -> Iterator[tuple[Path, Path]]:
        return ((maps[names[place]], truths[names[place]]) for place in places)

    def pairs(files: Iterator[tuple[Path, Path]]) -> Iterator[tuple[_Map, _Mask]]:
        return (_read_pair(saliency, mask) for saliency, mask in files)

    folders = {"predictions_folder": _tail(predictions), "masks_folder": _tail(masks)}
    work = _Work(read, pairs, len(truths), protocol, folders)
    scores, stopped = _score(work, watcher, interim, processes or Alone())
    provenance = {
        **folders,
        "data": {"fingerprint": _mark([*(maps[name] for name in names), *truths.values()])},
        "images": scores.images,
        "of_images": len(truths),
        "surroundings": surroundings(),
    }
    return BenchmarkResult(scores, provenance, stopped)


class _Work(NamedTuple):
    """What is to be scored."""

    read: Callable[[Sequence[int]], Iterator[Any]]
    """What there is at some places."""
    pairs: Callable[[Iterator[Any]], Iterator[tuple[_Map, _Mask]]]
    """The saliency and the mask of each of those."""
    images: int
    protocol: str
    described: dict[str, Any]
    """What it belongs to."""


def _score(work: _Work, watcher: Watcher, interim: Interim | None, processes: Alone) -> tuple[SaliencyScores, bool]:
    metrics = SaliencyMetrics(work.protocol)
    if interim is not None:
        interim.restore(metrics, work.described, work.images, watcher, processes)
    way = _Way(work, metrics, watcher, interim if processes.first else None)
    stopped = _alone(way) if processes.count == 1 else _together(way, processes)
    return metrics.results(), stopped


class _Way:
    """How far a scoring is."""

    def __init__(self, work: _Work, metrics: SaliencyMetrics, watcher: Watcher, interim: Interim | None) -> None:
        self.work, self.metrics, self.watcher, self.interim = work, metrics, watcher, interim
        self.first = self._saved = metrics.images
        self._started = time.perf_counter()

    def tell(self) -> None:
        done = self.metrics.images
        speed = (done - self.first) / (time.perf_counter() - self._started)
        self.watcher.advance(done, self.work.images, {"images_per_second": speed})

    def keep(self, now: bool) -> None:
        done = self.metrics.images
        if self.interim is not None and (now or done == self.work.images or done - self._saved >= self.interim.every):
            self.interim.save(self.metrics)
            self._saved = done


def _alone(way: _Way) -> bool:
    """Score what is left; whether the watcher asked to stop before the end."""
    work, metrics = way.work, way.metrics
    taken = Taken(work.read(range(way.first, work.images)))
    stop = False
    for saliency, mask in work.pairs(taken):
        metrics.step(saliency, mask)
        way.tell()
        stop = stop or way.watcher.stop_requested()
        whole = taken.all_given(metrics.images - way.first)
        if whole:
            way.keep(now=stop)
        if stop and metrics.images < work.images and (way.interim is None or whole):
            return True
    return False


def _together(way: _Way, processes: Alone) -> bool:
    """Likewise, in rounds after each of which the processes have done all up to a place."""
    work, metrics = way.work, way.metrics
    for places in shares(range(way.first, work.images), processes):
        own = SaliencyMetrics(work.protocol)
        for saliency, mask in work.pairs(work.read(places)):
            own.step(saliency, mask)
        for state in processes.gather(own.state()):
            metrics.add(state)
        way.tell()
        stop = processes.decide(way.watcher.stop_requested)
        way.keep(now=stop)
        if stop and metrics.images < work.images:
            return True
    return False


def _mark(paths: Sequence[Path]) -> str:
    """The fingerprint of what is in the files ``paths``."""
    told = hashlib.sha256()
    for path in paths:
        told.update(hashlib.sha256(path.read_bytes()).digest())
    return told.hexdigest()[:16]


def _prepared(segmenter: Segmenter, dataset: MaskedImages, places: Sequence[int]) -> Iterator[tuple[_Mask, Prepared]]:
    for name, image, mask in (dataset[place] for place in places):
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

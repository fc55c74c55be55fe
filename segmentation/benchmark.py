"""Score a segmenter, or saliency maps on disk, against hand-made masks (paper, section 4.1)."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from segmentation.datasets import MASK_SUFFIXES, MaskedImages, ReadFile, by_stem, few, read_file, read_grey, read_mask
from segmentation.errors import LanternError, require
from segmentation.inference import Prepared, Segmenter
from segmentation.kept import NOTHING, Kept
from segmentation.metrics import SaliencyMetrics, SaliencyScores
from segmentation.one_pass import OnePass, Reading, Stream
from segmentation.processes import Alone
from segmentation.progress import Unwatched, Watcher
from segmentation.surroundings import surroundings

_Map = NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class BenchmarkResult:
    """Scores, and what they were made from."""

    scores: SaliencyScores
    provenance: dict[str, Any]
    """Weights and what their file says of their training, or folder of predictions; settings, folders, the fingerprint of
    the files that were scored, how many images there were and how many were scored, hardware and versions."""
    stopped: bool
    """Whether the watcher asked to stop before the last image; the scores are then of the images before that."""

    def to_json(self) -> dict[str, Any]:
        """The scores at the top (max_f, iou, accuracy, images, protocol), the rest beside them, as plain JSON types."""
        return {**self.scores.to_json(), "stopped": self.stopped, "provenance": self.provenance}


def score_segmenter(
    segmenter: Segmenter,
    images: Path,
    masks: Path,
    watcher: Watcher | None = None,
    protocol: str = "voynov",
    kept: Kept | None = None,
    processes: Alone | None = None,
) -> BenchmarkResult:
    """Scores of ``segmenter`` on the folder ``images`` against the folder ``masks``, at the images' own sizes.

    With ``kept`` it goes on where it stopped; several ``processes`` share the images. Errors: :class:`LanternError` as of
    :class:`segmentation.datasets.MaskedImages` and :meth:`Segmenter.saliency`.
    """
    dataset = MaskedImages(images, masks)

    def read(places: Sequence[int]) -> Iterator[tuple[tuple[int, _Truth], Prepared]]:
        for place in places:
            name, image, mask, marks = dataset[place]
            try:
                prepared = segmenter.prepare(image)
            except LanternError as error:
                raise LanternError(f"{name}: {error.problem}", error.remedy) from error
            yield (place, _Truth(mask, marks)), prepared

    folders = {"images_folder": _tail(images), "masks_folder": _tail(masks)}
    described = {"segmenter": segmenter.provenance(), **folders}
    work = _Work(read, segmenter.stream, len(dataset), protocol, described)
    return _score(work, {"made_by": segmenter.made_by}, watcher or Unwatched(), kept, processes or Alone())


def score_predictions(
    predictions: Path,
    masks: Path,
    watcher: Watcher | None = None,
    protocol: str = "voynov",
    kept: Kept | None = None,
    processes: Alone | None = None,
) -> BenchmarkResult:
    """Scores of the saliency maps in the folder ``predictions`` (8- or 16-bit grey) against the folder ``masks``.

    A map and its mask share their path within the folder, without suffix; maps without a mask are passed over. With
    ``kept`` it goes on where it stopped; several ``processes`` share the maps. Errors: :class:`LanternError` if a folder is
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

    def read(places: Sequence[int]) -> Iterator[tuple[tuple[int, _Truth], _Map]]:
        for place in places:
            files = read_file(maps[names[place]]), read_file(truths[names[place]])
            saliency, mask = _read_pair(*files)
            yield (place, _Truth(mask, (files[0].mark, files[1].mark))), saliency

    folders = {"predictions_folder": _tail(predictions), "masks_folder": _tail(masks)}
    work = _Work(read, iter, len(names), protocol, folders)
    return _score(work, {}, watcher, kept, processes or Alone())


class _Truth(NamedTuple):
    """What an image is scored against, and what its fingerprint is made of."""

    mask: NDArray[np.bool_]
    marks: tuple[str, str]


class _Work(NamedTuple):
    """What is to be scored."""

    read: Reading
    stream: Stream
    images: int
    protocol: str
    described: dict[str, Any]
    """What it belongs to."""


class _Pass:
    """Scores on the way, and the marks of the files that they are of."""

    def __init__(self, protocol: str) -> None:
        self.metrics = SaliencyMetrics(protocol)
        self.marks: list[tuple[int, str, str]] = []
        """By the image's place."""

    @property
    def done(self) -> int:
        return self.metrics.images

    def step(self, place: int, sample: _Truth, saliency: _Map) -> None:
        self.metrics.step(saliency, sample.mask)
        self.marks.append((place, *sample.marks))

    def figures(self) -> dict[str, float]:
        return {}

    def state(self, before: int) -> dict[str, Any]:
        return {"metrics": self.metrics.state(), "marks": list(self.marks)}

    def add(self, state: dict[str, Any]) -> None:
        self.metrics.add(state["metrics"])
        self.marks += [(place, image, mask) for place, image, mask in state["marks"]]

    @property
    def fingerprint(self) -> str:
        """Of all images or maps, and then of all masks, in the order of their names."""
        told, marks = hashlib.sha256(), sorted(self.marks)
        for mark in (*(image for _, image, _ in marks), *(mask for _, _, mask in marks)):
            told.update(bytes.fromhex(mark))
        return told.hexdigest()[:16]


def _score(work: _Work, also: dict[str, Any], watcher: Watcher, kept: Kept | None, processes: Alone) -> BenchmarkResult:
    """The result of ``work``; ``also`` is what else its provenance says."""
    kept, belongs = kept or NOTHING, {**work.described, "of_images": work.images, "protocol": work.protocol}
    kept.restore(belongs, work.images, watcher, processes, "image")
    done = OnePass(partial(_Pass, work.protocol), work.images, watcher, processes, kept.part("score"))
    stopped = done.run(work.read, work.stream)
    gathered = done.gathered()
    scores = gathered.metrics.results()
    provenance = {
        **work.described,
        **also,
        "data": {"fingerprint": gathered.fingerprint},
        "images": scores.images,
        "of_images": work.images,
        "surroundings": surroundings(),
    }
    return BenchmarkResult(scores, provenance, stopped)


def _read_pair(prediction: ReadFile, truth: ReadFile) -> tuple[_Map, NDArray[np.bool_]]:
    saliency, mask = read_grey(prediction), read_mask(truth)
    if saliency.shape != mask.shape:
        sizes = [f"{array.shape[1]}x{array.shape[0]}" for array in (saliency, mask)]
        raise LanternError(
            f"the saliency map {prediction.path} is {sizes[0]} pixels, its mask {sizes[1]}",
            "Resize the map to the image's size.",
        )
    return saliency, mask


def _tail(folder: Path) -> str:
    return "/".join(folder.resolve().parts[-2:])

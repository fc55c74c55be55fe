"""A method on a data set in one pass: every score that the truth allows, what was refused and why, best and worst images."""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from segmentation.configuration import Config, check_choice, check_range
from segmentation.errors import LanternError, require
from segmentation.inference import Taken
from segmentation.kept import NOTHING, KeptPart, State
from segmentation.layouts import Dataset
from segmentation.localisation import LocalisationMetrics, LocalisationScores
from segmentation.methods import Method
from segmentation.metrics import PROTOCOLS, SaliencyMetrics, SaliencyScores
from segmentation.progress import Unwatched, Watcher
from segmentation.refinement import RefinementConfig, refine
from segmentation.structure import StructureMetrics, StructureScores
from segmentation.surroundings import surroundings
from segmentation.tensors import with_prefix, without_prefix
from segmentation.truths import Box, Sample

_SHOWN = 128


@dataclasses.dataclass(frozen=True)
class ScoringConfig(Config):
    """What is measured, and how."""

    protocol: str = "voynov"
    """Which definition of max F: ``voynov`` (the paper's code), ``per-image``, or ``pysod`` (PySODMetrics)."""
    structure: bool = False
    """Also S-measure, E-measure and weighted F, ten times as slow as the others."""
    limit: int | None = None
    """Only so many images, evenly spread over the data set; None: all of them."""
    examples: int = 4
    """How many of the best and of the worst images are kept as pictures."""
    refinement: RefinementConfig = RefinementConfig()
    """What is done to the maps before they are scored."""

    def __post_init__(self) -> None:
        check_choice("protocol", self.protocol, PROTOCOLS)
        if self.limit is not None:
            check_range("limit", self.limit, 1, 10_000_000)
        check_range("examples", self.examples, 0, 64)


class Example(NamedTuple):
    """An image with what was made of it."""

    name: str
    score: float
    """IoU with the mask at 0.5, or with the nearest true box of the box of what is at 0.5 or above."""
    picture: NDArray[np.uint8]
    """(h, w, 3): the image, the truth and the saliency side by side."""


@dataclasses.dataclass(frozen=True, eq=False)
class ScoreSheet:
    """The scores of a method on a data set, and everything that they depend on."""

    method: str
    """Its title, with the refinement if there was one."""
    dataset: str
    kind: str
    """``masks``, ``boxes`` or ``regions``."""
    saliency: SaliencyScores | None
    """Against masks; None where there are only boxes, or regions to ignore."""
    curve: tuple[list[float], list[float]] | None
    """Precision and recall at 255 thresholds."""
    structure: StructureScores | None
    localisation: LocalisationScores | None
    """Against boxes and regions; None for plain masks."""
    refused: tuple[str, ...]
    """What was wrong with each image that was left out."""
    empty: int
    """Images whose truth is empty; they count."""
    images: int
    """Images scored."""
    of_images: int
    """Images that there are."""
    seconds: float
    """From the first image read to the last one scored."""
    stopped: bool
    """Whether somebody asked to stop before the last image."""
    best: tuple[Example, ...]
    worst: tuple[Example, ...]
    provenance: dict[str, Any]
    """Method, data (with a fingerprint of what was read), configuration, hardware, versions."""

    def figures(self) -> dict[str, float]:
        """The scores by their names in :data:`segmentation.published.METRICS`."""
        found: dict[str, float] = {}
        if self.saliency is not None:
            scores = self.saliency
            found |= {"max_f": scores.max_f, "iou": scores.iou, "accuracy": scores.accuracy, "mae": scores.mae}
        if self.structure is not None:
            structure = self.structure
            found |= {"s_measure": structure.s_measure, "e_measure": structure.e_measure, "weighted_f": structure.weighted_f}
        if self.localisation is not None:
            found |= {name: value for name, value in self.localisation.to_json().items() if value is not None}
            found.pop("images")
        return found

    def to_json(self) -> dict[str, Any]:
        """Everything but the pictures, as plain JSON types."""
        parts = {
            "saliency": None if self.saliency is None else self.saliency.to_json(),
            "structure": None if self.structure is None else self.structure.to_json(),
            "localisation": None if self.localisation is None else self.localisation.to_json(),
        }
        curve = None
        if self.curve is not None:
            precision, recall = ([round(value, 6) for value in values] for values in self.curve)
            curve = {"precision": precision, "recall": recall}
        return {
            "method": self.method,
            "dataset": self.dataset,
            "kind": self.kind,
            **parts,
            "curve": curve,
            "images": self.images,
            "of_images": self.of_images,
            "empty_truths": self.empty,
            "refused": list(self.refused),
            "seconds": round(self.seconds, 3),
            "stopped": self.stopped,
            "best": [[example.name, round(example.score, 6)] for example in self.best],
            "worst": [[example.name, round(example.score, 6)] for example in self.worst],
            "provenance": self.provenance,
        }


class _Pass:
    """What one pass over a data set gathers."""

    def __init__(self, config: ScoringConfig, kind: str) -> None:
        self.config, self.kind = config, kind
        self.saliency, self.structure = SaliencyMetrics(config.protocol), StructureMetrics()
        self.localisation = LocalisationMetrics()
        self.refused: dict[int, str] = {}
        self.images = 0
        self.seconds = 0.0
        self.examples: list[Example] = []
        self._data = ""

    def step(self, sample: Sample, saliency: NDArray[np.float32]) -> None:
        saliency = refine(sample.image, saliency, self.config.refinement)
        if self.kind == "masks" and sample.mask is not None:
            self.saliency.step(saliency, sample.mask)
            if self.config.structure:
                self.structure.step(saliency, sample.mask)
        else:
            self.localisation.step(saliency, sample.boxes, sample.mask, sample.ignored)
        self.images += 1
        self._sign(sample)
        self._keep(sample, saliency)

    def _sign(self, sample: Sample) -> None:
        parts = (sample.image, *(part for part in (sample.mask, sample.ignored) if part is not None))
        # A chain, each link of which can be kept, as a digest on the way cannot.
        digest = hashlib.sha256(self._data.encode() + sample.name.encode() + repr(sample.boxes).encode())
        for part in parts:
            digest.update(np.ascontiguousarray(part).data)
        self._data = digest.hexdigest()

    @property
    def fingerprint(self) -> str:
        return self._data[:16]

    def state(self, position: int, seconds: float) -> State:
        """What was gathered of the first ``position`` images, in so many seconds since it began or went on."""
        tensors, told = self.saliency.state()
        tensors = {**with_prefix("saliency", tensors), **with_prefix("structure", self.structure.state())}
        tensors |= with_prefix("localisation", self.localisation.state())
        tensors |= {f"example.{n}": torch.from_numpy(example.picture.copy()) for n, example in enumerate(self.examples)}
        refused = {str(index): why for index, why in self.refused.items() if index < position}
        values = {"saliency": told, "refused": refused, "images": self.images, "data": self._data}
        examples = [[example.name, example.score] for example in self.examples]
        return State(position, tensors, {**values, "seconds": self.seconds + seconds, "examples": examples})

    def restore(self, state: State) -> None:
        """Go back to what :meth:`state` gave."""
        told = state.values
        self.saliency.restore(without_prefix("saliency", state.tensors), told["saliency"])
        self.structure.restore(without_prefix("structure", state.tensors))
        self.localisation.restore(without_prefix("localisation", state.tensors))
        self.refused = {int(index): why for index, why in told["refused"].items()}
        self.images, self._data, self.seconds = int(told["images"]), str(told["data"]), float(told["seconds"])
        pictures = (state.tensors[f"example.{number}"].numpy() for number in range(len(told["examples"])))
        named = zip(told["examples"], pictures, strict=True)
        self.examples = [Example(name, score, picture) for (name, score), picture in named]

    def _keep(self, sample: Sample, saliency: NDArray[np.float32]) -> None:
        number = self.config.examples
        if number == 0:
            return
        score = _overlap(sample, saliency)
        kept = self.examples
        if len(kept) >= 2 * number and kept[number - 1].score >= score >= kept[-number].score:
            return
        kept.append(Example(sample.name, score, _picture(sample, saliency)))
        kept.sort(key=lambda example: -example.score)
        if len(kept) > 2 * number:
            del kept[number:-number]


def score(
    method: Method, dataset: Dataset, config: ScoringConfig, watcher: Watcher | None = None, kept: KeptPart | None = None
) -> ScoreSheet:
    """The scores of ``method`` on ``dataset``, at the images' own sizes, in one pass.

    An image that cannot be read, whose mask has another size, or that the method cannot take, is left out, counted and named.
    With ``kept`` it goes on where it stopped, with the same scores. Errors: :class:`LanternError` if none is left.
    """
    watcher, kept = watcher or Unwatched(), kept or NOTHING.part("score")
    gathered = _Pass(config, dataset.kind)
    names = chosen_names(dataset, config)
    first = 0 if kept.state is None else kept.state.step
    if kept.state is not None:
        gathered.restore(kept.state)
    started, stopping, before = time.perf_counter(), False, gathered.images
    reading = Taken(_readable(method, dataset, names, gathered.refused, watcher, first))
    for (index, sample), saliency in method.stream(reading):
        gathered.step(sample, saliency)
        done, seconds = gathered.images + len(gathered.refused), time.perf_counter() - started
        figures = {"images_per_second": (done - first) / seconds, "refused": float(len(gathered.refused))}
        watcher.advance(done, len(names), figures)
        stopping = stopping or (watcher.stop_requested() and done < len(names))
        if reading.all_given(gathered.images - before):
            kept.after(index + 1, partial(gathered.state, index + 1, seconds), now=stopping)
            if stopping:
                break
    gathered.seconds += time.perf_counter() - started
    why = next(iter(gathered.refused.values()), "it is empty")
    require(gathered.images > 0, f"no image of {dataset.name} could be scored ({why})", "Mend the data set.")
    return _sheet(method, dataset, config, gathered, stopping)


def _sheet(method: Method, dataset: Dataset, config: ScoringConfig, gathered: _Pass, stopped: bool) -> ScoreSheet:
    masks = dataset.kind == "masks"
    refined = config.refinement.title
    half = len(gathered.examples) // 2
    folder = "/".join(dataset.folder.resolve().parts[-2:])
    return ScoreSheet(
        method=f"{method.title}, {refined}" if refined else method.title,
        dataset=dataset.name,
        kind=dataset.kind,
        saliency=gathered.saliency.results() if masks else None,
        curve=gathered.saliency.curve() if masks else None,
        structure=gathered.structure.results() if masks and config.structure else None,
        localisation=None if masks else gathered.localisation.results(),
        refused=tuple(gathered.refused[index] for index in sorted(gathered.refused)),
        empty=gathered.saliency.empty,
        images=gathered.images,
        of_images=len(dataset),
        seconds=gathered.seconds,
        stopped=stopped,
        best=tuple(gathered.examples[: len(gathered.examples) - half]),
        worst=tuple(gathered.examples[len(gathered.examples) - half :][::-1]),
        provenance={
            "method": method.provenance(),
            "data": {"name": dataset.name, "folder": folder, "fingerprint": gathered.fingerprint},
            "config": config.to_json(),
            "surroundings": surroundings(),
        },
    )


def chosen_names(dataset: Dataset, config: ScoringConfig) -> list[str]:
    """The images of ``dataset`` that are scored, in order."""
    names, limit = dataset.names, config.limit
    if limit is None or limit >= len(names):
        return names
    return [names[index * len(names) // limit] for index in range(limit)]


def _readable(
    method: Method, dataset: Dataset, names: list[str], refused: dict[int, str], watcher: Watcher, first: int
) -> Iterator[tuple[tuple[int, Sample], Any]]:
    """The images ``names`` from the ``first`` on, numbered, as ``method`` wants them; the others go to ``refused``."""
    for index in range(first, len(names)):
        try:
            sample = dataset.read(names[index])
            prepared = method.prepare(sample.image)
        except LanternError as error:
            refused[index] = f"{names[index]}: {error.problem}"
            watcher.note(f"left out: {refused[index]}")
        else:
            yield (index, sample), prepared


def _overlap(sample: Sample, saliency: NDArray[np.float32]) -> float:
    chosen = saliency >= 0.5
    if sample.mask is not None:
        counted = chosen if sample.ignored is None else chosen & ~sample.ignored
        union = int((counted | sample.mask).sum())
        return int((counted & sample.mask).sum()) / union if union else 1.0
    rows, columns = (np.nonzero(chosen.any(axis))[0] for axis in (1, 0))
    if not rows.size:
        return 0.0
    found = (int(columns[0]), int(rows[0]), int(columns[-1]), int(rows[-1]))
    return max(_box_overlap(found, box) for box in sample.boxes)


def _box_overlap(first: Box, second: Box) -> float:
    width = min(first[2], second[2]) - max(first[0], second[0]) + 1
    height = min(first[3], second[3]) - max(first[1], second[1]) + 1
    shared = max(width, 0) * max(height, 0)
    areas = sum((box[2] - box[0] + 1) * (box[3] - box[1] + 1) for box in (first, second))
    return shared / (areas - shared)


def _picture(sample: Sample, saliency: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Image, truth and saliency side by side, 128 pixels high; what is ignored is grey in the truth."""
    height, width = sample.image.shape[:2]
    truth = np.zeros((height, width), np.uint8)
    for x0, y0, x1, y1 in sample.boxes:
        truth[y0 : y1 + 1, x0 : x1 + 1] = 255
    if sample.mask is not None:
        truth = np.where(sample.mask, 255, 0).astype(np.uint8)
    if sample.ignored is not None:
        truth[sample.ignored] = 128
    levels = (saliency * 255).round().astype(np.uint8)
    parts = [sample.image, *(np.repeat(part[..., None], 3, 2) for part in (truth, levels))]
    size = (max(1, min(round(width * _SHOWN / height), 4 * _SHOWN)), _SHOWN)
    return np.concatenate([np.asarray(Image.fromarray(part).resize(size)) for part in parts], 1)

"""A method on a data set in one pass: every score that the truth allows, what was refused and why, best and worst images."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segmentation.configuration import Config, check_choice, check_range
from segmentation.errors import LanternError, require
from segmentation.examples import Example, Examples
from segmentation.kept import NOTHING, KeptPart
from segmentation.layouts import Dataset
from segmentation.localisation import LocalisationMetrics, LocalisationScores
from segmentation.methods import Method
from segmentation.metrics import PROTOCOLS, SaliencyMetrics, SaliencyScores
from segmentation.one_pass import OnePass, Reading
from segmentation.processes import Alone
from segmentation.progress import Unwatched, Watcher
from segmentation.refinement import RefinementConfig, refine
from segmentation.structure import StructureMetrics, StructureScores
from segmentation.surroundings import surroundings
from segmentation.truths import Sample

_METRICS = ("saliency", "structure", "localisation")


@dataclasses.dataclass(frozen=True)
class ScoringConfig(Config):
    """What is measured, and how."""

    protocol: str = "voynov"
    """Which definition of max F: ``voynov`` (the paper's code), ``per-image``, or ``pysod`` (PySODMetrics)."""
    structure: bool = False
    """Also S-measure, E-measure and weighted F, four times as slow as the others."""
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
    """What a pass over a data set gathers."""

    def __init__(self, config: ScoringConfig, kind: str) -> None:
        self.config, self.kind = config, kind
        self.saliency, self.structure = SaliencyMetrics(config.protocol), StructureMetrics()
        self.localisation = LocalisationMetrics()
        self.refused: list[tuple[int, str]] = []
        """By the image's place in the data set."""
        self.marks: list[tuple[int, str]] = []
        """Of what was read, likewise."""
        self.examples = Examples(config.examples)

    @property
    def images(self) -> int:
        return len(self.marks)

    @property
    def done(self) -> int:
        return self.images + len(self.refused)

    def step(self, place: int, sample: Sample, saliency: NDArray[np.float32]) -> None:
        saliency = refine(sample.image, saliency, self.config.refinement)
        if self.kind == "masks" and sample.mask is not None:
            self.saliency.step(saliency, sample.mask)
            if self.config.structure:
                self.structure.step(saliency, sample.mask)
        else:
            self.localisation.step(saliency, sample.boxes, sample.mask, sample.ignored)
        self.marks.append((place, _mark(sample)))
        self.examples.step(sample, saliency)

    @property
    def fingerprint(self) -> str:
        """Of all that was read, in the data set's order."""
        return hashlib.sha256("".join(mark for _, mark in sorted(self.marks)).encode()).hexdigest()[:16]

    def figures(self) -> dict[str, float]:
        return {"refused": float(len(self.refused))}

    def state(self, before: int) -> dict[str, Any]:
        metrics = {name: getattr(self, name).state() for name in _METRICS}
        examples = [example.to_json() for example in self.examples.kept]
        # What was read ahead is read again.
        refused = [(place, why) for place, why in self.refused if place < before]
        return {**metrics, "refused": refused, "marks": list(self.marks), "examples": examples}

    def add(self, state: dict[str, Any]) -> None:
        for name in _METRICS:
            getattr(self, name).add(state[name])
        for kept, name in ((self.refused, "refused"), (self.marks, "marks")):
            kept += [(place, text) for place, text in state[name]]
        self.examples.add([Example.from_json(told) for told in state["examples"]])


def _mark(sample: Sample) -> str:
    told = hashlib.sha256(sample.name.encode() + repr(sample.boxes).encode())
    for part in (sample.image, sample.mask, sample.ignored):
        if part is not None:
            told.update(np.ascontiguousarray(part).data)
    return told.hexdigest()[:32]


def score(
    method: Method,
    dataset: Dataset,
    config: ScoringConfig,
    watcher: Watcher | None = None,
    processes: Alone | None = None,
    kept: KeptPart | None = None,
) -> ScoreSheet:
    """The scores of ``method`` on ``dataset``, at the images' own sizes, in one pass.

    Several ``processes`` share the images, and each gets the scores of all of them. An image that cannot be read, whose mask
    has another size, or that the method cannot take, is left out, counted and named. With ``kept`` it goes on where it
    stopped, with the same scores; of several processes all have to be given the same. Errors: :class:`LanternError` if no image
    is left.
    """
    watcher, names = watcher or Unwatched(), chosen_names(dataset, config)
    work = OnePass(
        partial(_Pass, config, dataset.kind), len(names), watcher, processes or Alone(), kept or NOTHING.part("score")
    )
    stopped = work.run(_readable(method, dataset, names, work.own, watcher), method.stream)
    gathered = work.gathered()
    for told in sorted(set(gathered.refused) - set(work.own.refused)):
        watcher.note(f"left out: {told[1]}")
    first = min(gathered.refused)[1] if gathered.refused else "it is empty"
    require(gathered.images > 0, f"no image of {dataset.name} could be scored ({first})", "Mend the data set.")
    return _sheet(method, dataset, config, gathered, work.seconds, stopped)


def _readable(method: Method, dataset: Dataset, names: Sequence[str], gathered: _Pass, watcher: Watcher) -> Reading:
    """Reads the images ``names``; what cannot be read is refused in ``gathered``."""

    def read(places: Sequence[int]) -> Iterator[tuple[tuple[int, Sample], Any]]:
        for place in places:
            try:
                sample = dataset.read(names[place])
                prepared = method.prepare(sample.image)
            except LanternError as error:
                gathered.refused.append((place, f"{names[place]}: {error.problem}"))
                watcher.note(f"left out: {gathered.refused[-1][1]}")
            else:
                yield (place, sample), prepared

    return read


def _sheet(
    method: Method, dataset: Dataset, config: ScoringConfig, gathered: _Pass, seconds: float, stopped: bool
) -> ScoreSheet:
    masks = dataset.kind == "masks"
    refined = config.refinement.title
    best, worst = gathered.examples.results()
    folder = "/".join(dataset.folder.resolve().parts[-2:])
    return ScoreSheet(
        method=f"{method.title}, {refined}" if refined else method.title,
        dataset=dataset.name,
        kind=dataset.kind,
        saliency=gathered.saliency.results() if masks else None,
        curve=gathered.saliency.curve() if masks else None,
        structure=gathered.structure.results() if masks and config.structure else None,
        localisation=None if masks else gathered.localisation.results(),
        refused=tuple(told for _, told in sorted(gathered.refused)),
        empty=gathered.saliency.empty,
        images=gathered.images,
        of_images=len(dataset),
        seconds=seconds,
        stopped=stopped,
        best=best,
        worst=worst,
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

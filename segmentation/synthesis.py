"""Accepted samples as an endless seeded stream: pairs in, images with their masks out (paper, section 3.2)."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import Any, Protocol

import torch
from torch import Tensor

from segmentation.configuration import Config, check_range
from segmentation.errors import LanternError
from segmentation.filters import FilterConfig, filter_pairs

_PATIENCE = 2048


class PairSource(Protocol):
    """Where pairs come from; all that this package knows of a generator."""

    resolution: int

    def pairs(self, count: int, key: tuple[int | str, ...]) -> tuple[Tensor, Tensor]:
        """``count`` pairs, each (B, 3, R, R) in [-1, 1]; the same ``key`` gives the same pairs."""

    def describe(self) -> dict[str, Any]:
        """Generator, direction, magnitude and so on, as plain JSON types, for whoever asks what made an artefact."""


@dataclasses.dataclass(frozen=True)
class SynthesisConfig(Config):
    """How accepted samples are made."""

    filters: FilterConfig = FilterConfig()
    """Which samples are kept."""
    candidates: int = 64
    """Pairs generated at once; samples come out in the same order whatever it is, but not the same samples."""

    def __post_init__(self) -> None:
        check_range("candidates", self.candidates, 1, 65536)


@dataclasses.dataclass(frozen=True)
class Position(Config):
    """A place in a stream: ``offset`` accepted samples into candidate batch ``batch``; ``past`` counts what came before it."""

    batch: int = 0
    offset: int = 0
    past: dict[str, int] = dataclasses.field(default_factory=dict)


class AcceptedStream:
    """The accepted samples of ``source`` under a ``seed`` and a stream ``name``, in order, without end.

    ``position`` says where the stream is; a new stream begun there gives the same samples.
    """

    def __init__(
        self, source: PairSource, config: SynthesisConfig, seed: int, name: str, start: Position | None = None
    ) -> None:
        self.source, self.config, self.seed, self.name = source, config, seed, name
        self.position = start or Position()
        self._batch: tuple[Tensor, Tensor] | None = None
        self._present: Counter[str] = Counter()

    def take(self, count: int) -> tuple[Tensor, Tensor]:
        """The next ``count`` samples: images (B, 3, R, R) in [-1, 1] and masks (B, R, R) bool, on the source's device.

        Errors: :class:`LanternError` if thousands of candidates in a row are rejected.
        """
        check_range("count", count, 1, 10_000_000)
        images: list[Tensor] = []
        masks: list[Tensor] = []
        wanted, barren = count, 0
        while wanted:
            accepted_images, accepted_masks = self._current()
            offset = self.position.offset
            part = accepted_images[offset : offset + wanted]
            images.append(part)
            masks.append(accepted_masks[offset : offset + wanted])
            wanted -= len(part)
            self.position = dataclasses.replace(self.position, offset=offset + len(part))
            barren = 0 if len(part) else barren + self.config.candidates
            if wanted:
                self._refuse_barren(barren)
                self.position, self._batch = Position(self.position.batch + 1, 0, self.funnel), None
        return torch.cat(images), torch.cat(masks)

    def _current(self) -> tuple[Tensor, Tensor]:
        if self._batch is None:
            key = (self.seed, self.name, self.position.batch)
            images, shifted = self.source.pairs(self.config.candidates, key)
            verdicts = filter_pairs(images, shifted, self.config.filters)
            keep = verdicts.accepted
            self._batch = images[keep], verdicts.mask[keep]
            self._present = Counter(reason or "kept" for reason in verdicts.rejected_by)
        return self._batch

    @property
    def funnel(self) -> dict[str, int]:
        """Counts of the candidates seen so far: ``generated``, ``kept``, and one entry a reason of rejection."""
        present = self._present if self._batch is not None else Counter[str]()
        counts = {"generated": 0, "kept": 0, **self.position.past}
        counts["generated"] += present.total()
        return {**counts, **{name: counts.get(name, 0) + number for name, number in present.items()}}

    def _refuse_barren(self, barren: int) -> None:
        if barren >= max(_PATIENCE, 2 * self.config.candidates):
            reasons = ", ".join(f"{n} by {name}" for name, n in self.funnel.items() if name not in ("generated", "kept"))
            raise LanternError(
                f"none of the last {barren} samples was accepted (rejected: {reasons})",
                "Choose another direction or magnitude, the opposite sign, or looser filters.",
            )

    @property
    def acceptance_rate(self) -> float:
        """Share of the candidates seen so far that were kept; NaN before the first."""
        funnel = self.funnel
        return funnel["kept"] / funnel["generated"] if funnel["generated"] else float("nan")

"""A direction improved by measurement: a small evolution strategy on the score of saliency lighting."""

from __future__ import annotations

import dataclasses

import torch
import torch.nn.functional as F
from torch import Tensor

from explorer.directions.catalogue import MAX_MAGNITUDE
from explorer.directions.ranking import Score, score_pairs
from explorer.engine import Engine
from segmentation.configuration import Config, check_range
from segmentation.filters import FilterConfig
from segmentation.progress import Watcher


@dataclasses.dataclass(frozen=True)
class RefineConfig(Config):
    """How a direction is improved by measurement."""

    rounds: int = 25
    """Rounds; 0 leaves the direction as it is."""
    children: int = 6
    """Variations of the best direction so far that a round tries."""
    codes: int = 96
    """Latent codes that every variation is measured on."""
    span: int = 24
    """How many of the strongest mean effects a variation mixes in."""

    def __post_init__(self) -> None:
        check_range("rounds", self.rounds, 0, 100_000)
        check_range("children", self.children, 1, 10_000)
        check_range("codes", self.codes, 2, 100_000)
        check_range("span", self.span, 1, 4096)


@dataclasses.dataclass(frozen=True)
class Refined:
    """A unit direction (d,), the magnitude to walk it by, and what was measured of both."""

    direction: Tensor
    magnitude: float
    score: Score


def refine(
    engine: Engine, start: Tensor, basis: Tensor, magnitude: float, filters: FilterConfig, config: RefineConfig, seed: int, watcher: Watcher
) -> Refined:
    """The best direction found near ``start`` (d,) within the first rows of ``basis`` (K, d), and its magnitude.

    Each round mixes random amounts of the basis into the best direction so far, stretches or shrinks its magnitude, and
    keeps the variation of the highest total score (see :class:`Score`), if it beats the best. The reach of the
    variations grows after a success and shrinks after a failure.
    """
    source = torch.Generator().manual_seed(seed)
    codes = engine.codes(config.codes, seed)
    images = engine.images(codes)
    rows = basis[: config.span]

    def measured(direction: Tensor, length: float) -> Refined:
        return Refined(direction, length, score_pairs(images, engine.images(codes + length * direction), filters))

    best, reach = measured(start, magnitude), 0.5
    for number in range(config.rounds):
        before = best
        for _ in range(config.children):
            mixed = torch.randn(len(rows), generator=source) @ rows * (reach / len(rows) ** 0.5)
            stretch = float(torch.exp(torch.randn((), generator=source) * reach / 2))
            length = min(max(before.magnitude * stretch, 0.2 * magnitude), MAX_MAGNITUDE)
            child = measured(F.normalize(before.direction + mixed, dim=0), length)
            best = child if child.score.total > best.score.total else best
        reach = max(0.05, min(1.0, reach * (1.3 if best is not before else 0.8)))
        watcher.advance(number + 1, config.rounds, {"total": best.score.total, "acceptance": best.score.acceptance})
        if watcher.stop_requested():
            break
    return best

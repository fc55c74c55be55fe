"""A direction improved by measurement: a small evolution strategy on the score of saliency lighting."""

from __future__ import annotations

import dataclasses

import torch
import torch.nn.functional as F
from torch import Tensor

from explorer.directions.catalogue import MAX_MAGNITUDE
from explorer.directions.ranking import MAX_CODES, Score, score_pairs, standing_out, tell
from explorer.engine import Engine
from segmentation.configuration import Config, check_range
from segmentation.filters import FilterConfig
from segmentation.progress import Watcher

MAGNITUDES = tuple(float(length) for length in range(2, int(MAX_MAGNITUDE) + 1))
"""The lengths of a shift that are tried."""


@dataclasses.dataclass(frozen=True)
class RefineConfig(Config):
    """How a direction is improved by measurement."""

    rounds: int = 10
    """Rounds; 0 leaves the direction as it is."""
    children: int = 6
    """Variations of the best direction so far that a round tries."""
    codes: int = 96
    """Latent codes that every variation is measured on."""
    span: int = 24
    """How many of the strongest mean effects a variation mixes in."""
    nearness: float = 0.8
    """The lowest cosine to the direction it starts from: the score alone would lead to another direction than the one found."""

    def __post_init__(self) -> None:
        check_range("rounds", self.rounds, 0, 100_000)
        check_range("children", self.children, 1, 10_000)
        # Masks are compared with each other, all with all.
        check_range("codes", self.codes, 2, MAX_CODES)
        check_range("span", self.span, 1, 4096)
        check_range("nearness", self.nearness, -1, 1)


@dataclasses.dataclass(frozen=True)
class Refined:
    """A unit direction (d,), the magnitude to walk it by, and what was measured of both."""

    direction: Tensor
    magnitude: float
    score: Score


def best_magnitude(engine: Engine, direction: Tensor, filters: FilterConfig, codes: Tensor, watcher: Watcher) -> Refined:
    """``direction`` (d,), a unit vector, with that one of :data:`MAGNITUDES` at which it scores highest on ``codes`` (B, d).

    Errors: ``KeyboardInterrupt`` if the watcher asks to stop.
    """
    images = engine.images(codes)
    objects, tried = standing_out(images), []
    for number, length in enumerate(MAGNITUDES):
        score = score_pairs(images, engine.images(codes + length * direction), filters, objects)
        tried.append(Refined(direction, length, score))
        tell(watcher, number + 1, len(MAGNITUDES), total=score.total, acceptance=score.acceptance)
    return max(tried, key=lambda found: found.score.total)


def refine(
    engine: Engine,
    start: tuple[Tensor, float],
    basis: Tensor,
    filters: FilterConfig,
    config: RefineConfig,
    seed: int,
    watcher: Watcher,
) -> Refined:
    """The best direction found near ``start`` (a unit direction (d,) and its magnitude) within the first rows of ``basis``.

    ``basis`` is (K, d). Each round mixes random amounts of its rows into the best direction so far, stretches or shrinks
    its magnitude (to half of the first at least, one and a half times at most), and keeps the variation of the highest
    total score (see :class:`Score`), if it beats the best. The reach of the variations grows after a success and shrinks
    after a failure. None leaves the cone of
    ``config.nearness`` around the start. Errors: ``KeyboardInterrupt`` if the watcher asks to stop.
    """
    source = torch.Generator().manual_seed(seed)
    codes, (first, magnitude) = engine.codes(config.codes, seed), start
    images, rows = engine.images(codes), basis[: config.span]
    objects = standing_out(images)

    def measured(direction: Tensor, length: float) -> Refined:
        return Refined(direction, length, score_pairs(images, engine.images(codes + length * direction), filters, objects))

    best, reach = measured(first, magnitude), 0.5
    for number in range(config.rounds):
        before = best
        for _ in range(config.children):
            mixed = torch.randn(len(rows), generator=source) @ rows * (reach / len(rows) ** 0.5)
            stretch = float(torch.exp(torch.randn((), generator=source) * reach / 2))
            length = min(max(before.magnitude * stretch, 0.5 * magnitude), 1.5 * magnitude, MAX_MAGNITUDE)
            child = measured(near(F.normalize(before.direction + mixed, dim=0), first, config.nearness), length)
            best = child if child.score.total > best.score.total else best
        reach = max(0.05, min(1.0, reach * (1.3 if best is not before else 0.8)))
        tell(watcher, number + 1, config.rounds, total=best.score.total, acceptance=best.score.acceptance)
    return best


def near(direction: Tensor, first: Tensor, cosine: float) -> Tensor:
    """The unit vector (d,) nearest to ``direction`` whose cosine to ``first`` is at least ``cosine``; all of unit length."""
    along = float(direction @ first)
    if along >= cosine:
        return direction
    aside = F.normalize(direction - along * first, dim=0)
    return F.normalize(cosine * first + max(0.0, 1 - cosine**2) ** 0.5 * aside, dim=0)

"""A direction improved by measurement: a small evolution strategy on the score of saliency lighting."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from explorer.directions.catalogue import MAX_MAGNITUDE
from explorer.directions.ranking import MAX_CODES, Score, score_pairs, standing_out, tell
from explorer.engine import Engine
from segmentation.configuration import Config, check_range
from segmentation.filters import FilterConfig
from segmentation.kept import NOTHING, KeptPart, State
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


def best_magnitude(
    engine: Engine,
    direction: Tensor,
    filters: FilterConfig,
    codes: Tensor,
    watcher: Watcher,
    kept: KeptPart | None = None,
    better: Callable[[Score], float] = lambda score: score.total,
) -> Refined:
    """``direction`` (d,), a unit vector, with that one of :data:`MAGNITUDES` at which it scores highest on ``codes`` (B, d).

    What is high is said by ``better``. With ``kept`` it goes on where it stopped. Errors: ``KeyboardInterrupt`` if the watcher
    asks to stop.
    """
    kept = kept or NOTHING.part("lengths")
    images = engine.images(codes)
    objects = standing_out(images)
    scores = [] if kept.state is None else [Score(**told) for told in kept.state.values["scores"]]

    def state() -> State:
        return State(len(scores), values={"scores": [dataclasses.asdict(score) for score in scores]})

    for length in MAGNITUDES[len(scores) :]:
        score = score_pairs(images, engine.images(codes + length * direction), filters, objects)
        scores.append(score)
        tell(watcher, len(scores), len(MAGNITUDES), kept, state, total=score.total, acceptance=score.acceptance)
    tried = [Refined(direction, length, score) for length, score in zip(MAGNITUDES, scores, strict=True)]
    return max(tried, key=lambda found: better(found.score))


def refine(
    engine: Engine,
    start: tuple[Tensor, float],
    basis: Tensor,
    filters: FilterConfig,
    config: RefineConfig,
    seed: int,
    watcher: Watcher,
    kept: KeptPart | None = None,
) -> Refined:
    """The best direction found near ``start`` (a unit direction (d,) and its magnitude) within the first rows of ``basis``.

    ``basis`` is (K, d). Each round mixes random amounts of its rows into the best direction so far, stretches or shrinks
    its magnitude (to half of the first at least, one and a half times at most), and keeps the variation of the highest
    total score (see :class:`Score`), if it beats the best. The reach of the variations grows after a success and shrinks
    after a failure. None leaves the cone of ``config.nearness`` around the start. With ``kept`` it goes on where it stopped.
    Errors: ``KeyboardInterrupt`` if the watcher asks to stop.
    """
    kept = kept or NOTHING.part("search")
    source = torch.Generator().manual_seed(seed)
    codes, (first, magnitude) = engine.codes(config.codes, seed), start
    images, rows = engine.images(codes), basis[: config.span]
    objects = standing_out(images)

    def measured(direction: Tensor, length: float) -> Refined:
        return Refined(direction, length, score_pairs(images, engine.images(codes + length * direction), filters, objects))

    begun = 0 if kept.state is None else kept.state.step
    if kept.state is None:
        best, reach = measured(first, magnitude), 0.5
    else:
        best, reach = _best_of(kept.state), float(kept.state.values["reach"])
        source.set_state(kept.state.tensors["source"])
    for number in range(begun, config.rounds):
        before = best
        for _ in range(config.children):
            mixed = torch.randn(len(rows), generator=source) @ rows * (reach / len(rows) ** 0.5)
            stretch = float(torch.exp(torch.randn((), generator=source) * reach / 2))
            length = min(max(before.magnitude * stretch, 0.5 * magnitude), 1.5 * magnitude, MAX_MAGNITUDE)
            child = measured(near(F.normalize(before.direction + mixed, dim=0), first, config.nearness), length)
            best = child if child.score.total > best.score.total else best
        reach = max(0.05, min(1.0, reach * (1.3 if best is not before else 0.8)))
        state = partial(_state, number + 1, best, reach, source)
        tell(watcher, number + 1, config.rounds, kept, state, total=best.score.total, acceptance=best.score.acceptance)
    return best


def _state(step: int, best: Refined, reach: float, source: torch.Generator) -> State:
    values = {"magnitude": best.magnitude, "score": dataclasses.asdict(best.score), "reach": reach}
    return State(step, {"direction": best.direction, "source": source.get_state()}, values)


def _best_of(state: State) -> Refined:
    return Refined(state.tensors["direction"], float(state.values["magnitude"]), Score(**state.values["score"]))


def near(direction: Tensor, first: Tensor, cosine: float) -> Tensor:
    """The unit vector (d,) nearest to ``direction`` whose cosine to ``first`` is at least ``cosine``; all of unit length."""
    along = float(direction @ first)
    if along >= cosine:
        return direction
    aside = F.normalize(direction - along * first, dim=0)
    return F.normalize(cosine * first + max(0.0, 1 - cosine**2) ** 0.5 * aside, dim=0)

"""How much a direction looks like saliency lighting, measured without labels."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from explorer.directions.catalogue import MAX_MAGNITUDE, Catalogue, Entry, update
from explorer.directions.figures import (
    Measured,
    Unshifted,
    beyond_chance,
    correlation,
    gradient,
    measure,
    off_diagonal,
    symmetry_of_sign,
)
from explorer.directions.kept_scores import KeptScores, pairs_from, told_pair
from explorer.directions.score import FIGURES, FORMULA, MAX_CODES, Score
from explorer.engine import Engine
from segmentation.baselines.standing_out import standing_out
from segmentation.configuration import Config, check_choice, check_range
from segmentation.errors import require
from segmentation.filters import FilterConfig
from segmentation.kept import NOTHING, KeptPart, State, tell
from segmentation.precision import PRECISIONS, has_fast_bfloat16
from segmentation.progress import Watcher
from segmentation.tensors import fingerprint

# Some of these are defined next door, and have always been had from here.
__all__ = [
    "FIGURES",
    "FORMULA",
    "MAX_CODES",
    "RankConfig",
    "Score",
    "correlation",
    "gradient",
    "order",
    "rank",
    "rank_catalogue",
    "score_catalogue",
    "score_pairs",
    "standing_out",
    "tell",
    "with_ranking",
    "with_scores",
    "write_ranking",
]


@dataclasses.dataclass(frozen=True)
class RankConfig(Config):
    """How the directions of a catalogue are ranked."""

    codes: int = 48
    """Latent codes that every direction is measured on, both ways."""
    sets: int = 3
    """Independent sets of equal size that the codes are shared out to, for the stability of the scores."""
    seed: int = 0
    """Seed of the codes."""
    magnitude: float | None = None
    """Length of the shift; by default what the catalogue says of each direction."""
    precision: str = "auto"
    """Of the first look at every direction: ``auto`` (bfloat16 where it is fast), ``float32`` or ``bfloat16``."""
    leaders: int = 12
    """The best at that look, which are measured again in the engine's own precision if it is another."""
    choose: bool = False
    """Let the best become saliency lighting even if one is chosen already, and turn every direction to its better sign."""
    filters: FilterConfig = FilterConfig()
    """The filters whose acceptance rate is measured."""

    def __post_init__(self) -> None:
        check_range("codes", self.codes, 2, MAX_CODES)
        check_range("sets", self.sets, 1, self.codes // 2)
        check_range("seed", self.seed, 0, 2**63 - 1)
        check_range("leaders", self.leaders, 0, 4096)
        if self.magnitude is not None:
            check_range("magnitude", self.magnitude, 0, MAX_MAGNITUDE)
        check_choice("precision", self.precision, PRECISIONS)


def score_pairs(images: Tensor, shifted: Tensor, filters: FilterConfig, objects: Tensor | None = None) -> Score:
    """The figures of pairs (B, 3, H, W) in [-1, 1]; ``objects`` are :func:`standing_out` of the images, if known already."""
    return _summary(measure(Unshifted.of(images, objects), shifted, filters), slice(None))


def rank(
    engine: Engine,
    catalogue: Catalogue,
    codes: Tensor,
    magnitude: float,
    filters: FilterConfig,
    watcher: Watcher,
    kept: KeptPart | None = None,
) -> list[dict[int, Score]]:
    """For each direction the :class:`Score` of both signs (keys 1 and -1) on the same ``codes`` (B, d).

    With ``kept`` it goes on where it stopped. Errors: ``KeyboardInterrupt`` if the watcher asks to stop.
    """
    kept = kept or NOTHING.part("scores")
    scores = [] if kept.state is None else pairs_from(kept.state.values["scores"])

    def state() -> State:
        return State(len(scores), values={"scores": [told_pair(pair) for pair in scores]})

    for pair in _scores(engine, codes, filters, 1, None, (magnitude * catalogue.directions)[len(scores) :]):
        scores.append(pair)
        tell(watcher, len(scores), len(catalogue), kept, state)
    return scores


def score_catalogue(
    engine: Engine, catalogue: Catalogue, config: RankConfig, watcher: Watcher, kept: KeptScores | None = None
) -> list[dict[int, Score]]:
    """For each direction the :class:`Score` of both signs (keys 1 and -1), measured as ``config`` says.

    With ``kept`` it goes on where a ranking before stopped. Errors: ``KeyboardInterrupt`` if the watcher asks to stop.
    """
    count = len(catalogue)
    codes = engine.codes(config.codes, config.seed)
    lengths = torch.tensor([catalogue.magnitude(index, config.magnitude) for index in range(count)])
    shifts = lengths[:, None] * catalogue.directions.cpu()
    again = 0 if _runs_in(engine, config.precision) == engine.config.precision else min(config.leaders, count)
    rest = _Rest(watcher, count + again, kept)
    rest.begin(engine, catalogue, config, lengths)
    scores = rest.through(shifts, partial(_scores, engine, codes, config.filters, config.sets, config.precision))
    best = sorted(range(count), key=lambda index: -max(score.total for score in scores[index].values()))[:again]
    again_scored = rest.through(shifts[best], partial(_scores, engine, codes, config.filters, config.sets, None))
    for index, pair in zip(best, again_scored, strict=True):
        scores[index] = pair
    return scores


class _Rest:
    """What is left to measure of ``steps`` scores, of which some may be kept."""

    def __init__(self, watcher: Watcher, steps: int, kept: KeptScores | None) -> None:
        self.watcher, self.steps, self.kept = watcher, steps, kept
        self.done = 0

    def begin(self, engine: Engine, catalogue: Catalogue, config: RankConfig, lengths: Tensor) -> None:
        """Look at what is kept of shifts of those ``lengths`` (K,)."""
        if self.kept is None:
            return
        # Not the signs, which a ranking may change at its end: both are measured.
        directions = fingerprint({"directions": catalogue.directions, "lengths": lengths}, {})
        generator = {"name": engine.name, "fingerprint": engine.fingerprint}
        described = {"ranking": config.to_json(), "generator": generator, "directions": directions}
        if there := self.kept.restore(described):
            self.watcher.note(f"resuming at {there} of {self.steps}")
            self.watcher.resume(there, self.steps)

    def through(self, shifts: Tensor, measured: Callable[[Tensor], Iterator[dict[int, Score]]]) -> list[dict[int, Score]]:
        """The scores of ``shifts`` (K, d), measured unless they are kept."""
        known = [] if self.kept is None else [self.kept.get(self.done + number) for number in range(len(shifts))]
        scores = [pair for pair in known if pair is not None]
        self.done += len(scores)
        for pair in measured(shifts[len(scores) :]):
            scores.append(pair)
            self.done += 1
            self._keep(pair)
            tell(self.watcher, self.done, self.steps)
        return scores

    def _keep(self, pair: dict[int, Score]) -> None:
        if self.kept is not None:
            self.kept.add(pair, last=self.done == self.steps or self.watcher.stop_requested())


def rank_catalogue(engine: Engine, catalogue: Catalogue, config: RankConfig, watcher: Watcher) -> Catalogue:
    """``catalogue`` with the scores of every direction, as :func:`with_ranking` enters them.

    Errors: ``KeyboardInterrupt`` if the watcher asks to stop.
    """
    return with_ranking(catalogue, score_catalogue(engine, catalogue, config, watcher), config)


def with_ranking(catalogue: Catalogue, scores: list[dict[int, Score]], config: RankConfig) -> Catalogue:
    """``catalogue`` with ``scores`` in its entries, and the magnitude that was asked for, if one was.

    A direction that nobody has labelled or judged gets its better sign; the others keep theirs, and the scores of that sign.
    The best that is not rejected becomes saliency lighting, if none is and one scores above 0. With ``config.choose`` the
    better sign is for all, and the best replaces the one that is chosen. Errors: :class:`LanternError` if there are not as
    many scores as directions.
    """
    fits = len(scores) == len(catalogue)
    require(fits, f"there are {len(scores)} scores for {len(catalogue)} directions", "Rank the catalogue again.")
    entries = tuple(_scored(entry, pair, config) for entry, pair in zip(catalogue.entries, scores, strict=True))
    provenance = {**catalogue.provenance, "ranking": config.to_json()}
    scored = dataclasses.replace(catalogue, entries=entries, provenance=provenance)
    best = next((i for i in order(scored) if entries[i].status != "rejected"), None)
    taken = scored.lighting is not None and not config.choose
    return scored if taken or best is None or entries[best].scores["total"] <= 0 else scored.with_lighting(best)


def write_ranking(folder: Path, measured: Catalogue, scores: list[dict[int, Score]], config: RankConfig, by: str) -> Catalogue:
    """Enter the ``scores`` of the catalogue ``measured`` in ``folder``, by :func:`with_ranking`; returns what is there then.

    What was labelled or judged there since it was read stays. ``by`` is what the history calls whoever asked. Errors:
    :class:`LanternError` if other directions lie there by now.
    """

    def entered(catalogue: Catalogue) -> Catalogue:
        same = torch.equal(catalogue.directions, measured.directions)
        require(same, f"the directions in {folder} have changed since they were measured", "Rank them again.")
        return with_ranking(catalogue, scores, config)

    return update(folder, entered, by)


def order(catalogue: Catalogue) -> list[int]:
    """The indices of the directions, the best first; those without a score come last."""

    def rank_of(index: int) -> tuple[float, float]:
        scores = catalogue.entries[index].scores
        return -scores.get("total", -1.0), -scores.get("agreement", 0.0)

    return sorted(range(len(catalogue)), key=rank_of)


def with_scores(catalogue: Catalogue, scores: list[dict[int, Score]], magnitude: float) -> Catalogue:
    """``catalogue`` with each entry's better sign, the ``magnitude`` and its scores; the best becomes saliency lighting.

    Other figures of an entry stay, no status does. None becomes saliency lighting if no direction scores above 0.
    """
    fresh = tuple(dataclasses.replace(entry, status="new") for entry in catalogue.entries)
    config = RankConfig(magnitude=magnitude, choose=True)
    ranked = with_ranking(dataclasses.replace(catalogue, entries=fresh), scores, config)
    # How these were measured is what found them says.
    return dataclasses.replace(ranked, provenance=catalogue.provenance)


def _scores(
    engine: Engine, codes: Tensor, filters: FilterConfig, sets: int, precision: str | None, shifts: Tensor
) -> Iterator[dict[int, Score]]:
    """For each of ``shifts`` (K, d) its score and that of its opposite, on the same ``codes`` (B, d)."""
    if not len(shifts):
        return
    before = Unshifted.of(engine.images(codes, precision))
    for shift in shifts.float():
        ends = engine.images(torch.cat([codes + shift, codes - shift]), precision).split(len(codes))
        forth, back = (measure(before, shifted, filters) for shifted in ends)
        yield {1: _score(forth, back, sets), -1: _score(back, forth, sets)}


def _runs_in(engine: Engine, precision: str) -> str:
    automatic = "bfloat16" if has_fast_bfloat16(engine.device) else "float32"
    return automatic if precision == "auto" else precision


def _scored(entry: Entry, pair: dict[int, Score], config: RankConfig) -> Entry:
    judged = (entry.status != "new" or bool(entry.label)) and not config.choose
    sign = entry.sign if judged else max(pair, key=lambda way: (pair[way].total, pair[way].agreement))
    magnitude = entry.magnitude if config.magnitude is None else config.magnitude
    others = {name: figure for name, figure in entry.scores.items() if name not in FIGURES}
    scores = {**others, **pair[sign].to_json()}
    return dataclasses.replace(entry, sign=sign, magnitude=magnitude, scores=scores)


def _score(forth: Measured, back: Measured, sets: int) -> Score:
    """The score of the shift ``forth``, ``back`` being its opposite, over all codes; stability over ``sets`` of them."""
    symmetry, count = symmetry_of_sign(forth.raw_mask, back.raw_mask), len(forth.area) // sets
    whole = dataclasses.replace(_summary(forth, slice(None)), symmetry=symmetry.mean().item())
    if sets == 1:
        return whole
    parts = [slice(start * count, (start + 1) * count) for start in range(sets)]
    totals = [dataclasses.replace(_summary(forth, part), symmetry=symmetry[part].mean().item()).total for part in parts]
    return dataclasses.replace(whole, stability=min(totals) / max(totals) if max(totals) > 0 else 0.0)


def _summary(found: Measured, part: slice) -> Score:
    lighter, darker = found.lighter[part].mean().item(), found.darker[part].mean().item()
    overlaps = found.overlaps[part, part]
    return Score(
        acceptance=found.accepted[part].mean().item(),
        area=found.area[part].mean().item(),
        centre=found.centre[part].mean().item(),
        edges=found.edges[part].mean().item(),
        contours=found.contours[part].mean().item(),
        contrast=lighter + darker,
        agreement=overlaps.diagonal().mean().item(),
        following=beyond_chance(overlaps),
        sameness=off_diagonal(found.likeness[part, part]),
        balance=min(lighter, darker) / max(lighter, darker) if max(lighter, darker) > 0 else 0.0,
        residual=found.residual[part].mean().item(),
        separation=found.separation[part].mean().item(),
    )

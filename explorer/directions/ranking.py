"""How much a direction looks like saliency lighting, measured without labels."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
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
from explorer.engine import Engine
from segmentation.baselines.standing_out import standing_out
from segmentation.configuration import Config, check_choice, check_range
from segmentation.errors import require
from segmentation.filters import FilterConfig
from segmentation.precision import PRECISIONS, has_fast_bfloat16
from segmentation.progress import Watcher

# Some of these are defined next door, and have always been had from here.
__all__ = [
    "FIGURES",
    "FORMULA",
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

FORMULA = (
    "sqrt(acceptance) * agreement * (0.2 + 0.8 * max(following, 0)) * max(edges, 0) * (1 - residual)"
    " * min(contrast, 1) * (0.5 + 0.5 * balance) * (0.5 + 0.5 * symmetry)"
)
"""How the figures become the total score; a symmetry that was not measured counts as 1."""

FIGURES = {
    "total": "the combined score, 0 to 1",
    "acceptance": "share of the pairs that pass the filters",
    "agreement": "overlap (IoU) of the mask and what stands out by its colours",
    "following": "how much of that overlap is owed to the image itself: 0 if another image's mask would do as well, 1 at best",
    "edges": "correlation of the gradients before and after: 1 if edges stay where they are",
    "residual": "share of the shifted image that two affine changes of grey, one a side, leave unexplained: 0 for pure light",
    "contrast": "mean change of grey inside the mask less that outside, 0 to 4",
    "balance": "change of the side that changes less, as a share of the other's: 0 if only one side changes",
    "symmetry": "overlap (IoU) of the mask and the complement of the opposite shift's mask",
    "stability": "lowest total over independent sets of codes, as a share of the highest",
    "area": "share of the image that the mask covers",
    "separation": "how far the two affine changes are apart at mid grey, -2 to 2",
    "sameness": "overlap (IoU) of the masks of different codes: 1 for a mask that is the same whatever the image",
    "centre": "correlation of the mask with a Gaussian in the middle, -1 to 1",
    "contours": "gradient of the image on the mask's contour, beside that elsewhere, -1 to 1",
}
"""What every figure of a score says, in a line; those of the formula come first."""


@dataclasses.dataclass(frozen=True)
class Score:
    """Figures of one direction at one sign and magnitude, as :data:`FIGURES` describes them."""

    acceptance: float
    """Share of samples that pass the filters (paper, section 3.2)."""
    area: float
    """Mean share of foreground pixels; no more is better or worse in itself."""
    centre: float
    """Mean correlation of the mask with a centred Gaussian, -1 to 1; not in the total, which a fixed blob would win by it."""
    edges: float
    """Mean correlation of the magnitudes of gradients before and after the shift, -1 to 1: do edges stay where they are?"""
    contours: float
    """How much stronger the image's gradient is along the mask's contour than elsewhere, as a ratio less 1, at most 1."""
    contrast: float
    """Mean change of grey inside the raw mask less that outside, at most 4: the object gets lighter, the background darker."""
    agreement: float
    """Mean intersection over union of the mask and what stands out by its colours
    (:mod:`segmentation.baselines.standing_out`): does the mask cover the object?"""
    following: float = 0.0
    """(own - other) / (1 - other), own being the agreement and other the mean intersection over union of the masks and what
    stands out in the other images: at most 1; 0 for a mask that takes no notice of the image, and for a single pair."""
    sameness: float = 0.0
    """Mean intersection over union of the masks of two different codes, 0 to 1: 1 for one fixed blob."""
    balance: float = 0.0
    """The smaller of the mean lightening inside and the mean darkening outside the raw mask, as a share of the larger."""
    residual: float = 0.0
    """Mean share of the shifted image's variance that two affine maps of grey leave unexplained, 0 to 1
    (:func:`explorer.directions.figures.affine_fit`); less is better."""
    separation: float = 0.0
    """Mean distance of these two maps at mid grey, -2 to 2."""
    symmetry: float | None = None
    """Mean intersection over union of the raw mask and the complement of the opposite shift's, 0 to 1; None: not measured."""
    stability: float | None = None
    """Lowest total over independent sets of codes, as a share of the highest, 0 to 1; None: not measured."""

    @property
    def total(self) -> float:
        """The combined score in [0, 1], by :data:`FORMULA`.

        The root keeps the acceptance rate from outweighing a shift that replaces the image instead of lighting it. Following
        and balance take away a part only: an object that is at the same place in every image is no fault of the mask, nor is
        a background that was dark already.
        """
        symmetry = 1.0 if self.symmetry is None else self.symmetry
        mask = math.sqrt(self.acceptance) * self.agreement * (0.2 + 0.8 * max(self.following, 0.0))
        light = max(self.edges, 0.0) * (1 - self.residual) * min(self.contrast, 1.0) * (0.5 + 0.5 * self.balance)
        return mask * light * (0.5 + 0.5 * symmetry)

    def to_json(self) -> dict[str, float]:
        """All measured figures, with ``total``, rounded to six digits."""
        figures = {**dataclasses.asdict(self), "total": self.total}
        return {name: round(value, 6) for name, value in figures.items() if value is not None}


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
        check_range("codes", self.codes, 2, 2048)
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
    engine: Engine, catalogue: Catalogue, codes: Tensor, magnitude: float, filters: FilterConfig, watcher: Watcher
) -> list[dict[int, Score]]:
    """For each direction the :class:`Score` of both signs (keys 1 and -1) on the same ``codes`` (B, d).

    Errors: ``KeyboardInterrupt`` if the watcher asks to stop.
    """
    scores = []
    for pair in _scores(engine, magnitude * catalogue.directions, codes, filters):
        scores.append(pair)
        tell(watcher, len(scores), len(catalogue))
    return scores


def score_catalogue(engine: Engine, catalogue: Catalogue, config: RankConfig, watcher: Watcher) -> list[dict[int, Score]]:
    """For each direction the :class:`Score` of both signs (keys 1 and -1), measured as ``config`` says.

    Errors: ``KeyboardInterrupt`` if the watcher asks to stop.
    """
    codes, scores, count = engine.codes(config.codes, config.seed), [], len(catalogue)
    lengths = torch.tensor([catalogue.magnitude(index, config.magnitude) for index in range(count)])
    shifts = lengths[:, None] * catalogue.directions.cpu()
    again = 0 if _runs_in(engine, config.precision) == engine.config.precision else min(config.leaders, count)
    for pair in _scores(engine, shifts, codes, config.filters, config.sets, config.precision):
        scores.append(pair)
        tell(watcher, len(scores), count + again)
    best = sorted(range(count), key=lambda index: -max(score.total for score in scores[index].values()))[:again]
    for number, pair in enumerate(_scores(engine, shifts[best], codes, config.filters, config.sets)):
        scores[best[number]] = pair
        tell(watcher, count + number + 1, count + again)
    return scores


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


def tell(watcher: Watcher, step: int, steps: int, **figures: float) -> None:
    """Report a step of work that cannot go on later; raise ``KeyboardInterrupt`` if it is asked to stop."""
    watcher.advance(step, steps, figures)
    if watcher.stop_requested():
        raise KeyboardInterrupt


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
    engine: Engine, shifts: Tensor, codes: Tensor, filters: FilterConfig, sets: int = 1, precision: str | None = None
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

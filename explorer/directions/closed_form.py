"""The catalogue that every generator gets at once: closed-form directions, scored, the best one called saliency lighting."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from explorer.directions.bases import complete, effect_basis, lighting_candidate, mean_effect
from explorer.directions.catalogue import MAX_MAGNITUDE, PAPER_MAGNITUDE, Catalogue, Entry
from explorer.directions.optimised import OptimiseConfig, optimise_direction, split_direction
from explorer.directions.ranking import MAX_CODES, rank, score_pairs, tell, with_scores
from explorer.directions.refining import MAGNITUDES, RefineConfig, Refined, best_magnitude, refine
from explorer.engine import Engine
from segmentation.configuration import Config, check_range
from segmentation.filters import FilterConfig
from segmentation.kept import NOTHING, Kept, KeptPart, State
from segmentation.progress import Part, Watcher


@dataclasses.dataclass(frozen=True)
class ClosedFormConfig(Config):
    """How directions are found in closed form and scored."""

    magnitude: float = PAPER_MAGNITUDE
    """Length of the shift whose effects are averaged; the search for a better magnitude starts here."""
    codes: int = 48
    """Latent codes that effects and scores are averaged over."""
    seed: int = 0
    """Seed of those codes."""
    filters: FilterConfig = FilterConfig()
    """The filters whose acceptance rate is scored."""
    optimise: OptimiseConfig = OptimiseConfig()
    """How the lighting direction is optimised."""
    search: RefineConfig = RefineConfig()
    """How it, and its magnitude, are improved by measurement."""

    def __post_init__(self) -> None:
        check_range("magnitude", self.magnitude, 0.01, MAX_MAGNITUDE)
        check_range("codes", self.codes, 2, MAX_CODES)
        check_range("seed", self.seed, 0, 2**63 - 1)


def closed_form_catalogue(engine: Engine, config: ClosedFormConfig, watcher: Watcher, kept: Kept = NOTHING) -> Catalogue:
    """A catalogue of d orthonormal directions of ``engine``.

    Direction 0 is optimised (:mod:`explorer.directions.optimised`), unless that takes no steps: then it begins as the one
    whose mean effect is closest to a lighter middle before a darker border. Its magnitude is the best of several, and both are
    improved by measurement; further descents then split the images it gives into light and dark
    (:func:`explorer.directions.optimised.split_direction`), if more of them are then kept at no greater loss elsewhere
    (:attr:`explorer.directions.score.Score.worth`). The others are the orthogonal mean effects, strongest first. Every one is
    scored at that magnitude on fresh codes with both signs, keeps the better sign, and the one of the highest total score
    becomes saliency lighting. With ``kept`` it goes on where it stopped. Errors: ``KeyboardInterrupt`` if the watcher asks to
    stop.
    """
    steps = closed_form_steps(engine, config)
    total = sum(steps)
    parts = [Part(watcher, sum(steps[:number]), total) for number in range(len(steps))]
    effects, descent, lengths, search, split, ranking = parts
    codes = engine.codes(config.codes, config.seed)
    effect = _effects(engine, codes, config.magnitude, effects, kept.part("effects"))
    strongest, candidate = effect_basis(effect), lighting_candidate(effect)
    if config.optimise.steps:
        one = kept.part("descent")
        candidate = optimise_direction(engine, config.optimise, descent, config.seed, config.magnitude, kept=one)
    tried_on = engine.codes(config.codes, config.seed + 3)
    first = best_magnitude(engine, candidate, config.filters, tried_on, lengths, kept.part("lengths"))
    start = first.direction, first.magnitude
    seed, near = config.seed + 1, kept.part("search")
    found = refine(engine, start, strongest, config.filters, config.search, seed, search, near)
    found = _split(engine, config, found, tried_on, split, kept)
    basis = complete(found.direction, strongest)
    described = {"closed_form": config.to_json(), "precision": engine.config.precision}
    entries = tuple(Entry() for _ in basis)
    catalogue = Catalogue(basis, entries, "optimised and closed form", engine.fingerprint, described)
    fresh = engine.codes(config.codes, config.seed + 2)
    magnitude = round(found.magnitude, 1) or found.magnitude
    scores = rank(engine, catalogue, fresh, magnitude, config.filters, ranking, kept.part("scores"))
    return with_scores(catalogue, scores, magnitude)


def _split(engine: Engine, config: ClosedFormConfig, found: Refined, codes: Tensor, watcher: Watcher, kept: Kept) -> Refined:
    """What further descents make of ``found``, at magnitudes of the greatest worth on ``codes`` (B, d); the best of all.

    ``watcher`` is told of the steps of :func:`_split_steps`.
    """
    best = dataclasses.replace(found, score=score_pairs(*engine.pairs(codes, found.direction, found.magnitude), config.filters))
    steps, total = config.optimise.split_steps, _split_steps(config)
    for number in range(config.optimise.split_rounds):
        before = number * (steps + len(MAGNITUDES))
        descent, lengths = Part(watcher, before, total), Part(watcher, before + steps, total)
        start, own = (found.direction, found.magnitude), kept.part(f"split-{number}")
        direction = split_direction(engine, config.optimise, descent, config.seed + number, start, config.magnitude, own)
        part = kept.part(f"split-lengths-{number}")
        found = best_magnitude(engine, direction, config.filters, codes, lengths, part, lambda score: score.worth)
        best = found if found.score.worth > best.score.worth else best
    return best


def _split_steps(config: ClosedFormConfig) -> int:
    return config.optimise.split_rounds * (config.optimise.split_steps + len(MAGNITUDES))


def _effects(engine: Engine, codes: Tensor, magnitude: float, watcher: Watcher, kept: KeptPart) -> Tensor:
    """The mean effects of all axes; those that are kept are not measured again."""

    def told(rows: list[Tensor]) -> None:
        tell(watcher, len(rows), engine.latent_dim, kept, lambda: State(len(rows), {"effects": torch.stack(rows)}))

    return mean_effect(engine, codes, magnitude, told, () if kept.state is None else kept.state.tensors["effects"].unbind())


def closed_form_steps(engine: Engine, config: ClosedFormConfig) -> tuple[int, ...]:
    """Steps of the parts of :func:`closed_form_catalogue`: effects, descent, lengths, search, further descents, scores."""
    first = engine.latent_dim, config.optimise.steps, len(MAGNITUDES), config.search.rounds
    return *first, _split_steps(config), engine.latent_dim

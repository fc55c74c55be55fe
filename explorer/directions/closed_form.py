"""The catalogue that every generator gets at once: closed-form directions, scored, the best one called saliency lighting."""

from __future__ import annotations

import dataclasses

from explorer.directions.bases import complete, effect_basis, lighting_candidate, mean_effect
from explorer.directions.catalogue import MAX_MAGNITUDE, PAPER_MAGNITUDE, Catalogue, Entry
from explorer.directions.optimised import OptimiseConfig, optimise_direction
from explorer.directions.ranking import MAX_CODES, rank, tell, with_scores
from explorer.directions.refining import MAGNITUDES, RefineConfig, best_magnitude, refine
from explorer.engine import Engine
from segmentation.configuration import Config, check_range
from segmentation.filters import FilterConfig
from segmentation.progress import Unwatched, Watcher


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


def closed_form_catalogue(engine: Engine, config: ClosedFormConfig, watcher: Watcher) -> Catalogue:
    """A catalogue of d orthonormal directions of ``engine``.

    Direction 0 is optimised (:mod:`explorer.directions.optimised`), unless that takes no steps: then it begins as the one
    whose mean effect is closest to a lighter middle before a darker border. Its magnitude is the best of several, and both are
    improved by measurement. The others are the orthogonal mean effects, strongest first. Every one is scored at that magnitude
    on fresh codes with both signs, keeps the better sign, and the one of the highest total score becomes saliency lighting.
    Errors: ``KeyboardInterrupt`` if the watcher asks to stop.
    """
    steps = closed_form_steps(engine, config)
    total = sum(steps)
    effects, descent, lengths, search, ranking = (Part(watcher, sum(steps[:number]), total) for number in range(5))
    codes = engine.codes(config.codes, config.seed)
    effect = mean_effect(engine, codes, config.magnitude, lambda done, of: tell(effects, done, of))
    strongest, candidate = effect_basis(effect), lighting_candidate(effect)
    if config.optimise.steps:
        candidate = optimise_direction(engine, config.optimise, descent, config.seed, config.magnitude)
    first = best_magnitude(engine, candidate, config.filters, engine.codes(config.codes, config.seed + 3), lengths)
    start = first.direction, first.magnitude
    found = refine(engine, start, strongest, config.filters, config.search, config.seed + 1, search)
    basis = complete(found.direction, strongest)
    described = {"closed_form": config.to_json(), "precision": engine.config.precision}
    entries = tuple(Entry() for _ in basis)
    catalogue = Catalogue(basis, entries, "optimised and closed form", engine.fingerprint, described)
    fresh = engine.codes(config.codes, config.seed + 2)
    magnitude = round(found.magnitude, 1) or found.magnitude
    scores = rank(engine, catalogue, fresh, magnitude, config.filters, ranking)
    return with_scores(catalogue, scores, magnitude)


def closed_form_steps(engine: Engine, config: ClosedFormConfig) -> tuple[int, ...]:
    """Steps of the parts of :func:`closed_form_catalogue`: effects, descent, lengths, search, scores."""
    return engine.latent_dim, config.optimise.steps, len(MAGNITUDES), config.search.rounds, engine.latent_dim


class Part(Unwatched):
    """Shows ``watcher`` a part of the work as steps ``before`` + 1, 2, ... of ``total``."""

    def __init__(self, watcher: Watcher, before: int, total: int) -> None:
        self.watcher, self.before, self.total = watcher, before, total

    def advance(self, step: int, steps: int, figures: dict[str, float]) -> None:
        """Pass the step on."""
        self.watcher.advance(self.before + step, self.total, figures)

    def stop_requested(self) -> bool:
        """Pass the question on."""
        return self.watcher.stop_requested()

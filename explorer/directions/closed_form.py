"""The catalogue that every generator gets at once: closed-form directions, scored, the best one called saliency lighting."""

from __future__ import annotations

import dataclasses

from explorer.directions.bases import complete, effect_basis, lighting_candidate, mean_effect
from explorer.directions.catalogue import MAX_MAGNITUDE, Catalogue, Entry
from explorer.directions.ranking import rank, with_scores
from explorer.engine import Engine
from segmentation.configuration import Config, check_range
from segmentation.filters import FilterConfig
from segmentation.progress import Watcher


@dataclasses.dataclass(frozen=True)
class ClosedFormConfig(Config):
    """How directions are found in closed form and scored."""

    magnitude: float = 5.0
    """Length of the shift, for the effects as for the scores."""
    codes: int = 64
    """Latent codes that effects and scores are averaged over."""
    seed: int = 0
    """Seed of those codes."""
    filters: FilterConfig = FilterConfig()
    """The filters whose acceptance rate is scored."""

    def __post_init__(self) -> None:
        check_range("magnitude", self.magnitude, 0.01, MAX_MAGNITUDE)
        check_range("codes", self.codes, 2, 100_000)
        check_range("seed", self.seed, 0, 2**63 - 1)


def closed_form_catalogue(engine: Engine, config: ClosedFormConfig, watcher: Watcher) -> Catalogue:
    """A catalogue of d orthonormal directions of ``engine``.

    Direction 0 is the one whose mean effect is closest to a lighter middle before a darker border; the others are the
    orthogonal mean effects, strongest first. Every one is scored at ``config.magnitude`` with both signs, keeps the better
    sign, and the one of the highest total score becomes saliency lighting.
    """
    codes = engine.codes(config.codes, config.seed)
    watcher.advance(1, 3, {})
    effect = mean_effect(engine, codes, config.magnitude)
    basis = complete(lighting_candidate(effect), effect_basis(effect))
    watcher.advance(2, 3, {})
    entries = tuple(Entry() for _ in range(len(basis)))
    catalogue = Catalogue(basis, entries, f"closed form {config.to_json()}", engine.fingerprint)
    fresh = engine.codes(config.codes, config.seed + 1)
    catalogue = with_scores(catalogue, rank(engine, catalogue, fresh, config.magnitude, config.filters), config.magnitude)
    watcher.advance(3, 3, {})
    return catalogue

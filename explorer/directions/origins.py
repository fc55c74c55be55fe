"""The one door to directions: from a generator, and where they are to come from, to a catalogue."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from explorer.directions.bases import random_orthogonal
from explorer.directions.calibration import CalibrationConfig, calibrate_catalogue
from explorer.directions.catalogue import Catalogue, Entry
from explorer.directions.closed_form import ClosedFormConfig, closed_form_catalogue, closed_form_steps
from explorer.directions.decompositions import Factors, early_layer, principal_components, semantic_factors
from explorer.directions.optimised import optimise_direction
from explorer.directions.picks import Picks, codes_of_seeds, difference_of_means
from explorer.directions.refining import MAGNITUDES, best_magnitude
from explorer.directions.words import MAX_LABEL, check_words
from explorer.engine import Engine
from segmentation.configuration import check_choice, check_range
from segmentation.errors import LanternError, require
from segmentation.kept import NOTHING, Kept
from segmentation.progress import Part, Watcher
from segmentation.tensors import fingerprint

SOURCES = ("closed-form", "axes", "random", "pca", "sefa", "optimised", "picks")
LIGHTER, DARKER = "lighter object, darker ground", "darker object, lighter ground"
_COUNTED = ("axes", "random", "pca", "sefa")
_BELONGS = {
    "count": _COUNTED,
    "layer": ("pca",),
    "samples": ("pca",),
    "unit_rows": ("sefa",),
    "high_seeds": ("picks",),
    "low_seeds": ("picks",),
    "label": ("picks",),
}


@dataclasses.dataclass(frozen=True)
class DirectionsConfig(ClosedFormConfig):
    """Where directions come from, and how they are found.

    ``magnitude``, ``codes``, ``filters``, ``optimise`` and ``search`` are of the sources closed-form and optimised; ``seed`` is
    of all.
    """

    source: str = "closed-form"
    """closed-form (mean effects on all images alike, the lighting direction by descent), axes (the coordinate axes), random
    (orthogonal), pca (principal components of a layer: GANSpace), sefa (closed-form factorisation of the first weights),
    optimised (lighting by descent, in both polarities) or picks (the difference of the means of your own picks)."""
    count: int = 0
    """axes, random, pca, sefa: how many directions; 0: as many as there are."""
    layer: str = ""
    """pca: the layer, by its name in PyTorch, or images; by default the first that the whole latent code has reached."""
    samples: int = 2048
    """pca: latent codes whose activations are decomposed."""
    unit_rows: bool = False
    """sefa: every row of the weights counts alike, as in its authors' code, and not by its length, as in their paper."""
    high_seeds: str = ""
    """picks: seeds of images that have it, as in 3,8,12, or of images in the grids of sample: seed:index, as in 0:4,0:17."""
    low_seeds: str = ""
    """picks: seeds of images that lack it."""
    label: str = ""
    """picks: what it is, in your words."""
    calibrate: bool = True
    """Give every direction the magnitude at which it visibly acts; saliency lighting keeps the one that was searched for."""
    calibration: CalibrationConfig = CalibrationConfig()
    """What that means."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("source", self.source, SOURCES)
        check_range("count", self.count, 0, 4096)
        check_range("samples", self.samples, 2, 1_000_000)
        for field in dataclasses.fields(self):
            sources = _BELONGS.get(field.name, SOURCES)
            said = getattr(self, field.name) != field.default and self.source not in sources
            option = field.name.replace("_", "-")
            require(not said, f"{option} says nothing of the source {self.source}", f"It is for: {', '.join(sources)}.")
        check_words("the label", self.label, MAX_LABEL)
        paired = bool(self.high_seeds) == bool(self.low_seeds)
        require(paired, "seeds of picks are given for one side only", "Give both: high-seeds and low-seeds.")


def directions_from(
    engine: Engine, config: DirectionsConfig, watcher: Watcher, picks: Picks | None = None, kept: Kept = NOTHING
) -> Catalogue:
    """A catalogue of directions of ``engine`` from the source that ``config`` names.

    ``picks`` are for the source picks, in place of seeds. What is measured of a direction is among its scores: ``share`` and
    ``linear`` (pca), ``strength`` (sefa), ``certainty`` (picks), ``reach`` (calibration). One becomes saliency lighting only
    with the sources closed-form and optimised, which look for it. With ``kept`` it goes on where it stopped. Errors:
    :class:`LanternError` if the source is not to be had of this generator, and says what to do, or ``kept`` holds something
    else; ``KeyboardInterrupt`` if the watcher asks to stop.
    """
    require(picks is None or config.source == "picks", "picks are given", "Choose --source picks.")
    found, rounds = _steps(engine, config), config.calibration.rounds if config.calibrate else 0
    part = Part(watcher, 0, found + rounds)
    kept.restore(_described(engine, config, picks), found + rounds, watcher)
    if config.source == "picks":
        catalogue = _from_picks(engine, config, picks)
    else:
        catalogue = _FINDERS[config.source](engine, config, part, kept)
    if config.calibrate:
        catalogue = calibrate_catalogue(engine, catalogue, config.calibration, Part(watcher, found, found + rounds), kept)
    provenance = {"directions": config.to_json(), "precision": engine.config.precision, **catalogue.provenance}
    return dataclasses.replace(catalogue, provenance=provenance)


def _described(engine: Engine, config: DirectionsConfig, picks: Picks | None) -> dict[str, Any]:
    """What the folder of a run belongs to."""
    generator = {"name": engine.name, "fingerprint": engine.fingerprint, "precision": engine.config.precision}
    picked = None if picks is None else fingerprint({"high": picks.high, "low": picks.low}, {})
    return {"directions": config.to_json(), "generator": generator, "picks": picked}


def _steps(engine: Engine, config: DirectionsConfig) -> int:
    """Steps that the watcher is told of before calibration."""
    steps = {"closed-form": sum(closed_form_steps(engine, config)), "pca": config.samples}
    steps["optimised"] = 2 * config.optimise.steps + len(MAGNITUDES)
    return steps.get(config.source, 0)


def _closed_form(engine: Engine, config: DirectionsConfig, watcher: Watcher, kept: Kept) -> Catalogue:
    # Its provenance is the whole configuration, which is written for every source.
    return dataclasses.replace(closed_form_catalogue(engine, config, watcher, kept), provenance={})


def _axes(engine: Engine, config: DirectionsConfig, watcher: Watcher, kept: Kept) -> Catalogue:
    return _plain(engine, config, Factors(torch.eye(engine.latent_dim), {}), "coordinate axes", "axis")


def _random(engine: Engine, config: DirectionsConfig, watcher: Watcher, kept: Kept) -> Catalogue:
    basis = random_orthogonal(engine.latent_dim, config.seed)
    return _plain(engine, config, Factors(basis, {}), "random, orthogonal", "random")


def _components(engine: Engine, config: DirectionsConfig, watcher: Watcher, kept: Kept) -> Catalogue:
    layer = config.layer or early_layer(engine, config.seed)
    factors = principal_components(engine, layer, config.samples, config.seed, watcher, kept.part("activations"))
    return _plain(engine, config, factors, f"principal components of {layer}", "component", {"layer": layer})


def _factors(engine: Engine, config: DirectionsConfig, watcher: Watcher, kept: Kept) -> Catalogue:
    rows = "rows of unit length" if config.unit_rows else "rows as they are"
    factors = semantic_factors(engine, config.unit_rows)
    return _plain(engine, config, factors, f"closed-form factors of the first weights, {rows}", "factor")


def _plain(
    engine: Engine, config: DirectionsConfig, factors: Factors, source: str, word: str, more: dict[str, str] | None = None
) -> Catalogue:
    there = len(factors.directions)
    require(config.count <= there, f"there are no {config.count} directions", f"Choose at most {there}.")
    chosen = factors.first(config.count or there)
    entries = tuple(
        Entry(
            notes=f"{word} {number}",
            magnitude=config.magnitude,
            scores={name: round(values[number].item(), 4) for name, values in chosen.figures.items()},
        )
        for number in range(len(chosen.directions))
    )
    return Catalogue(chosen.directions, entries, source, engine.fingerprint, dict(more or {}))


def _optimised(engine: Engine, config: DirectionsConfig, watcher: Watcher, kept: Kept) -> Catalogue:
    """Two directions: the one of saliency lighting, its magnitude searched for, and the one of the opposite polarity."""
    steps = config.optimise.steps
    require(steps > 0, "optimise.steps is 0", "Choose at least 1, or another source.")
    total = 2 * steps + len(MAGNITUDES)
    found: list[Tensor] = []
    for number, lighter in enumerate((True, False)):
        part, own = Part(watcher, number * steps, total), kept.part(f"descent-{number}")
        found.append(optimise_direction(engine, config.optimise, part, config.seed, config.magnitude, lighter, own))
    codes, last = engine.codes(config.codes, config.seed + 3), Part(watcher, 2 * steps, total)
    best = best_magnitude(engine, found[0], config.filters, codes, last, kept.part("lengths"))
    first = Entry(LIGHTER, magnitude=best.magnitude, scores=best.score.to_json())
    entries = first, Entry(DARKER, magnitude=config.magnitude)
    catalogue = Catalogue(torch.stack(found), entries, "optimised", engine.fingerprint)
    return catalogue.with_lighting(0) if best.score.total > 0 else catalogue


def _from_picks(engine: Engine, config: DirectionsConfig, picks: Picks | None) -> Catalogue:
    seeds = bool(config.high_seeds)
    require(picks is None or not seeds, "both latent codes and seeds are picked", "Give the one or the other.")
    if picks is None and not seeds:
        remedy = "Give latent codes with --picks HIGH.npy LOW.npy, or seeds with --high-seeds 3,8,12 --low-seeds 1,4,5."
        raise LanternError("the source picks has nothing to go by", remedy)
    picks = picks or Picks(codes_of_seeds(engine, config.high_seeds), codes_of_seeds(engine, config.low_seeds))
    fits = picks.high.shape[1] == engine.latent_dim
    remedy = f"{engine.name} takes (N, {engine.latent_dim})."
    require(fits, f"the picks are latent codes of {picks.high.shape[1]} numbers", remedy)
    direction, certainty = difference_of_means(picks)
    entry = Entry(
        config.label,
        notes=f"from the mean of {len(picks.low)} latent codes to that of {len(picks.high)}, picked by hand",
        magnitude=config.magnitude,
        scores={"certainty": round(certainty, 4)},
    )
    return Catalogue(direction[None], (entry,), "difference of the means of picks", engine.fingerprint)


_FINDERS: dict[str, Callable[[Engine, DirectionsConfig, Watcher, Kept], Catalogue]] = {
    "closed-form": _closed_form,
    "axes": _axes,
    "random": _random,
    "pca": _components,
    "sefa": _factors,
    "optimised": _optimised,
}

"""Magnitudes at which directions visibly act, so that every slider does something."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

import torch
from torch import Tensor

from explorer.directions.catalogue import MAX_MAGNITUDE, Catalogue
from explorer.directions.ranking import tell
from explorer.engine import Engine
from segmentation.configuration import Config, check_range
from segmentation.errors import require
from segmentation.kept import NOTHING, Kept, KeptPart, State
from segmentation.progress import Watcher
from segmentation.tensors import fingerprint

_CLOSE, _DECIMALS, _FIRST, _POWER = 0.05, 100, 3.0, 0.8
_KNOWN = ("low", "below", "high", "above", "probe")


@dataclasses.dataclass(frozen=True)
class CalibrationConfig(Config):
    """What it means that a direction visibly acts."""

    target: float = 0.15
    """Mean absolute change of the image, in [-1, 1]. In strips of a pocket generator 0.05 is hard to see, 0.1 is seen beside
    the original, at 0.15 every direction is seen to do something to the same subject; from 0.2 on some make another of it.
    (Unrelated images differ by 0.58.)"""
    codes: int = 8
    """Latent codes that the change is averaged over; every other one is walked backwards."""
    seed: int = 7
    """Seed of those codes."""
    rounds: int = 9
    """Lengths that are tried of one direction, at most. Three or four do for most, and six to say that none does."""

    def __post_init__(self) -> None:
        check_range("target", self.target, 0.001, 1)
        check_range("codes", self.codes, 1, 100_000)
        check_range("seed", self.seed, 0, 2**63 - 1)
        check_range("rounds", self.rounds, 6, 100)


def visible_magnitudes(
    engine: Engine, directions: Tensor, config: CalibrationConfig, watcher: Watcher, kept: KeptPart | None = None
) -> tuple[Tensor, Tensor]:
    """The smallest magnitude (K,) at which each of the unit ``directions`` (K, d) changes images by the target, and its reach.

    The reach (K,) is the share of the target that the change at this magnitude comes to: 1 where it is reached, less
    where even :data:`MAX_MAGNITUDE` does not do; then that is the magnitude. All are searched for together, each between two
    bounds that close in until the change is at most 5% above the target, taking it to grow with the magnitude.
    With ``kept`` it goes on where it stopped. Errors: ``KeyboardInterrupt`` if the watcher asks to stop.
    """
    kept = kept or NOTHING.part("calibration")
    require(directions.shape[1:] == (engine.latent_dim,), f"directions of shape {tuple(directions.shape)}", "Give (K, d).")
    search, codes = _Search(len(directions), config.target), engine.codes(config.codes, config.seed)
    images = engine.images(codes).cpu()
    begun = 0 if kept.state is None else kept.state.step
    if kept.state is not None:
        search.restore(kept.state.tensors)
    for number in range(begun, config.rounds):
        open_ = search.open()
        if len(open_):
            search.tried(open_, mean_changes(engine, codes, images, directions[open_], search.probe[open_]))
        tell(watcher, number + 1, config.rounds, kept, partial(State, number + 1, search.bounds()))
    return search.found()


def mean_changes(engine: Engine, codes: Tensor, images: Tensor, directions: Tensor, magnitudes: Tensor) -> Tensor:
    """Mean absolute change (K,) of ``images`` (B, 3, R, R), those of ``codes`` (B, d), along ``directions`` (K, d).

    Each is walked by its own of ``magnitudes`` (K,), forwards from every other code, beginning with the first, and backwards
    from the others.
    """
    signs = 1.0 - 2.0 * (torch.arange(len(codes)) % 2)
    shifts = (magnitudes[:, None] * directions.cpu())[:, None] * signs[None, :, None]
    changes = torch.empty(len(directions) * len(codes))
    done = 0
    for batch in engine.image_batches((codes + shifts).flatten(0, 1)):
        rows = torch.arange(done, done + len(batch))
        changes[rows] = (batch - images[rows % len(codes)]).abs().mean((1, 2, 3))
        done += len(batch)
    return changes.view(len(directions), len(codes)).mean(1)


def calibration_of(engine: Engine, catalogue: Catalogue, config: CalibrationConfig) -> dict[str, Any]:
    """What the magnitudes that are found depend on, as plain JSON types."""
    generator = {"name": engine.name, "fingerprint": engine.fingerprint, "precision": engine.config.precision}
    directions = fingerprint({"directions": catalogue.directions[_moved(catalogue)]}, {})
    return {"calibration": config.to_json(), "generator": generator, "directions": directions}


def _moved(catalogue: Catalogue) -> list[int]:
    return [index for index, entry in enumerate(catalogue.entries) if entry.status != "saliency lighting"]


def calibrate_catalogue(
    engine: Engine, catalogue: Catalogue, config: CalibrationConfig, watcher: Watcher, kept: Kept = NOTHING
) -> Catalogue:
    """``catalogue`` with the magnitudes of :func:`visible_magnitudes`, and the ``reach`` of each among its scores.

    A saliency-lighting direction keeps its magnitude: that was searched for. With ``kept`` it goes on where it stopped.
    Errors: as there.
    """
    moved, entries = _moved(catalogue), list(catalogue.entries)
    part = kept.part("calibration")
    magnitudes, reaches = visible_magnitudes(engine, catalogue.directions[moved], config, watcher, part)
    for index, magnitude, reach in zip(moved, magnitudes.tolist(), reaches.tolist(), strict=True):
        scores = {**entries[index].scores, "reach": round(reach, 4)}
        entries[index] = dataclasses.replace(entries[index], magnitude=round(magnitude, 2), scores=scores)
    provenance = {**catalogue.provenance, "calibration": config.to_json()}
    return dataclasses.replace(catalogue, entries=tuple(entries), provenance=provenance)


class _Search:
    """Bounds on K magnitudes: at ``low`` the change is below the target, at ``high``, once known, it is not.

    Changes grow about like a power of the magnitude, below 1 because images saturate; so do the guesses.
    """

    def __init__(self, count: int, target: float) -> None:
        self.target = target
        self.low, self.below = torch.zeros(count), torch.zeros(count)
        self.high, self.above = torch.full((count,), torch.inf), torch.full((count,), torch.inf)
        self.probe = torch.full((count,), _FIRST)

    def open(self) -> Tensor:
        """Indices of those that are not settled."""
        beyond = self.low >= MAX_MAGNITUDE
        close = (self.above <= (1 + _CLOSE) * self.target) | (self.high - self.low <= 1 / _DECIMALS)
        return (~(beyond | close)).nonzero()[:, 0]

    def tried(self, rows: Tensor, changes: Tensor) -> None:
        """Take in the ``changes`` (R,) at the probes of ``rows`` (R,), and choose the next probes."""
        hit, tried = changes >= self.target, self.probe[rows]
        self.high[rows[hit]], self.above[rows[hit]] = tried[hit], changes[hit]
        self.low[rows[~hit]], self.below[rows[~hit]] = tried[~hit], changes[~hit]
        low, high, below, above = (bound[rows] for bound in (self.low, self.high, self.below, self.above))
        bounded = (low > 0) & high.isfinite()
        power = torch.where(bounded, (above / below).log() / (high / low).log(), _POWER).clamp(0.2, 2)
        # Aimed a little above the target, so that the probe is likely to be close enough from above.
        guess = tried * ((1 + _CLOSE / 2) * self.target / changes.clamp(min=1e-9)) ** (1 / power)
        inside = torch.maximum(torch.minimum(guess, high - 0.1 * (high - low)), low + 0.1 * (high - low))
        outside = torch.maximum(torch.minimum(guess, 4 * low), 1.5 * low).clamp(max=MAX_MAGNITUDE)
        self.probe[rows] = torch.where(high.isinf(), outside, inside)

    def bounds(self) -> dict[str, Tensor]:
        """All that it knows, as copies."""
        return {name: getattr(self, name).clone() for name in _KNOWN}

    def restore(self, known: dict[str, Tensor]) -> None:
        """Go back to what :meth:`bounds` gave."""
        for name in _KNOWN:
            setattr(self, name, known[name])

    def found(self) -> tuple[Tensor, Tensor]:
        """Magnitudes, rounded upwards to hundredths, and reaches."""
        bounded = torch.where(self.high.isinf(), MAX_MAGNITUDE, self.high)
        magnitudes = ((bounded * _DECIMALS).ceil() / _DECIMALS).clamp(max=MAX_MAGNITUDE)
        return magnitudes, torch.where(self.high.isinf(), self.below / self.target, 1.0)

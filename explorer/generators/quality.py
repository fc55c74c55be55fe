"""How good a generator is, measured with features that were learned without labels and photographs that it never saw.

Every figure is beside what photographs alone would give, since none of them says much by itself: distances and shares
depend on the features, on the photographs and on how many of them there are.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from explorer.generators.features import POOLED, FeatureNetwork, at_resolution, feature_distance, pooled_features
from explorer.generators.photographs import hold_out, to_signed
from explorer.generators.recipe import FitConfig
from explorer.generators.seeds import source_for
from segmentation.configuration import Config, check_range
from segmentation.errors import require
from segmentation.kept import NOTHING, Kept, KeptPart, State, tell
from segmentation.progress import Part, Watcher

_BATCH = 128
_ROWS = 512
_COLUMNS = 12
_SHOWN = 4 * _COLUMNS
_DUPLICATE_PERCENTILE = 0.01
_COMPARED = ("reconstruction_error", "reconstruction_distance", "unrelated_error", "unrelated_distance")


@dataclasses.dataclass(frozen=True)
class QualityConfig(Config):
    """How a generator is measured."""

    samples: int = 4096
    """Samples; no more than there are photographs that are not held out."""
    held_out: float = FitConfig.held_out
    """Share of the photographs that the fit kept out, as it was given to fit-generator."""
    seed: int = FitConfig.seed
    """Seed that was given to fit-generator, so that the same photographs are held out; the samples follow from it too."""
    neighbours: int = 3
    """The k of precision and recall."""

    def __post_init__(self) -> None:
        check_range("samples", self.samples, 2, 1_000_000)
        check_range("held_out", self.held_out, 1e-6, 0.5)
        check_range("seed", self.seed, 0, 2**63 - 2)
        check_range("neighbours", self.neighbours, 1, 1000)


@dataclasses.dataclass(frozen=True)
class Quality:
    """The figures of one generator. Reconstruction is NaN without an encoder."""

    samples: int
    """How many samples were drawn."""
    photographs: int
    """How many photographs there are."""
    held_out: int
    """How many of them were held out."""
    frechet: float
    """Frechet distance between the samples and the held-out photographs; smaller is better."""
    frechet_floor: float
    """The same for as many photographs that were fitted to, in place of the samples: what the count alone makes of it."""
    frechet_all: float
    """Frechet distance between the samples and all photographs."""
    frechet_halves: float
    """Frechet distance between two random halves of all photographs."""
    precision: float
    """Share of samples that lie among as many photographs that were fitted to."""
    recall: float
    """Share of held-out photographs that lie among the samples."""
    ceiling: float
    """Share of held-out photographs that lie among as many photographs that were fitted to: what photographs reach in both."""
    reconstruction_error: float
    """Mean squared error of G(E(x)) on the held-out photographs, in [-1, 1] units."""
    reconstruction_distance: float
    """Mean feature distance of G(E(x)) and x on the held-out photographs."""
    unrelated_error: float
    """Mean squared error between one held-out photograph and another."""
    unrelated_distance: float
    """Mean feature distance between one held-out photograph and another."""
    near_duplicates: float
    """Share of samples closer to another sample than all but a hundredth of photographs are to another; these reach 0.01."""
    features: str
    """Fingerprint of the features. Figures of other features are not comparable."""

    def to_json(self) -> dict[str, Any]:
        """The figures as plain JSON types, None where there is none."""
        values = dataclasses.asdict(self)
        return {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in values.items()}


class Measured(NamedTuple):
    """Figures, and images to look at."""

    quality: Quality
    images: Tensor
    """(N, 3, R, R) in [-1, 1], 12 a row: held-out photographs; with an encoder their reconstructions; four rows of samples."""


def frechet_distance(first: Tensor, second: Tensor) -> float:
    """Frechet distance between Gaussians fitted to ``first`` (N, D) and ``second`` (M, D); float64.

    |mean - mean'|^2 + tr(C + C' - 2 (C C')^(1/2)) (Heusel et al., 2017). Estimated from few rows it is too large, by an
    amount that falls like 1/N (Chong & Forsyth, 2020): compare distances at equal counts only. Errors:
    :class:`LanternError` with fewer than two rows.
    """
    require(min(len(first), len(second)) >= 2, "a Gaussian is fitted to fewer than two images", "Give more images.")
    (mean, covariance), (other_mean, other_covariance) = _gaussian(first), _gaussian(second)
    values, vectors = torch.linalg.eigh(covariance)
    root = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    # C C' has the eigenvalues of this symmetric product, whose roots are real and stable.
    cross = torch.linalg.eigvalsh(root @ other_covariance @ root).clamp(min=0).sqrt().sum()
    distance = (mean - other_mean).pow(2).sum() + covariance.trace() + other_covariance.trace() - 2 * cross
    return max(0.0, distance.item())


def _gaussian(features: Tensor) -> tuple[Tensor, Tensor]:
    exact = features.double()
    return exact.mean(0), torch.cov(exact.T).reshape(exact.shape[1], exact.shape[1])


def _distances(rows: Tensor, others: Tensor) -> Iterator[tuple[int, Tensor]]:
    """The distances (b, M) of ``rows`` (N, D) to ``others`` (M, D), some rows at a time, with the first one's number."""
    for start in range(0, len(rows), _ROWS):
        # By differences: the usual product of matrices would blur the distances of near-duplicates.
        part = torch.cdist(rows[start : start + _ROWS], others, compute_mode="donot_use_mm_for_euclid_dist")
        yield start, part


def neighbour_distances(features: Tensor, count: int) -> Tensor:
    """Distances (N, ``count``) of every row of ``features`` (N, D) to its nearest other rows, nearest first."""
    few = f"{len(features)} images have no {count} neighbours each"
    require(len(features) > count, few, "Give more images, or choose fewer neighbours.")
    found = []
    for start, distances in _distances(features, features):
        own = torch.arange(len(distances))
        distances[own, start + own] = torch.inf
        found.append(distances.topk(count, largest=False).values)
    return torch.cat(found)


def share_within(features: Tensor, centres: Tensor, radii: Tensor) -> float:
    """Share of the rows of ``features`` (N, D) in a ball around a row of ``centres`` (M, D) with its radius in ``radii`` (M,).

    With the distance to the k-th nearest neighbour as radius this is precision, the other way round recall
    (Kynkäänniemi et al., 2019, section 2).
    """
    inside = [(distances <= radii).any(1) for _, distances in _distances(features, centres)]
    return torch.cat(inside).float().mean().item()


def near_duplicates(nearest: Tensor, nearest_photographs: Tensor) -> float:
    """Share of ``nearest`` (N,) below the first percentile of ``nearest_photographs`` (M,): distances to the nearest other."""
    return (nearest < nearest_photographs.quantile(_DUPLICATE_PERCENTILE)).float().mean().item()


def sample_count(config: QualityConfig, photographs: int) -> int:
    """How many samples are measured where there are that many ``photographs``."""
    return min(config.samples, photographs - int(photographs * config.held_out))


def measure_quality(
    samples: Callable[[int], Iterable[Tensor]],
    photographs: Tensor,
    reconstruct: Callable[[Tensor], Tensor] | None,
    network: FeatureNetwork,
    config: QualityConfig,
    watcher: Watcher,
    kept: Kept = NOTHING,
) -> Measured:
    """Measure a generator by its ``samples`` and by the ``photographs`` (N, 3, R, R) uint8 that it was fitted to.

    ``samples`` gives batches of images (b, 3, R, R) in [-1, 1] from the one of that number on, :func:`sample_count` in all;
    ``reconstruct`` maps photographs (b, 3, R, R) in [-1, 1] to G(E(x)), None without an encoder. The split into held-out
    photographs and the others is that of the fit with the same share and seed. With ``kept`` it goes on where it stopped.
    Errors: :class:`LanternError` if there are too few images or they are too small; ``KeyboardInterrupt`` if stopped.
    """
    held, fitted = hold_out(photographs, config.held_out, config.seed)
    count = sample_count(config, len(photographs))
    need = max(2, config.neighbours + 1)
    few = f"of {len(photographs)} photographs {len(held)} are held out and {len(fitted)} are not"
    require(len(held) >= 2 and count >= need, few, f"Give more: at least 2 and {need}, or hold out more.")
    own, shown = _features(network, samples, count, _part(watcher, 0, count, photographs, held), kept.part("samples"))
    require(len(own) == count, f"{len(own)} samples were made instead of {count}", "Give as many as sample_count says.")
    found: list[Tensor] = []
    for name, part in (("held", held), ("fitted", fitted)):
        place = _part(watcher, count + sum(map(len, found)), count, photographs, held)
        found.append(_features(network, partial(_batches, part), len(part), place, kept.part(name))[0])
    place = _part(watcher, count + len(photographs), count, photographs, held)
    pictures, errors = _reconstructions(held, reconstruct, network, place, kept.part("reconstructions"))
    quality = Quality(
        samples=count,
        photographs=len(photographs),
        held_out=len(held),
        **_distribution(own, found[0], found[1], config),
        **errors,
        features=network.fingerprint,
    )
    return Measured(quality, torch.cat([*pictures, shown]))


def steps_of(config: QualityConfig, photographs: int) -> int:
    """Steps that the watcher is told of, an image each, where there are that many ``photographs``."""
    return sample_count(config, photographs) + photographs + int(photographs * config.held_out)


def _part(watcher: Watcher, before: int, count: int, photographs: Tensor, held: Tensor) -> Part:
    return Part(watcher, before, count + len(photographs) + len(held))


def _features(
    network: FeatureNetwork, batches: Callable[[int], Iterable[Tensor]], count: int, watcher: Watcher, kept: KeptPart
) -> tuple[Tensor, Tensor]:
    """Features (N, 384) of ``count`` images that come in batches, and the first of the images, to look at."""
    features = [torch.empty(0, POOLED) if kept.state is None else kept.state.tensors["features"]]
    shown = [] if kept.state is None else [kept.state.tensors["shown"]]

    def state() -> State:
        return State(sum(map(len, features)), {"features": torch.cat(features), "shown": _first(shown)})

    done = len(features[0])
    for images in batches(done) if done < count else ():
        features.append(pooled_features(network, [images]))
        if sum(map(len, shown)) < _SHOWN:
            shown.append(images.cpu())
        done += len(images)
        tell(watcher, done, count, kept, state)
    return torch.cat(features), _first(shown)


def _first(images: list[Tensor]) -> Tensor:
    return torch.cat(images)[:_SHOWN]


def _distribution(own: Tensor, held: Tensor, fitted: Tensor, config: QualityConfig) -> dict[str, float]:
    """The figures that compare features (N, 384) of samples, held-out photographs and the others."""
    # Those fitted to are in random order: the first are as good as any.
    matched, whole = fitted[: len(own)], torch.cat([held, fitted])
    shuffled = whole[torch.randperm(len(whole), generator=source_for(config.seed, "halves"))]
    near_own, near_matched = (neighbour_distances(part, config.neighbours) for part in (own, matched))
    return {
        "frechet": frechet_distance(own, held),
        "frechet_floor": frechet_distance(matched, held),
        "frechet_all": frechet_distance(own, whole),
        "frechet_halves": frechet_distance(*shuffled.tensor_split(2)),
        "precision": share_within(own, matched, near_matched[:, -1]),
        "recall": share_within(held, own, near_own[:, -1]),
        "ceiling": share_within(held, matched, near_matched[:, -1]),
        "near_duplicates": near_duplicates(near_own[:, 0], near_matched[:, 0]),
    }


@torch.no_grad()
def _reconstructions(
    held: Tensor, reconstruct: Callable[[Tensor], Tensor] | None, network: FeatureNetwork, watcher: Watcher, kept: KeptPart
) -> tuple[list[Tensor], dict[str, float]]:
    """Photographs and, with an encoder, their reconstructions to look at, a row each; and how near they are."""
    before = State(0) if kept.state is None else kept.state
    totals: dict[str, float] = dict(before.values)
    rows = [before.tensors[name] for name in sorted(before.tensors)]
    done = before.step

    def state() -> State:
        return State(done, {str(number): row for number, row in enumerate(rows)}, totals)

    for images, others in zip(_batches(held, done), _batches(held.roll(1, 0), done), strict=True):
        compared = {"unrelated": others}
        if reconstruct is not None:
            compared["reconstruction"] = reconstruct(images).cpu()
        for name, compare in compared.items():
            a, b = at_resolution(network, images), at_resolution(network, compare)
            figures = {"error": (images - compare).pow(2).mean((1, 2, 3)), "distance": feature_distance(network, a, b)}
            for figure, values in figures.items():
                totals[f"{name}_{figure}"] = totals.get(f"{name}_{figure}", 0.0) + values.sum().item()
        if not rows:
            rows = [_row(part) for part in (images, compared.get("reconstruction")) if part is not None]
        done += len(images)
        tell(watcher, done, len(held), kept, state)
    return rows, {name: totals.get(name, math.nan) / len(held) for name in _COMPARED}


def _row(images: Tensor) -> Tensor:
    """The first images, filled up with black ones to a row."""
    row = images[:_COLUMNS]
    return torch.cat([row, row.new_full((_COLUMNS - len(row), *row.shape[1:]), -1.0)])


def _batches(photographs: Tensor, first: int = 0) -> Iterator[Tensor]:
    return (to_signed(part) for part in photographs[first:].split(_BATCH) if len(part))

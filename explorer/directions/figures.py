"""What can be measured of a shift without labels: figures of pairs (G(z), G(z + h)), image by image."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from explorer.directions.bases import centre_template
from segmentation.baselines.standing_out import standing_out
from segmentation.filters import FilterConfig, filter_pairs
from segmentation.masks import grey

STEADY = 1e-3
"""Variance of grey below which an affine fit rather keeps the slope 1 than believes the region's own."""


@dataclasses.dataclass(frozen=True, eq=False)
class Unshifted:
    """What shifted images are compared with; made once for a batch of codes, however many directions shift them."""

    images: Tensor
    """G(z), (B, 3, H, W) in [-1, 1]."""
    objects: Tensor
    """What stands out in them, bool (B, H, W)."""
    levels: Tensor
    """Their grey levels (B, H, W)."""
    strength: Tensor
    """The magnitudes of the gradients of the grey levels (B, H, W)."""

    @classmethod
    def of(cls, images: Tensor, objects: Tensor | None = None) -> Unshifted:
        """Those of ``images`` (B, 3, H, W); ``objects`` are :func:`standing_out` of them, if known already."""
        levels = grey(images)
        return cls(images, standing_out(images) if objects is None else objects, levels, gradient(levels))


@dataclasses.dataclass(frozen=True, eq=False)
class Measured:
    """Figures of B pairs, image by image; :class:`explorer.directions.ranking.Score` says what each is for."""

    raw_mask: Tensor
    """Masks before the filters, bool (B, H, W)."""
    accepted: Tensor
    """Whether the filters accept the pair, 0 or 1, as all following of shape (B,) unless said otherwise."""
    area: Tensor
    """Share of foreground."""
    centre: Tensor
    """Correlation of the mask with a centred Gaussian."""
    edges: Tensor
    """Correlation of the gradients' magnitudes before and after."""
    contours: Tensor
    """Gradient on the mask's contour beside that elsewhere."""
    lighter: Tensor
    """Mean change of grey inside the raw mask, at least 0."""
    darker: Tensor
    """Mean change of grey outside the raw mask, turned round: at least 0."""
    overlaps: Tensor
    """(B, B): intersection over union of mask i and what stands out in image j."""
    likeness: Tensor
    """(B, B): intersection over union of mask i and mask j."""
    residual: Tensor
    """Share of the shifted image that two affine maps do not explain."""
    separation: Tensor
    """Distance of the two maps at mid grey."""


def measure(before: Unshifted, shifted: Tensor, filters: FilterConfig) -> Measured:
    """The figures of the pairs of ``before`` and ``shifted`` (B, 3, H, W) in [-1, 1]."""
    verdicts, after = filter_pairs(before.images, shifted, filters), grey(shifted)
    mask, raw = verdicts.mask.float(), verdicts.raw_mask.float()
    template = centre_template(mask.shape[-1]).to(mask.device)
    change, fit = after - before.levels, affine_fit(before.levels, after, mask)
    return Measured(
        raw_mask=verdicts.raw_mask,
        accepted=verdicts.accepted.float(),
        area=mask.mean((1, 2)),
        centre=correlation(mask, template.expand_as(mask)),
        edges=correlation(before.strength, gradient(after)),
        contours=_contours(mask, before.strength),
        lighter=_mean_inside(change, raw),
        darker=-_mean_inside(change, 1 - raw),
        overlaps=overlap_table(verdicts.mask, before.objects),
        likeness=overlap_table(verdicts.mask, verdicts.mask),
        residual=fit.residual,
        separation=fit.separation,
    )


class AffineFit(NamedTuple):
    """How well a shift is a change of light: one affine map of grey levels for the mask, another for the rest."""

    residual: Tensor
    """Squared grey levels that the maps leave unexplained, as a share of the shifted image's variance, (B,) in [0, 1]."""
    separation: Tensor
    """What the mask's map makes of mid grey (0), less what the other makes of it, (B,) in [-2, 2]; 0 if a side is empty."""


def affine_fit(before: Tensor, after: Tensor, mask: Tensor) -> AffineFit:
    """Least squares of ``after`` = a * ``before`` + b, once inside and once outside ``mask``; all float (B, H, W).

    ``mask`` is 0 or 1. The squares include :data:`STEADY` * (a - 1) ** 2 a pixel, so that a region of a single grey level has
    a slope as well. What a map makes of mid grey is kept within [-1, 1], as images are. That lighting acts on each side as an
    affine map of colours is how the method's authors recognise it in their later code; the paper (section 3.1) says that the
    object gets lighter and the background darker.
    """
    left, inside = _fit_region(before, after, mask)
    more, outside = _fit_region(before, after, 1 - mask)
    scatter = (after - after.mean((1, 2), keepdim=True)).square().sum((1, 2))
    both = (mask.amax((1, 2)) > 0) & (mask.amin((1, 2)) < 1)
    residual = ((left + more) / scatter.clamp(min=1e-6 * mask[0].numel())).clamp(max=1)
    return AffineFit(residual, (inside - outside) * both)


def _fit_region(before: Tensor, after: Tensor, region: Tensor) -> tuple[Tensor, Tensor]:
    """The squared error summed over the ``region`` (B, H, W), and the fit's value at mid grey, each (B,)."""
    count = region.sum((1, 2)).clamp(min=1)
    start, end = ((levels * region).sum((1, 2)) / count for levels in (before, after))
    across, up = (before - start[:, None, None]) * region, (after - end[:, None, None]) * region
    spread, covariance = across.square().sum((1, 2)) / count, (across * up).sum((1, 2)) / count
    slope = (covariance + STEADY) / (spread + STEADY)
    left = (up - slope[:, None, None] * across).square().sum((1, 2))
    return left, (end - slope * start).clamp(-1, 1)


def overlap_table(first: Tensor, second: Tensor) -> Tensor:
    """Intersection over union of every one of ``first`` with every one of ``second``, bool (B, H, W) each: (B, B).

    It is 0 where both are empty.
    """
    a, b = first.flatten(1).float(), second.flatten(1).float()
    shared = a @ b.T
    return shared / (a.sum(1)[:, None] + b.sum(1)[None, :] - shared).clamp(min=1)


def symmetry_of_sign(forth: Tensor, back: Tensor) -> Tensor:
    """Intersection over union of the masks of a shift, ``forth``, and the complements of those of its opposite, ``back``.

    Both are raw masks, bool (B, H, W); the result is (B,), and 1 if what one way lightens the other darkens.
    """
    union = (forth | ~back).sum((1, 2))
    return (forth & ~back).sum((1, 2)) / union.clamp(min=1)


def beyond_chance(table: Tensor) -> float:
    """How far the diagonal of ``table`` (B, B) lies above the rest, as a share of how far it could: at most 1.

    (own - other) / (1 - other) with the means of either; 0 for a single pair, and 0 if the others are 1 already.
    """
    own, other = table.diagonal().mean().item(), off_diagonal(table)
    return (own - other) / (1 - other) if len(table) > 1 and other < 1 else 0.0


def off_diagonal(table: Tensor) -> float:
    """Mean of ``table`` (B, B) but for its diagonal; 0 if there is nothing else."""
    count = len(table)
    return ((table.sum() - table.diagonal().sum()) / max(count * (count - 1), 1)).item() if count > 1 else 0.0


def gradient(fields: Tensor) -> Tensor:
    """How steep ``fields`` (B, H, W) are at every pixel, (B, H, W)."""
    padded = F.pad(fields[:, None], (0, 1, 0, 1), mode="replicate")[:, 0]
    across, down = padded[:, :-1, 1:] - fields, padded[:, 1:, :-1] - fields
    # The root has no slope at 0.
    return torch.sqrt(across**2 + down**2 + 1e-12)


def correlation(first: Tensor, second: Tensor) -> Tensor:
    """Of each of two batches (B, H, W), pixel by pixel: (B,), -1 to 1."""
    a, b = (t.flatten(1) - t.flatten(1).mean(1, keepdim=True) for t in (first, second))
    return (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1)).clamp(min=1e-8)


def _contours(mask: Tensor, strength: Tensor) -> Tensor:
    contour = gradient(mask) > 0.5
    on = (strength * contour).sum((1, 2)) / contour.sum((1, 2)).clamp(min=1)
    return (on / strength.mean((1, 2)).clamp(min=1e-6) - 1).clamp(-1, 1)


def _mean_inside(values: Tensor, region: Tensor) -> Tensor:
    return (values * region).sum((1, 2)) / region.sum((1, 2)).clamp(min=1)

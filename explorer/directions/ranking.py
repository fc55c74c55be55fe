"""How much a direction looks like saliency lighting, measured without labels."""

from __future__ import annotations

import dataclasses

import torch
import torch.nn.functional as F
from torch import Tensor

from explorer.directions.bases import centre_template
from explorer.directions.catalogue import Catalogue
from explorer.engine import Engine
from segmentation.baselines.border_colour import border_colour_saliency, otsu_masks
from segmentation.filters import FilterConfig, filter_pairs
from segmentation.masks import grey
from segmentation.progress import Watcher


@dataclasses.dataclass(frozen=True)
class Score:
    """Figures of one direction at one sign and magnitude; all but ``area`` are better when higher."""

    acceptance: float
    """Share of samples that pass the filters."""
    area: float
    """Mean share of foreground pixels."""
    centre: float
    """Mean correlation of the mask with a centred Gaussian, -1 to 1."""
    edges: float
    """Mean correlation of the magnitudes of gradients before and after the shift, -1 to 1: do edges stay where they are?"""
    contours: float
    """How much stronger the image's gradient is along the mask's contour than elsewhere, as a ratio less 1, at most 1."""
    contrast: float
    """Mean change of grey inside the mask less that outside, at most 4: the object gets lighter and the background darker."""
    agreement: float
    """Mean intersection over union of the mask and what stands out from the border's colours
    (:mod:`segmentation.baselines.border_colour`): does the mask cover the object?"""

    @property
    def total(self) -> float:
        """The square root of acceptance, times agreement, times max(edges, 0), times min(contrast, 1).

        The root keeps the acceptance rate from outweighing a shift that replaces the image instead of lighting it.
        """
        return self.acceptance**0.5 * self.agreement * max(self.edges, 0.0) * min(self.contrast, 1.0)

    def to_json(self) -> dict[str, float]:
        """All figures, with ``total``, rounded to four digits."""
        return {name: round(value, 4) for name, value in {**dataclasses.asdict(self), "total": self.total}.items()}


def standing_out(images: Tensor) -> Tensor:
    """Masks, bool (B, H, W), of what stands out from the border's colours in ``images`` (B, 3, H, W)."""
    return otsu_masks(border_colour_saliency(images))


def score_pairs(images: Tensor, shifted: Tensor, filters: FilterConfig, objects: Tensor | None = None) -> Score:
    """The figures of pairs (B, 3, H, W) in [-1, 1]; ``objects`` are :func:`standing_out` of the images, if known already."""
    objects = standing_out(images) if objects is None else objects
    verdicts = filter_pairs(images, shifted, filters)
    before, after = grey(images), grey(shifted)
    mask = verdicts.mask.float()
    template = centre_template(images.shape[-1]).to(images.device)
    strength = gradient(before)
    contour = gradient(mask) > 0.5
    on = (strength * contour).sum((1, 2)) / contour.sum((1, 2)).clamp(min=1)
    ratio = on / strength.mean((1, 2)).clamp(min=1e-6) - 1
    return Score(
        acceptance=verdicts.accepted.float().mean().item(),
        area=mask.mean().item(),
        centre=correlation(mask, template.expand_as(mask)).mean().item(),
        edges=correlation(strength, gradient(after)).mean().item(),
        contours=ratio.clamp(-1, 1).mean().item(),
        contrast=_contrast(after - before, verdicts.raw_mask.float()).mean().item(),
        agreement=_overlap(verdicts.mask, objects).mean().item(),
    )


def rank(
    engine: Engine, catalogue: Catalogue, codes: Tensor, magnitude: float, filters: FilterConfig, watcher: Watcher
) -> list[dict[int, Score]]:
    """For each direction the :class:`Score` of both signs (keys 1 and -1) on the same ``codes`` (B, d).

    Errors: ``KeyboardInterrupt`` if the watcher asks to stop.
    """
    images, scores = engine.images(codes), []
    objects = standing_out(images)
    for number, direction in enumerate(catalogue.directions):
        ends = ((sign, engine.images(codes + sign * magnitude * direction)) for sign in (1, -1))
        scores.append({sign: score_pairs(images, shifted, filters, objects) for sign, shifted in ends})
        tell(watcher, number + 1, len(catalogue))
    return scores


def tell(watcher: Watcher, step: int, steps: int, **figures: float) -> None:
    """Report a step of work that cannot go on later; raise ``KeyboardInterrupt`` if it is asked to stop."""
    watcher.advance(step, steps, figures)
    if watcher.stop_requested():
        raise KeyboardInterrupt


def with_scores(catalogue: Catalogue, scores: list[dict[int, Score]], magnitude: float) -> Catalogue:
    """``catalogue`` with each entry's better sign, the ``magnitude`` and its scores; the best becomes saliency lighting.

    None becomes saliency lighting if no direction scores above 0.
    """
    entries = []
    for entry, pair in zip(catalogue.entries, scores, strict=True):
        sign = max(pair, key=lambda s: pair[s].total)
        entries.append(dataclasses.replace(entry, sign=sign, magnitude=magnitude, scores=pair[sign].to_json(), status="new"))
    scored = dataclasses.replace(catalogue, entries=tuple(entries))
    best = max(range(len(entries)), key=lambda i: entries[i].scores["total"])
    return scored.with_lighting(best) if entries[best].scores["total"] > 0 else scored


def _overlap(first: Tensor, second: Tensor) -> Tensor:
    union = (first | second).sum((1, 2))
    return (first & second).sum((1, 2)) / union.clamp(min=1)


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


def _contrast(change: Tensor, mask: Tensor) -> Tensor:
    inside = (change * mask).sum((1, 2)) / mask.sum((1, 2)).clamp(min=1)
    outside = (change * (1 - mask)).sum((1, 2)) / (1 - mask).sum((1, 2)).clamp(min=1)
    return inside - outside

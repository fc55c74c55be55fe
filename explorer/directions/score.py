"""What is measured of a direction, and how it becomes one number."""

from __future__ import annotations

import dataclasses
import math

MAX_CODES = 2048
"""Latent codes that a direction can be measured on: their masks are compared with each other, all with all."""

FORMULA = (
    "sqrt(acceptance) * agreement * (0.2 + 0.8 * max(following, 0)) * (0.5 + 0.5 * max(edges, 0)) * (1 - residual)"
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

        The root keeps the acceptance rate from outweighing a shift that replaces the image instead of lighting it. Following,
        edges and balance take away a part only: an object that is at the same place in every image is no fault of the mask,
        nor are edges that drown in strong light, nor a background that was dark already.
        """
        symmetry = 1.0 if self.symmetry is None else self.symmetry
        mask = math.sqrt(self.acceptance) * self.agreement * (0.2 + 0.8 * max(self.following, 0.0))
        light = (0.5 + 0.5 * max(self.edges, 0.0)) * (1 - self.residual) * min(self.contrast, 1.0) * (0.5 + 0.5 * self.balance)
        return mask * light * (0.5 + 0.5 * symmetry)

    @property
    def worth(self) -> float:
        """``total`` with the acceptance rate counted in full: how far to walk along what is known to be lighting."""
        return self.total * math.sqrt(self.acceptance)

    def to_json(self) -> dict[str, float]:
        """All measured figures, with ``total``, rounded to six digits."""
        figures = {**dataclasses.asdict(self), "total": self.total}
        return {name: round(value, 6) for name, value in figures.items() if value is not None}

"""Which pairs become training samples: the size, histogram and components filters (paper, section 3.2)."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from segmentation.components import Components, find_components
from segmentation.configuration import Config, check_choice, check_range
from segmentation.errors import require
from segmentation.masks import check_pairs, grey

PRESETS = ("paper", "reference")
REASONS = ("", "size", "histogram", "empty")
"""What :attr:`Verdicts.rejected_by` may say, in the order of the rejecting steps of both presets; "" is accepted."""


@dataclasses.dataclass(frozen=True)
class FilterConfig(Config):
    """Which filters are applied, and how strictly; the thresholds count in both presets."""

    preset: str = "paper"
    """The rules: ``paper`` as the text has them (size, histogram, then components), ``reference`` as the authors' code does."""
    size: bool = True
    """Reject masks that cover too much of the image."""
    histogram: bool = True
    """Reject shifted images that are not split into dark and light."""
    components: bool = True
    """Remove the small components from each mask."""
    max_area: float = 0.5
    """Largest share of foreground that a mask may have; in the reference it must stay below, and 1 allows everything."""
    min_component: float = 0.2
    """Share of the largest component's area that a component needs to stay; in the reference it must have more."""
    histogram_bins: int = 12
    """Bins of the histogram between the grey levels -1 and 1."""
    histogram_window: int = 3
    """Bins that the moving average over the histogram covers, an odd number."""

    def __post_init__(self) -> None:
        check_choice("preset", self.preset, PRESETS)
        for name in ("size", "histogram", "components"):
            value = getattr(self, name)
            require(isinstance(value, bool), f"{name} is {value!r}", "Choose true or false.")
        check_range("max_area", self.max_area, 0, 1, "of the image")
        check_range("min_component", self.min_component, 0, 1, "of the largest component")
        for name, low, high in (("histogram_bins", 3, 256), ("histogram_window", 1, self.histogram_bins)):
            value = getattr(self, name)
            require(isinstance(value, int), f"{name} is {value!r}", "Choose a whole number.")
            check_range(name, value, low, high, "bins")
        require(
            self.histogram_window % 2 == 1,
            f"histogram_window is {self.histogram_window}",
            "Choose an odd number, so that the window has a middle.",
        )

    @classmethod
    def paper(cls) -> FilterConfig:
        """The filters as the paper describes them: components joined by edges, limits themselves still allowed."""
        return cls(preset="paper")

    @classmethod
    def reference(cls) -> FilterConfig:
        """The filters as the authors' code has them: components first and joined by corners too, limits excluded."""
        return cls(preset="reference")

    @property
    def connectivity(self) -> int:
        """Neighbours of a pixel that belong to its component: 4 or 8."""
        return 8 if self.preset == "reference" else 4


@dataclasses.dataclass(frozen=True, eq=False)
class Verdicts:
    """What the filters say of a batch of B pairs; every number is there, also those of disabled filters.

    All tensors are on the device of the pairs.
    """

    config: FilterConfig
    """The filters that were applied."""
    raw_mask: Tensor
    """Masks before the filters, bool (B, H, W)."""
    mask: Tensor
    """Masks after the components filter, bool (B, H, W), of rejected samples too."""
    area: Tensor
    """Share of foreground that the size filter looked at, float64 (B,) in [0, 1]."""
    size_ok: Tensor
    """Whether the area is within the limit, bool (B,)."""
    histogram_ok: Tensor
    """Whether the histogram is as the rule wants it, bool (B,)."""
    reason: Tensor
    """Index into :data:`REASONS` of the first step that rejects the sample, int64 (B,); 0 is accepted.

    An empty mask is the last reason: no filter objects to it, but a sample without foreground teaches nothing."""
    accepted: Tensor
    """Whether no enabled filter rejects the sample and its mask is not empty, bool (B,)."""
    histogram: Tensor
    """Smoothed histogram of the shifted images, as shares of what was counted, float64 (B, bins)."""
    maxima: Tensor
    """Local maxima that the histogram rule found, bool (B, bins): none may be there (paper), at least two must (reference)."""
    components: Components
    """The components of the raw masks."""
    component_kept: Tensor
    """Which of them are in the masks, bool (N,)."""

    @property
    def rejected_by(self) -> list[str]:
        """For each sample the first step that rejects it, one of :data:`REASONS`; "" where it is accepted."""
        return [REASONS[index] for index in self.reason.tolist()]

    @property
    def acceptance_rate(self) -> float:
        """Share of the samples that are accepted; NaN for an empty batch."""
        return float(self.accepted.double().mean())

    def funnel(self) -> dict[str, int]:
        """Samples ``generated``, rejected first by ``size``, ``histogram`` or for being ``empty``, and ``kept``."""
        kept, *rejected = torch.bincount(self.reason, minlength=len(REASONS)).tolist()
        return {"generated": len(self.mask), **dict(zip(REASONS[1:], rejected, strict=True)), "kept": kept}

    def explain(self, index: int) -> str:
        """A sentence on the verdict of the sample ``index``, with the numbers behind it."""
        count = len(self.mask)
        require(0 <= index < count, f"there is no sample {index}", f"The batch holds {count}, counted from 0.")
        reason = REASONS[int(self.reason[index])]
        if reason == "size":
            return f"rejected by size: {self._size_sentence(float(self.area[index]))}"
        if reason == "histogram":
            return f"rejected by histogram: {self._histogram_sentence(self.maxima[index])}"
        if reason == "empty":
            return "rejected as empty: the mask has no foreground pixel"
        kept = self.component_kept[self.components.image == index]
        return f"accepted: area {float(self.area[index]):.2f}, {int(kept.sum())} of {_plural(len(kept), 'component')} kept"

    def _size_sentence(self, area: float) -> str:
        limit = self.config.max_area
        digits = 2 if f"{area:.2f}" != f"{limit:.2f}" else 5
        rule = "it must stay below" if self.config.preset == "reference" else "the limit is"
        return f"the mask covers {area:.{digits}f} of the image, {rule} {limit:.{digits}f}"

    def _histogram_sentence(self, maxima: Tensor) -> str:
        bins = len(maxima)
        found = maxima.nonzero().view(-1).tolist()
        numbers = " and ".join(str(i + 1) for i in found)
        levels = ", ".join(f"{-1 + (2 * i + 1) / bins:.2f}" for i in found)
        noun, verb = ("bin", "is a local maximum") if len(found) == 1 else ("bins", "are local maxima")
        if self.config.preset == "paper":
            return f"{noun} {numbers} of {bins} (grey {levels}) {verb}"
        return f"only {noun} {numbers} of {bins} (level {levels}) {verb}, and two are needed"


class JudgedPairs(NamedTuple):
    """Pairs and what the filters say of them."""

    images: Tensor
    """G(z), (B, 3, H, W) in [-1, 1]."""
    shifted: Tensor
    """G(z + h), likewise."""
    verdicts: Verdicts


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def filter_pairs(images: Tensor, shifted: Tensor, config: FilterConfig) -> Verdicts:
    """Mask and judge the pairs ``images``, G(z), and ``shifted``, G(z + h), both (B, 3, H, W) in [-1, 1], on their device.

    Errors: :class:`LanternError` if the shapes differ or a value is not finite. Source: the paper, section 3.2; the preset
    ``reference`` follows the authors' code where that differs.
    """
    check_pairs(images, shifted)
    grey_images, grey_shifted = grey(images), grey(shifted)
    # One sum sees every NaN and infinity, without a map of flags.
    require(
        bool(torch.isfinite(grey_images.sum() + grey_shifted.sum())),
        "the generated images hold values that are not numbers",
        "Choose a smaller magnitude, or another precision than 16 bits.",
    )
    raw_mask = grey_shifted > grey_images
    components = find_components(raw_mask, config.connectivity)
    kept = torch.ones_like(components.area, dtype=torch.bool)
    if config.components:
        kept = components.large(config.min_component, strict=config.preset == "reference")
    foreground = components.pixels(kept)
    sized = foreground if config.preset == "reference" else components.pixels(torch.ones_like(kept))
    area = sized.double() / (raw_mask.shape[1] * raw_mask.shape[2])
    size_ok = _size_ok(area, config)
    histogram, maxima, histogram_ok = _judge_histogram(shifted, grey_shifted, config)
    reason = _first_rejection(~size_ok & config.size, ~histogram_ok & config.histogram, foreground == 0)
    return Verdicts(
        config=config,
        raw_mask=raw_mask,
        mask=components.select(kept),
        area=area,
        size_ok=size_ok,
        histogram_ok=histogram_ok,
        reason=reason,
        accepted=reason == 0,
        histogram=histogram,
        maxima=maxima,
        components=components,
        component_kept=kept,
    )


def _size_ok(area: Tensor, config: FilterConfig) -> Tensor:
    if config.preset == "reference" and config.max_area < 1:
        return area < config.max_area
    return area <= config.max_area


def _first_rejection(*rejected: Tensor) -> Tensor:
    """Which of the steps in ``rejected``, bool (B,) each, is the first to reject a sample, counted from 1; 0 if none does."""
    steps = torch.stack(rejected)
    return torch.where(steps.any(0), steps.int().argmax(0) + 1, 0)


def _judge_histogram(shifted: Tensor, grey_shifted: Tensor, config: FilterConfig) -> tuple[Tensor, Tensor, Tensor]:
    """The smoothed histogram (B, bins) in shares, its maxima (B, bins), and whether the rule of the preset holds (B,)."""
    if config.preset == "paper":
        counts = count_levels(grey_shifted, config.histogram_bins)
        smoothed = smooth(counts, config.histogram_window, zero_padded=False)
        maxima = inner_maxima(smoothed)
        holds = ~maxima.any(1)
    else:
        # One channel at a time: the temporary arrays of all three at once cost several times as much.
        counts = torch.stack([count_levels(channel, config.histogram_bins) for channel in shifted.unbind(1)]).sum(0)
        smoothed = smooth(counts, config.histogram_window, zero_padded=True)
        maxima = level_maxima(smoothed)
        holds = maxima.sum(1) >= 2
    return smoothed / counts.sum(1, keepdim=True), maxima, holds


def count_levels(levels: Tensor, bins: int) -> Tensor:
    """Histograms, int64 (B, bins), of ``levels`` (B, H, W) in ``bins`` equal bins on [-1, 1]; the last one includes 1."""
    count = len(levels)
    position = (levels.float() + 1).mul_(bins / 2).clamp_(0, bins - 1).flatten(1)
    index = position.int()
    index += bins * torch.arange(count, dtype=index.dtype, device=levels.device)[:, None]
    return torch.bincount(index.view(-1), minlength=bins * count).view(count, bins)


def smooth(counts: Tensor, window: int, *, zero_padded: bool) -> Tensor:
    """Moving average, float64 (B, bins), of ``counts`` (B, bins) over an odd ``window``.

    At the borders it divides by the bins that exist, or, ``zero_padded``, by the whole window.
    """
    # In double precision, because counts that differ must not become equal, nor equal averages different.
    return F.avg_pool1d(counts.double()[:, None], window, 1, window // 2, count_include_pad=zero_padded)[:, 0]


def inner_maxima(values: Tensor) -> Tensor:
    """Local maxima of the rows of ``values`` (B, bins) that touch neither end, bool (B, bins).

    A plateau counts once, at its first bin, and only where it falls on both sides (the paper's rule).
    """
    slope = values.diff(dim=1).sign()
    last = slope.shape[1]
    changes = torch.where(slope != 0, torch.arange(last, device=values.device), last)
    next_change = changes.flip(1).cummin(1).values.flip(1)
    next_slope = F.pad(slope, (0, 1)).gather(1, next_change)
    inner = (slope[:, :-1] > 0) & (next_slope[:, 1:] < 0)
    return F.pad(inner, (1, 1))


def level_maxima(values: Tensor) -> Tensor:
    """Entries of the rows of ``values`` (B, bins) that are no lower than the neighbours they have, bool (B, bins).

    Every bin of a plateau counts, and so do both ends (the reference's rule).
    """
    fence = F.pad(values, (1, 1), value=-float("inf"))
    return (values >= fence[:, :-2]) & (values >= fence[:, 2:])

"""A closer look at one sample: every number that the filters judged it by, as plain values."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explorer.views import MaskView, Pictures, Workbench
from segmentation.configuration import check_range
from segmentation.filters import FilterConfig, Verdicts
from segmentation.pictures import to_uint8

PASSED, FAILED, OFF = "passed", "rejected", "off"


@dataclasses.dataclass(frozen=True)
class Component:
    """A connected piece of a mask."""

    share: float
    """Its area as a share of the largest one's, in (0, 1]."""
    area: float
    """Its area as a share of the image."""
    kept: bool
    """Whether the components filter leaves it in the mask."""


@dataclasses.dataclass(frozen=True)
class Check:
    """What one filter says of the sample."""

    name: str
    """size, histogram, components or empty."""
    state: str
    """passed, rejected, or off: then the number is there, but does not count."""
    words: str
    """The number, and what it was held against."""


@dataclasses.dataclass(frozen=True)
class CloserLook:
    """One sample under the filters."""

    number: int
    """Which of the samples of the view, from 0."""
    image: Pictures
    """G(z), (R, R, 3)."""
    shifted: Pictures
    """G(z + h), likewise."""
    raw_mask: NDArray[np.bool_]
    """The mask before the components filter, (R, R)."""
    mask: NDArray[np.bool_]
    """The mask after it."""
    rejected_by: str
    """The first step that rejects the sample; "" if none does."""
    explanation: str
    """The verdict in a sentence."""
    area: float
    """What the size filter looked at, in [0, 1]."""
    histogram: tuple[float, ...]
    """The smoothed histogram of the shifted image, shares."""
    maxima: tuple[int, ...]
    """The bins, from 0, that the histogram rule found to be local maxima."""
    components: tuple[Component, ...]
    """The pieces of the raw mask, the largest first."""
    checks: tuple[Check, ...]
    """What each filter says, in the order they are applied."""
    filters: FilterConfig
    """The filters themselves."""


def closer_look(bench: Workbench, view: MaskView, filters: FilterConfig, number: int) -> CloserLook:
    """The sample ``number`` of ``view`` under ``filters``; errors: :class:`LanternError` if there is no such sample."""
    check_range("the sample to look at", number, 0, view.count - 1)
    images, shifted, verdicts = bench.verdicts(view, filters)
    components = _components(verdicts, number)
    maxima = tuple(int(i) for i in verdicts.maxima[number].nonzero().view(-1).tolist())
    return CloserLook(
        number=number,
        image=to_uint8(images[number : number + 1])[0],
        shifted=to_uint8(shifted[number : number + 1])[0],
        raw_mask=verdicts.raw_mask[number].cpu().numpy(),
        mask=verdicts.mask[number].cpu().numpy(),
        rejected_by=verdicts.rejected_by[number],
        explanation=verdicts.explain(number),
        area=float(verdicts.area[number]),
        histogram=tuple(verdicts.histogram[number].tolist()),
        maxima=maxima,
        components=components,
        checks=_checks(verdicts, number, maxima, components),
        filters=filters,
    )


def _components(verdicts: Verdicts, number: int) -> tuple[Component, ...]:
    own = verdicts.components.image == number
    areas, kept = verdicts.components.area[own].tolist(), verdicts.component_kept[own].tolist()
    pixels = verdicts.raw_mask[number].numel()
    largest = max(areas, default=1)
    found = [Component(area / largest, area / pixels, bool(left)) for area, left in zip(areas, kept, strict=True)]
    return tuple(sorted(found, key=lambda component: -component.area))


def _checks(verdicts: Verdicts, number: int, maxima: tuple[int, ...], components: tuple[Component, ...]) -> tuple[Check, ...]:
    filters = verdicts.config
    reference = filters.preset == "reference"
    area = float(verdicts.area[number])
    rule = "must stay below" if reference else "may be at most"
    size = Check("size", _state(filters.size, verdicts.size_ok[number]), f"area {area:.4f}, {rule} {filters.max_area:g}")
    wanted = "at least two are needed" if reference else "none may be there"
    bins = ", ".join(str(bin_ + 1) for bin_ in maxima) or "none"
    words = f"bins of {filters.histogram_bins} that are local maxima: {bins}; {wanted}"
    histogram = Check("histogram", _state(filters.histogram, verdicts.histogram_ok[number]), words)
    dropped = [component for component in components if not component.kept]
    share = sum(component.area for component in dropped)
    words = f"{len(dropped)} of {len(components)} removed, together {share:.4f} of the image"
    pieces = Check("components", PASSED if filters.components else OFF, words)
    foreground = int(verdicts.mask[number].sum())
    empty = Check("empty", _state(True, foreground > 0), f"{foreground} pixels are left in the mask; one is needed")
    return (pieces, size, histogram, empty) if reference else (size, histogram, pieces, empty)


def _state(enabled: bool, holds: Any) -> str:
    if not enabled:
        return OFF
    return PASSED if bool(holds) else FAILED

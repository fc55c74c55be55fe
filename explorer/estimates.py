"""How long a run will take, from a handful of samples: the share that is kept, how sure that is, and the time a pair takes."""

from __future__ import annotations

import dataclasses
import math

from segmentation.configuration import check_range

_SURE = 1.959963984540054
"""Standard deviations on both sides of the mean that hold 95% of a normal distribution."""


@dataclasses.dataclass(frozen=True)
class Estimate:
    """What a data set of ``wanted`` accepted samples will take."""

    wanted: int
    """Accepted samples."""
    rate: float
    """Share of the samples that were kept, in [0, 1]."""
    low: float
    """Lower end of the interval that holds the true share with 95% confidence (Wilson's)."""
    high: float
    """Its upper end."""
    candidates: int | None
    """Pairs that have to be made at that rate; None if nothing was kept."""
    seconds: float | None
    """Time to make them on this machine; None likewise."""


def estimate(kept: int, made: int, wanted: int, seconds_per_pair: float) -> Estimate:
    """What ``wanted`` accepted samples take where ``kept`` of ``made`` were kept and a pair takes ``seconds_per_pair``.

    Errors: :class:`LanternError` if ``wanted`` is not a number of samples, or nothing was made.
    """
    check_range("the number of samples wanted", wanted, 1, 1_000_000_000)
    check_range("the number of samples made", made, 1, 1_000_000_000)
    low, high = interval(kept, made)
    candidates = math.ceil(wanted * made / kept) if kept else None
    return Estimate(wanted, kept / made, low, high, candidates, None if candidates is None else candidates * seconds_per_pair)


def interval(kept: int, made: int) -> tuple[float, float]:
    """Wilson's 95% interval of the share of which ``kept`` of ``made`` is a sample."""
    share, square = kept / made, _SURE**2
    middle = (share + square / (2 * made)) / (1 + square / made)
    reach = _SURE / (1 + square / made) * math.sqrt(share * (1 - share) / made + square / (4 * made**2))
    return max(0.0, middle - reach), min(1.0, middle + reach)


def duration(seconds: float) -> str:
    """``seconds`` in words, as coarse as one says it: 40 s, 12 min, 3.5 h, 2 days."""
    if seconds < 1:
        return "less than a second"
    for size, unit in ((86400.0, "days"), (3600.0, "h"), (60.0, "min")):
        if seconds >= 2 * size:
            count = seconds / size
            return f"{count:.0f} {unit}" if count >= 10 or unit == "min" else f"{count:.1f} {unit}"
    return f"{seconds:.0f} s"

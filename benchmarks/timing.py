"""How the benchmarks time: the median of repeated runs, after a few that warm the caches."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable


def median_milliseconds(work: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Median and fastest of ``repeats`` runs of ``work``, in milliseconds."""
    for _ in range(3):
        work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times), min(times)

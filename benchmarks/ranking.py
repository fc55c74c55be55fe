"""Time the ranking of a catalogue: ``python -m benchmarks.ranking [--directions K] [--threads N]``."""

from __future__ import annotations

import argparse
import statistics
import time

import torch

from explorer.directions.bases import random_orthogonal
from explorer.directions.catalogue import PAPER_MAGNITUDE, Catalogue, Entry
from explorer.directions.ranking import RankConfig, Score, order, score_catalogue, with_ranking
from explorer.engine import Engine, EngineConfig
from explorer.generators.registry import load_generator
from segmentation.progress import Unwatched

Scores = list[dict[int, Score]]


def random_catalogue(engine: Engine, count: int, magnitude: float) -> Catalogue:
    """``count`` directions of as many random orthonormal bases as that takes."""
    bases = [random_orthogonal(engine.latent_dim, seed) for seed in range(-(-count // engine.latent_dim))]
    entries = tuple(Entry(magnitude=magnitude) for _ in range(count))
    return Catalogue(torch.cat(bases)[:count], entries, "random", engine.fingerprint)


def timed(engine: Engine, catalogue: Catalogue, config: RankConfig, repeats: int) -> tuple[Scores, list[float], float]:
    """The scores, the seconds of each of ``repeats`` runs after a small one that warms the caches, and the processor's mean.

    The seconds of the processor are those of all threads together; what else the machine does hardly changes them.
    """
    few = Catalogue(catalogue.directions[:2], catalogue.entries[:2], catalogue.source, catalogue.fingerprint)
    score_catalogue(engine, few, config, Unwatched())
    times, spent = [], time.process_time()
    for _ in range(repeats):
        start = time.perf_counter()
        scores = score_catalogue(engine, catalogue, config, Unwatched())
        times.append(time.perf_counter() - start)
    return scores, times, (time.process_time() - spent) / repeats


def main() -> None:
    """Print the median time in either precision, and what the fast one does to the order."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--generator", default="pocket", help="name or weights file (default: %(default)s)")
    parser.add_argument("--directions", type=int, default=120, help="directions to rank (default: %(default)s)")
    parser.add_argument("--codes", type=int, default=RankConfig.codes, help="codes each (default: %(default)s)")
    parser.add_argument("--magnitude", type=float, default=PAPER_MAGNITUDE, help="length of the shifts (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="timed runs of each (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="threads that torch uses (default: %(default)s)")
    parser.add_argument("--device", default="cpu", help="auto, cpu, cuda or cuda:N (default: %(default)s)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    engine = Engine(load_generator(options.generator), EngineConfig(device=options.device))
    catalogue = random_catalogue(engine, options.directions, options.magnitude)
    print(f"{len(catalogue)} directions on {options.codes} codes, {options.threads} threads")
    orders = []
    for precision in ("float32", "auto"):
        config = RankConfig(codes=options.codes, precision=precision)
        scores, times, spent = timed(engine, catalogue, config, options.repeats)
        orders.append(order(with_ranking(catalogue, scores, config)))
        wall = f"median {statistics.median(times):6.1f} s   fastest {min(times):6.1f} s"
        print(f"{precision:<8} {wall}   of the processor {spent:6.1f} s", flush=True)
    same = next((place for place, pair in enumerate(zip(*orders, strict=True)) if len(set(pair)) > 1), len(catalogue))
    print(f"the first {same} of both orders are the same")


if __name__ == "__main__":
    main()

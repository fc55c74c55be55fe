"""What a training is fed how fast: samples to disk and back, and steps with samples made on the way, ahead, or read.

``python -m benchmarks.feeding [--steps N] [--batch-size N] [--samples N]``
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from benchmarks.training import measure
from explorer.commands.options import SourceOptions
from explorer.sources import EngineSource
from segmentation.progress import Unwatched
from segmentation.reading import Shards
from segmentation.shards import ShardConfig, write_shards
from segmentation.training import TrainingConfig


def main() -> None:
    """Print samples a second to disk and back, and steps a second three ways."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--generator", default="pocket")
    parser.add_argument("--steps", type=int, default=20, help="training steps each way (default: %(default)s)")
    parser.add_argument("--batch-size", type=int, default=16, help="samples a step (default: %(default)s)")
    parser.add_argument("--samples", type=int, default=512, help="samples written to disk (default: %(default)s)")
    given = parser.parse_args()
    source = SourceOptions(generator=given.generator).open_source()
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder, "data")
        started = time.perf_counter()
        manifest = write_shards(source, ShardConfig(count=given.samples, shard_size=256), data, Unwatched())
        written = time.perf_counter() - started
        assert manifest is not None
        rate = manifest["funnel"]["kept"] / manifest["funnel"]["generated"]
        print(f"to disk: {given.samples / written:.1f} accepted samples a second (acceptance {rate:.0%})", flush=True)
        shards = Shards(data)
        started = time.perf_counter()
        for first in range(0, len(shards), given.batch_size):
            shards.batch(range(first, min(first + given.batch_size, len(shards))))
        print(f"read back: {len(shards) / (time.perf_counter() - started):.0f} samples a second", flush=True)
        values = {"steps": given.steps, "batch_size": given.batch_size, "validate_every": given.steps, "held_out": 16}
        ways: dict[str, tuple[EngineSource | Shards, TrainingConfig]] = {
            "made when asked for": (source, TrainingConfig(**values, prefetch=False)),
            "made one step ahead": (source, TrainingConfig(**values)),
            "read from shards": (shards, TrainingConfig(**values)),
        }
        for name, (origin, config) in ways.items():
            _, step, _, waiting = measure(origin, config)
            print(f"{name:<20} {1 / step:6.2f} steps of {given.batch_size} a second, {waiting:.0%} of it waiting", flush=True)


if __name__ == "__main__":
    main()

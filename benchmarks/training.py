"""How long the segmenter trains: a few steps with a generator, what they wait for, and what a longer training would take."""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from explorer.commands.options import SourceOptions
from explorer.engine import EngineConfig
from explorer.sources import EngineSource
from segmentation.progress import Unwatched
from segmentation.reading import Shards
from segmentation.training import TrainingConfig, train

_EXTRAPOLATED = 400


class Stopwatch(Unwatched):
    """Notes when each step ended, and the share of it spent waiting for samples."""

    def __init__(self) -> None:
        self.ends: list[float] = []
        self.waiting: list[float] = []

    def advance(self, step: int, steps: int, figures: dict[str, float]) -> None:
        """Note the time."""
        self.ends.append(time.perf_counter())
        self.waiting.append(figures["waiting_for_samples"])


def measure(source: EngineSource | Shards, config: TrainingConfig) -> tuple[float, float, float, float]:
    """Seconds before the steps, seconds a step, seconds a validation with its checkpoint, share waiting for samples."""
    device = EngineConfig().torch_device() if isinstance(source, Shards) else source.engine.device
    watch = Stopwatch()
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        train(source, config, Path(folder), watch, device)
    lengths = [after - before for before, after in zip(watch.ends, watch.ends[1:], strict=False)]
    # The first step warms the caches, the last one is validated.
    step = statistics.median(lengths[:-1])
    return watch.ends[0] - started - step, step, max(0.0, lengths[-1] - step), statistics.mean(watch.waiting[1:])


def main() -> None:
    """Print the figures of a run and what they come to for a longer one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--generator", default="pocket")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--batch-size", type=int, default=16)
    given = parser.parse_args()
    if given.steps < 3:
        parser.error("--steps: at least 3")
    config = TrainingConfig(steps=given.steps, batch_size=given.batch_size, validate_every=given.steps)
    before, step, validation, waiting = measure(SourceOptions(generator=given.generator).open_source(), config)
    validations = _EXTRAPOLATED // TrainingConfig.validate_every
    total = before + _EXTRAPOLATED * step + validations * validation
    print(f"{given.steps} steps of {given.batch_size} samples: {step:.3f} s a step, {waiting:.1%} of it waiting for samples")
    print(f"before the first step {before:.1f} s, a validation with its checkpoint {validation:.1f} s")
    print(f"{_EXTRAPOLATED} steps with {validations} validations: about {total / 60:.1f} min")


if __name__ == "__main__":
    main()

"""What the paper's schedule would take here: 12,000 steps of 95 samples that BigBiGAN makes on the way, from a few steps.

``python -m benchmarks.paper_schedule [--steps N]``; the weights are random, seeded, at full width. What passes the filters with
such weights says nothing of the trained ones, so the share is set by ``--acceptance``; the filters do all their work.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.bigbigan import random_network
from explorer.engine import Engine, EngineConfig
from explorer.generators.bigbigan import FoldedBigBiGAN
from explorer.sources import EngineSource, SourceConfig
from segmentation.feeding import Ahead
from segmentation.filters import FilterConfig
from segmentation.processes import Alone
from segmentation.synthesis import SynthesisConfig
from segmentation.training import Training, TrainingConfig, feed_for
from segmentation.unet import UNetConfig

_PAPER_STEPS = 12_000
_WARM_UP = 10


class Rationed:
    """``source`` with a ``share`` of pairs that can pass: of the others the shifted image is the image, and the mask empty."""

    def __init__(self, source: EngineSource, share: float) -> None:
        self.source, self.share, self.resolution = source, share, source.resolution

    def pairs(self, count: int, key: tuple[int | str, ...]) -> tuple[Tensor, Tensor]:
        """See :class:`segmentation.synthesis.PairSource`."""
        images, shifted = self.source.pairs(count, key)
        kept = torch.rand(count, generator=torch.Generator().manual_seed(len(repr(key)) + int(key[-1]))) < self.share
        return images, shifted.where(kept.to(images.device)[:, None, None, None], images)

    def describe(self) -> dict[str, Any]:
        """See :class:`segmentation.synthesis.PairSource`."""
        return self.source.describe()


def settled(device: torch.device) -> float:
    """The time, once ``device`` has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def flops_of(work: Callable[[], object]) -> float:
    """Floating-point operations of ``work``, two a multiplication with its addition."""
    with FlopCounterMode(display=False) as counter:
        work()
    return float(counter.get_total_flops())


def peak(device: torch.device) -> float:
    """Operations a second of large bfloat16 matrix products, the best of a few."""
    side = 8192 if device.type == "cuda" else 1024
    a, b = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    times = []
    for _ in range(8):
        started = settled(device)
        a @ b
        times.append(settled(device) - started)
    return 2 * side**3 / min(times)


def main() -> None:
    """Print the steady speed, what the whole schedule comes to, and where the time goes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=300, help="steady steps that are timed (default: %(default)s)")
    parser.add_argument("--batch-size", type=int, default=95, help="samples a step (default: %(default)s)")
    parser.add_argument("--width", type=int, default=96, help="of the generator (default: %(default)s, the published one)")
    parser.add_argument("--unet-width", type=int, default=64, help="of the U-Net (default: %(default)s)")
    parser.add_argument("--candidates", type=int, default=256, help="pairs made at once (default: %(default)s)")
    parser.add_argument("--acceptance", type=float, default=0.3, help="share that passes (default: %(default)s)")
    parser.add_argument("--device", default="auto")
    given = parser.parse_args()
    network = random_network(given.width, 0)
    config = EngineConfig(device=given.device, precision="bfloat16", batch_size=2 * given.candidates)
    engine = Engine(FoldedBigBiGAN(network), config)
    direction = torch.nn.functional.normalize(engine.codes(1, 1)[0], dim=0)
    source = Rationed(EngineSource(engine, direction, SourceConfig(magnitude=5.0)), given.acceptance)
    # They do not decide, and do everything else.
    filters = FilterConfig(size=False, histogram=False)
    synthesis = SynthesisConfig(filters=filters, candidates=given.candidates)
    values = {"batch_size": given.batch_size, "precision": "bfloat16", "held_out": 2, "streams": 1, "synthesis": synthesis}
    schedule = TrainingConfig(steps=_PAPER_STEPS, unet=UNetConfig(given.unet_width), **values)
    training = Training(feed_for(source, schedule, Alone()), schedule, engine.device)
    report(engine, training, given.steps)


def report(engine: Engine, training: Training, steps: int) -> None:
    """Time ``steps`` steps, then generation and training by themselves, and print it."""
    device, size = engine.device, training.config.batch_size
    with Ahead(training.feed, device, 0, _WARM_UP + steps, True) as samples:
        for _ in range(_WARM_UP):
            training.advance(samples)
        before, started = training.funnel, settled(device)
        waiting = [training.advance(samples)["waiting_for_samples"] for _ in range(steps)]
        step = (settled(device) - started) / steps
    candidates = (training.funnel["generated"] - before["generated"]) / steps
    images = torch.zeros(2, 3, engine.resolution, engine.resolution, device=device)
    masks = torch.zeros(2, engine.resolution, engine.resolution, dtype=torch.bool, device=device)
    trained = flops_of(lambda: training.loss(images, masks).backward()) / 2 * size
    made = flops_of(lambda: engine.images(engine.codes(2, 0))) * candidates
    best = peak(device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    waited = statistics.mean(waiting)
    print(f"{name}: {step:.3f} s a step of {size} over {steps} steady steps, {waited:.0%} of it waiting for samples")
    print(f"{_PAPER_STEPS} steps: about {_PAPER_STEPS * step / 60:.1f} min; {size / step:.0f} samples accepted a second")
    reached = (trained + made) / step
    print(f"{reached / 1e12:.2f} TFLOP/s, {reached / best:.0%} of what bfloat16 matrix products reach, {best / 1e12:.1f}")
    print(f"a step: {trained / 1e12:.3f} TFLOP of training, {made / 1e12:.3f} of making {candidates:.0f} pairs")
    alone(training, device, steps)


def alone(training: Training, device: torch.device, steps: int) -> None:
    """Print what a step's samples, and a step with samples that are there, take by themselves."""
    some = max(2, steps // 10)
    started = settled(device)
    batches = [training.feed.batch(0) for _ in range(some)]
    made = (settled(device) - started) / some
    training.net.train()
    started = settled(device)
    for batch in batches:
        training.optimiser.zero_grad()
        training.loss(batch.images, batch.masks).backward()
        training.optimiser.step()
    print(f"by themselves: a step's samples {made:.3f} s, a step {(settled(device) - started) / some:.3f} s")


if __name__ == "__main__":
    main()

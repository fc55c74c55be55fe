"""How fast fitting a generator goes: images a second through whole steps of each stage, their arithmetic, and the most memory.

The photographs are noise, since what they show costs nothing; each stage runs in a process of its own, for its own memory.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from explorer.engine import EngineConfig
from explorer.generators.batches import Batches
from explorer.generators.limits import ADVERSARIAL, STAGES
from explorer.generators.pocket import PocketConfig
from explorer.generators.projected import ProjectedFeatures
from explorer.generators.recipe import FitConfig
from explorer.generators.stages import Fitting

_WARM_UP = 3
_LINE = (
    "{stage}: {milliseconds:.1f} ms a step of {images}, {images_per_second:.0f} images/s, "
    "{gflop_per_image:.2f} GFLOP an image, at most {peak_gib:.2f} GiB"
)


def step_seconds(step: Callable[[], object], steps: int, device: torch.device) -> list[float]:
    """Seconds of each of ``steps`` steps, after three that warm up; a GPU is not waited for in between."""
    for _ in range(_WARM_UP):
        step()
    if device.type != "cuda":
        ends = [time.perf_counter()]
        for _ in range(steps):
            step()
            ends.append(time.perf_counter())
        return [after - before for before, after in pairwise(ends)]
    marks = [torch.cuda.Event(enable_timing=True) for _ in range(steps + 1)]
    marks[0].record()
    for mark in marks[1:]:
        step()
        mark.record()
    torch.cuda.synchronize(device)
    return [before.elapsed_time(after) / 1000 for before, after in pairwise(marks)]


def step_operations(step: Callable[[], object]) -> int:
    """Floating-point operations of a step, of convolutions and products of matrices alone, networks run as written."""
    with torch.compiler.set_stance("force_eager"), FlopCounterMode(display=False) as counter:
        step()
    return counter.get_total_flops()


def peak_memory(device: torch.device) -> float:
    """GiB that this process took at most: of the GPU's memory on a GPU, else of the machine's."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    # Linux counts it in KiB.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def measure_stage(stage: int, given: argparse.Namespace) -> dict[str, Any]:
    """The figures of a stage (0 to 3), in this process."""
    device = EngineConfig(device=given.device).torch_device()
    config = FitConfig(
        pocket=PocketConfig(resolution=given.resolution),
        batch_size=given.batch_size,
        adversarial_batch_size=given.adversarial_batch_size,
        precision=given.precision,
    )
    shape = (given.photographs, 3, given.resolution, given.resolution)
    photographs = torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    compiled = device.type == "cuda" if given.compiled is None else given.compiled
    batches = Batches(config, photographs, device)
    # Where the light falls costs nothing either.
    batches.light(torch.rand(len(batches), given.resolution, given.resolution) < 0.4)
    fitting = Fitting(config, batches, device, ProjectedFeatures(photographs, 0), compiled=compiled)
    fitting.begin_stage(stage)
    seconds = statistics.median(step_seconds(fitting.advance, given.steps, device))
    images = config.adversarial_batch_size if stage == ADVERSARIAL else config.batch_size
    return {
        "stage": STAGES[stage],
        "images": images,
        "milliseconds": 1000 * seconds,
        "images_per_second": images / seconds,
        "peak_gib": peak_memory(device),
        # Last, so that it is neither in the times nor in the memory.
        "gflop_per_image": step_operations(fitting.advance) / images / 1e9,
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--resolution", type=int, choices=(64, 128), default=64, help="side of an image in pixels")
    parser.add_argument("--steps", type=int, default=20, help="steps of each stage, of which the median is taken")
    parser.add_argument("--batch-size", type=int, default=FitConfig.batch_size, help="images a step in stages 1 to 3")
    parser.add_argument(
        "--adversarial-batch-size", type=int, default=FitConfig.adversarial_batch_size, help="likewise in stage 4"
    )
    parser.add_argument("--photographs", type=int, default=1024, help="how many to draw from")
    parser.add_argument("--precision", default="auto", help="auto, bfloat16 or float32")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--compiled", action=argparse.BooleanOptionalAction, help="compile the networks; by default on a GPU")
    parser.add_argument("--json", type=Path, help="a file for the figures")
    parser.add_argument("--stage", type=int, choices=range(len(STAGES)), help=argparse.SUPPRESS)
    return parser


def main() -> None:
    """Print the figures of all stages."""
    given = _parser().parse_args()
    if given.stage is not None:
        print(json.dumps(measure_stage(given.stage, given)))
        return
    figures = []
    for stage in range(len(STAGES)):
        command = [sys.executable, "-m", "benchmarks.fitting", *sys.argv[1:], "--stage", str(stage)]
        printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        figures.append(json.loads(printed.splitlines()[-1]))
        print(_LINE.format(**figures[-1]), flush=True)
    if given.json is not None:
        given.json.write_text(
            json.dumps({"resolution": given.resolution, "stages": figures}, indent=1) + "\n", encoding="utf-8"
        )


if __name__ == "__main__":
    main()

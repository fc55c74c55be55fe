"""BigBiGAN with random weights, folded against unfolded: ``python -m benchmarks.bigbigan [--width N] [--batch-size N]``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from benchmarks.timing import median_milliseconds
from explorer.engine import Engine, EngineConfig
from explorer.generators.bigbigan import BigBiGAN, FoldedBigBiGAN
from explorer.generators.bigbigan_network import ConditionalNorm, OutputNorm
from segmentation.masks import raw_masks


@torch.no_grad()
def random_network(width: int, seed: int) -> BigBiGAN:
    """A generator with seeded random weights whose normalisations hold the statistics of its own features."""
    torch.manual_seed(seed)
    network = BigBiGAN(width).eval().requires_grad_(False)
    for name, parameter in network.named_parameters():
        if name.endswith("gamma"):
            parameter.fill_(0.7)
        elif parameter.dim() > 1:
            parameter.normal_(std=parameter[0].numel() ** -0.5)
    hooks = [
        module.register_forward_pre_hook(_take_statistics)
        for module in network.modules()
        if isinstance(module, ConditionalNorm | OutputNorm)
    ]
    network(torch.randn(16, 120))
    for hook in hooks:
        hook.remove()
    return network


def _take_statistics(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    assert isinstance(module, ConditionalNorm | OutputNorm)
    variance, mean = torch.var_mean(inputs[0], (0, 2, 3))
    module.stored_mean.copy_(mean)
    module.stored_var.copy_(variance)


def flips(engine: Engine, count: int, magnitude: float) -> tuple[float, float]:
    """Share of mask pixels that differ between bfloat16 and float32, and the largest difference of their images, in [-1, 1]."""
    direction = torch.nn.functional.normalize(engine.codes(1, 1)[0], dim=0)
    walks = [engine.walk(engine.codes(count, 0), direction, (0.0, magnitude), kind) for kind in ("float32", "bfloat16")]
    first, second = (raw_masks(walked[:, 0], walked[:, 1]) for walked in walks)
    return (first != second).float().mean().item(), (walks[0] - walks[1]).abs().max().item()


def inferred(work: Callable[[Tensor], Tensor], codes: Tensor) -> Tensor:
    """The images of ``codes``, without what gradients would need."""
    with torch.inference_mode():
        return work(codes)


def main() -> None:
    """Print median times, their ratios, and what bfloat16 does to masks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, default=96, help="channels before the output (default: %(default)s)")
    parser.add_argument("--batch-size", type=int, default=8, help="images at once (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=5, help="timed runs of each (default: %(default)s)")
    parser.add_argument("--pairs", type=int, default=16, help="pairs whose masks are compared (default: %(default)s)")
    parser.add_argument("--magnitude", type=float, default=5.0, help="length of their shift (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="threads that torch uses (default: %(default)s)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    network = random_network(options.width, 0)
    engine = Engine(FoldedBigBiGAN(network), EngineConfig(device="cpu", batch_size=options.batch_size))
    codes = engine.codes(options.batch_size, 0)
    forms = {
        "unfolded, float32": partial(inferred, network, codes),
        "folded, float32": partial(engine.images, codes, "float32"),
        "folded, bfloat16": partial(engine.images, codes, "bfloat16"),
    }
    print(f"width {options.width}, {options.batch_size} images at once, {options.threads} threads")
    medians: list[float] = []
    for name, work in forms.items():
        median, fastest = median_milliseconds(work, options.repeats)
        medians.append(median)
        speed = f"{medians[0] / median:5.2f} times as fast"
        print(f"{name:<18} median {median:8.1f} ms   fastest {fastest:8.1f} ms   {speed}", flush=True)
    share, largest = flips(engine, options.pairs, options.magnitude)
    print(f"bfloat16 flips {share:.3%} of the mask pixels of {options.pairs} pairs; images differ by {largest:.3f} at most")


if __name__ == "__main__":
    main()

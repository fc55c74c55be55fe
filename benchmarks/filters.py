"""Time the filters on a training batch: ``python -m benchmarks.filters [--threads N]``."""

from __future__ import annotations

import argparse
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.timing import median_milliseconds
from segmentation.components import find_components
from segmentation.filters import PRESETS, FilterConfig, filter_pairs
from segmentation.masks import raw_masks


def pairs(count: int, resolution: int) -> tuple[Tensor, Tensor]:
    """Seeded pairs (``count``, 3, R, R) in [-1, 1]: soft shapes under noise, so that masks have dozens of components."""
    source = torch.Generator().manual_seed(0)

    def soft(channels: int, cells: int) -> Tensor:
        coarse = torch.randn(count, channels, cells, cells, generator=source)
        return F.interpolate(coarse, size=resolution, mode="bilinear")

    def noise() -> Tensor:
        return torch.randn(count, 3, resolution, resolution, generator=source)

    images = (soft(3, 16) + 0.1 * noise()).tanh()
    return images, (images + soft(1, 6) + 0.1 * noise()).tanh()


def main() -> None:
    """Print the median time of each preset, and of the components alone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=95, help="pairs in the batch (default: %(default)s)")
    parser.add_argument("--resolution", type=int, default=128, help="side of the images in pixels (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=30, help="timed runs (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="threads that torch uses (default: %(default)s)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    images, shifted = pairs(options.count, options.resolution)
    masks = raw_masks(images, shifted)
    found = len(find_components(masks).area) / options.count
    print(f"{options.count} pairs of {options.resolution} x {options.resolution}, {found:.0f} components a mask")
    for preset in PRESETS:
        config = FilterConfig(preset=preset)
        median, fastest = median_milliseconds(partial(filter_pairs, images, shifted, config), options.repeats)
        print(f"filters, {preset:<10} median {median:6.2f} ms   fastest {fastest:6.2f} ms")
    median, fastest = median_milliseconds(partial(find_components, masks), options.repeats)
    print(f"components alone    median {median:6.2f} ms   fastest {fastest:6.2f} ms")


if __name__ == "__main__":
    main()

"""Time the saliency scores of one image: ``python -m benchmarks.metrics [--threads N]``."""

from __future__ import annotations

import argparse
from functools import partial

import torch

from benchmarks.timing import median_milliseconds
from segmentation.metrics import PROTOCOLS, SaliencyMetrics


def main() -> None:
    """Print the median time of a step, and of the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--height", type=int, default=300, help="height of the image in pixels (default: %(default)s)")
    parser.add_argument("--width", type=int, default=400, help="width of the image in pixels (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=200, help="timed runs (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="threads that torch uses (default: %(default)s)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    source = torch.Generator().manual_seed(0)
    prediction = torch.rand(options.height, options.width, generator=source)
    truth = prediction + 0.3 * torch.randn(options.height, options.width, generator=source) > 0.6
    for protocol in PROTOCOLS:
        metrics = SaliencyMetrics(protocol)
        for name, work in (("step", partial(metrics.step, prediction, truth)), ("results", metrics.results)):
            median, fastest = median_milliseconds(work, options.repeats)
            print(f"{protocol}, {name:<8} median {median:6.3f} ms   fastest {fastest:6.3f} ms")


if __name__ == "__main__":
    main()

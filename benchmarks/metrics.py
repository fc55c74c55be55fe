"""Time the scores of one image, and what 11,000 such images take: ``python -m benchmarks.metrics [--threads N]``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from scipy import ndimage

from benchmarks.timing import median_milliseconds
from segmentation.localisation import LocalisationMetrics
from segmentation.metrics import SaliencyMetrics
from segmentation.structure import StructureMetrics

IMAGES = 11_000


def main() -> None:
    """Print the median and fastest time of a step of each kind of metric, and the seconds for ``IMAGES`` images."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--height", type=int, default=300, help="height of the image in pixels (default: %(default)s)")
    parser.add_argument("--width", type=int, default=400, help="width of the image in pixels (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=200, help="timed runs (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="threads that torch uses (default: %(default)s)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    source = np.random.default_rng(0)
    smooth = ndimage.gaussian_filter(source.random((options.height, options.width)), options.height / 20)
    prediction = ((smooth - smooth.min()) / (smooth.max() - smooth.min())).astype(np.float32)
    truth = prediction + 0.3 * source.standard_normal(prediction.shape) > 0.6
    box = (options.width // 4, options.height // 4, options.width // 2, options.height // 2)
    steps: dict[str, Callable[[], object]] = {
        "max F by all protocols, IoU, accuracy, MAE, curve": partial(SaliencyMetrics().step, prediction, truth),
        "S-measure, E-measure, weighted F": partial(StructureMetrics().step, prediction, truth),
        "MaxBoxAcc and MaxBoxAccV2": partial(LocalisationMetrics().step, prediction, [box]),
        "PxAP": partial(LocalisationMetrics().step, prediction, (), truth),
    }
    for name, step in steps.items():
        median, fastest = median_milliseconds(step, options.repeats)
        print(
            f"{name:<50} median {median:6.2f} ms   fastest {fastest:6.2f} ms   {IMAGES} images {median * IMAGES / 1000:4.0f} s"
        )


if __name__ == "__main__":
    main()

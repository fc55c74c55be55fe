"""Time the scores of one image, and what 11,000 such images take: ``python -m benchmarks.metrics [--threads N]``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from benchmarks.timing import median_milliseconds
from segmentation.localisation import LocalisationMetrics
from segmentation.metrics import SaliencyMetrics
from segmentation.structure import StructureMetrics

IMAGES = 11_000


def object_and_map(height: int, width: int) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """An object with a ragged outline, a fifth of the image, and a map of it that is wrong in places and uses all levels."""
    source = np.random.default_rng(0)
    rough, broad = (ndimage.gaussian_filter(source.standard_normal((height, width)), height / by) for by in (60, 8))
    rows, columns = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    truth = np.hypot(rows, columns) + 0.1 * rough / rough.std() < 0.5
    prediction = ndimage.gaussian_filter(truth.astype(float), height / 40) + 0.2 * broad / broad.std()
    return truth, _unit(prediction)


def speckled(height: int, width: int) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """The worst of cases: a truth and a map with thousands of parts."""
    source = np.random.default_rng(1)
    prediction = _unit(ndimage.gaussian_filter(source.random((height, width)), height / 100))
    return prediction + 0.3 * source.standard_normal(prediction.shape) > 0.6, prediction


def _unit(values: NDArray[np.float64]) -> NDArray[np.float32]:
    return ((values - values.min()) / (values.max() - values.min())).astype(np.float32)


def main() -> None:
    """Print the median and fastest time of a step of each kind of metric, and the seconds for ``IMAGES`` images."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--height", type=int, default=300, help="height of the image in pixels (default: %(default)s)")
    parser.add_argument("--width", type=int, default=400, help="width of the image in pixels (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=200, help="timed runs (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="threads that torch uses (default: %(default)s)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    box = (options.width // 4, options.height // 4, options.width // 2, options.height // 2)
    for title, make in (("an object", object_and_map), ("speckles", speckled)):
        truth, prediction = make(options.height, options.width)
        steps: dict[str, Callable[[], object]] = {
            "max F by all protocols, IoU, accuracy, MAE, curve": partial(SaliencyMetrics().step, prediction, truth),
            "S-measure, E-measure, weighted F": partial(StructureMetrics().step, prediction, truth),
            "MaxBoxAcc and MaxBoxAccV2": partial(LocalisationMetrics().step, prediction, [box]),
            "PxAP": partial(LocalisationMetrics().step, prediction, (), truth),
        }
        print(title)
        for name, step in steps.items():
            median, fastest = median_milliseconds(step, options.repeats)
            whole = median * IMAGES / 1000
            print(f"  {name:<50} median {median:6.2f} ms   fastest {fastest:6.2f} ms   {IMAGES} images {whole:4.0f} s")


if __name__ == "__main__":
    main()

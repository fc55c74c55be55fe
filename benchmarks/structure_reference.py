"""Make ``tests/fixtures/pysod.npz`` anew, in an environment of its own with ``pip install pysodmetrics==1.6.2``:

``python benchmarks/structure_reference.py tests/fixtures/metrics.npz tests/fixtures/pysod.npz``.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from numpy.typing import NDArray


def scores_of(prediction: NDArray[Any], truth: NDArray[np.bool_]) -> dict[str, Any]:
    """What PySODMetrics gives for one image."""
    import py_sod_metrics

    levels, mask = (prediction * 255).round().astype(np.uint8), truth.astype(np.uint8) * 255
    names = ("Fmeasure", "Smeasure", "Emeasure", "WeightedFmeasure", "MAE")
    metrics = {name: getattr(py_sod_metrics, name)() for name in names}
    for metric in metrics.values():
        metric.step(levels, mask)
    return {
        "f_curve": metrics["Fmeasure"].get_results()["fm"]["curve"],
        "e_curve": metrics["Emeasure"].get_results()["em"]["curve"],
        "s": metrics["Smeasure"].get_results()["sm"],
        "wf": metrics["WeightedFmeasure"].get_results()["wfm"],
        "mae": metrics["MAE"].get_results()["mae"],
    }


def main() -> None:
    """Score the fixture's maps, one against a truth that is all object, and a map of one value against noise."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("maps", help="metrics.npz")
    parser.add_argument("out", help="pysod.npz")
    options = parser.parse_args()
    with np.load(options.maps) as stored:
        samples = [(stored[f"pred_{index}"], stored[f"mask_{index}"]) for index in range(12)]
    samples.append((samples[0][0], np.ones(samples[0][0].shape, bool)))
    samples.append((np.full((20, 30), 0.4, np.float32), np.random.default_rng(5).random((20, 30)) > 0.5))
    found = [scores_of(prediction, truth) for prediction, truth in samples]
    np.savez_compressed(options.out, **{name: np.array([one[name] for one in found], np.float64) for name in found[0]})


if __name__ == "__main__":
    main()

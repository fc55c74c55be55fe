"""Scores against PySODMetrics 1.6.2 (its numbers for the fixture's maps: ``fixtures/pysod.npz``), and hand-made cases."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from segmentation.errors import LanternError
from segmentation.metrics import SaliencyMetrics
from segmentation.structure import StructureMetrics, StructureScores
from tests.segmentation.test_metrics import Sample, fixture_samples

REFERENCE = Path(__file__).parents[1] / "fixtures" / "pysod.npz"


def samples() -> list[Sample]:
    """The twelve maps of ``metrics.npz``, a truth that is all object, and a map of one value."""
    noise = np.random.default_rng(5).random((20, 30))
    first = fixture_samples()[0][0]
    return [*fixture_samples(), (first, np.ones(first.shape, bool)), (np.full((20, 30), 0.4, np.float32), noise > 0.5)]


@pytest.fixture(scope="module")
def reference() -> dict[str, NDArray[np.float64]]:
    with np.load(REFERENCE) as stored:
        return dict(stored)


@pytest.mark.parametrize("index", range(14))
def test_each_image_scores_as_in_pysodmetrics(reference: dict[str, NDArray[np.float64]], index: int) -> None:
    metrics, saliency = StructureMetrics(), SaliencyMetrics("pysod")
    metrics.step(*samples()[index])
    saliency.step(*samples()[index])
    scores, plain = metrics.results(), saliency.results()
    assert scores.s_measure == pytest.approx(reference["s"][index], abs=1e-6)
    assert scores.e_measure == pytest.approx(reference["e_curve"][index].max(), abs=1e-6)
    assert scores.e_measure_mean == pytest.approx(reference["e_curve"][index].mean(), abs=1e-6)
    assert scores.weighted_f == pytest.approx(reference["wf"][index], abs=1e-6)
    assert plain.max_f == pytest.approx(reference["f_curve"][index].max(), abs=1e-6)
    assert plain.mae == pytest.approx(reference["mae"][index], abs=1e-6)


def test_the_curves_are_averaged_before_the_maximum(reference: dict[str, NDArray[np.float64]]) -> None:
    metrics, saliency = StructureMetrics(), SaliencyMetrics("pysod")
    parts = StructureMetrics(), StructureMetrics()
    for number, sample in enumerate(samples()):
        metrics.step(*sample)
        saliency.step(*sample)
        parts[number % 2].step(*sample)
    parts[0].merge(parts[1])
    assert saliency.results().max_f == pytest.approx(reference["f_curve"].mean(0).max(), abs=1e-6)
    assert metrics.results().e_measure == pytest.approx(reference["e_curve"].mean(0).max(), abs=1e-6)
    assert parts[0].results().to_json() == pytest.approx(metrics.results().to_json(), abs=1e-12)


def scored(prediction: NDArray[np.float64], truth: NDArray[np.bool_]) -> StructureScores:
    metrics = StructureMetrics()
    metrics.step(prediction, truth)
    return metrics.results()


def test_a_perfect_map_scores_one_and_its_inverse_little() -> None:
    truth = np.zeros((30, 40), bool)
    truth[8:20, 10:30] = True
    exact = truth.astype(np.float64)
    perfect, inverse = scored(exact, truth), scored(1 - exact, truth)
    assert perfect.s_measure == pytest.approx(1)
    assert perfect.weighted_f == pytest.approx(1)
    assert inverse.s_measure == 0 and inverse.weighted_f < 0.1


def test_a_far_false_alarm_costs_more_than_a_near_one() -> None:
    truth = np.zeros((40, 40), bool)
    truth[15:25, 15:25] = True
    near, far = truth.astype(np.float64), truth.astype(np.float64)
    near[15:25, 25:27] = 1
    far[15:25, 38:40] = 1
    assert scored(near, truth).weighted_f > scored(far, truth).weighted_f + 0.02
    assert scored(near, truth).weighted_f == pytest.approx(pixel_by_pixel(near, truth), abs=1e-9)


def pixel_by_pixel(prediction: NDArray[np.float64], truth: NDArray[np.bool_]) -> float:
    """Weighted F with every distance measured, for maps that reach from 0 to 1 and in which no nearest pixel is in doubt."""
    error = np.abs(prediction - truth)
    places = np.argwhere(truth)
    squares = ((np.argwhere(np.ones_like(truth))[:, None] - places) ** 2).sum(-1)
    carried = error[tuple(places[squares.argmin(1)].T)].reshape(truth.shape)
    kernel = np.exp(-(np.arange(-3, 4) ** 2) / 50)
    kernel /= kernel.sum()
    padded = np.pad(carried, 3)
    smoothed = np.zeros_like(carried)
    for row in range(7):
        for column in range(7):
            part = padded[row : row + truth.shape[0], column : column + truth.shape[1]]
            smoothed += kernel[row] * kernel[column] * part
    error[truth] = np.minimum(error, smoothed)[truth]
    weight = 2 - 0.5 ** (np.sqrt(squares.min(1)).reshape(truth.shape) / 5)
    on_object, on_ground = error[truth].sum(), (error * weight)[~truth].sum()
    hits, recall = truth.sum() - on_object, 1 - on_object / truth.sum()
    precision = hits / (hits + on_ground)
    return float(2 * recall * precision / (recall + precision))


@pytest.mark.parametrize("box", [(0, 12, 0, 9), (9, 30, 20, 40), (5, 25, 0, 40), (0, 30, 0, 40)])
def test_an_object_at_the_edge_of_the_image_is_weighed_as_in_the_middle(box: tuple[int, int, int, int]) -> None:
    """Also where the surroundings of the object end at the image's border."""
    top, bottom, left, right = box
    truth = np.zeros((30, 40), bool)
    truth[top:bottom, left:right] = True
    prediction = np.random.default_rng(4).integers(0, 256, truth.shape) / 255
    prediction[15, 25:27] = 0, 1
    assert scored(prediction, truth).weighted_f == pytest.approx(pixel_by_pixel(prediction, truth), abs=1e-9)


def test_no_image_and_other_shapes_are_refused() -> None:
    with pytest.raises(LanternError, match="no image"):
        StructureMetrics().results()
    with pytest.raises(LanternError, match=r"shape \(3, 4\), the truth \(4, 3\)"):
        StructureMetrics().step(np.zeros((3, 4)), np.zeros((4, 3), bool))

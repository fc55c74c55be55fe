"""Scores against the published code's numbers and against thresholds tried one by one."""

from __future__ import annotations

import json
import math
from pathlib import Path

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from segmentation.errors import LanternError
from segmentation.metrics import SaliencyMetrics

FIXTURE = Path(__file__).parents[1] / "fixtures" / "metrics.npz"
Sample = tuple[NDArray[np.floating], NDArray[np.bool_]]


def fixture_samples() -> list[Sample]:
    with np.load(FIXTURE) as stored:
        return [(stored[f"pred_{i}"], stored[f"mask_{i}"]) for i in range(12)]


def scored(samples: list[Sample]) -> SaliencyMetrics:
    metrics = SaliencyMetrics()
    for prediction, truth in samples:
        metrics.step(prediction, truth)
    return metrics


def brute_force(samples: list[Sample]) -> tuple[float, float, float, list[float]]:
    """max F, IoU, accuracy and the F curve, from one comparison a threshold."""
    curves, ious, accuracies = [], [], []
    for prediction, truth in samples:
        values, curve = torch.from_numpy(prediction.copy()), []
        for t in range(255):
            above = (values > t / 255).numpy()
            hits = (above & truth).sum()
            precision = hits / above.sum() if above.any() else 1.0
            recall = hits / truth.sum() if truth.any() else 1.0
            weighted = 0.3 * precision + recall
            curve.append(1.3 * precision * recall / weighted if weighted else 0.0)
        chosen = prediction >= 0.5
        union = (chosen | truth).sum()
        curves.append(curve)
        ious.append((chosen & truth).sum() / union if union else 1.0)
        accuracies.append((chosen == truth).mean())
    mean = np.mean(curves, axis=0)
    return float(mean.max()), float(np.mean(ious)), float(np.mean(accuracies)), mean.tolist()


def test_scores_are_those_of_the_published_code() -> None:
    scores = scored(fixture_samples()).results()
    with np.load(FIXTURE) as stored:
        assert scores.max_f == pytest.approx(float(stored["f_max"]), abs=1e-6)
        assert scores.iou == pytest.approx(float(stored["iou"]), abs=1e-6)
        assert scores.accuracy == pytest.approx(float(stored["accuracy"]), abs=1e-6)
    assert (scores.images, scores.protocol) == (12, "voynov")


thresholds32 = [float(np.float32(t / 255)) for t in range(256)]
near_thresholds = [float(np.nextafter(np.float32(t), np.float32(to))) for t in thresholds32[1:-1] for to in (0, 1)]
levels32 = st.one_of(st.sampled_from([*thresholds32, *near_thresholds, 0.5]), st.floats(0, 1, width=32))
levels64 = st.one_of(st.sampled_from([t / 255 for t in range(256)]), st.floats(0, 1))


@st.composite
def samples_strategy(draw: st.DrawFn, dtype: type, levels: st.SearchStrategy[float]) -> list[Sample]:
    """One to three images of different shapes."""
    shapes = draw(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 6)), min_size=1, max_size=3))
    return [(draw(arrays.arrays(dtype, shape, elements=levels)), draw(arrays.arrays(np.bool_, shape))) for shape in shapes]


@settings(max_examples=40, deadline=None)
@given(samples=st.one_of(samples_strategy(np.float32, levels32), samples_strategy(np.float64, levels64)))
def test_scores_are_those_of_every_threshold_tried(samples: list[Sample]) -> None:
    max_f, iou, accuracy, curve = brute_force(samples)
    scores = scored(samples).results()
    assert scores.max_f == pytest.approx(max_f, abs=1e-12)
    assert scores.iou == pytest.approx(iou, abs=1e-12)
    assert scores.accuracy == pytest.approx(accuracy, abs=1e-12)
    assert curve[round(scores.threshold * 255)] == pytest.approx(max_f, abs=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_no_threshold_is_passed_too_early_or_too_late(dtype: type) -> None:
    """Two pixels can be told apart (F of 1) just if a threshold lies below the one and not below the other."""
    truth = np.array([[True, False]])
    for t in range(1, 255):
        at = dtype(t / 255)
        above, below = np.nextafter(at, dtype(1)), np.nextafter(at, dtype(0))
        assert scored([(np.array([[above, at]], dtype), truth)]).results().max_f == 1
        assert scored([(np.array([[at, below]], dtype), truth)]).results().max_f < 1


def test_halves_are_compared_as_single_precision() -> None:
    prediction = torch.rand(9, 9, generator=torch.Generator().manual_seed(1)).half()
    truth = prediction > 0.4
    wide, narrow = SaliencyMetrics(), SaliencyMetrics()
    wide.step(prediction.float(), truth)
    narrow.step(prediction, truth)
    assert narrow.results() == wide.results()
    assert narrow.results().max_f == 1


def test_empty_union_is_a_full_score() -> None:
    scores = scored([(np.zeros((4, 4), np.float32), np.zeros((4, 4), bool))]).results()
    assert (scores.max_f, scores.iou, scores.accuracy, scores.threshold) == (1, 1, 1, 0)


def test_nothing_predicted_where_something_is() -> None:
    truth = np.zeros((2, 5), bool)
    truth[0] = True
    scores = scored([(np.zeros((2, 5), np.float32), truth)]).results()
    assert (scores.max_f, scores.iou, scores.accuracy) == (0, 0, 0.5)


def test_merged_parts_score_as_the_whole() -> None:
    samples = fixture_samples()
    whole, part, rest = scored(samples), scored(samples[:5]), scored(samples[5:])
    part.merge(rest)
    first, second = part.results().to_json(), whole.results().to_json()
    for name in ("max_f", "iou", "accuracy", "threshold", "images"):
        assert first[name] == pytest.approx(second[name], abs=1e-12)
    assert rest.results() == scored(samples[5:]).results()


def test_results_are_json_and_do_not_end_the_gathering() -> None:
    metrics = scored(fixture_samples()[:1])
    before = metrics.results()
    assert json.loads(json.dumps(before.to_json())) == before.to_json()
    metrics.step(*fixture_samples()[1])
    assert metrics.results().images == 2
    assert metrics.results() != before


def test_arrays_in_any_layout_are_read() -> None:
    prediction, truth = fixture_samples()[0]
    frozen = prediction[::-1].copy()
    frozen.setflags(write=False)
    assert scored([(frozen[::-1], truth)]).results() == scored([(prediction, truth)]).results()


good, truth = np.full((3, 4), 0.5, np.float32), np.ones((3, 4), bool)


@pytest.mark.parametrize(
    ("prediction", "mask", "named"),
    [
        (good, truth.T, r"shape \(3, 4\), the truth \(4, 3\)"),
        (good[None], truth[None], r"\(1, 3, 4\)"),
        (good[:0], truth[:0], r"\(0, 4\)"),
        (good + 1, truth, "1.5"),
        (good - 1, truth, "-0.5"),
        (np.where(truth, np.float32("nan"), good), truth, "nan"),
        ((255 * good).astype(np.uint8), truth, "uint8"),
        (good, truth.astype(np.uint8), "uint8"),
        (good.astype(object), truth, "object"),
    ],
)
def test_unfit_maps_are_refused_and_leave_no_trace(
    prediction: NDArray[np.floating], mask: NDArray[np.bool_], named: str
) -> None:
    metrics = scored([(good, truth)])
    before = metrics.results()
    with pytest.raises(LanternError, match=named):
        metrics.step(prediction, mask)
    assert metrics.results() == before


@settings(max_examples=25, deadline=None)
@given(samples=samples_strategy(np.float32, levels32))
def test_the_other_protocols_are_those_of_brute_force(samples: list[Sample]) -> None:
    best, stretched, errors, raw = [], [], [], []
    for prediction, truth in samples:
        best.append(max(brute_force([(prediction, truth)])[3]))
        levels = np.rint(prediction * np.float32(255)).astype(float) / 255
        low, high = levels.min(), levels.max()
        levels = (levels - low) / (high - low) if high > low else levels
        errors.append(np.abs(levels - truth).mean())
        raw.append(np.abs(prediction.astype(float) - truth).mean())
        curve = []
        for level in range(256):
            above = (levels * 255).astype(int) >= level
            hits = (above & truth).sum()
            precision, recall = hits / max(above.sum(), 1), hits / max(truth.sum(), 1)
            curve.append(1.3 * precision * recall / (0.3 * precision + recall) if hits else 0.0)
        stretched.append(curve)
    scores = scored(samples).results()
    assert scores.max_f_of["per-image"] == pytest.approx(np.mean(best), abs=1e-12)
    assert scores.max_f_of["pysod"] == pytest.approx(np.mean(stretched, axis=0).max(), abs=1e-12)
    assert scores.max_f_of["voynov"] == scores.max_f
    assert scores.mae == pytest.approx(np.mean(raw), abs=1e-9)
    pysod = SaliencyMetrics("pysod")
    for sample in samples:
        pysod.step(*sample)
    assert pysod.results().mae == pytest.approx(np.mean(errors), abs=1e-12)
    assert pysod.results().max_f == scores.max_f_of["pysod"]


def test_the_precision_recall_curve_of_a_hand_made_case() -> None:
    prediction = np.array([[0.9, 0.9, 0.2, 0.2]], np.float32)
    metrics = scored([(prediction, np.array([[True, False, True, False]]))])
    precision, recall = metrics.curve()
    assert (precision[0], recall[0]) == (0.5, 1) and (precision[100], recall[100]) == (0.5, 0.5)
    assert (precision[254], recall[254]) == (1, 0)
    assert metrics.results().mae == pytest.approx((0.1 + 0.9 + 0.8 + 0.2) / 4)


def test_the_three_protocols_differ_where_they_should() -> None:
    """A weak but right map: full marks once it is stretched, or thresholded where it is best."""
    truth = np.zeros((6, 6), bool)
    truth[1:4, 1:5] = True
    weak, strong = np.where(truth, 0.3, 0.1).astype(np.float32), np.where(truth, 0.9, 0.6).astype(np.float32)
    scores = scored([(weak, truth), (strong, truth)]).results()
    assert scores.max_f_of["per-image"] == scores.max_f_of["pysod"] == 1
    assert scores.max_f_of["voynov"] < 0.9


def test_empty_truths_are_counted() -> None:
    assert scored([(good, truth), (good, ~truth)]).empty == 1


def test_no_image_and_other_protocols_are_refused() -> None:
    with pytest.raises(LanternError, match="no image"):
        SaliencyMetrics().results()
    with pytest.raises(LanternError, match="voynov, per-image, pysod"):
        SaliencyMetrics("best")
    with pytest.raises(LanternError, match="voynov and pysod cannot be merged"):
        SaliencyMetrics().merge(SaliencyMetrics("pysod"))


def test_a_single_nan_is_seen() -> None:
    prediction = np.full((50, 50), 0.25, np.float32)
    prediction[31, 17] = math.nan
    with pytest.raises(LanternError, match="finite"):
        SaliencyMetrics().step(prediction, np.ones((50, 50), bool))

"""MaxBoxAcc, MaxBoxAccV2 and PxAP against thresholds tried one by one, and hand-made cases."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from segmentation.errors import LanternError
from segmentation.localisation import SIDE, LocalisationMetrics, box_overlaps
from segmentation.truths import Box

RNG = np.random.default_rng(3)


def iou(first: Box, second: Box) -> float:
    """By drawing both boxes."""
    drawn = np.zeros((2, 300, 300), bool)
    for part, (x0, y0, x1, y1) in zip(drawn, (first, second), strict=True):
        part[y0 : y1 + 1, x0 : x1 + 1] = True
    return float((drawn[0] & drawn[1]).sum() / (drawn[0] | drawn[1]).sum())


def by_thresholds(levels: NDArray[np.uint8], boxes: list[Box]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    largest, best = np.zeros(256), np.zeros(256)
    for threshold in range(256):
        labels, count = ndimage.label(levels > threshold, np.ones((3, 3)))
        found: list[tuple[int, float]] = []
        for number, (rows, columns) in enumerate(ndimage.find_objects(labels), 1):
            box = (columns.start, rows.start, columns.stop - 1, rows.stop - 1)
            found.append((int((labels == number).sum()), max(iou(box, true) for true in boxes)))
        if count:
            best[threshold] = max(overlap for _, overlap in found)
            area = max(size for size, _ in found)
            # Of components of the same size either may be taken.
            assert len({overlap for size, overlap in found if size == area}) <= 2
            largest[threshold] = next(overlap for size, overlap in found[::-1] if size == area)
    return largest, best


@pytest.mark.parametrize("seed", range(4))
def test_all_thresholds_at_once_are_those_tried_one_by_one(seed: int) -> None:
    noise = np.random.default_rng(seed).random((40, 50))
    smooth = ndimage.gaussian_filter(noise, (3, 1.5, 1, 2)[seed])
    levels = ((smooth - smooth.min()) / (smooth.max() - smooth.min()) * 255).astype(np.uint8)
    boxes: list[Box] = [(10, 8, 30, 25), (35, 3, 45, 12)]
    largest, best = box_overlaps(levels, np.array(boxes))
    expected_largest, expected_best = by_thresholds(levels, boxes)
    assert np.allclose(best, expected_best, atol=1e-12)
    differ = np.abs(largest - expected_largest) > 1e-12
    for threshold in np.nonzero(differ)[0]:
        labels, _ = ndimage.label(levels > threshold, np.ones((3, 3)))
        sizes = np.sort(np.bincount(labels.ravel())[1:])
        assert sizes[-1] == sizes[-2], f"another component than the largest was taken at {threshold}"


def blob(box: Box, value: float = 1.0, ground: float = 0.0) -> NDArray[np.float32]:
    image = np.full((SIDE, SIDE), ground, np.float32)
    image[box[1] : box[3] + 1, box[0] : box[2] + 1] = value
    return image


def test_a_right_box_and_a_wrong_one() -> None:
    true: Box = (40, 50, 139, 149)
    metrics = LocalisationMetrics()
    metrics.step(blob(true), [true])
    metrics.step(blob((0, 0, 20, 20)), [true, (200, 200, 220, 220)])
    scores = metrics.results()
    assert (scores.max_box_acc, scores.max_box_acc_v2, scores.images) == (0.5, 0.5, 2)
    assert math.isnan(scores.px_ap) and scores.to_json()["px_ap"] is None


def test_the_second_version_counts_any_component_and_three_overlaps() -> None:
    """The largest component is wrong, a smaller one overlaps its box by 0.6: right for 0.3 and 0.5, not for 0.7."""
    image = np.maximum(blob((0, 0, 99, 99)), blob((150, 150, 199, 179)))
    metrics = LocalisationMetrics()
    metrics.step(image, [(150, 150, 199, 199)])
    scores = metrics.results()
    assert scores.max_box_acc == 0 and scores.max_box_acc_v2 == pytest.approx(2 / 3)


def test_one_threshold_is_taken_for_all_images() -> None:
    true: Box = (40, 50, 139, 149)
    low, high = blob(true, 0.4), blob(true, 1.0, 0.6)
    low[0, 0] = high[0, 0] = 1.0
    low[-1, -1] = high[-1, -1] = 0.0
    # Above 0.4 the first is lost, below 0.6 the second is one component: no threshold serves both.
    metrics = LocalisationMetrics()
    for image in (low, high):
        metrics.step(image, [true])
    assert metrics.results().max_box_acc == 0.5


def test_boxes_are_scaled_with_their_image() -> None:
    metrics = LocalisationMetrics()
    image = np.zeros((100, 400), np.float32)
    image[20:60, 100:300] = 1
    metrics.step(image, [(100, 20, 299, 59)])
    assert metrics.results().max_box_acc == 1


def average_precision(scores: NDArray[np.float32], truth: NDArray[np.bool_]) -> float:
    """By every distinct score as a threshold."""
    area, before = 0.0, 0.0
    for threshold in np.unique(scores)[::-1]:
        above = scores >= threshold
        recall = (above & truth).sum() / truth.sum()
        area += (above & truth).sum() / above.sum() * (recall - before)
        before = recall
    return float(area)


def test_px_ap_pools_the_pixels_of_all_images_and_leaves_out_what_is_ignored() -> None:
    metrics, scores, truths = LocalisationMetrics(), [], []
    for _ in range(2):
        steps = RNG.integers(0, 11, (SIDE, SIDE))
        steps[0, :2] = 0, 10
        prediction = (steps / 10 * 0.5 + 0.25).astype(np.float32)
        truth = steps + RNG.integers(-6, 7, (SIDE, SIDE)) > 5
        ignored = RNG.random((SIDE, SIDE)) < 0.3
        metrics.step(prediction, truth=truth, ignored=ignored)
        counted = ~ignored | truth
        scores.append(((steps / 10).astype(np.float32))[counted])
        truths.append(truth[counted])
    expected = average_precision(np.concatenate(scores), np.concatenate(truths))
    assert metrics.results().px_ap == pytest.approx(expected, abs=1e-3)
    assert 0.5 < expected < 0.95


def test_ignored_pixels_cannot_hurt() -> None:
    truth = blob((40, 50, 139, 149)) > 0
    wrong = np.maximum(truth, blob((150, 150, 199, 199)) > 0).astype(np.float32)
    strict, lenient = LocalisationMetrics(), LocalisationMetrics()
    strict.step(wrong, truth=truth)
    lenient.step(wrong, truth=truth, ignored=blob((150, 150, 223, 223)) > 0)
    assert lenient.results().px_ap == 1 > 0.9 > strict.results().px_ap


def test_merged_parts_score_as_the_whole() -> None:
    whole, parts = LocalisationMetrics(), (LocalisationMetrics(), LocalisationMetrics())
    for number in range(4):
        prediction = ndimage.gaussian_filter(RNG.random((60, 70)), 3)
        truth = prediction > np.quantile(prediction, 0.8)
        for metrics in (whole, parts[number % 2]):
            metrics.step(prediction, [(10, 10, 40, 40)], truth)
    parts[0].merge(parts[1])
    assert parts[0].results().to_json() == pytest.approx(whole.results().to_json(), abs=1e-12)


def test_an_even_map_has_no_box() -> None:
    metrics = LocalisationMetrics()
    metrics.step(np.full((30, 30), 0.7, np.float32), [(0, 0, 29, 29)])
    assert metrics.results().max_box_acc == 0


def test_unfit_maps_are_refused() -> None:
    with pytest.raises(LanternError, match=r"shape \(3, 4\), the truth \(4, 3\)"):
        LocalisationMetrics().step(np.zeros((3, 4)), truth=np.zeros((4, 3), bool))
    with pytest.raises(LanternError, match=r"outside \[0, 1\]"):
        LocalisationMetrics().step(np.full((3, 4), np.nan))
    with pytest.raises(LanternError, match="no image"):
        LocalisationMetrics().results()

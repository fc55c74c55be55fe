"""Refinement against sums over all pixel pairs, and maps whose edge is a little off."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from segmentation.errors import LanternError
from segmentation.refinement import KINDS, RefinementConfig, refine


def scene() -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    rows, columns = np.indices((48, 64))
    disc = (rows - 24) ** 2 + (columns - 30) ** 2 < 14**2
    noise = np.random.default_rng(0).integers(-6, 7, (48, 64, 1))
    return (np.where(disc[..., None], 200, 60) + noise + np.zeros(3)).clip(0, 255).astype(np.uint8), disc


def pairwise_means(image: NDArray[np.uint8], values: NDArray[np.float32], config: RefinementConfig) -> NDArray[np.float64]:
    """By all pairs of pixels."""
    height, width = values.shape
    luma = (image @ np.array([0.299, 0.587, 0.114]) / 255).ravel()
    rows, columns = (axis.ravel() for axis in np.indices((height, width)))
    reach = config.space * max(height, width)
    near = ((rows[:, None] - rows) ** 2 + (columns[:, None] - columns) ** 2) / reach**2
    weights = np.exp(-(near + (luma[:, None] - luma) ** 2 / config.light**2) / 2)
    means: NDArray[np.float64] = (weights @ values.ravel() / weights.sum(1)).reshape(height, width)
    return means


def test_the_grid_gives_about_what_all_pairs_give() -> None:
    image, disc = scene()
    image, disc = image[::2, ::2], disc[::2, ::2]
    values = np.random.default_rng(1).random(disc.shape).astype(np.float32) * 0.5 + 0.4 * disc
    config = RefinementConfig("bilateral", space=0.12)
    exact = pairwise_means(image, values, config)
    found = refine(image, values, config)
    assert np.abs(found - exact).mean() < 0.02 and np.corrcoef(found.ravel(), exact.ravel())[0, 1] > 0.99


@pytest.mark.parametrize("kind", ["bilateral", "crf"])
def test_a_map_that_is_a_little_off_is_drawn_to_the_edge(kind: str) -> None:
    image, disc = scene()
    off = np.roll(disc, (2, 3), (0, 1)).astype(np.float32) * 0.8 + 0.1
    refined = refine(image, off, RefinementConfig(kind, space=0.1))
    assert refined.dtype == np.float32 and refined.min() >= 0 and refined.max() <= 1

    def overlap(saliency: NDArray[np.float32]) -> float:
        chosen = saliency >= 0.5
        return float((chosen & disc).sum() / (chosen | disc).sum())

    assert overlap(refined) > overlap(off) + 0.05


def test_nothing_is_done_unless_asked_for() -> None:
    image, disc = scene()
    saliency = disc.astype(np.float32)
    assert refine(image, saliency, RefinementConfig()) is saliency
    assert [RefinementConfig(kind).title for kind in KINDS] == ["", "bilateral refinement", "CRF-like refinement"]


def test_other_shapes_and_kinds_are_refused() -> None:
    with pytest.raises(LanternError, match=r"\(4, 5, 3\), the saliency \(5, 4\)"):
        refine(np.zeros((4, 5, 3), np.uint8), np.zeros((5, 4), np.float32), RefinementConfig("crf"))
    with pytest.raises(LanternError, match="none, bilateral, crf"):
        RefinementConfig("dense")

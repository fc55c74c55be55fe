"""The horses of Weizmann, 328 photographs with masks made by hand: scores of a baseline that were measured elsewhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from segmentation.datasets import MaskedImages
from segmentation.inference import load_segmenter
from segmentation.metrics import SaliencyMetrics

NETWORK = Path(__file__).resolve().parents[2] / "assets" / "unet.safetensors"


@pytest.fixture(scope="module")
def horses(data_folder: Path) -> MaskedImages:
    return MaskedImages(data_folder / "weizmann_horses" / "images", data_folder / "weizmann_horses" / "masks")


def centred_gaussian(height: int, width: int) -> NDArray[np.float32]:
    """1 in the middle; its deviation is a quarter of each side."""
    down, across = ((np.arange(side) + 0.5) / side - 0.5 for side in (height, width))
    saliency: NDArray[np.float32] = np.exp(-8 * (down[:, None] ** 2 + across**2)).astype(np.float32)
    return saliency


def test_a_gaussian_in_the_middle_scores_what_it_scores_elsewhere(horses: MaskedImages) -> None:
    metrics = SaliencyMetrics()
    for _, _, mask, _ in horses:
        metrics.step(centred_gaussian(*mask.shape), mask)
    scores = metrics.results()
    assert scores.images == 328
    assert scores.max_f == pytest.approx(0.609, abs=0.005)
    assert scores.iou == pytest.approx(0.426, abs=0.01)


def test_the_shipped_network_finds_horses(horses: MaskedImages) -> None:
    segmenter, metrics = load_segmenter(NETWORK), SaliencyMetrics()
    for index in range(0, len(horses), len(horses) // 40):
        _, image, mask, _ = horses[index]
        metrics.step(segmenter.saliency(image), mask)
    assert metrics.results().images >= 40
    assert metrics.results().iou > 0.3

"""Border colour: hand-made images with a known answer, and the horses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from segmentation.baselines.border_colour import border_colour_saliency, otsu_masks
from segmentation.datasets import MaskedImages
from segmentation.errors import LanternError
from segmentation.metrics import SaliencyMetrics


def disc(inside: float, outside: float) -> tuple[torch.Tensor, torch.Tensor]:
    axis = torch.arange(40) - 19.5
    mask = (axis[:, None] ** 2 + axis**2) < 100
    noise = 0.05 * torch.randn(1, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    return torch.where(mask, inside, outside) + noise, mask


@pytest.mark.parametrize(("inside", "outside"), [(0.7, -0.5), (-0.7, 0.5)])
def test_a_disc_is_found_whether_it_is_lighter_or_darker(inside: float, outside: float) -> None:
    image, mask = disc(inside, outside)
    saliency = border_colour_saliency(image)
    found = otsu_masks(saliency)[0]
    assert float(saliency.max()) == 1
    assert float(saliency.min()) >= 0
    assert (found & mask).sum() / (found | mask).sum() > 0.97


def test_a_pixel_is_weighed_as_the_formula_says() -> None:
    image = torch.randn(1, 3, 20, 30, generator=torch.Generator().manual_seed(1)) * 0.3
    pixels = image[0].double().numpy().transpose(1, 2, 0)
    border = np.concatenate([pixels[0], pixels[-1], pixels[1:-1, 0], pixels[1:-1, -1]])
    inverse = np.linalg.inv(np.cov(border.T) + 4e-3 * np.eye(3))

    def expected(row: int, column: int) -> float:
        away = pixels[row, column] - border.mean(0)
        place = ((row + 0.5) / 20 - 0.5) ** 2 + ((column + 0.5) / 30 - 0.5) ** 2
        return float(np.sqrt(away @ inverse @ away) * np.exp(-place / (2 * 0.35**2)))

    saliency = border_colour_saliency(image)[0]
    assert float(saliency[7, 11] / saliency[15, 3]) == pytest.approx(expected(7, 11) / expected(15, 3), rel=1e-5)


def test_an_image_of_one_colour_has_no_saliency() -> None:
    saliency = border_colour_saliency(torch.full((2, 3, 16, 16), 0.25))
    assert saliency.max() == 0
    assert not otsu_masks(saliency).any()


def test_another_shape_is_refused() -> None:
    with pytest.raises(LanternError, match="shape"):
        border_colour_saliency(torch.zeros(3, 16, 16))


def test_the_horses_score_as_they_did(data_folder: Path) -> None:
    horses = MaskedImages(data_folder / "weizmann_horses" / "images", data_folder / "weizmann_horses" / "masks")
    metrics = SaliencyMetrics()
    for _, image, mask, _ in horses:
        tensor = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 127.5 - 1
        metrics.step(otsu_masks(border_colour_saliency(tensor))[0].float(), mask)
    scores = metrics.results()
    assert scores.max_f == pytest.approx(0.758, abs=0.002)
    assert scores.iou == pytest.approx(0.582, abs=0.002)
    assert scores.accuracy == pytest.approx(0.868, abs=0.002)

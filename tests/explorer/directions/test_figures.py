from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from explorer.directions.figures import (
    STEADY,
    Unshifted,
    affine_fit,
    beyond_chance,
    measure,
    off_diagonal,
    overlap_table,
    symmetry_of_sign,
)
from segmentation.filters import FilterConfig, filter_pairs
from segmentation.masks import grey


def fields(count: int, seed: int) -> Tensor:
    return torch.rand(count, 12, 12, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def masks(count: int, seed: int, share: float = 0.4) -> Tensor:
    return torch.rand(count, 12, 12, generator=torch.Generator().manual_seed(seed)) < share


def regression(before: NDArray[np.float64], after: NDArray[np.float64]) -> tuple[float, float]:
    """The squared error of the fit of pixels (P,), and its value at mid grey, from the normal equations' augmented rows."""
    pull = (len(before) * STEADY) ** 0.5
    rows = np.vstack([np.stack([before, np.ones_like(before)], 1), [[pull, 0]]])
    (slope, offset), *_ = np.linalg.lstsq(rows, np.append(after, pull), rcond=None)
    return float(((after - slope * before - offset) ** 2).sum()), float(np.clip(offset, -1, 1))


def test_the_affine_fit_is_the_regression_on_either_side() -> None:
    before, mask = fields(5, 0), masks(5, 2)
    after = 0.6 * before + 0.3 * mask + 0.2 * fields(5, 1)
    found = affine_fit(before, after, mask.float())
    for index in range(5):
        x, y, inside = (t[index].double().numpy() if t.is_floating_point() else t[index].numpy() for t in (before, after, mask))
        (left, high), (more, low) = regression(x[inside], y[inside]), regression(x[~inside], y[~inside])
        assert found.residual[index].item() == pytest.approx((left + more) / ((y - y.mean()) ** 2).sum(), abs=1e-4)
        assert found.separation[index].item() == pytest.approx(high - low, abs=1e-4)


def test_pure_light_leaves_nothing_and_is_as_far_apart_as_its_two_maps() -> None:
    before, mask = fields(3, 0), masks(3, 1)
    after = torch.where(mask, before + 0.4, before - 0.3)
    found = affine_fit(before, after, mask.float())
    assert found.residual.max() < 1e-5
    assert torch.allclose(found.separation, torch.full((3,), 0.7), atol=1e-4)


def test_another_picture_is_no_light() -> None:
    found = affine_fit(fields(3, 0), fields(3, 1), masks(3, 2).float())
    assert found.residual.min() > 0.9


def test_a_region_of_one_grey_is_taken_to_keep_its_slope() -> None:
    mask = masks(1, 3)
    before = torch.where(mask, torch.tensor(0.5), torch.tensor(-0.25))
    found = affine_fit(before, before + 0.25 * mask, mask.float())
    assert found.separation.item() == pytest.approx(0.25, abs=1e-5)
    assert found.residual.item() == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_with_one_side_only_nothing_is_apart(share: float) -> None:
    mask = torch.full((2, 12, 12), share)
    found = affine_fit(fields(2, 0), fields(2, 0) + 0.2, mask)
    assert found.separation.tolist() == [0, 0]
    assert found.residual.max() < 1e-5


def brute_overlap(first: Tensor, second: Tensor) -> float:
    a = {tuple(place) for place in first.nonzero().tolist()}
    b = {tuple(place) for place in second.nonzero().tolist()}
    return len(a & b) / len(a | b) if a | b else 0.0


def test_overlaps_are_those_of_sets_of_pixels() -> None:
    first, second = masks(4, 0), masks(4, 1, 0.7)
    first[2] = second[1] = False
    table = overlap_table(first, second)
    expected = [[brute_overlap(a, b) for b in second] for a in first]
    assert torch.allclose(table, torch.tensor(expected))
    assert off_diagonal(table) == pytest.approx(np.mean([expected[i][j] for i in range(4) for j in range(4) if i != j]))


def test_a_mask_that_takes_no_notice_of_the_image_follows_nothing() -> None:
    objects = masks(6, 0)
    assert beyond_chance(overlap_table(masks(1, 1).expand(6, -1, -1), objects)) == pytest.approx(0, abs=1e-6)
    assert beyond_chance(overlap_table(objects, objects)) == pytest.approx(1)
    assert beyond_chance(overlap_table(objects.roll(1, 0), objects)) < 0
    assert beyond_chance(torch.ones(1, 1)) == beyond_chance(torch.ones(4, 4)) == off_diagonal(torch.ones(1, 1)) == 0


def test_the_symmetry_of_sign_is_the_overlap_with_the_complement() -> None:
    forth, back = masks(4, 0), masks(4, 1)
    back[0] = ~forth[0]
    found = symmetry_of_sign(forth, back)
    assert found[0] == 1
    assert found.tolist() == pytest.approx([brute_overlap(a, ~b) for a, b in zip(forth, back, strict=True)])


def test_the_figures_of_pairs_are_what_their_names_say() -> None:
    source = torch.Generator().manual_seed(4)
    images, change = (torch.rand(6, 3, 16, 16, generator=source) * 2 - 1 for _ in range(2))
    shifted = (images + 0.5 * change).clamp(-1, 1)
    config = FilterConfig(histogram=False, max_area=0.52)
    found, verdicts = measure(Unshifted.of(images), shifted, config), filter_pairs(images, shifted, config)
    assert found.accepted.mean().item() == pytest.approx(verdicts.acceptance_rate)
    assert 0 < verdicts.acceptance_rate < 1
    assert torch.equal(found.raw_mask, verdicts.raw_mask)
    before, after = grey(images).numpy(), grey(shifted).numpy()
    for index, mask in enumerate(verdicts.mask.numpy()):
        raw, moved = after[index] > before[index], after[index] - before[index]
        assert found.area[index].item() == pytest.approx(mask.mean())
        assert found.lighter[index].item() == pytest.approx(moved[raw].mean(), abs=1e-5)
        assert found.darker[index].item() == pytest.approx(-moved[~raw].mean(), abs=1e-5)
        steep = [
            np.hypot(np.diff(g, axis=1, append=g[:, -1:]), np.diff(g, axis=0, append=g[-1:]))
            for g in (before[index], after[index])
        ]
        assert found.edges[index].item() == pytest.approx(np.corrcoef(steep[0].ravel(), steep[1].ravel())[0, 1], abs=1e-4)
        axis = (np.arange(16) + 0.5) / 16 - 0.5
        middle = np.exp(-(axis[:, None] ** 2 + axis**2) / (2 * 0.25**2))
        assert found.centre[index].item() == pytest.approx(np.corrcoef(mask.ravel(), middle.ravel())[0, 1], abs=1e-4)

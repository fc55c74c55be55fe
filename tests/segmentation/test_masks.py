"""Masks against the published code's and against arithmetic written out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from segmentation.errors import LanternError
from segmentation.masks import grey, raw_masks

FIXTURE = Path(__file__).parents[1] / "fixtures" / "masks.npz"


def test_masks_are_those_of_the_published_code() -> None:
    with np.load(FIXTURE) as pairs:
        masks = raw_masks(torch.from_numpy(pairs["image"]), torch.from_numpy(pairs["shifted"]))
        assert masks.dtype == torch.bool
        np.testing.assert_array_equal(masks.numpy(), pairs["raw_mask"].astype(bool))


def test_grey_weighs_the_channels() -> None:
    images = torch.zeros(3, 3, 2, 5)
    images[0, 0], images[1, 1], images[2, 2] = 1.0, 1.0, -0.5
    levels = grey(images)
    assert levels.shape == (3, 2, 5)
    expected = torch.tensor([0.2989, 0.5870, -0.0570])[:, None, None].expand(3, 2, 5)
    torch.testing.assert_close(levels, expected)


def test_grey_lets_gradients_through() -> None:
    images = torch.zeros(1, 3, 1, 1, requires_grad=True)
    grey(images).sum().backward()
    assert images.grad is not None
    torch.testing.assert_close(images.grad.view(-1), torch.tensor([0.2989, 0.5870, 0.1140]))


def test_equal_pixels_are_background() -> None:
    images = torch.rand(2, 3, 8, 8) * 2 - 1
    assert not raw_masks(images, images.clone()).any()


def test_half_precision_is_compared_in_single_precision() -> None:
    images = torch.full((1, 3, 1, 1), 0.5, dtype=torch.bfloat16)
    shifted = images.clone()
    shifted[0, 2] += 2**-8
    assert (grey(shifted) - grey(images)).item() == pytest.approx(0.1140 * 2**-8, rel=1e-3)
    assert raw_masks(images, shifted).all()


@pytest.mark.parametrize(
    ("first", "second", "named"),
    [
        ((2, 3, 4, 4), (2, 3, 4, 5), r"\(2, 3, 4, 5\)"),
        ((2, 1, 4, 4), (2, 1, 4, 4), r"\(2, 1, 4, 4\)"),
        ((3, 4, 4), (3, 4, 4), "batch"),
    ],
)
def test_other_shapes_are_refused(first: tuple[int, ...], second: tuple[int, ...], named: str) -> None:
    with pytest.raises(LanternError, match=named):
        raw_masks(torch.zeros(first), torch.zeros(second))

"""Samples changed at random: what is done to an image is done to its mask."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from segmentation.augmentation import AugmentationConfig, augment_pairs
from segmentation.errors import LanternError


def source(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def squares(count: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    """White squares, in the left half and longer than wide, on grey grounds of 32 px; and their masks."""
    masks = torch.zeros(count, 32, 32, dtype=torch.bool)
    masks[:, 10:22, 6:14] = True
    return torch.where(masks[:, None], 1.0, -0.2).expand(count, 3, 32, 32), masks


def seen(images: torch.Tensor) -> torch.Tensor:
    """Where the squares are, by their lightness."""
    return images.mean(1) > 0.4


def test_by_default_nothing_changes() -> None:
    images, masks = squares()
    changed, moved = augment_pairs(images, masks, AugmentationConfig(), source())
    assert changed is images and moved is masks


def test_half_of_the_images_are_mirrored_exactly() -> None:
    images, masks = squares(400)
    changed, moved = augment_pairs(images, masks, AugmentationConfig(flips=True), source())
    mirrored = moved[:, 15, 20]
    assert 0.42 < mirrored.float().mean() < 0.58
    for way, flipped in ((~mirrored, masks), (mirrored, masks.flip(2))):
        assert torch.equal(moved[way], flipped[way])
        assert torch.allclose(changed[way].mean(1), torch.where(flipped[way], 1.0, -0.2), atol=1e-4)


@pytest.mark.parametrize(
    "options", [{"crop": 0.6}, {"crop": 0.8, "stretch": 1.5}, {"flips": True, "crop": 0.7, "stretch": 1.3}]
)
def test_masks_go_where_their_objects_go(options: dict[str, Any]) -> None:
    images, masks = squares()
    changed, moved = augment_pairs(images, masks, AugmentationConfig(**options), source())
    assert changed.shape == images.shape and moved.dtype == torch.bool
    assert torch.equal(moved, seen(changed))
    assert len({mask.numpy().tobytes() for mask in moved}) > 50


def test_a_crop_scales_by_what_it_says_and_never_leaves_the_image() -> None:
    images, masks = squares(800)
    _, moved = augment_pairs(images, masks, AugmentationConfig(crop=0.5), source())
    whole = moved[moved.flatten(1).any(1)]
    assert whole.float().mean((1, 2)).max().item() <= 4 * masks[0].float().mean().item() * 1.05
    ramp = torch.linspace(-1, 1, 32).expand(800, 3, 32, 32)
    cut, _ = augment_pairs(ramp, masks, AugmentationConfig(crop=0.5), source())
    # Steps between neighbours tell the scale; a part beyond the border would be flat.
    steps = cut[:, 0, 16].diff(dim=1) / (2 / 31)
    inner = steps[:, 1:-1]
    assert inner.min() > 0.49 and inner.max() < 1.01
    assert 0.7 < inner.mean() < 0.8


def test_stretching_changes_the_ratio_of_sides_both_ways() -> None:
    across, down = torch.linspace(-1, 1, 32).expand(400, 3, 32, 32), torch.linspace(-1, 1, 32)[:, None].expand(400, 3, 32, 32)
    masks, config = torch.zeros(400, 32, 32, dtype=torch.bool), AugmentationConfig(crop=0.6, stretch=1.5)
    # The same source gives the same changes.
    wide, high = (augment_pairs(ramp, masks, config, source(4))[0] for ramp in (across, down))
    ratio = wide[:, 0, 16, 1:-1].diff(dim=1).mean(1) / high[:, 0, 1:-1, 16].diff(dim=1).mean(1)
    assert ratio.min() > 1 / 1.52 and ratio.max() < 1.52
    assert (ratio < 0.85).any() and (ratio > 1.18).any()


def test_colours_change_and_masks_stay() -> None:
    images, masks = squares(500)
    changed, moved = augment_pairs(0.5 * images, masks, AugmentationConfig(colour=0.1), source())
    assert moved is masks
    assert changed.min() >= -1 and changed.max() <= 1
    brightness = changed.mean((1, 2, 3)) - 0.5 * images.mean((1, 2, 3))
    # Brightness and the mean of three tints of half its strength.
    assert brightness.std().item() == pytest.approx(0.1 * (1 + 0.25 / 3) ** 0.5, rel=0.1)
    tint = changed.mean((2, 3)) - changed.mean((1, 2, 3))[:, None]
    assert tint.std().item() == pytest.approx(0.05 * (2 / 3) ** 0.5, rel=0.15)
    inside, outside = ((changed.mean(1) * part).sum((1, 2)) / part.sum((1, 2)) for part in (masks, ~masks))
    assert ((inside - outside) / 0.6).log().std().item() == pytest.approx(0.1, rel=0.15)


def test_negatives_turn_lightness_round_and_keep_colours() -> None:
    images, masks = squares(400)
    tinted = images * 0.5 + torch.tensor([0.2, 0.0, -0.2])[:, None, None]
    changed, moved = augment_pairs(tinted, masks, AugmentationConfig(negatives=0.25), source())
    assert moved is masks
    grey, before = changed.mean(1), tinted.mean(1)
    turned = torch.isclose(grey, -before, atol=1e-5).flatten(1).all(1)
    assert torch.equal(changed[~turned], tinted[~turned])
    assert 0.18 < turned.float().mean() < 0.32
    assert torch.allclose(changed - grey[:, None], tinted - before[:, None], atol=1e-5)


def test_a_blur_is_the_gaussian_that_scipy_makes_and_each_image_has_its_own() -> None:
    points = torch.zeros(300, 3, 33, 33)
    points[:, :, 16, 16] = 1.0
    masks = torch.zeros(300, 33, 33, dtype=torch.bool)
    changed, moved = augment_pairs(points, masks, AugmentationConfig(blur=2.0), source())
    assert moved is masks
    numbers = source()
    torch.rand(300, 5, generator=numbers)  # the parts that are seen come first
    widths = torch.rand(300, generator=numbers) * 2
    for index in (0, 1, 2, 3):
        filtered = gaussian_filter(points[index, 0].numpy(), float(widths[index]), mode="mirror", radius=6)
        assert np.allclose(changed[index, 0].numpy(), filtered, atol=1e-4)
    assert changed.sum((2, 3)).sub(1).abs().max() < 1e-4


def test_a_blur_takes_images_smaller_than_itself() -> None:
    images, masks = torch.rand(2, 3, 4, 4), torch.zeros(2, 4, 4, dtype=torch.bool)
    changed, _ = augment_pairs(images, masks, AugmentationConfig(blur=8.0), source())
    assert changed.shape == images.shape and changed.isfinite().all()


def test_noise_has_the_strengths_it_says_and_stays_in_range() -> None:
    images, masks = torch.zeros(500, 3, 32, 32), torch.zeros(500, 32, 32, dtype=torch.bool)
    changed, moved = augment_pairs(images, masks, AugmentationConfig(noise=0.2), source())
    assert moved is masks
    strengths = changed.flatten(1).std(1)
    assert strengths.max() < 0.21
    assert strengths.mean().item() == pytest.approx(0.1, rel=0.1)
    light, _ = augment_pairs(images + 1, masks, AugmentationConfig(noise=1.0), source())
    assert light.max() == 1 and light.min() >= -1


def test_the_source_says_what_happens() -> None:
    images, masks = squares(8)
    config = AugmentationConfig(flips=True, crop=0.7, stretch=1.2, colour=0.1, negatives=0.5, blur=1.0, noise=0.2)
    first, again, other = (augment_pairs(images, masks, config, source(seed))[0] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_share_of_a_batch_is_changed_as_in_the_whole() -> None:
    images, masks = squares(8)
    config = AugmentationConfig(flips=True, crop=0.7, stretch=1.2, colour=0.1, negatives=0.5, blur=1.0, noise=0.2)
    whole = augment_pairs(images, masks, config, source())
    rows = [1, 4, 7]
    share = augment_pairs(images[rows], masks[rows], config, source(), rows, 8)
    assert all(torch.equal(all_of[rows], some) for all_of, some in zip(whole, share, strict=True))


@pytest.mark.parametrize(
    "values",
    [
        {"crop": 0.05},
        {"crop": 1.1},
        {"stretch": 0.9},
        {"colour": -0.1},
        {"colour": 2},
        {"negatives": 1.1},
        {"blur": -1},
        {"noise": 3},
    ],
)
def test_changes_out_of_range_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(LanternError):
        AugmentationConfig(**values)

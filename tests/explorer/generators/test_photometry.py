from __future__ import annotations

import torch

from explorer.generators.photometry import randomise_light
from explorer.generators.seeds import Draws, source_for


def test_it_follows_its_source_and_keeps_the_range() -> None:
    images = torch.rand(6, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    first, again, other = (randomise_light(images, Draws(source_for(seed))) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.shape == images.shape
    assert first.abs().max() <= 1.5


def test_whether_the_object_is_lighter_than_its_ground_can_no_longer_be_told() -> None:
    images = torch.full((2000, 3, 16, 16), -0.4)
    images[:, :, 4:12, 4:12] = 0.4
    lit = randomise_light(images, Draws(source_for(0))).mean(1)
    inside = lit[:, 4:12, 4:12].mean((1, 2))
    outside = (lit.sum((1, 2)) - lit[:, 4:12, 4:12].sum((1, 2))) / (256 - 64)
    lighter = (inside > outside).float().mean()
    assert 0.45 < lighter < 0.55
    assert (inside - outside).abs().mean() > 0.2


def test_edges_stay_where_they_are() -> None:
    images = torch.zeros(50, 3, 64, 64)
    images[:, :, :, 32:] = 0.8
    lit = randomise_light(images, Draws(source_for(4))).mean(1)
    steps = (lit[:, :, 1:] - lit[:, :, :-1]).abs().mean(1)
    assert ((steps.argmax(1) == 31).float().mean()) > 0.8

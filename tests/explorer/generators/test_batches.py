"""Which photographs a batch shows, and what the light in them does."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from explorer.generators.batches import Batches, mirrored
from explorer.generators.photographs import load_photographs, to_signed
from explorer.generators.pocket import PocketConfig
from explorer.generators.recipe import FitConfig
from explorer.generators.seeds import Draws, source_for
from segmentation.baselines.standing_out import standing_out
from tests.explorer.generators.discs import draw_discs

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def discs(tmp_path_factory: pytest.TempPathFactory) -> torch.Tensor:
    folder = tmp_path_factory.mktemp("discs")
    draw_discs(folder, 48)
    return load_photographs(folder, 64)[0]


def batches(photographs: torch.Tensor, appearance_dim: int = 4, favoured: int = 0, **values: Any) -> Batches:
    pocket = PocketConfig(latent_dim=12, appearance_dim=appearance_dim, map_channels=8, width=16)
    return Batches(FitConfig(pocket=pocket, **{"held_out": 0, **values}), photographs, CPU, favoured)


def test_photographs_are_lit_where_something_stands_out(discs: torch.Tensor) -> None:
    own, index = batches(discs, light=0.5), torch.arange(48)
    images = to_signed(own.photographs)
    own.light(standing_out(images))
    assert own.fields is not None
    lit = own.lit(index, Draws(source_for(1)))
    assert torch.equal(lit, own.lit(index, Draws(source_for(1))))
    change = (lit - images).mean(1)
    inside = own.fields[:, 0] > 0
    assert inside.flatten(1).any(1).float().mean() > 0.9
    within, without = ((change * part).sum((1, 2)) / part.sum((1, 2)).clamp(min=1) for part in (inside, ~inside))
    assert (within * without <= 0).float().mean() > 0.9
    assert 0.1 < within.std() < 0.5


def test_without_light_photographs_stay_as_they_are(discs: torch.Tensor) -> None:
    own = batches(discs)
    assert torch.equal(own.lit(torch.arange(48), Draws(source_for(1))), to_signed(own.photographs))


def test_two_views_of_a_photograph_differ_in_light_alone(discs: torch.Tensor) -> None:
    own = batches(discs)
    own.light(standing_out(to_signed(own.photographs)))
    images, seen = own.take_twice(32, Draws(source_for(2)), 2.0)
    assert not torch.allclose(images, seen, atol=0.05)
    # Light changes what an edge divides, not where it is.
    edges = [(view.diff(dim=3).abs().amax(1) > 0.05).float() for view in (images, seen)]
    assert (edges[0] == edges[1]).float().mean() > 0.97


def test_a_generator_without_appearance_sees_one_view(discs: torch.Tensor) -> None:
    images, seen = batches(discs, appearance_dim=0).take_twice(8, Draws(source_for(2)), 2.0)
    assert images is seen


def test_half_of_a_batch_is_mirrored() -> None:
    ramp = torch.arange(64, dtype=torch.uint8).expand(20, 3, 64, 64)
    taken = batches(ramp).take(600, Draws(source_for(0)))
    falling = taken[:, 0, 0, 0] > taken[:, 0, 0, -1]
    assert 0.42 < falling.float().mean() < 0.58
    assert torch.equal(mirrored(taken, falling[:, None, None, None])[:, 0, 0], taken[~falling][:1, 0, 0].expand(600, 64))


@pytest.mark.parametrize(("share", "expected"), [(0.33, 0.33), (0.05, 0.1), (0.9, 0.9), (1.0, 1.0)])
def test_the_favoured_make_up_their_share_and_no_less_than_their_number(share: float, expected: float) -> None:
    pixels = torch.arange(200, dtype=torch.uint8).view(200, 1, 1, 1).expand(200, 3, 64, 64)
    own = batches(pixels, favoured=20, held_out=0.2, favoured_share=share)
    assert sorted(own.photographs[own.favoured, 0, 0, 0].tolist()) == [
        number for number in sorted(own.photographs[:, 0, 0, 0].tolist()) if number >= 180
    ]
    index = own.index(20000, Draws(source_for(3)))
    drawn = own.photographs[index, 0, 0, 0] >= 180
    assert drawn.float().mean().item() == pytest.approx(expected, abs=0.03)
    assert set(index.tolist()) == set(range(160) if share < 1 else own.favoured.tolist())


def test_without_favoured_photographs_all_are_drawn_alike() -> None:
    own = batches(torch.zeros(50, 3, 64, 64, dtype=torch.uint8))
    counts = own.index(20000, Draws(source_for(3))).bincount(minlength=50)
    assert counts.min() > 300 and counts.max() < 500


def test_the_held_out_photographs_are_not_drawn() -> None:
    pixels = torch.arange(40, dtype=torch.uint8).view(40, 1, 1, 1).expand(40, 3, 64, 64)
    own = batches(pixels, held_out=0.05)
    held, used = (set(part[:, 0, 0, 0].tolist()) for part in (own.held_out, own.photographs))
    assert len(held) == 2 and len(own) == 38
    assert held | used == set(range(40)) and not held & used

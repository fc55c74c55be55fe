from __future__ import annotations

import torch

from explorer.generators.lighting import light_fields, random_exposure, relit
from explorer.generators.photographs import to_signed
from explorer.generators.seeds import Draws, source_for
from segmentation.baselines.standing_out import standing_out


def thing(side: int, inside: int, outside: int) -> torch.Tensor:
    """A square thing with a hole and a speck beside it, (1, 3, 64, 64) uint8."""
    image = torch.full((1, 3, 64, 64), outside, dtype=torch.uint8)
    first = 32 - side // 2
    image[:, :, first : first + side, first : first + side] = inside
    image[:, :, 31:33, 31:33] = outside
    image[:, :, 48, 31:33] = inside
    return image


def test_a_field_is_soft_by_a_pixel_and_full_elsewhere() -> None:
    field = light_fields(standing_out(to_signed(thing(24, 220, 40))))
    assert field.dtype == torch.int8
    assert field.shape == (1, 1, 64, 64)
    assert (field[0, 0, 21:43, 21:43] == 127).all()
    assert (field[0, 0, :19] == -127).all()
    assert -127 < field[0, 0, 20, 30] < 127


def test_a_photograph_of_which_too_much_or_too_little_stands_out_gets_no_light() -> None:
    photographs = torch.cat([thing(6, 220, 40), thing(24, 220, 40), torch.full((1, 3, 64, 64), 90).byte()])
    fields = light_fields(standing_out(to_signed(photographs)))
    assert not fields[0].any()
    assert fields[1].any()
    assert not fields[2].any()


def test_light_acts_by_sign_keeps_the_range_and_can_be_undone() -> None:
    photographs = torch.cat([thing(24, 220, 40), thing(24, 60, 180)])
    images, fields = to_signed(photographs), light_fields(standing_out(to_signed(photographs)))
    for amount in (-0.8, 0.8):
        amounts = torch.full((2, 1, 1, 1), amount)
        lit = relit(images, fields, amounts)
        assert lit.abs().max() < 1
        change = (lit - images).mean(1)
        inside = fields[:, 0] == 127
        assert (change[inside] * amount > 0).all()
        assert (change[fields[:, 0] == -127] * amount < 0).all()
        again = relit(lit, fields, -amounts)
        assert torch.allclose(again, images.clamp(-0.97, 0.97), atol=1e-2)


def test_exposure_falls_on_all_places_alike() -> None:
    images = torch.zeros(4000, 3, 2, 2)
    exposure = random_exposure(4000, Draws(source_for(0)))
    lit = relit(images, torch.zeros(4000, 1, 2, 2, dtype=torch.int8), torch.ones(4000, 1, 1, 1), exposure)
    assert torch.equal(lit, lit[:, :, :1, :1].expand_as(lit))
    assert torch.allclose(torch.atanh(lit[:, :, :1, :1]), exposure, atol=1e-3)
    assert 0.38 < exposure.mean(1).std() < 0.45
    assert 0.13 < (exposure - exposure.mean(1, keepdim=True)).std() * (3 / 2) ** 0.5 < 0.17

from __future__ import annotations

import torch

from segmentation.baselines.standing_out import standing_out


def thing(inside: float, outside: float) -> torch.Tensor:
    """A square thing with a hole, and a speck below it, (1, 3, 64, 64)."""
    image = torch.full((1, 3, 64, 64), outside)
    image[:, :, 20:44, 20:44] = inside
    image[:, :, 31:33, 31:33] = outside
    image[:, :, 48, 31:33] = inside
    return image


def test_what_stands_out_is_whole_and_without_specks() -> None:
    wanted = torch.zeros(64, 64, dtype=torch.bool)
    wanted[20:44, 20:44] = True
    for inside, outside in ((0.7, -0.7), (-0.8, 0.6)):
        assert torch.equal(standing_out(thing(inside, outside))[0], wanted)

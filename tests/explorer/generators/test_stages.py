"""What the light in a fit's photographs does."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from explorer.generators.photographs import load_photographs, to_signed
from explorer.generators.pocket import PocketConfig
from explorer.generators.recipe import FitConfig
from explorer.generators.seeds import Draws, source_for
from explorer.generators.stages import Fitting
from tests.explorer.generators.discs import draw_discs

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def discs(tmp_path_factory: pytest.TempPathFactory) -> torch.Tensor:
    folder = tmp_path_factory.mktemp("discs")
    draw_discs(folder, 48)
    return load_photographs(folder, 64)[0]


def fitting(photographs: torch.Tensor, appearance_dim: int = 4, light: float = 0.3) -> Fitting:
    pocket = PocketConfig(latent_dim=12, appearance_dim=appearance_dim, map_channels=8, width=16)
    config = FitConfig(pocket=pocket, batch_size=16, held_out=0, perceptual_weight=0, precision="float32", light=light)
    return Fitting(config, photographs, CPU)


def test_photographs_are_lit_where_something_stands_out(discs: torch.Tensor) -> None:
    fit, index = fitting(discs, light=0.5), torch.arange(48)
    images = to_signed(fit.photographs)
    lit = fit._lit(index, Draws(source_for(1)))
    assert torch.equal(lit, fit._lit(index, Draws(source_for(1))))
    change = (lit - images).mean(1)
    inside = fit.fields[:, 0] > 0
    assert inside.flatten(1).any(1).float().mean() > 0.9
    within, without = ((change * part).sum((1, 2)) / part.sum((1, 2)).clamp(min=1) for part in (inside, ~inside))
    assert (within * without <= 0).float().mean() > 0.9
    assert 0.1 < within.std() < 0.5


@pytest.mark.parametrize("options", [{"light": 0.0}, {"appearance_dim": 0}])
def test_without_light_or_appearance_photographs_stay_as_they_are(discs: torch.Tensor, options: dict[str, Any]) -> None:
    fit = fitting(discs, **options)
    assert torch.equal(fit._lit(torch.arange(48), Draws(source_for(1))), to_signed(fit.photographs))

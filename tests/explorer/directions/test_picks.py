from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from explorer.directions.picks import Picks, codes_of_seeds, difference_of_means
from explorer.engine import Engine, EngineConfig
from segmentation.errors import LanternError
from tests.analytic import GROUND, OBJECT, DiscGenerator, lighting


def engine() -> Engine:
    return Engine(DiscGenerator(), EngineConfig(device="cpu"))


def lit(count: int, seed: int) -> Picks:
    """Picks of light discs on dark grounds, and of dark discs on light grounds, as somebody who looks would make them."""
    codes = engine().codes(count, seed)
    images = engine().images(codes)[:, 0]
    difference = images[:, 16, 16] - images[:, 0, 0]
    return Picks(codes[difference > 0.4], codes[difference < -0.4])


def test_picks_of_light_objects_give_the_lighting_direction() -> None:
    direction, certainty = difference_of_means(lit(600, 0))
    assert direction.norm().item() == pytest.approx(1, abs=1e-5)
    assert direction @ lighting() > 0.99
    assert certainty > 0.98


def test_the_certainty_is_about_the_cosine_that_it_estimates() -> None:
    found = [difference_of_means(lit(24, seed)) for seed in range(60)]
    cosines = torch.tensor([float(direction @ lighting()) for direction, _ in found])
    certainties = torch.tensor([certainty for _, certainty in found])
    assert 0.6 < cosines.mean() < 0.95
    assert certainties.mean().item() == pytest.approx(cosines.mean().item(), abs=0.05)


def test_picks_without_anything_in_common_are_not_certain() -> None:
    halves = (engine().codes(40, seed).split(20) for seed in range(40))
    certainties = [difference_of_means(Picks(high, low))[1] for high, low in halves]
    assert sum(certainties) / 40 < 0.35


def test_one_pick_a_side_is_taken_and_said_to_be_uncertain() -> None:
    high, low = torch.randn(2, 1, 8, generator=torch.Generator().manual_seed(0))
    direction, certainty = difference_of_means(Picks(high, low))
    assert torch.allclose(direction, F.normalize(high[0] - low[0], dim=0), atol=1e-6)
    assert certainty == 0


def test_seeds_name_what_sample_draws() -> None:
    made = engine()
    codes = codes_of_seeds(made, "3, 8,0:4,0:0")
    assert torch.equal(codes[0], made.codes(1, 3)[0])
    assert torch.equal(codes[1], made.codes(36, 8)[0])
    assert torch.equal(codes[2:], made.codes(36, 0)[[4, 0]])


@pytest.mark.parametrize("text", ["", "3,", "a", "-1", "1.5", "2:", "1:2:3", "1 2"])
def test_what_is_no_seed_is_refused(text: str) -> None:
    with pytest.raises(LanternError, match="is no seed"):
        codes_of_seeds(engine(), text)


@pytest.mark.parametrize(
    ("high", "low"),
    [
        (torch.zeros(0, 8), torch.zeros(2, 8)),
        (torch.zeros(8), torch.zeros(2, 8)),
        (torch.zeros(2, 8), torch.zeros(2, 7)),
        (torch.zeros(2, 8), torch.full((2, 8), torch.nan)),
    ],
)
def test_broken_picks_are_refused(high: torch.Tensor, low: torch.Tensor) -> None:
    with pytest.raises(LanternError, match="the picks"):
        Picks(high, low)


def test_the_same_picks_on_both_sides_are_refused() -> None:
    codes = torch.randn(4, 8)
    with pytest.raises(LanternError, match="same mean"):
        difference_of_means(Picks(codes, codes.flip(0)))


def test_the_true_factors_are_those_of_the_disc() -> None:
    picks = lit(600, 1)
    assert picks.high[:, OBJECT].mean() > 0.4
    assert picks.high[:, GROUND].mean() < -0.4

"""The pictures that page and commands show, against what the engine makes one by one."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from explorer.directions.catalogue import PAPER_MAGNITUDE, Catalogue, Entry
from explorer.engine import Engine, EngineConfig
from explorer.views import MaskView, WalkView, Workbench
from segmentation.errors import LanternError
from segmentation.pictures import to_uint8
from tests.analytic import DiscGenerator

SIGNS = (1, -1, 1, 1, -1, 1, 1, 1)


@pytest.fixture(scope="module")
def bench() -> Workbench:
    engine = Engine(DiscGenerator(), EngineConfig(device="cpu"))
    entries = tuple(Entry(sign=sign) for sign in SIGNS)
    return Workbench(engine, Catalogue(torch.eye(8), entries, "by hand", engine.fingerprint))


def test_the_atlas_walks_one_code_both_ways_along_every_direction(bench: Workbench) -> None:
    pictures = bench.atlas(3, 2.5)
    assert pictures.shape == (8, 3, 32, 32, 3)
    code = bench.engine.codes(1, 3)
    for index, sign in enumerate(SIGNS):
        for place, length in enumerate((-2.5, 0.0, 2.5)):
            expected = to_uint8(bench.engine.images(code + length * sign * torch.eye(8)[index]))[0]
            assert np.abs(pictures[index, place].astype(int) - expected).max() <= 1
    assert np.abs(pictures[1, 0].astype(int) - pictures[1, 2]).max() > 20


def test_the_atlas_makes_the_middle_image_once() -> None:
    class Counting(DiscGenerator):
        made = 0

        def generate(self, codes: torch.Tensor) -> torch.Tensor:
            self.made += len(codes)
            return super().generate(codes)

    generator = Counting()
    engine = Engine(generator, EngineConfig(device="cpu"))
    shown = engine.shifts(engine.codes(1, 0), list(torch.eye(8)), 1.0)
    assert shown.shape == (8, 3, 3, 32, 32) and generator.made == 17


def test_a_view_is_of_the_papers_magnitude_unless_told() -> None:
    assert WalkView().magnitude == MaskView().magnitude == Entry().magnitude == PAPER_MAGNITUDE == 5.0
    assert WalkView(steps=3).magnitudes == [-5.0, 0.0, 5.0]
    assert [field.name for field in dataclasses.fields(WalkView)][:4] == ["direction", "magnitude", "seed", "truncation"]


@pytest.mark.parametrize("kind", [WalkView, MaskView])
@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"magnitude": 21}, "magnitude is 21"),
        ({"seed": -1}, r"seed is -1\. Choose a value of at least 0\."),
        ({"truncation": 0}, "truncation is 0"),
        ({"count": 0}, "count is 0"),
        ({"count": 5000}, "count is 5000"),
    ],
)
def test_views_check_the_same_things(kind: type[WalkView] | type[MaskView], values: dict[str, Any], said: str) -> None:
    with pytest.raises(LanternError, match=said):
        kind(**values)

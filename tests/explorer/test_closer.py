"""A closer look, against the numbers counted anew from the pictures of the sample."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage

from explorer.closer import closer_look
from explorer.directions.catalogue import Catalogue, Entry
from explorer.engine import Engine, EngineConfig
from explorer.views import MaskView, Workbench
from segmentation.errors import LanternError
from segmentation.filters import FilterConfig
from tests.analytic import DiscGenerator, lighting

VIEW = MaskView(count=12, magnitude=6.0)


class Spotted(DiscGenerator):
    """A disc, and lighter specks beside it when it is shifted: masks of several pieces."""

    def generate(self, codes: torch.Tensor) -> torch.Tensor:
        images = super().generate(codes).clone()
        images[:, :, 1:3, 1:3] = codes[:, 0, None, None, None].tanh()
        images[:, :, 28:31, 28:31] = codes[:, 0, None, None, None].tanh()
        return images


@pytest.fixture(scope="module")
def bench() -> Workbench:
    engine = Engine(Spotted(), EngineConfig(device="cpu"))
    return Workbench(engine, Catalogue(lighting()[None], (Entry(),), "by hand", engine.fingerprint))


def counted_anew(shifted: NDArray[np.uint8], filters: FilterConfig) -> NDArray[np.float64]:
    """The moving average over the grey levels of the 8-bit picture, whose channels are equal: in shares, by numpy alone."""
    counts, _ = np.histogram(shifted[..., 0] / 127.5 - 1, filters.histogram_bins, (-1, 1))
    sums = np.convolve(counts, np.ones(filters.histogram_window), "same")
    there: Any = filters.histogram_window
    if filters.preset == "paper":
        there = np.convolve(np.ones(filters.histogram_bins), np.ones(filters.histogram_window), "same")
    shares: NDArray[np.float64] = sums / there / counts.sum()
    return shares


@pytest.mark.parametrize("preset", ["paper", "reference"])
def test_every_number_is_that_of_the_sample(bench: Workbench, preset: str) -> None:
    filters = FilterConfig(preset=preset)
    sheet = bench.masks(VIEW, filters)
    for number in range(VIEW.count):
        look = closer_look(bench, VIEW, filters, number)
        assert (look.image == sheet.images[number]).all() and (look.shifted == sheet.shifted[number]).all()
        assert (look.raw_mask == sheet.raw_mask[number]).all() and (look.mask == sheet.mask[number]).all()
        assert (look.rejected_by, look.explanation) == (sheet.rejected_by[number], sheet.explanations[number])
        labels, found = ndimage.label(look.raw_mask, np.ones((3, 3)) if preset == "reference" else None)
        areas = sorted(ndimage.sum_labels(look.raw_mask, labels, range(1, found + 1)), reverse=True)
        assert [piece.area for piece in look.components] == pytest.approx([area / 1024 for area in areas])
        assert [piece.share for piece in look.components] == pytest.approx([area / areas[0] for area in areas])
        assert sum(piece.area for piece in look.components if piece.kept) == pytest.approx(look.mask.mean())
        assert look.histogram == pytest.approx(tuple(counted_anew(look.shifted, filters)), abs=0.012)
        first = next((check.name for check in look.checks if check.state == "rejected"), "")
        assert first == look.rejected_by


def test_a_filter_that_is_off_says_so_and_still_gives_its_number(bench: Workbench) -> None:
    look = closer_look(bench, VIEW, FilterConfig(size=False, components=False, max_area=0.0), 0)
    states = {check.name: check for check in look.checks}
    assert states["size"].state == states["components"].state == "off" and look.rejected_by != "size"
    assert f"area {look.raw_mask.mean():.4f}, may be at most 0" in states["size"].words
    assert all(piece.kept for piece in look.components)


def test_the_components_come_first_in_the_reference_as_they_are_applied_first(bench: Workbench) -> None:
    orders = {
        preset: [c.name for c in closer_look(bench, VIEW, FilterConfig(preset=preset), 0).checks]
        for preset in ("paper", "reference")
    }
    assert orders["paper"] == ["size", "histogram", "components", "empty"]
    assert orders["reference"] == ["components", "size", "histogram", "empty"]


@pytest.mark.parametrize("number", [-1, 12])
def test_a_sample_that_is_not_there_is_named(bench: Workbench, number: int) -> None:
    with pytest.raises(LanternError, match=f"sample to look at is {number}.*between 0 and 11"):
        closer_look(bench, VIEW, FilterConfig(), number)

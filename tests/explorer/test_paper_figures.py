from __future__ import annotations

import numpy as np
import pytest
import torch

from explorer.atlas import StripConfig
from explorer.directions.catalogue import Catalogue, Entry
from explorer.directions.samples import Samples
from explorer.engine import Engine
from explorer.paper_figures import (
    _CAPTION,
    _GAP,
    _SIDEBAR,
    _TITLE,
    FigureConfig,
    directions_figure,
    lighting_figure,
    lighting_samples,
)
from explorer.starts import Start
from segmentation.errors import LanternError
from segmentation.filters import FilterConfig
from tests.analytic import DiscGenerator, lighting

ENTRIES = (Entry("object"), Entry(), Entry("across", sign=-1, magnitude=2), Entry("down", status="rejected"))
KNOWN = Catalogue(torch.cat([torch.eye(8)[:3], lighting()[None]]), ENTRIES, "known", "disc-1")
LABELLED = (0, 2)


def test_figure_1_has_the_labelled_directions_or_those_that_are_named() -> None:
    assert FigureConfig().directions(KNOWN) == list(LABELLED)
    assert FigureConfig(only=(3, 1)).directions(KNOWN) == [3, 1]
    with pytest.raises(LanternError, match="there is no direction 4"):
        FigureConfig(only=(4,)).directions(KNOWN)
    with pytest.raises(LanternError, match=r"no direction has a label.*--only"):
        FigureConfig().directions(Catalogue(torch.eye(8)[:1], (Entry(),), "known", "disc-1"))


@pytest.mark.parametrize("across", [1, 2, 9])
def test_figure_1_shows_the_engines_images_under_titles(across: int) -> None:
    engine = Engine(DiscGenerator(8, 64))
    picture = directions_figure(engine, KNOWN, Start(codes=2, seed=1), StripConfig(3), FigureConfig(across=across))
    width, height = 3 * 64, 2 * 64
    beside = across > 1
    expected_size = (1 if beside else 2) * (height + _TITLE + _GAP), (2 if beside else 1) * (width + _GAP) + _GAP
    assert picture.shape[:2] == expected_size
    for place, index in enumerate(LABELLED):
        left = _GAP + (place * (width + _GAP) if beside else 0)
        top = 0 if beside else place * (height + _TITLE + _GAP)
        assert (picture[top : top + _TITLE, left : left + width] < 128).any()
        found = picture[top + _TITLE : top + _TITLE + height, left : left + width]
        length = ENTRIES[index].magnitude
        images = engine.walk(engine.codes(2, 1), KNOWN.direction(index), (-length, 0, length))
        expected = np.rint((images.numpy() + 1) * 127.5).transpose(0, 3, 1, 4, 2).reshape(found.shape)
        assert np.abs(found.astype(int) - expected).max() <= 1


def samples(rejected_by: list[str]) -> Samples:
    rng = np.random.default_rng(0)
    count = len(rejected_by)
    images, shifted = rng.integers(0, 256, (2, count, 64, 64, 3), dtype=np.uint8)
    return Samples(images, shifted, rng.random((count, 64, 64)) < 0.3, rejected_by, 9)


def test_figure_2_has_images_above_shifted_images_above_masks() -> None:
    shown = samples(["", "", ""])
    picture = lighting_figure(shown)
    assert picture.shape == (3 * 66, _SIDEBAR + 3 * 66, 3)
    masks = np.where(shown.masks[..., None], 255, 0).repeat(3, 3)
    for row, expected in enumerate((shown.images, shown.shifted, masks)):
        assert (picture[row * 66 : row * 66 + 64, :_SIDEBAR] < 128).any()
        for column in range(3):
            left = _SIDEBAR + column * 66
            assert np.array_equal(picture[row * 66 : row * 66 + 64, left : left + 64], expected[column])


def test_figure_2_says_under_each_rejected_sample_what_rejects_it() -> None:
    shown = samples(["size", "", "histogram"])
    picture = lighting_figure(shown)
    assert picture.shape[0] == 3 * 66 + _CAPTION
    under = [picture[3 * 66 :, _SIDEBAR + column * 66 :][:, :66] for column in range(3)]
    dark = [int((words < 200).all(2).sum()) for words in under]
    assert 0 < dark[1] < dark[0] < dark[2]


def test_masks_stay_black_and_white_when_they_are_enlarged() -> None:
    shown = samples([""])
    enlarged = lighting_figure(shown, 128)[2 * 130 : 2 * 130 + 128, _SIDEBAR : _SIDEBAR + 128]
    assert np.array_equal(enlarged, np.where(shown.masks[0].repeat(2, 0).repeat(2, 1)[..., None], 255, 0).repeat(3, 2))


def test_only_accepted_samples_unless_the_rejected_are_wanted() -> None:
    engine, filters = Engine(DiscGenerator(8, 32)), FilterConfig(max_area=0.13, histogram=False)
    accepted = lighting_samples(engine, KNOWN, 3, 1.5, Start(), filters, FigureConfig(samples=3))
    assert accepted.rejected_by == [""] * 3
    assert accepted.looked_at > 3
    as_they_come = lighting_samples(engine, KNOWN, 3, 1.5, Start(), filters, FigureConfig(samples=12, rejected=True))
    assert set(as_they_come.rejected_by) == {"", "size"}
    assert as_they_come.looked_at == 12
    first = as_they_come.rejected_by.index("")
    assert np.array_equal(as_they_come.images[first], accepted.images[0])


def test_a_figure_of_nothing_says_what_to_do() -> None:
    engine, config = Engine(DiscGenerator(8, 16)), FigureConfig(samples=2, tries=10)
    with pytest.raises(LanternError, match=r"reject all of 10 samples of direction 3.*--rejected"):
        lighting_samples(engine, KNOWN, 3, 1.5, Start(), FilterConfig(max_area=0), config)
    with pytest.raises(LanternError, match="there is no direction 7"):
        lighting_samples(engine, KNOWN, 7, 1.5, Start(), FilterConfig(), config)
    with pytest.raises(LanternError, match="magnitude is 30"):
        lighting_samples(engine, KNOWN, 3, 30, Start(), FilterConfig(), config)


@pytest.mark.parametrize("values", [{"across": 0}, {"samples": 0}, {"tries": 0}])
def test_a_figure_out_of_range_is_refused(values: dict) -> None:
    with pytest.raises(LanternError, match=rf"{next(iter(values))} is 0"):
        FigureConfig(**values)

from __future__ import annotations

import dataclasses
import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from explorer.atlas import _GAP, _HEADER, _LEFT, _PAD, Selection, StripConfig, atlas, pages, stamp_of, write_thumbnails
from explorer.directions.catalogue import Catalogue, Entry
from explorer.drawing import drawable, fitted, font
from explorer.engine import Engine
from explorer.picture_files import read_stamp
from explorer.starts import Start
from segmentation.errors import LanternError
from tests.analytic import DiscGenerator


def catalogue_of(*entries: Entry) -> Catalogue:
    return Catalogue(torch.eye(max(8, len(entries)))[: len(entries)], entries, "axes", "disc-1")


LIT = Entry("Saliency Lighting", status="saliency lighting", sign=-1, magnitude=4, scores={"total": 0.5, "area": 0.1})
LEFT = Entry("moves left", status="other", magnitude=2, scores={"total": 0.7})
GROWS = Entry("grows", status="other", magnitude=3, scores={"total": math.nan, "area": 0.4})
NOTHING = Entry(status="rejected", magnitude=1, scores={"total": -0.2, "area": 0.3})
KNOWN = catalogue_of(NOTHING, LEFT, GROWS, LIT)


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (Selection(), [0, 1, 2, 3]),
        (Selection(sort="total"), [1, 3, 0, 2]),
        (Selection(sort="total", ascending=True), [0, 3, 1, 2]),
        (Selection(sort="total", top=2), [1, 3]),
        (Selection(sort="area"), [2, 0, 3, 1]),
        (Selection(sort="magnitude"), [3, 2, 1, 0]),
        (Selection(sort="label"), [2, 1, 3, 0]),
        (Selection(sort="status"), [1, 2, 0, 3]),
        (Selection(status=("other", "rejected")), [0, 1, 2]),
        (Selection(label="LIGHT"), [3]),
        (Selection(label="s", sort="total"), [1, 3, 2]),
        (Selection(only=(3, 1)), [1, 3]),
    ],
)
def test_a_selection_orders_and_filters(selection: Selection, expected: list[int]) -> None:
    assert selection.of(KNOWN) == expected


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=30), st.integers(1, 30), st.booleans())
def test_any_score_orders_as_sorting_does(scores: list[float], top: int, ascending: bool) -> None:
    catalogue = catalogue_of(*(Entry(scores={"x": score}) for score in scores))
    found = Selection(sort="x", top=top, ascending=ascending).of(catalogue)
    assert [scores[index] for index in found] == sorted(scores, reverse=not ascending)[:top]
    assert len(set(found)) == len(found)


@pytest.mark.parametrize(
    ("selection", "said"),
    [
        (Selection(sort="beauty"), r"no score 'beauty'.* index, label, status, magnitude, area, total"),
        (Selection(label="eyes"), r"no direction .*labels Saliency Lighting, grows, moves left"),
        (Selection(status=("new",)), r"no direction is of that status.* other, rejected, saliency lighting"),
        (Selection(only=(2, 4)), r"there is no direction 4. Choose 0 to 3"),
        (Selection(only=(-1,)), r"there is no direction -1"),
    ],
)
def test_a_selection_of_nothing_says_what_there_is(selection: Selection, said: str) -> None:
    with pytest.raises(LanternError, match=said):
        selection.of(KNOWN)


@pytest.mark.parametrize("values", [{"status": ("good",)}, {"top": 0}])
def test_a_selection_out_of_range_is_refused(values: dict) -> None:
    with pytest.raises(LanternError, match="status is 'good'|top is 0"):
        Selection(**values)


@pytest.mark.parametrize(("resolution", "codes", "columns"), [(64, 1, 5), (80, 2, 4)])
def test_the_images_of_an_atlas_are_the_engines(resolution: int, codes: int, columns: int) -> None:
    engine = Engine(DiscGenerator(8, resolution))
    picture = atlas(engine, KNOWN, [3, 1], Start(codes, seed=7), StripConfig(columns))
    height = codes * resolution
    assert picture.shape == (_HEADER + 2 * (height + _GAP), _LEFT + columns * resolution + _PAD, 3)
    for row, index in enumerate((3, 1)):
        top = _HEADER + row * (height + _GAP)
        found = picture[top : top + height, _LEFT : _LEFT + columns * resolution]
        length = KNOWN.entries[index].magnitude
        steps = [float(step) for step in np.linspace(-length, length, columns)]
        images = engine.walk(engine.codes(codes, 7), KNOWN.direction(index), steps)
        expected = np.rint((images.numpy() + 1) * 127.5).transpose(0, 3, 1, 4, 2).reshape(found.shape)
        assert np.abs(found.astype(int) - expected).max() <= 1


def test_small_images_are_enlarged_and_a_magnitude_can_be_given() -> None:
    engine = Engine(DiscGenerator(8, 16))
    small = atlas(engine, KNOWN, [1], Start(), StripConfig(3, magnitude=0))
    assert small.shape[:2] == (_HEADER + 64 + _GAP, _LEFT + 3 * 64 + _PAD)
    cells = small[_HEADER : _HEADER + 64, _LEFT : _LEFT + 192].reshape(64, 3, 64, 3)
    assert (cells[:, 0] == cells[:, 1]).all() and (cells[:, 2] == cells[:, 1]).all()
    assert atlas(engine, KNOWN, [1], Start(), StripConfig(3, side=20)).shape[1] == _LEFT + 60 + _PAD


@pytest.mark.parametrize(
    ("field", "value"),
    [("label", "other words"), ("magnitude", 7.5), ("sign", -1), ("status", "rejected"), ("scores", {"total": 0.123})],
)
def test_what_stands_beside_a_strip_follows_its_entry(field: str, value: Any) -> None:
    engine = Engine(DiscGenerator(8, 16))
    changed = dataclasses.replace(KNOWN, entries=(NOTHING, dataclasses.replace(LEFT, **{field: value}), GROWS, LIT))
    before, after = (atlas(engine, known, [0, 1, 2], Start(), StripConfig(3)) for known in (KNOWN, changed))
    for row in range(3):
        top = _HEADER + row * (64 + _GAP)
        words, others = (picture[top : top + 64, :_LEFT] for picture in (before, after))
        assert (words < 128).any()
        assert np.array_equal(words, others) == (row != 1)


def test_the_heads_are_numbers_only_where_all_have_the_same_magnitude() -> None:
    engine = Engine(DiscGenerator(8, 16))
    head = [
        atlas(engine, KNOWN, [0, 1], Start(), StripConfig(3, magnitude))[35:_HEADER, _LEFT:] for magnitude in (2.0, 3.0, None)
    ]
    assert not np.array_equal(head[0], head[1])
    doubled = dataclasses.replace(
        KNOWN, entries=tuple(dataclasses.replace(entry, magnitude=2 * entry.magnitude) for entry in KNOWN.entries)
    )
    assert np.array_equal(head[2], atlas(engine, doubled, [0, 1], Start(), StripConfig(3))[35:_HEADER, _LEFT:])


def test_an_atlas_larger_than_anybody_looks_at_is_refused() -> None:
    engine = Engine(DiscGenerator(8, 16))
    with pytest.raises(LanternError, match="6400 images is too large"):
        atlas(engine, KNOWN, [0], Start(codes=64), StripConfig(100))
    with pytest.raises(LanternError, match="1200 images of 1024 pixels a side is too large"):
        atlas(engine, KNOWN, [0], Start(codes=30), StripConfig(40, side=1024))
    with pytest.raises(LanternError, match="there is no direction 4"):
        atlas(engine, KNOWN, [4], Start(), StripConfig(3))


@pytest.mark.parametrize("values", [{"columns": 1}, {"magnitude": 21}, {"side": 8}])
def test_strips_out_of_range_are_refused(values: dict) -> None:
    with pytest.raises(LanternError, match=r"columns is 1|magnitude is 21|side is 8"):
        StripConfig(**values)


def test_pages_hold_every_direction_once(tmp_path: Path) -> None:
    indices = random.Random(0).sample(range(40), 25)
    out = tmp_path / "all.png"
    assert pages(indices, None, out) == [(out, indices)]
    assert pages(indices, 25, out) == [(out, indices)]
    found = pages(indices, 2, out)
    assert [path.name for path, _ in found][:2] == ["all-01.png", "all-02.png"]
    assert len({path for path, _ in found}) == 13
    assert [index for _, part in found for index in part] == indices
    assert {len(part) for _, part in found} == {1, 2}
    with pytest.raises(LanternError, match="rows is 0"):
        pages(indices, 0, out)


def test_thumbnails_are_small_strips_that_say_what_made_them(tmp_path: Path) -> None:
    engine = Engine(DiscGenerator(8, 32))
    names = write_thumbnails(engine, KNOWN, tmp_path, seed=3)
    assert names == ("thumb-000.webp", "thumb-001.webp", "thumb-002.webp", "thumb-003.webp")
    assert sorted(path.name for path in tmp_path.iterdir()) == list(names)
    for index, name in enumerate(names):
        assert Entry(thumbnail=name).thumbnail == name
        assert read_stamp(tmp_path / name) == stamp_of(engine, KNOWN, [index], None, 3)
        found = np.asarray(Image.open(tmp_path / name).convert("RGB")).astype(float)
        length = KNOWN.entries[index].magnitude
        images = engine.walk(engine.codes(1, 3), KNOWN.direction(index), np.linspace(-length, length, 5).tolist())
        expected = ((images[0].numpy() + 1) * 127.5).transpose(2, 0, 3, 1).reshape(32, 160, 3)
        assert np.abs(found - expected).mean() < 4
    assert write_thumbnails(engine, KNOWN, tmp_path / "some", indices=[2]) == ("thumb-002.webp",)


def test_words_that_the_font_lacks_are_still_words() -> None:
    assert drawable("  bright fur\n(left)\t\x00 100% ") == "bright fur (left) 100%"
    assert drawable("weiße Zähne −3 漢字") == "weisse Zahne -3 ??"
    assert drawable("e\u0301te\u0301") == drawable("\u00e9t\u00e9") == "ete"
    assert drawable("𝐛𝐨𝐥𝐝") == "bold"


@given(st.text(max_size=60), st.integers(40, 300))
def test_fitted_words_fit(text: str, width: int) -> None:
    found = fitted(text, 13, width)
    assert font(13).getlength(found) <= width
    assert found == drawable(text) or drawable(text).startswith(found.removesuffix("..."))

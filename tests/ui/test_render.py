from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from explorer.ui import render
from explorer.views import WalkView, Workbench

CELL, GAP, HEADER = render.STRIP_CELL, render.GAP, render._HEADER


def cell(picture: render.Pixels, row: int, column: int) -> render.Pixels:
    top, left = HEADER + row * (CELL + GAP), GAP + column * (CELL + GAP)
    return picture[top : top + CELL, left : left + CELL]


def test_the_strip_shows_code_r_at_magnitude_c_in_row_r_and_column_c() -> None:
    colours = np.arange(6, dtype=np.uint8).reshape(2, 3, 1, 1, 1) * 40
    pictures = np.broadcast_to(colours, (2, 3, 8, 8, 3))
    drawn = render.strip(pictures, [-2.0, 0.0, 2.0])
    assert drawn.shape == (HEADER + 2 * (CELL + GAP), 3 * (CELL + GAP) + GAP, 3)
    for row in range(2):
        for column in range(3):
            assert (cell(drawn, row, column) == 40 * (3 * row + column)).all()


def test_each_magnitude_stands_above_its_own_column() -> None:
    pictures = np.zeros((1, 3, 8, 8, 3), np.uint8)
    plain = render.strip(pictures, [-2.0, 0.0, 2.0])
    changed = render.strip(pictures, [-2.0, 0.0, 3.5])
    columns = np.flatnonzero((plain != changed).any((0, 2)))
    assert columns.min() >= GAP + 2 * (CELL + GAP) and not (plain != changed)[HEADER:].any()


def test_a_strip_of_no_shift_has_equal_columns(bench: Workbench) -> None:
    view = WalkView(direction=1, magnitude=0.0)
    drawn = render.strip(bench.walk(view), view.magnitudes)
    for row in range(view.count):
        for column in range(1, view.steps):
            assert (cell(drawn, row, column) == cell(drawn, row, 0)).all()


@given(st.integers(1, 40), st.integers(1, 40))
def test_a_stretched_mask_keeps_the_nearest_value(side: int, stretched: int) -> None:
    mask = np.random.default_rng(side).random((1, side, side)) > 0.5
    got = render._stretch(mask, stretched)
    for row in range(stretched):
        for column in range(stretched):
            assert got[0, row, column] == mask[0, row * side // stretched, column * side // stretched]


def test_the_overlay_is_blue_where_kept_hatched_orange_where_dropped_and_grey_elsewhere() -> None:
    pictures = np.full((1, 24, 24, 3), 100, np.uint8)
    raw, kept = np.zeros((1, 24, 24), bool), np.zeros((1, 24, 24), bool)
    raw[:, :, :16] = True
    kept[:, :, :8] = True
    drawn = render.mask_overlay(pictures, raw, kept)[0].astype(int)
    assert (drawn[:, :8, 2] > drawn[:, :8, 0] + 50).all()
    orange = (drawn[:, 8:16] == render.DROPPED).all(-1)
    assert orange.any(0).all() and orange.any(1).all() and not orange.all(0).any() and not orange.all(1).any()
    assert (drawn[:, 16:] == drawn[0, 16, 0]).all()


def test_a_label_cannot_put_markup_into_the_page() -> None:
    line = render.about_direction("3 <img src=x onerror=alert(1)>", "[a](javascript:b) **c**", {"iou": 0.62345})
    assert "<img" not in line and "[a]" not in line and "**c**" not in line and "iou 0.623" in line


@pytest.mark.parametrize("side", [8, 64, 128])
def test_a_triptych_holds_its_pictures_unchanged(side: int) -> None:
    pictures = np.random.default_rng(side).integers(0, 256, (3, side, side, 3), dtype=np.uint8)
    joined = render.triptych(pictures)
    for index in range(3):
        left = index * (side + 2)
        assert (joined[:, left : left + side] == pictures[index]).all()


def test_enlarging_is_what_pillow_does() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)
    expected = np.asarray(Image.fromarray(picture[0]).resize((128, 128), Image.Resampling.BICUBIC))
    assert (render.enlarge(picture, 128)[0] == expected).all()

"""Component trees against components labelled level by level."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from segmentation.component_tree import components

Found = Counter[tuple[int, tuple[int, int, int, int]]]


def labelled(levels: NDArray[np.uint8], threshold: int) -> Found:
    """Area and box of each component above ``threshold``."""
    labels, _ = ndimage.label(levels > threshold, np.ones((3, 3)))
    areas = np.bincount(labels.ravel())
    return Counter(
        (int(areas[number]), (columns.start, rows.start, columns.stop - 1, rows.stop - 1))
        for number, (rows, columns) in enumerate(ndimage.find_objects(labels), 1)
    )


def check(levels: NDArray[np.uint8]) -> None:
    tree = components(levels)
    for threshold in range(256):
        alive = (tree.above <= threshold) & (threshold < tree.below)
        boxes = [tuple(map(int, box)) for box in tree.boxes[alive]]
        found = Counter(zip(map(int, tree.areas[alive]), boxes, strict=True))
        assert found == labelled(levels, threshold), threshold


@given(
    st.integers(1, 9).flatmap(
        lambda width: st.lists(
            st.lists(st.sampled_from([0, 1, 2, 3, 254, 255]), min_size=width, max_size=width), min_size=1, max_size=9
        )
    )
)
def test_every_small_image_is_taken_apart_rightly(rows: list[list[int]]) -> None:
    check(np.array(rows, np.uint8))


@pytest.mark.parametrize(("seed", "blur", "steps"), [(0, 0, 256), (1, 1, 256), (2, 4, 256), (3, 1, 5), (4, 3, 12)])
def test_maps_with_hills_and_terraces_are_taken_apart_rightly(seed: int, blur: float, steps: int) -> None:
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).random((41, 53)), blur)
    unit = (noise - noise.min()) / (noise.max() - noise.min())
    check((np.floor(unit * (steps - 1)) * (255 / (steps - 1))).astype(np.uint8))


def test_a_spiral_is_one_component_whose_way_is_long() -> None:
    levels = np.zeros((61, 61), np.uint8)
    top, left, bottom, right = 0, 0, 60, 60
    while top < bottom:
        levels[top, left : right + 1] = levels[top:bottom, right] = levels[bottom, left : right + 1] = 200
        levels[top + 2 : bottom + 1, left] = 200
        levels[top + 2, left : left + 3] = 200
        top, left, bottom, right = top + 2, left + 2, bottom - 2, right - 2
    check(levels)


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1), (2, 2)])
@pytest.mark.parametrize("level", [0, 1, 255])
def test_an_even_image_is_one_component_or_none(shape: tuple[int, int], level: int) -> None:
    tree = components(np.full(shape, level, np.uint8))
    assert tree.areas.tolist() == ([shape[0] * shape[1]] if level else [])
    check(np.full(shape, level, np.uint8))

"""Both labellings against scikit-image, image by image."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from skimage.measure import label

from segmentation.components import Components, drop_small, find_components, label_by_hooking, label_on_canvas
from segmentation.errors import LanternError

FIXTURE = Path(__file__).parents[1] / "fixtures" / "masks.npz"
Labelling = Callable[[torch.Tensor, int], Components]

both = pytest.mark.parametrize("labelling", [label_on_canvas, label_by_hooking])
connectivities = pytest.mark.parametrize("connectivity", [4, 8])


def check_against_skimage(masks: NDArray[np.bool_], connectivity: int, labelling: Labelling) -> None:
    """Labels, areas and images must be those that scikit-image gives for each mask alone, numbered on and on."""
    components = labelling(torch.from_numpy(masks), connectivity)
    expected = np.zeros(masks.shape, int)
    areas: list[int] = []
    images: list[int] = []
    for index, mask in enumerate(masks):
        own = label(mask, connectivity=connectivity // 4)
        expected[index] = np.where(own > 0, own + len(images), 0)
        counts = np.bincount(own.ravel())[1:]
        areas += counts.tolist()
        images += [index] * len(counts)
        assert components.areas_of(index) == counts.tolist()
    assert components.labels.dtype == torch.int32
    np.testing.assert_array_equal(components.labels.numpy(), expected)
    assert components.area.tolist() == areas
    assert components.image.tolist() == images


shapes = st.tuples(st.integers(0, 4), st.integers(1, 9), st.integers(1, 9))


@both
@connectivities
@settings(max_examples=60, deadline=None)
@given(masks=arrays.arrays(np.bool_, shapes))
def test_random_masks(labelling: Labelling, connectivity: int, masks: NDArray[np.bool_]) -> None:
    check_against_skimage(masks, connectivity, labelling)


def serpentine(height: int, width: int) -> NDArray[np.bool_]:
    """One path as long as a mask allows: down every second row, turning at alternate ends."""
    mask = np.zeros((height, width), np.bool_)
    mask[::2] = True
    mask[1::4, -1] = True
    mask[3::4, 0] = True
    return mask


def spiral(side: int) -> NDArray[np.bool_]:
    """A path that winds inwards with a gap of one pixel."""
    mask = np.zeros((side, side), np.bool_)
    row, column, (down, right) = 0, -1, (0, 1)
    lengths = [side, *(length for gone in range(side - 1, 0, -2) for length in (gone, gone))]
    for length in lengths:
        for _ in range(length):
            row, column = row + down, column + right
            mask[row, column] = True
        down, right = right, -down
    return mask


@both
@connectivities
def test_winding_paths_stay_whole(labelling: Labelling, connectivity: int) -> None:
    paths = np.stack([serpentine(65, 65), spiral(65), serpentine(65, 65).T, serpentine(65, 65)[::-1, ::-1]])
    check_against_skimage(paths, connectivity, labelling)
    components = labelling(torch.from_numpy(paths.copy()), 4)
    assert components.image.tolist() == [0, 1, 2, 3]
    assert components.area[0] == paths[0].sum()


@both
@connectivities
def test_full_neighbours_do_not_run_together(labelling: Labelling, connectivity: int) -> None:
    components = labelling(torch.ones(5, 3, 7, dtype=torch.bool), connectivity)
    assert components.area.tolist() == [21] * 5
    assert components.image.tolist() == [0, 1, 2, 3, 4]


@both
def test_corners_join_only_with_eight_neighbours(labelling: Labelling) -> None:
    cross = torch.eye(4, dtype=torch.bool)[None] | torch.eye(4, dtype=torch.bool).flip(1)[None]
    assert len(labelling(cross, 8).area) == 1
    assert labelling(cross, 4).area.tolist() == [1, 1, 4, 1, 1]


@both
@connectivities
def test_masks_of_a_generator(labelling: Labelling, connectivity: int) -> None:
    with np.load(FIXTURE) as pairs:
        check_against_skimage(pairs["raw_mask"][:16].astype(bool), connectivity, labelling)


@pytest.mark.parametrize(("connectivity", "strict"), [(4, False), (8, True)])
def test_small_components_go_as_published(connectivity: int, strict: bool) -> None:
    with np.load(FIXTURE) as pairs:
        masks = torch.from_numpy(pairs["raw_mask"].astype(bool))
        cleaned = drop_small(find_components(masks, connectivity), 0.2, strict=strict)
        np.testing.assert_array_equal(cleaned.numpy(), pairs[f"components_mask_{connectivity}"].astype(bool))


def rows(*lengths: int) -> torch.Tensor:
    """A mask with one bar of each of ``lengths`` pixels."""
    mask = torch.zeros(1, 2 * len(lengths), max(lengths), dtype=torch.bool)
    for index, length in enumerate(lengths):
        mask[0, 2 * index, :length] = True
    return mask


@pytest.mark.parametrize(("share", "large", "border"), [(0.2, 35, 7), (0.3, 10, 3), (0.07, 100, 7), (0.1, 640, 64)])
def test_strictness_decides_at_the_border(share: float, large: int, border: int) -> None:
    components = find_components(rows(large, border, border - 1, border + 1))
    assert components.large(share, strict=False).tolist() == [True, True, False, True]
    assert components.large(share, strict=True).tolist() == [True, False, False, True]
    kept = components.large(share, strict=False)
    assert components.pixels(kept).tolist() == [large + 2 * border + 1] == [int(components.select(kept).sum())]


def test_the_largest_is_that_of_the_same_image() -> None:
    masks = torch.cat([rows(10, 3), torch.zeros(1, 4, 10, dtype=torch.bool), rows(10, 3)[:, :, :10] & (torch.arange(10) < 4)])
    components = find_components(masks)
    assert components.largest.tolist() == [10, 0, 4]
    assert components.large(0.5, strict=False).tolist() == [True, False, True, True]
    cleaned = drop_small(components, 0.5, strict=False)
    assert cleaned.sum((1, 2)).tolist() == [10, 0, 7]
    assert components.areas_of(1) == []


@pytest.mark.parametrize(
    "masks", [torch.zeros(4, 4, dtype=torch.bool), torch.zeros(1, 4, 4), torch.zeros(1, 0, 4, dtype=torch.bool)]
)
def test_anything_but_masks_is_refused(masks: torch.Tensor) -> None:
    with pytest.raises(LanternError, match="boolean masks"):
        find_components(masks)


def test_other_requests_are_refused() -> None:
    masks = torch.ones(2, 3, 3, dtype=torch.bool)
    with pytest.raises(LanternError, match="connectivity is 6"):
        find_components(masks, 6)
    with pytest.raises(LanternError, match="no image 2"):
        find_components(masks).areas_of(2)

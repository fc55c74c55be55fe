from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage

from segmentation.baselines.minimum_barrier import minimum_barrier_distance, minimum_barrier_saliency
from segmentation.errors import LanternError


def exact(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """By trying every range of values: the narrowest within which a pixel is connected to the border."""
    found = np.full_like(image, np.inf)
    levels = np.unique(image)
    border = np.ones(image.shape, bool)
    border[1:-1, 1:-1] = False
    for low in levels:
        for high in levels[levels >= low]:
            within = (image >= low) & (image <= high)
            labels, _ = ndimage.label(within)
            reached = within & np.isin(labels, labels[border & within])
            found[reached] = np.minimum(found[reached], high - low)
    return found


def distances(image: NDArray[np.float32]) -> NDArray[np.float32]:
    return minimum_barrier_distance(image[None, None])[0, 0]


def pixel_by_pixel(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Three passes in raster order, as they are told in the paper."""
    height, width = image.shape
    distance = np.zeros_like(image)
    distance[1:-1, 1:-1] = np.inf
    high, low = image.copy(), image.copy()
    for step in (1, -1, 1):
        for row in range(1, height - 1)[::step]:
            for column in range(1, width - 1)[::step]:
                for neighbour in ((row - step, column), (row, column - step)):
                    most, least = max(high[neighbour], image[row, column]), min(low[neighbour], image[row, column])
                    if most - least < distance[row, column]:
                        distance[row, column], high[row, column], low[row, column] = most - least, most, least
    return distance


@pytest.mark.parametrize("shape", [(3, 3), (3, 11), (11, 3), (4, 4), (13, 29), (29, 13), (21, 21)])
def test_diagonal_by_diagonal_is_exactly_pixel_by_pixel(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(shape[0] * shape[1]).random(shape, np.float32)
    assert np.array_equal(distances(image), pixel_by_pixel(image))


def disc(side: int = 48, inside: float = 0.5, outside: float = -0.5) -> torch.Tensor:
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    within = (rows - side / 2) ** 2 + (columns - side / 2) ** 2 < (side / 4) ** 2
    image = torch.where(within, inside, outside)
    return image.expand(3, side, side)


@pytest.mark.parametrize("seed", range(8))
def test_it_is_never_below_the_exact_distance_and_mostly_equal_to_it(seed: int) -> None:
    image = np.random.default_rng(seed).integers(0, 5, (14, 14)).astype(np.float32)
    fast, truth = distances(image), exact(image)
    assert (fast >= truth).all()
    assert (fast == truth).mean() > 0.8


def test_a_hole_in_a_wall_lets_the_distance_through() -> None:
    image = np.zeros((20, 20), np.float32)
    image[5:15, [5, 14]] = image[[5, 14], 5:15] = 1.0
    assert distances(image)[10, 10] == 1.0
    image[10, 14] = 0.25
    assert distances(image)[10, 10] == 0.25


def test_images_and_channels_do_not_meet() -> None:
    batch = np.random.default_rng(0).random((3, 2, 9, 12), np.float32)
    found = minimum_barrier_distance(batch)
    assert found.shape == batch.shape
    for image in range(3):
        for channel in range(2):
            assert np.array_equal(found[image, channel], distances(batch[image, channel]))


@pytest.mark.parametrize("inside", [0.6, -0.9])
def test_a_disc_stands_out_whether_lighter_or_darker(inside: float) -> None:
    image = disc(inside=inside, outside=-0.2)
    saliency = minimum_barrier_saliency(image[None])[0]
    within = image[0] == inside
    assert saliency.dtype == torch.float32
    assert float(saliency.min()) >= 0
    assert float(saliency.max()) == 1
    assert saliency[within].min() > 3 * saliency[~within].max()


def test_an_image_does_not_depend_on_the_others() -> None:
    images = torch.rand(300, 3, 8, 10, generator=torch.Generator().manual_seed(0)) * 2 - 1
    together = minimum_barrier_saliency(images)
    assert torch.allclose(together[257], minimum_barrier_saliency(images[257:258])[0], atol=1e-6)


def test_a_plain_image_has_no_saliency_and_no_nan() -> None:
    assert torch.equal(minimum_barrier_saliency(torch.full((1, 3, 8, 8), 0.3)), torch.zeros(1, 8, 8))


@pytest.mark.parametrize("shape", [(0, 3, 8, 8), (1, 1, 8, 8), (3, 8, 8), (1, 3, 2, 8)])
def test_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(LanternError, match="shape"):
        minimum_barrier_saliency(torch.zeros(shape))

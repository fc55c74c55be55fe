"""The classical methods of the paper's second table: their parts against brute force, and images whose object is plain."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage
from scipy.optimize import minimize

from segmentation.baselines import hierarchical, robust_background
from segmentation.baselines.centre import centre_saliency
from segmentation.baselines.hierarchical import hierarchical_saliency, merged
from segmentation.baselines.robust_background import background_probability, robust_background_saliency
from segmentation.baselines.sparse_coding import sparse_coding_saliency, weighted_codes
from segmentation.baselines.superpixels import (
    Regions,
    adjacency,
    contained_squares,
    describe,
    distances,
    numbered,
    superpixels,
)
from segmentation.errors import LanternError

Method = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
METHODS: list[Method] = [hierarchical_saliency, robust_background_saliency, sparse_coding_saliency]


def scene(row: int = 30, column: int = 60, height: int = 70, width: int = 100) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """A red disc before a green ground with a gradient and noise."""
    rows, columns = np.indices((height, width))
    disc = (rows - row) ** 2 + (columns - column) ** 2 < 15**2
    ground = np.stack([60 + rows // 3, 120 + columns // 4, 70 + 0 * rows], 2)
    image = np.where(disc[..., None], (200, 60, 50), ground) + np.random.default_rng(0).integers(-8, 9, (height, width, 3))
    return image.clip(0, 255).astype(np.uint8), disc


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("place", [(30, 60), (40, 35)])
def test_a_plain_object_stands_out_where_it_is(method: Method, place: tuple[int, int]) -> None:
    image, disc = scene(*place)
    saliency = method(image)
    assert saliency.dtype == np.float32 and saliency.shape == disc.shape
    assert saliency.min() >= 0 and 0.99 <= saliency.max() <= 1
    chosen = saliency >= 0.5
    assert (chosen & disc).sum() / (chosen | disc).sum() > 0.65


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", [(8, 8), (9, 200), (40, 40)])
def test_images_without_an_object_or_of_odd_shape_are_survived(method: Method, shape: tuple[int, int]) -> None:
    for image in (np.full((*shape, 3), 90, np.uint8), np.random.default_rng(1).integers(0, 256, (*shape, 3)).astype(np.uint8)):
        saliency = method(image)
        assert saliency.shape == shape and np.isfinite(saliency).all() and saliency.min() >= 0 and saliency.max() <= 1


@pytest.mark.parametrize("method", METHODS)
def test_what_is_no_image_is_refused(method: Method) -> None:
    wrong: list[NDArray[Any]] = [np.zeros((4, 40, 3), np.uint8), np.zeros((40, 40), np.uint8), np.zeros((40, 40, 3))]
    for image in wrong:
        with pytest.raises(LanternError, match="the image is"):
            method(image)


def test_the_centre_prior_is_a_gaussian_of_a_quarter_of_each_side() -> None:
    prior = centre_saliency(np.zeros((101, 201, 3), np.uint8))
    assert prior[50, 100] == 1
    assert prior[50, 100 + 50] == pytest.approx(np.exp(-0.5 * (50 / 201 / 0.25) ** 2))
    assert np.allclose(prior, prior[::-1, ::-1], atol=1e-6)


def grid() -> NDArray[np.int64]:
    rows, columns = np.indices((40, 60))
    return rows // 10 * 6 + columns // 10


def test_regions_know_colours_places_border_and_neighbours() -> None:
    pixels = np.random.default_rng(2).random((40, 60, 3))
    regions = describe(grid(), pixels)
    inside = grid() == 8
    assert len(regions) == 24 and regions.areas[8] == 100 and regions.border.sum() == 16 and not regions.border[8]
    assert regions.colours[8] == pytest.approx(pixels[inside].mean(0))
    assert regions.places[8] == pytest.approx([15 / 40, 25 / 60])
    touching = {tuple(pair) for pair in regions.neighbours.tolist() if 8 in pair}
    assert touching == {(7, 8), (8, 9), (2, 8), (8, 14)}
    assert distances(regions.colours)[3, 5] == pytest.approx(np.linalg.norm(regions.colours[3] - regions.colours[5]))


def test_squares_are_found_within_regions_and_within_the_image() -> None:
    assert contained_squares(grid(), 9).all() and not contained_squares(grid(), 11).any()
    ell = np.zeros((30, 30), np.int64)
    ell[:5] = ell[:, :5] = 1
    assert contained_squares(ell, 25).tolist() == [True, False] and contained_squares(ell, 5).tolist() == [True, True]


def test_every_merged_region_holds_its_square_and_is_connected() -> None:
    image, _ = scene()
    pixels = image.astype(float)
    labels = np.indices((70, 100))[1] // 2
    for side in (3, 9, 17):
        labels = merged(labels, pixels, side)
        assert contained_squares(labels, side).all()
        for label in range(labels.max() + 1):
            assert ndimage.label(labels == label)[1] == 1


def test_small_regions_join_the_neighbour_of_nearest_colour() -> None:
    pixels = np.zeros((20, 30, 3))
    pixels[:, 10:12], pixels[:, 12:] = 60, 100
    labels = np.zeros((20, 30), np.int64)
    labels[:, 10:12], labels[:, 12:] = 1, 2
    assert merged(labels, pixels, 5)[0, [0, 10, 20]].tolist() == [0, 1, 1]


def test_consistency_is_the_minimum_of_the_energy() -> None:
    """Against a general optimiser, on three nested layers."""
    pixels = np.random.default_rng(4).random((40, 60, 3))
    fine = grid()
    middle, coarse = numbered(fine // 6 * 3 + fine % 6 // 2), numbered(fine // 12)
    layers = [describe(labels, pixels) for labels in (fine, middle, coarse)]
    cues = np.concatenate([hierarchical._cue(layer) for layer in layers])
    up = [{(a, b) for a, b in zip(f.labels.ravel(), c.labels.ravel(), strict=True)} for f, c in pairwise(layers)]

    def energy(values: NDArray[np.float64]) -> float:
        parts = np.split(values, np.cumsum([len(layer) for layer in layers])[:-1])
        pull = sum((parts[i][a] - parts[i + 1][b]) ** 2 for i, edges in enumerate(up) for a, b in edges)
        return float(((values - cues) ** 2).sum() + hierarchical._CONSISTENT * pull)

    best = minimize(energy, cues, method="L-BFGS-B", options={"maxiter": 500, "ftol": 1e-14, "gtol": 1e-9})
    assert np.allclose(hierarchical._consistent(layers), best.x[:24], atol=1e-4)


def boundary_connectivity(regions: Regions, apart: NDArray[np.float64], edges: NDArray[np.int64]) -> NDArray[np.float64]:
    """By Floyd and Warshall's shortest ways."""
    away = np.full(apart.shape, np.inf)
    np.fill_diagonal(away, 0)
    for a, b in edges:
        away[a, b] = away[b, a] = apart[a, b]
    for k in range(len(away)):
        away = np.minimum(away, away[:, k, None] + away[None, k])
    alike = np.exp(-(away**2) / 200)
    return 1 - np.exp(-((alike[:, regions.border].sum(1) / np.sqrt(alike.sum(1))) ** 2) / 2)


def test_background_probability_is_that_of_the_formulas() -> None:
    image, disc = scene()
    regions = superpixels(image, 60)
    apart, edges = distances(regions.colours), robust_background._edges(regions)
    found = background_probability(regions, apart, edges)
    assert np.allclose(found, boundary_connectivity(regions, apart, edges), atol=1e-6)
    middle = regions.labels[30, 60]
    assert found[middle] < 0.3 < 0.9 < found[regions.labels[0, 0]] and disc[30, 60]


def test_the_optimum_minimises_the_cost() -> None:
    generator = np.random.default_rng(5)
    ground, front, apart = generator.random(24), generator.random(24), distances(generator.random((24, 3)) * 30)
    edges = adjacency(grid())
    weights = np.exp(-(apart[edges[:, 0], edges[:, 1]] ** 2) / 200) + 0.1

    def cost(s: NDArray[np.float64]) -> float:
        return float((ground * s**2 + front * (s - 1) ** 2).sum() + (weights * (s[edges[:, 0]] - s[edges[:, 1]]) ** 2).sum())

    best = minimize(cost, np.full(24, 0.5), method="L-BFGS-B", options={"ftol": 1e-14, "gtol": 1e-9}).x
    assert np.allclose(robust_background._optimum(ground, front, apart, edges), best, atol=1e-4)


def test_sparse_codes_meet_the_conditions_of_the_minimum() -> None:
    generator = np.random.default_rng(6)
    dictionary, features, price = generator.random((12, 8)), generator.random((20, 8)), 0.05 + 0.3 * generator.random((20, 12))
    codes = weighted_codes(dictionary, features, price, 3000)
    slope = (codes @ dictionary - features) @ dictionary.T
    used = codes != 0
    assert 0 < used.mean() < 0.8
    assert np.allclose(slope[used], -(price * np.sign(codes))[used], atol=1e-4)
    assert (np.abs(slope[~used]) <= price[~used] + 1e-4).all()

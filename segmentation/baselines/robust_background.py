"""wCtr: saliency from robust background detection (Zhu, Liang, Wei and Sun, 2014)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import dijkstra
from scipy.sparse.linalg import spsolve

from segmentation.baselines.superpixels import Regions, distances, superpixels

_COLOUR = 10.0
_SPACE = 0.25
_CONNECTED = 1.0
_SMOOTH = 0.1


def robust_background_saliency(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Saliency (H, W) in [0, 1] of ``image`` (H, W, 3) uint8.

    Boundary connectivity of superpixels, contrast weighed by it, and the quadratic cost over both with a smoothness term,
    whose minimum is one sparse linear system; all constants are the paper's. Left out: the published code's clipping of small
    colour differences by a value that it estimates from each image. Errors: :class:`LanternError` if the image is something
    else or under 8 x 8 pixels.
    """
    regions = superpixels(image)
    if len(regions) < 3:
        return np.zeros(image.shape[:2], np.float32)
    apart = distances(regions.colours)
    edges = _edges(regions)
    ground = background_probability(regions, apart, edges)
    near = np.exp(-(distances(regions.places) ** 2) / (2 * _SPACE**2))
    contrast = (apart * near) @ ground
    object_weight = contrast / max(float(contrast.max()), 1e-12)
    return regions.spread(_optimum(ground, object_weight, apart, edges).clip(0, 1))


def _edges(regions: Regions) -> NDArray[np.int64]:
    """Neighbours, and every two regions at the border (paper, section 3.2: the image may have cut one ground into parts)."""
    border = np.nonzero(regions.border)[0]
    first, second = np.triu_indices(len(border), 1)
    return np.unique(np.concatenate([regions.neighbours, np.stack([border[first], border[second]], 1)]), axis=0)


def background_probability(regions: Regions, apart: NDArray[np.float64], edges: NDArray[np.int64]) -> NDArray[np.float64]:
    """How surely each region is ground, (N,) in [0, 1), from how long its border is for its area.

    ``apart`` (N, N) are the colours' distances, ``edges`` (M, 2) the graph over which they add up to geodesic ones.
    """
    first, second = edges.T
    # A length of 0 would be no edge.
    lengths = np.maximum(apart[first, second], 1e-9)
    graph = sparse.csr_matrix((lengths, (first, second)), shape=apart.shape)
    alike = np.exp(-(dijkstra(graph, directed=False) ** 2) / (2 * _COLOUR**2))
    connectivity = alike[:, regions.border].sum(1) / np.sqrt(alike.sum(1))
    probability: NDArray[np.float64] = 1 - np.exp(-(connectivity**2) / (2 * _CONNECTED**2))
    return probability


def _optimum(
    ground: NDArray[np.float64], front: NDArray[np.float64], apart: NDArray[np.float64], edges: NDArray[np.int64]
) -> NDArray[np.float64]:
    """The s that minimises sum of ground s^2, front (s - 1)^2 and w (s_i - s_j)^2 over the edges."""
    first, second = edges.T
    weights = np.exp(-(apart[first, second] ** 2) / (2 * _COLOUR**2)) + _SMOOTH
    joined = sparse.coo_matrix((weights, (first, second)), shape=apart.shape)
    joined = joined + joined.T
    laplacian = sparse.diags(np.asarray(joined.sum(1)).ravel()) - joined
    solution: NDArray[np.float64] = spsolve((laplacian + sparse.diags(ground + front)).tocsc(), front)
    return solution

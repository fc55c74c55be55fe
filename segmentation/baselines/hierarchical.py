"""HS: hierarchical saliency (Yan, Xu, Shi and Jia, 2013)."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage, sparse
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import spsolve
from skimage.color.colorconv import rgb2luv
from skimage.segmentation import watershed

from segmentation.baselines.superpixels import (
    Regions,
    check_picture,
    contained_squares,
    describe,
    distances,
    numbered,
)

_LONGEST = 400
_SCALES = (3, 17, 33)
_NEAR = 0.2
_CENTRE = 9.0
_CONSISTENT = 4.0
_ROUNDS = 40


def hierarchical_saliency(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Saliency (H, W) in [0, 1] of ``image`` (H, W, 3) uint8.

    Watershed regions are merged until each holds a square of 3, 17 and 33 pixels, in an image of 400 pixels at most on its
    longer side; in each of these layers contrast of colours (CIE Luv), weighed by nearness and area, times nearness to the
    middle; then the layers are made consistent over the tree of regions. The least-squares energy is solved as a linear
    system, which gives what the paper's belief propagation gives. Chosen here, not taken from the paper: the layers count
    alike, and the strength of the consistency. Left out: the paper's second, smoothed graph of the extended version. Errors:
    :class:`LanternError` if the image is something else or under 8 x 8 pixels.
    """
    check_picture(image)
    height, width = image.shape[:2]
    scale = min(1.0, _LONGEST / max(height, width))
    shape = (max(8, round(width * scale)), max(8, round(height * scale)))
    small = np.asarray(Image.fromarray(image).resize(shape, Image.Resampling.BILINEAR)) if scale < 1 else image
    luv: NDArray[np.float64] = rgb2luv(small)
    layers = []
    labels = _oversegmented(luv)
    for side in _SCALES:
        labels = merged(labels, luv, min(side, min(labels.shape) // 2))
        layers.append(describe(labels, luv))
    saliency = layers[0].spread(_consistent(layers))
    if scale < 1:
        saliency = np.asarray(Image.fromarray(saliency).resize((width, height), Image.Resampling.BILINEAR)).clip(0, 1)
    return saliency


def _oversegmented(luv: NDArray[np.float64]) -> NDArray[np.int64]:
    """Watershed regions (H, W) of the smoothed gradient, one for each of its minima."""
    smooth = ndimage.gaussian_filter(luv, (1, 1, 0))
    gradient = np.sqrt(sum(ndimage.sobel(smooth, axis) ** 2 for axis in (0, 1)).sum(2))
    minima, _ = ndimage.label(gradient == ndimage.minimum_filter(gradient, 5))
    return numbered(watershed(gradient, minima))


def merged(labels: NDArray[np.int64], pixels: NDArray[np.float64], side: int) -> NDArray[np.int64]:
    """``labels`` (H, W) with every region that holds no square of ``side`` pixels joined to its neighbour of nearest colour.

    Round by round, until all hold one or one region is left.
    """
    for _ in range(_ROUNDS):
        regions = describe(labels, pixels)
        small = ~contained_squares(labels, side)
        if not small.any() or len(regions) == 1:
            break
        labels = numbered(_joined(regions, small)[labels])
    return labels


def _joined(regions: Regions, small: NDArray[np.bool_]) -> NDArray[np.int64]:
    """For each region the number of the group that it belongs to once the ``small`` ones have joined their neighbours."""
    first, second = np.concatenate([regions.neighbours, regions.neighbours[:, ::-1]]).T
    apart = np.linalg.norm(regions.colours[first] - regions.colours[second], axis=1)
    order = np.lexsort((apart, first))
    _, nearest = np.unique(first[order], return_index=True)
    chosen = order[nearest]
    chosen = chosen[small[first[chosen]]]
    count = len(regions)
    graph = sparse.coo_matrix((np.ones(len(chosen)), (first[chosen], second[chosen])), shape=(count, count))
    groups: NDArray[np.int64] = connected_components(graph, directed=False)[1].astype(np.int64)
    return groups


def _cue(regions: Regions) -> NDArray[np.float64]:
    """Contrast with the other regions times nearness to the middle, (N,), 1 at most (paper, section 3.2)."""
    near = np.exp(-(distances(regions.places) ** 2) / _NEAR)
    contrast = (distances(regions.colours) * near) @ regions.areas
    rows, columns = (((np.arange(side) + 0.5) / side - 0.5) ** 2 for side in regions.labels.shape)
    middle = np.exp(-_CENTRE * (rows[:, None] + columns[None]))
    location = np.bincount(regions.labels.ravel(), middle.ravel(), len(regions)) / regions.areas
    cue: NDArray[np.float64] = contrast * location
    return cue / max(float(cue.max()), 1e-12)


def _consistent(layers: list[Regions]) -> NDArray[np.float64]:
    """Saliency (N,) of the finest layer's regions, from all layers' cues and the tree that they make (paper, section 3.3)."""
    starts = np.cumsum([0, *(len(layer) for layer in layers)])
    cues = np.concatenate([_cue(layer) for layer in layers])
    children, parents = [], []
    for level, (fine, coarse) in enumerate(itertools.pairwise(layers)):
        parent = np.zeros(len(fine), np.int64)
        parent[fine.labels.ravel()] = coarse.labels.ravel()
        children.append(starts[level] + np.arange(len(fine)))
        parents.append(starts[level + 1] + parent)
    first, second = np.concatenate(children), np.concatenate(parents)
    tree = sparse.coo_matrix((np.full(len(first), _CONSISTENT), (first, second)), shape=(starts[-1], starts[-1]))
    tree = tree + tree.T
    system = sparse.diags(1 + np.asarray(tree.sum(1)).ravel()) - tree
    solution: NDArray[np.float64] = spsolve(system.tocsc(), cues)
    return solution[: len(layers[0])]

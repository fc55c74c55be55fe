"""Superpixels of an image with what the classical methods ask of them: colours, places, neighbours, border."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.color import rgb2lab
from skimage.segmentation import slic

from segmentation.errors import require

_PIXELS_EACH = 600
_FEWEST, _MOST = 100, 400
_COMPACTNESS = 20.0


@dataclasses.dataclass(frozen=True, eq=False)
class Regions:
    """N regions of an image (H, W)."""

    labels: NDArray[np.int64]
    """(H, W), from 0 to N - 1."""
    colours: NDArray[np.float64]
    """Mean colours (N, 3)."""
    places: NDArray[np.float64]
    """Mean places (N, 2), row and column, as shares of height and width."""
    areas: NDArray[np.float64]
    """Pixels (N,)."""
    border: NDArray[np.bool_]
    """Whether a region touches the image's border, (N,)."""
    neighbours: NDArray[np.int64]
    """Pairs (M, 2) of regions that share an edge, the smaller index first."""

    def __len__(self) -> int:
        return len(self.areas)

    def spread(self, values: NDArray[np.float64]) -> NDArray[np.float32]:
        """``values`` (N,) of the regions as a map (H, W) that reaches from 0 to 1."""
        low, high = float(values.min()), float(values.max())
        scaled = (values - low) / (high - low) if high > low else np.zeros_like(values)
        return scaled[self.labels].astype(np.float32)


def check_picture(image: NDArray[np.uint8]) -> None:
    """Refuse what is no picture (H, W, 3) uint8 of at least 8 x 8 pixels."""
    fits = image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3 and min(image.shape[:2]) >= 8
    require(fits, f"the image is {image.dtype} of shape {image.shape}", "Give RGB, (H, W, 3) uint8, of 8 x 8 pixels or more.")


def describe(labels: NDArray[np.int64], pixels: NDArray[np.float64]) -> Regions:
    """The regions ``labels`` (H, W), numbered from 0 without a gap, of an image whose colours are ``pixels`` (H, W, 3)."""
    count = int(labels.max()) + 1
    flat = labels.ravel()
    areas = np.bincount(flat, minlength=count).astype(float)
    channels = [np.bincount(flat, pixels[..., channel].ravel(), count) / areas for channel in range(3)]
    rows, columns = np.indices(labels.shape)
    places = [np.bincount(flat, axis.ravel() + 0.5, count) / areas for axis in (rows, columns)]
    border = np.zeros(count, bool)
    for side in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        border[side] = True
    return Regions(
        labels,
        np.stack(channels, 1),
        np.stack(places, 1) / labels.shape,
        areas,
        border,
        adjacency(labels),
    )


def adjacency(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Pairs (M, 2) of different ``labels`` (H, W) that share an edge, each once, the smaller first."""
    sides = [(labels[:-1], labels[1:]), (labels[:, :-1], labels[:, 1:])]
    first = np.concatenate([a.ravel() for a, _ in sides])
    second = np.concatenate([b.ravel() for _, b in sides])
    differ = first != second
    low, high = np.minimum(first, second)[differ], np.maximum(first, second)[differ]
    count = int(labels.max()) + 1
    codes = np.unique(low * count + high)
    return np.stack([codes // count, codes % count], 1)


def superpixels(image: NDArray[np.uint8], count: int | None = None) -> Regions:
    """SLIC superpixels of ``image`` (H, W, 3) with their mean colours in CIE Lab.

    ``count`` is about how many; None: one for each 600 pixels (200 in an image of 300 x 400), but 100 at least and 400 at most.
    Errors: :class:`LanternError` if the image is something else.
    """
    check_picture(image)
    lab: NDArray[np.float64] = rgb2lab(image)
    wanted = count or min(max(image.shape[0] * image.shape[1] // _PIXELS_EACH, _FEWEST), _MOST)
    # Lab is given, so that it is made once; the compactness is in its units.
    found = slic(lab, wanted, _COMPACTNESS, convert2lab=False, start_label=0, enforce_connectivity=True)
    return describe(numbered(found), lab)


def numbered(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """``labels`` (H, W) renumbered from 0 without a gap."""
    _, dense = np.unique(labels, return_inverse=True)
    return np.asarray(dense, np.int64).reshape(labels.shape)


def distances(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Euclidean distances (N, N) between ``values`` (N, d)."""
    squares = (values**2).sum(1)
    between: NDArray[np.float64] = np.maximum(squares[:, None] + squares[None] - 2 * values @ values.T, 0)
    np.fill_diagonal(between, 0)
    return np.sqrt(between)


def contained_squares(labels: NDArray[np.int64], side: int) -> NDArray[np.bool_]:
    """Whether each of the regions ``labels`` (H, W) holds a square of ``side`` pixels, (N,)."""
    size = (side, side)
    # Beyond the image is a region of its own, so squares lie within the image.
    low = ndimage.minimum_filter(labels, size, mode="constant", cval=-1)
    high = ndimage.maximum_filter(labels, size, mode="constant", cval=-1)
    holds = np.zeros(int(labels.max()) + 1, bool)
    holds[labels[low == high]] = True
    return holds

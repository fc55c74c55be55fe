"""WSC: weighted sparse coding over a dictionary of what is not salient (Li, Sun and Yu, 2015)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.color import rgb2lab

from segmentation.baselines.superpixels import Regions, distances, superpixels

_COUNTS = (100, 200, 300)
_SPARSE = 0.02
_STEPS = 120
_ROUNDS = 2
_WIDTH = 0.3


def sparse_coding_saliency(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Saliency (H, W) in [0, 1] of ``image`` (H, W, 3) uint8.

    The framework of the paper: each superpixel is written as a sparse sum of others that are not salient, those unlike it
    being dearer, and what is left over is its saliency; the dictionary begins with the border and is then made anew of what
    was found not salient. Three numbers of superpixels, averaged. Chosen here, as the paper leaves them to the data at hand:
    the features (mean and spread of Lab, place), the price of unlikeness, the numbers. Left out: depth and light-field cues.
    Errors: :class:`LanternError` if the image is something else or under 8 x 8 pixels.
    """
    lab: NDArray[np.float64] = rgb2lab(image) if image.ndim == 3 and image.shape[-1] == 3 else np.zeros((1, 1, 3))
    total = np.zeros(image.shape[:2], np.float32)
    for count in _COUNTS:
        regions = superpixels(image, count)
        if len(regions) >= 3 and regions.border.any():
            total += regions.spread(_left_over(regions, _features(regions, lab)))
    smooth = ndimage.gaussian_filter(total, 2)
    low, high = float(smooth.min()), float(smooth.max())
    return ((smooth - low) / (high - low)).clip(0, 1) if high - low > 1e-6 else np.zeros_like(smooth)


def _features(regions: Regions, lab: NDArray[np.float64]) -> NDArray[np.float64]:
    """What a region is compared by, (N, 8): mean and spread of its Lab colours, its place, all around 1 at most."""
    flat, count = regions.labels.ravel(), len(regions)
    squares = np.stack([np.bincount(flat, lab[..., c].ravel() ** 2, count) / regions.areas for c in range(3)], 1)
    spread = np.sqrt(np.maximum(squares - regions.colours**2, 0))
    return np.concatenate([regions.colours / 50, spread / 50, 0.3 * regions.places], 1)


def _left_over(regions: Regions, features: NDArray[np.float64]) -> NDArray[np.float64]:
    """What the sparse sums leave of the regions' features, (N,), after the dictionary was made anew."""
    words = regions.border
    left = _coded(features, words)
    for _ in range(_ROUNDS - 1):
        calm = left <= np.median(left)
        # What sticks out of the border is an object that the border cuts.
        kept = words & (left <= left[words].mean() + 2 * left[words].std())
        words = kept | (calm & (left <= left[words].mean()))
        left = _coded(features, words)
    return left


def _coded(features: NDArray[np.float64], words: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Error (N,) of the sparse codes of ``features`` (N, F) over those of the ``words`` (N,), nothing coded by itself."""
    dictionary = features[words]
    apart = distances(features)[:, words]
    price = np.exp(apart**2 / (2 * _WIDTH**2)).clip(max=1e6)
    own = np.nonzero(words)[0]
    price[own, np.arange(len(own))] = 1e6
    codes = weighted_codes(dictionary, features, _SPARSE * price)
    left: NDArray[np.float64] = ((features - codes @ dictionary) ** 2).sum(1)
    return left


def weighted_codes(
    dictionary: NDArray[np.float64], features: NDArray[np.float64], price: NDArray[np.float64], steps: int = _STEPS
) -> NDArray[np.float64]:
    """The codes (N, K) that minimise |x - a D|^2 / 2 + sum of ``price`` |a| for each of ``features`` (N, F).

    ``dictionary`` is (K, F), ``price`` (N, K). By FISTA (Beck and Teboulle, 2009), ``steps`` of it.
    """
    gram, target = dictionary @ dictionary.T, features @ dictionary.T
    rate = 1 / max(float(np.linalg.norm(gram, 2)), 1e-12)
    codes = ahead = np.zeros((len(features), len(dictionary)))
    speed = 1.0
    for _ in range(steps):
        moved = ahead - rate * (ahead @ gram - target)
        found = np.sign(moved) * np.maximum(np.abs(moved) - rate * price, 0)
        faster = (1 + np.sqrt(1 + 4 * speed**2)) / 2
        ahead = found + (speed - 1) / faster * (found - codes)
        codes, speed = found, faster
    return codes

"""Saliency as minimum barrier distance from the image's border (Zhang et al., 2015, "MB+")."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.color import rgb2lab
from torch import Tensor

from segmentation.errors import require

_PASSES = 3
_BAND = 0.1
_SIGMA = 0.35
_STEADY = 4.0
_CHUNK = 256


def minimum_barrier_distance(images: NDArray[np.float32]) -> NDArray[np.float32]:
    """How far the values of each channel must at least vary on a way from the border to each pixel.

    ``images`` and the distances are (B, C, H, W), float32, of any range; the distances are 0 on the border. Three passes in
    raster order, each pixel asking the two neighbours that the pass has seen already (the paper's FastMBD), for all images
    at once. Both neighbours lie on the anti-diagonal before the pixel's own, so that a whole one is done at a time.
    """
    count, channels, height, width = images.shape
    values = np.zeros((height + width - 1, height, count * channels), np.float32)
    for row in range(height):
        values[row : row + width, row] = images[:, :, row].reshape(count * channels, width).T
    distances = np.full_like(values, np.inf)
    for row in range(height):
        on_border = slice(row, row + width) if row in (0, height - 1) else [row, row + width - 1]
        distances[on_border, row] = 0
    highest, lowest = values.copy(), values.copy()
    diagonals = range(2, height + width - 3)
    for number in range(_PASSES):
        step = 1 if number % 2 == 0 else -1
        for diagonal in diagonals[::step]:
            rows = slice(max(1, diagonal - width + 2), min(height - 2, diagonal - 1) + 1)
            for neighbours in (slice(rows.start - step, rows.stop - step), rows):
                high = np.maximum(highest[diagonal - step, neighbours], values[diagonal, rows])
                low = np.minimum(lowest[diagonal - step, neighbours], values[diagonal, rows])
                barrier = high - low
                shorter = barrier < distances[diagonal, rows]
                for kept, found in ((distances, barrier), (highest, high), (lowest, low)):
                    np.copyto(kept[diagonal, rows], found, where=shorter)
    rows_back = [distances[row : row + width, row].T for row in range(height)]
    return np.stack(rows_back, 1).reshape(count, channels, height, width)


def minimum_barrier_saliency(images: Tensor) -> Tensor:
    """Saliency (B, H, W) in [0, 1], float32, of ``images`` (B, 3, H, W) in [-1, 1].

    In the colours of CIE Lab: the minimum barrier distance, and the distance from the colours within 10% of the shorter side
    of each border, the border that an image differs most from left out; their sum times a Gaussian of 0.35 of each side.
    The paper's smoothing and sharpening are left out. Errors: :class:`LanternError` if the shape is another.
    """
    fits = images.dim() == 4 and images.shape[1] == 3 and len(images) > 0 and min(images.shape[2:]) >= 3
    require(fits, f"the images have shape {tuple(images.shape)}", "Give (B, 3, H, W), sides of 3 pixels or more.")
    return torch.cat([torch.from_numpy(_saliency(part)) for part in images.cpu().split(_CHUNK)]).to(images.device)


def _saliency(images: Tensor) -> NDArray[np.float32]:
    unit = ((images.float().clamp(-1, 1) + 1) / 2).permute(0, 2, 3, 1).numpy()
    lab: NDArray[np.float32] = rgb2lab(unit).transpose(0, 3, 1, 2).astype(np.float32)
    found = _scaled(minimum_barrier_distance(lab).sum(1)) + _scaled(_background_distance(lab))
    rows, columns = (((np.arange(side) + 0.5) / side - 0.5) ** 2 for side in lab.shape[2:])
    weight = np.exp(-(rows[:, None] + columns[None, :]) / (2 * _SIGMA**2))
    return _scaled(_scaled(found) * weight).astype(np.float32)


def _background_distance(lab: NDArray[np.float32]) -> NDArray[np.float32]:
    """Sum of the Mahalanobis distances from the colours of three borders, each scaled to 1 at most, (B, H, W)."""
    count, channels, height, width = lab.shape
    band = max(1, round(_BAND * min(height, width)))
    pixels = lab.reshape(count, channels, -1)
    distances = []
    for strip in (lab[:, :, :band], lab[:, :, -band:], lab[:, :, :, :band], lab[:, :, :, -band:]):
        colours = strip.reshape(count, channels, -1)
        mean = colours.mean(2, keepdims=True)
        spread = colours - mean
        covariance = spread @ spread.transpose(0, 2, 1) / spread.shape[2] + _STEADY * np.eye(channels, dtype=np.float32)
        away = pixels - mean
        squares = ((np.linalg.inv(covariance) @ away) * away).sum(1)
        distance = np.sqrt(np.maximum(squares, 0)).reshape(count, height, width)
        distances.append(distance / np.maximum(distance.max((1, 2), keepdims=True), 1e-12))
    stacked = np.stack(distances)
    nearest: NDArray[np.float32] = stacked.sum(0) - stacked.max(0)
    return nearest


def _scaled(saliency: NDArray[np.float32]) -> NDArray[np.float32]:
    lifted: NDArray[np.float32] = saliency - saliency.min((1, 2), keepdims=True)
    return lifted / np.maximum(lifted.max((1, 2), keepdims=True), np.float32(1e-6))

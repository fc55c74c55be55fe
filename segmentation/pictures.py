"""Tensors as pictures: 8-bit arrays and grids of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from segmentation.errors import require


def to_uint8(images: Tensor) -> NDArray[np.uint8]:
    """Images (B, 3, H, W) in [-1, 1] as (B, H, W, 3) uint8."""
    scaled = ((images.detach().float().clamp(-1, 1) + 1) * 127.5).round().byte()
    array: NDArray[np.uint8] = scaled.permute(0, 2, 3, 1).cpu().numpy()
    return array


def tile(pictures: NDArray[np.uint8], columns: int) -> NDArray[np.uint8]:
    """Pictures (B, H, W, 3) side by side, ``columns`` a row; the last row is filled with black."""
    require(columns >= 1, f"columns is {columns}", "Choose at least 1.")
    count, height, width, channels = pictures.shape
    rows = -(-count // columns)
    padded = np.zeros((rows * columns, height, width, channels), np.uint8)
    padded[:count] = pictures
    grid = padded.reshape(rows, columns, height, width, channels).transpose(0, 2, 1, 3, 4)
    return grid.reshape(rows * height, columns * width, channels)


def image_grid(images: Tensor, columns: int) -> NDArray[np.uint8]:
    """Images (B, 3, H, W) in [-1, 1] as one picture, ``columns`` a row."""
    return tile(to_uint8(images), columns)


def mask_picture(masks: Tensor) -> NDArray[np.uint8]:
    """Masks (B, H, W) bool, or saliency (B, H, W) in [0, 1], as grey pictures (B, H, W, 3) uint8."""
    grey = (masks.detach().float().clamp(0, 1) * 255).round().byte()
    array: NDArray[np.uint8] = grey[..., None].expand(*grey.shape, 3).cpu().numpy()
    return array


def mask_rows(images: Tensor, *masks: Tensor) -> NDArray[np.uint8]:
    """A row of images (B, 3, H, W) above a row for each of ``masks`` (B, H, W)."""
    rows = [to_uint8(images), *(mask_picture(row) for row in masks)]
    return tile(np.concatenate(rows), len(images))

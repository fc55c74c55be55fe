"""Pairs on disk: arrays ``image`` and ``shifted`` in one ``.npz`` file."""

from __future__ import annotations

from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch

from segmentation.errors import LanternError, require


def read_pairs(path: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """The arrays ``image`` and ``shifted``, (N, 3, H, W) in [-1, 1], of the ``.npz`` file ``path``."""
    require(path.is_file(), f"{path} does not exist", "Give a .npz file with the arrays image and shifted.")
    try:
        with np.load(path, allow_pickle=False) as opened:
            found = [torch.from_numpy(np.asarray(opened[name], np.float32)) for name in ("image", "shifted")]
    except (KeyError, ValueError, OSError, EOFError, BadZipFile) as error:
        raise LanternError(f"{path} holds no pairs ({error})", "Give a .npz file with the arrays image and shifted.") from error
    images, shifted = found
    for name, images_of in (("image", images), ("shifted", shifted)):
        fits = images_of.dim() == 4 and images_of.shape[1] == 3 and len(images_of) > 0
        require(fits, f"{name} in {path} has shape {tuple(images_of.shape)}", "It must be (N, 3, H, W).")
        inside = bool(images_of.isfinite().all()) and float(images_of.abs().max()) <= 1.0001
        require(inside, f"{name} in {path} has values outside [-1, 1]", "Scale the images to [-1, 1].")
    return images, shifted

"""Samples with their masks for a figure: images, shifted images and masks, those that the filters keep (paper, Figure 2)."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from explorer.directions.strips import Codes
from explorer.engine import Engine
from segmentation.filters import FilterConfig, filter_pairs
from segmentation.pictures import to_uint8
from segmentation.progress import Unwatched, Watcher

_AT_ONCE = 16


@dataclasses.dataclass(frozen=True)
class Samples:
    """N samples of a direction and what the filters say of them."""

    images: NDArray[np.uint8]
    """G(z), (N, R, R, 3)."""
    shifted: NDArray[np.uint8]
    """G(z + h), (N, R, R, 3)."""
    masks: NDArray[np.bool_]
    """The masks after the components filter, (N, R, R)."""
    rejected_by: list[str]
    """For each the filter that rejects it; "" where it is accepted."""
    looked_at: int
    """How many samples were made until these were found."""


def find_samples(
    engine: Engine,
    direction: Tensor,
    magnitude: float,
    codes: Codes,
    filters: FilterConfig,
    wanted: int,
    *,
    accepted_only: bool = True,
    watcher: Watcher | None = None,
) -> Samples:
    """The first ``wanted`` samples of ``codes`` (N, d) shifted by ``magnitude`` along ``direction`` (d,), or fewer.

    ``accepted_only`` passes over what ``filters`` reject. Stops when there are enough; tells ``watcher`` how many there are.

    Errors: as of :meth:`Engine.images`; ``KeyboardInterrupt`` if the watcher asks to stop.
    """
    watcher = watcher or Unwatched()
    images, shifted, masks = [], [], []
    rejected_by: list[str] = []
    looked_at = 0
    for batch in codes.split(_AT_ONCE):
        before, after = engine.pairs(batch, direction, magnitude)
        verdicts = filter_pairs(before, after, filters)
        kept = verdicts.accepted if accepted_only else torch.ones_like(verdicts.accepted)
        chosen = kept.nonzero()[:, 0][: wanted - len(rejected_by)]
        images.append(to_uint8(before[chosen]))
        shifted.append(to_uint8(after[chosen]))
        masks.append(verdicts.mask[chosen].cpu().numpy())
        rejected_by += [verdicts.rejected_by[index] for index in chosen.tolist()]
        full = len(rejected_by) == wanted
        looked_at += int(chosen[-1]) + 1 if full else len(batch)
        watcher.advance(len(rejected_by), wanted, {"looked_at": float(looked_at)})
        if full:
            break
        if watcher.stop_requested():
            raise KeyboardInterrupt
    return Samples(np.concatenate(images), np.concatenate(shifted), np.concatenate(masks), rejected_by, looked_at)

"""Images along many directions at once: the strips of an atlas, the frames of a walk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from explorer.directions.picks import codes_of_seeds, seeds_in
from explorer.engine import MAX_TRUNCATION, Engine
from segmentation.configuration import check_range
from segmentation.errors import require
from segmentation.pictures import tile, to_uint8
from segmentation.progress import Unwatched, Watcher

Codes: TypeAlias = Tensor
"""Latent codes (N, d), for whoever hands them on without looking inside."""


def starting_codes(
    engine: Engine,
    count: int,
    seed: int,
    truncation: float = MAX_TRUNCATION,
    origin: Sequence[float] = (),
    alpha: float = 0.0,
    pins: str = "",
) -> Codes:
    """``count`` latent codes (B, d) drawn by ``seed``; with an ``origin`` (d numbers) that one, then neighbours of it.

    The neighbours are :meth:`Engine.around` of ``alpha``. Codes that ``pins`` names, as :func:`seeds_in` reads it, come before
    all others, and the same code is not drawn once more after them. Errors: as there.
    """
    if not pins.strip():
        return engine.around(origin, count, alpha, seed, truncation) if origin else engine.codes(count, seed, truncation)
    pinned = codes_of_seeds(engine, pins, truncation)
    if origin:
        return torch.cat([pinned, engine.around(origin, count, alpha, seed, truncation)])
    drawn = unpinned(pins, seed, count)
    return torch.cat([pinned, engine.codes(drawn[-1] + 1, seed, truncation)[drawn]])


def unpinned(pins: str, seed: int, count: int) -> list[int]:
    """The first ``count`` indices of codes of ``seed`` that are not among ``pins``, as :func:`seeds_in` reads it."""
    taken = {index for pinned, index in seeds_in(pins) if pinned == seed} if pins.strip() else set()
    return [index for index in range(count + len(taken)) if index not in taken][:count]


def render(engine: Engine, codes: Codes, watcher: Watcher | None = None) -> NDArray[np.uint8]:
    """The images of ``codes`` (N, d) as (N, R, R, 3) uint8; holds them as bytes only, and tells ``watcher`` after each batch.

    Errors: as of :meth:`Engine.images`; ``KeyboardInterrupt`` if the watcher asks to stop.
    """
    watcher = watcher or Unwatched()
    pictures = np.empty((len(codes), engine.resolution, engine.resolution, 3), np.uint8)
    done = 0
    for batch in engine.image_batches(codes):
        pictures[done : done + len(batch)] = to_uint8(batch)
        done += len(batch)
        watcher.advance(done, len(codes), {})
        if watcher.stop_requested():
            raise KeyboardInterrupt
    return pictures


def walks(
    engine: Engine, directions: Tensor, lengths: NDArray[np.float32], codes: Codes, watcher: Watcher | None = None
) -> NDArray[np.uint8]:
    """Images (K, N, M, R, R, 3) uint8 of ``codes`` (N, d) shifted by the ``lengths`` (K, M) along ``directions`` (K, d).

    Directions and codes share the batches, and G(z), where a length is 0, is made once for all. Errors: as of :func:`render`.
    """
    count, steps = lengths.shape
    fits = directions.shape == (count, engine.latent_dim)
    remedy = f"{engine.name} takes ({count}, {engine.latent_dim})."
    require(fits, f"the directions have shape {tuple(directions.shape)}", remedy)
    reach = torch.from_numpy(lengths)[:, None, :, None] * directions.detach().float().cpu()[:, None, None]
    shifted = codes.float().cpu()[None, :, None] + reach
    moved = lengths != 0
    everywhere = np.broadcast_to(moved[:, None], (count, len(codes), steps))
    still = codes.float().cpu() if not moved.all() else codes[:0].float().cpu()
    made = render(engine, torch.cat([still, shifted[torch.from_numpy(everywhere.copy())]]), watcher)
    pictures = np.empty((count, len(codes), steps, *made.shape[1:]), np.uint8)
    pictures[everywhere] = made[len(still) :]
    for direction, step in np.argwhere(~moved):
        pictures[direction, :, step] = made[: len(still)]
    return pictures


def spread(magnitudes: Sequence[float], columns: int) -> NDArray[np.float32]:
    """For each of K ``magnitudes`` the ``columns`` lengths (K, M) of a strip, evenly from minus to plus the magnitude."""
    check_range("columns", columns, 2, 101)
    return np.stack([np.linspace(-magnitude, magnitude, columns) for magnitude in magnitudes]).astype(np.float32)


def strip(engine: Engine, direction: Tensor, magnitude: float, sign: int, codes: Codes, columns: int) -> NDArray[np.uint8]:
    """A walk along ``sign`` times ``direction`` (d,) as one picture (H, W, 3): a row a code, from -magnitude to +magnitude.

    There are ``columns`` images a row, the middle one of an odd number being G(z).
    """
    pictures = walks(engine, sign * direction[None], spread([magnitude], columns), codes)[0]
    return tile(pictures.reshape(-1, *pictures.shape[2:]), columns)

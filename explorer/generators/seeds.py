"""Randomness that depends on nothing but what it is for."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor


def source_for(*parts: int | str, device: torch.device | None = None) -> torch.Generator:
    """A random source on ``device``, by default the CPU, that depends on ``parts`` only.

    Sources of the same parts give other numbers on another kind of device.
    """
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return torch.Generator(device or torch.device("cpu")).manual_seed(int.from_bytes(digest[:7], "little"))


class Draws:
    """Random numbers for the rows of a batch, on the device of ``source``; of several processes each gets its own rows.

    Every process draws for the whole batch from a source with the same seed and takes the ``index``-th of ``processes``
    equal parts: together they have the numbers that a single one would have.
    """

    def __init__(self, source: torch.Generator, index: int = 0, processes: int = 1) -> None:
        self.source, self.index, self.processes = source, index, processes

    def normal(self, count: int, *shape: int) -> Tensor:
        """Standard normal numbers (``count``, *shape) for ``count`` own rows."""
        return self._own(torch.randn(count * self.processes, *shape, generator=self.source, device=self.source.device))

    def uniform(self, count: int, *shape: int) -> Tensor:
        """Numbers (``count``, *shape) in [0, 1) for ``count`` own rows."""
        return self._own(torch.rand(count * self.processes, *shape, generator=self.source, device=self.source.device))

    def integers(self, below: int, count: int, *shape: int) -> Tensor:
        """Integers (``count``, *shape), at least 0 and less than ``below``, for ``count`` own rows; int64."""
        size = (count * self.processes, *shape)
        return self._own(torch.randint(0, below, size, generator=self.source, device=self.source.device))

    def _own(self, rows: Tensor) -> Tensor:
        if self.processes == 1:
            return rows
        share = len(rows) // self.processes
        return rows[self.index * share : (self.index + 1) * share]

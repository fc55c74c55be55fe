"""A source of pairs whose true masks are known: discs that get lighter before grounds that get darker."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from explorer.engine import Engine, EngineConfig
from explorer.sources import EngineSource, SourceConfig
from tests.analytic import DiscGenerator, lighting


def disc_source(magnitude: float = 5.0, **generator: int) -> EngineSource:
    """The engine over the disc generator, along its true lighting direction."""
    engine = Engine(DiscGenerator(**generator), EngineConfig(device="cpu"))
    return EngineSource(engine, lighting(engine.latent_dim), SourceConfig(magnitude))


class Darkness:
    """A source whose every mask is empty."""

    resolution = 32

    def pairs(self, count: int, key: tuple[int | str, ...]) -> tuple[Tensor, Tensor]:
        return torch.zeros(count, 3, 32, 32), torch.full((count, 3, 32, 32), -1.0)

    def describe(self) -> dict[str, Any]:
        return {"generator": "darkness"}


class Brightness:
    """A source that costs nothing: a square that gets lighter; a quarter of the samples has none, and is rejected."""

    resolution = 16

    def pairs(self, count: int, key: tuple[int | str, ...]) -> tuple[Tensor, Tensor]:
        images = torch.full((count, 3, 16, 16), -0.9)
        images[:, 0] += torch.rand(count, 1, 1, generator=torch.Generator().manual_seed(len(repr(key)))) / 10
        shifted = images - 0.05
        shifted[count // 4 :, :, 4:10, 4:10] = 0.9
        return images, shifted

    def describe(self) -> dict[str, Any]:
        return {"generator": "brightness"}

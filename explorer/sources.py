"""The engine as a source of image pairs for the segmentation rooms, which know nothing of generators."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from explorer.directions.catalogue import PAPER_MAGNITUDE
from explorer.engine import MAX_TRUNCATION, Engine
from segmentation.configuration import Config, check_range
from segmentation.errors import require
from segmentation.files import read_array


@dataclasses.dataclass(frozen=True)
class SourceConfig(Config):
    """Where latent codes come from and how far they are shifted."""

    magnitude: float = PAPER_MAGNITUDE
    """Length of the shift along the direction."""
    truncation: float = MAX_TRUNCATION
    """Entries of the latent codes stay within plus or minus this; 4 and above: no truncation."""
    alpha: float = 0.2
    """With embeddings: the latent codes are an embedding plus alpha times N(0, I) noise."""

    def __post_init__(self) -> None:
        check_range("magnitude", self.magnitude, 0.01, 100)
        check_range("truncation", self.truncation, 0.01, float("inf"))
        check_range("alpha", self.alpha, 0, 10)


class EngineSource:
    """Pairs of ``engine`` along ``direction`` (d,), from N(0, I) or around ``embeddings`` (N, d) (paper, section 3.2)."""

    def __init__(
        self,
        engine: Engine,
        direction: Tensor,
        config: SourceConfig,
        embeddings: NDArray[Any] | None = None,
        note: str = "",
    ) -> None:
        self.engine, self.direction, self.config, self.note = engine, direction, config, note
        self.resolution = engine.resolution
        self.embeddings = None if embeddings is None else _checked(embeddings, engine)

    def pairs(self, count: int, key: tuple[int | str, ...]) -> tuple[Tensor, Tensor]:
        """``count`` pairs G(z), G(z + h), each (B, 3, R, R); the same ``key`` gives the same pairs."""
        return self.engine.pairs(self.codes(count, key), self.direction, self.config.magnitude)

    def codes(self, count: int, key: tuple[int | str, ...]) -> Tensor:
        """The latent codes (``count``, d) of ``key``."""
        seed = int.from_bytes(hashlib.sha256(repr(key).encode()).digest()[:7], "little")
        noise = self.engine.codes(count, seed, self.config.truncation)
        if self.embeddings is None:
            return noise
        source = torch.Generator().manual_seed(seed + 1)
        picked = self.embeddings[torch.randint(0, len(self.embeddings), (count,), generator=source)]
        return picked + self.config.alpha * noise

    def describe(self) -> dict[str, Any]:
        """Generator, direction and sampling, as plain JSON types."""
        direction = self.direction.detach().cpu().numpy().astype("<f4").tobytes()
        embeddings = None if self.embeddings is None else self.embeddings.numpy().astype("<f4").tobytes()
        return {
            "generator": self.engine.name,
            "fingerprint": self.engine.fingerprint,
            "direction": self.note,
            "direction_fingerprint": hashlib.sha256(direction).hexdigest()[:16],
            "embeddings": None if embeddings is None else hashlib.sha256(embeddings).hexdigest()[:16],
            "precision": self.engine.config.precision,
            **self.config.to_json(),
        }


def _checked(embeddings: NDArray[Any], engine: Engine) -> Tensor:
    codes = _as_codes("the file of embeddings", embeddings)
    fits = codes.dim() == 2 and codes.shape[1] == engine.latent_dim and len(codes) > 0
    remedy = f"{engine.name} takes (N, {engine.latent_dim}); make them with: python -m explorer encode"
    require(fits, f"the embeddings have shape {embeddings.shape}", remedy)
    require(bool(codes.isfinite().all()), "the embeddings hold NaN or infinity", remedy)
    return codes


def read_codes(path: Path) -> Tensor:
    """Latent codes (N, d), float32, from a ``.npy`` file."""
    return _as_codes(str(path), read_array(path))


def _as_codes(name: str, array: NDArray[Any]) -> Tensor:
    require(array.dtype.kind in "fiu", f"{name} holds {array.dtype}", "Give an array of numbers, (N, d).")
    # What is beyond float32 becomes infinity, and that is refused where the codes are used.
    with np.errstate(over="ignore"):
        return torch.from_numpy(np.ascontiguousarray(array, np.float32))

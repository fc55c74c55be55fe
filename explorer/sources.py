"""The engine as a source of image pairs for the segmentation rooms, which know nothing of generators."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from explorer.directions.catalogue import PAPER_MAGNITUDE
from explorer.encoded import check_origin, measure
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
    prior: float = 0.0
    """With embeddings: share of the latent codes that are drawn from N(0, I) all the same."""

    def __post_init__(self) -> None:
        check_range("magnitude", self.magnitude, 0.01, 100)
        check_range("truncation", self.truncation, 0.01, float("inf"))
        check_range("alpha", self.alpha, 0, 10)
        check_range("prior", self.prior, 0, 1)


class EngineSource:
    """Pairs of ``engine`` along ``direction`` (d,), from N(0, I) or around ``embeddings`` (paper, section 3.2).

    Of several collections of embeddings, (N, d) each, every one gives as many codes as another. ``doubts`` says in words what
    about the embeddings is unlike latent codes.
    """

    def __init__(
        self,
        engine: Engine,
        direction: Tensor,
        config: SourceConfig,
        embeddings: Sequence[NDArray[Any]] = (),
        note: str = "",
    ) -> None:
        self.engine, self.direction, self.config, self.note = engine, direction, config, note
        self.resolution = engine.resolution
        self.embeddings = [_checked(own, engine) for own in embeddings]
        self.doubts = [doubt for own in self.embeddings for doubt in measure(own.numpy()).doubts()]

    def pairs(self, count: int, key: tuple[int | str, ...]) -> tuple[Tensor, Tensor]:
        """``count`` pairs G(z), G(z + h), each (B, 3, R, R); the same ``key`` gives the same pairs."""
        return self.engine.pairs(self.codes(count, key), self.direction, self.config.magnitude)

    def codes(self, count: int, key: tuple[int | str, ...]) -> Tensor:
        """The latent codes (``count``, d) of ``key``."""
        seed = int.from_bytes(hashlib.sha256(repr(key).encode()).digest()[:7], "little")
        noise = self.engine.codes(count, seed, self.config.truncation)
        if not self.embeddings:
            return noise
        source = torch.Generator().manual_seed(seed + 1)
        picked = [own[torch.randint(0, len(own), (count,), generator=source)] for own in self.embeddings]
        chosen = torch.randint(0, len(picked), (1, count, 1), generator=source).expand(1, count, noise.shape[1])
        around = torch.stack(picked).gather(0, chosen)[0] + self.config.alpha * noise
        return noise.where(torch.rand(count, 1, generator=source) < self.config.prior, around)

    def describe(self) -> dict[str, Any]:
        """Generator, direction and sampling, as plain JSON types."""
        direction = self.direction.detach().cpu().numpy().astype("<f4").tobytes()
        embeddings = [own.numpy().astype("<f4").tobytes() for own in self.embeddings]
        return {
            "generator": self.engine.name,
            "fingerprint": self.engine.fingerprint,
            "direction": self.note,
            "direction_fingerprint": hashlib.sha256(direction).hexdigest()[:16],
            "embeddings": [hashlib.sha256(own).hexdigest()[:16] for own in embeddings],
            "precision": self.engine.config.precision,
            **self.config.to_json(),
        }


def as_embeddings(embeddings: NDArray[Any], engine: Engine) -> Tensor:
    """``embeddings`` (N, d) as float32; :class:`LanternError` if their shape is not one that ``engine`` takes."""
    codes = _as_codes("the file of embeddings", embeddings)
    fits = codes.dim() == 2 and codes.shape[1] == engine.latent_dim and len(codes) > 0
    require(fits, f"the embeddings have shape {embeddings.shape}", _remedy(engine))
    return codes


def check_finite(embeddings: Tensor, engine: Engine) -> None:
    """Refuse ``embeddings`` (N, d) that hold NaN or infinity, and say how many."""
    bad = int((~embeddings.isfinite().all(1)).sum())
    require(bad == 0, f"the embeddings hold NaN or infinity, {bad} of {len(embeddings)}", _remedy(engine))


def _checked(embeddings: NDArray[Any], engine: Engine) -> Tensor:
    codes = as_embeddings(embeddings, engine)
    check_finite(codes, engine)
    return codes


def _remedy(engine: Engine) -> str:
    return f"{engine.name} takes (N, {engine.latent_dim}); make them with: python -m explorer encode"


def read_embeddings(path: Path, engine: Engine) -> NDArray[Any]:
    """The embeddings (N, d) in the ``.npy`` file ``path``.

    Errors: :class:`LanternError` if the record that ``encode`` laid beside it names another generator than that of
    ``engine``; what they hold is checked where they are used.
    """
    embeddings = read_array(path)
    check_origin(path, len(embeddings) if embeddings.ndim else 0, engine.accepted_fingerprints, engine.name)
    return embeddings


def read_codes(path: Path) -> Tensor:
    """Latent codes (N, d), float32, from a ``.npy`` file."""
    return _as_codes(str(path), read_array(path))


def _as_codes(name: str, array: NDArray[Any]) -> Tensor:
    require(array.dtype.kind in "fiu", f"{name} holds {array.dtype}", "Give an array of numbers, (N, d).")
    # What is beyond float32 becomes infinity, and that is refused where the codes are used.
    with np.errstate(over="ignore"):
        return torch.from_numpy(np.ascontiguousarray(array, np.float32))

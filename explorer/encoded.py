"""A file of embeddings: what lies beside it, and whether its numbers look like latent codes at all."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segmentation.errors import require
from segmentation.files import read_json, replacing

KIND = "embeddings"
_BLOCK, _COMPARED = 65536, 4096
_MEAN, _LOW, _HIGH = 0.25, 0.5, 1.5


def record_path(embeddings: Path) -> Path:
    """Where the record of the file ``embeddings`` lies: beside it, ending in ``.json``."""
    return embeddings.with_suffix(".json")


def write_record(embeddings: Path, described: Mapping[str, Any], names: Iterable[str]) -> None:
    """Write what made ``embeddings``, and the name of the photograph of every row, one a line."""
    with replacing(record_path(embeddings)) as temporary, temporary.open("w", encoding="utf-8") as stream:
        head = json.dumps({"kind": KIND, **described}, indent=2, ensure_ascii=False)
        stream.write(head.removesuffix("\n}") + ',\n  "names": [')
        between = "\n"
        for name in names:
            stream.write(f"{between}    {json.dumps(name, ensure_ascii=False)}")
            between = ",\n"
        stream.write("\n  ]\n}\n")


def read_record(embeddings: Path) -> dict[str, Any] | None:
    """What :func:`write_record` wrote; None if nothing of that kind lies beside ``embeddings``.

    Errors: :class:`LanternError` if it is cut short.
    """
    path = record_path(embeddings)
    record = read_json(path) if path.is_file() else None
    return record if isinstance(record, dict) and record.get("kind") == KIND else None


def check_origin(embeddings: Path, rows: int, fingerprints: Sequence[str], generator: str) -> dict[str, Any] | None:
    """The record of ``embeddings``; refuses one of another file, or of a generator with none of ``fingerprints``.

    Errors: :class:`LanternError` that names both, and what to do.
    """
    record = read_record(embeddings)
    if record is None:
        return None
    path = record_path(embeddings)
    apart = f"Encode the photographs again, or, if you know better, take {path.name} away."
    problem = f"{path} speaks of {record.get('rows')} embeddings, and {embeddings.name} has {rows}"
    require(record.get("rows") == rows, problem, apart)
    made_by = f"{record.get('generator')} (fingerprint {record.get('fingerprint')})"
    problem = f"{embeddings} was made with the generator {made_by}, not with {generator} ({fingerprints[0]})"
    remedy = "To another generator its codes mean nothing: give that generator, or encode the photographs again. "
    require(record.get("fingerprint") in fingerprints, problem, f"{remedy}If you know better, take {path.name} away.")
    return record


@dataclasses.dataclass(frozen=True)
class Statistics:
    """What tells latent codes, which are close to N(0, I), from other numbers."""

    rows: int
    """Number of codes."""
    length: int
    """Numbers in a code, d."""
    not_finite: int
    """How many codes have a NaN or an infinity; the figures below are those of the other codes."""
    mean: float
    """Mean of all numbers; about 0 is expected."""
    std: float
    """Their standard deviation; about 1 is expected, somewhat less of an encoder's means."""
    norm: float
    """Median length of a code over sqrt(d); about 1 is expected."""
    repeated: float
    """Share of codes that equal one before them, among at most 4096 spread over the file."""

    def describe(self) -> str:
        """The figures in a line."""
        return (
            f"{self.rows} x {self.length}: mean {self.mean:.3f}, standard deviation {self.std:.3f}, "
            f"median norm {self.norm:.3f} sqrt(d), {self.not_finite} not finite, {self.repeated:.0%} repeated"
        )

    def doubts(self) -> list[str]:
        """What is unlike latent codes, in words; nothing where all is well."""
        found = []
        if self.not_finite:
            found.append(f"{self.not_finite} of {self.rows} embeddings hold NaN or infinity")
        if abs(self.mean) > _MEAN:
            found.append(f"the mean of the embeddings is {self.mean:.2f}, about 0 is expected")
        if not _LOW <= self.std <= _HIGH:
            found.append(f"their standard deviation is {self.std:.2f}, about 1 is expected")
        if not _LOW <= self.norm <= _HIGH:
            found.append(f"their median norm is {self.norm:.2f} sqrt({self.length}), about 1 is expected")
        if self.repeated > 0.5:
            found.append(f"{self.repeated:.0%} of them are repetitions")
        return found


def measure(embeddings: NDArray[Any]) -> Statistics:
    """The statistics of ``embeddings`` (N, d), of which one block after the other is looked at."""
    count, total, squares = 0, 0.0, 0.0
    norms = [np.zeros(0)]
    for start in range(0, len(embeddings), _BLOCK):
        block = np.asarray(embeddings[start : start + _BLOCK], np.float64)
        block = block[np.isfinite(block).all(1)]
        own = np.square(block).sum(1)
        norms.append(np.sqrt(own))
        count, total, squares = count + block.size, total + float(block.sum()), squares + float(own.sum())
    rows, length = embeddings.shape
    lengths = np.concatenate(norms)
    mean = total / count if count else 0.0
    return Statistics(
        rows=rows,
        length=length,
        not_finite=rows - len(lengths),
        mean=mean,
        std=max(0.0, squares / count - mean**2) ** 0.5 if count else 0.0,
        norm=float(np.median(lengths)) / length**0.5 if count else 0.0,
        repeated=_repeated(embeddings),
    )


def spread_rows(rows: int, count: int) -> NDArray[np.int64]:
    """At most ``count`` of the numbers 0 to ``rows`` - 1, evenly spread, the first and the last among them."""
    return np.unique(np.linspace(0, rows - 1, min(rows, count)).round().astype(np.int64))


def _repeated(embeddings: NDArray[Any]) -> float:
    some = embeddings[spread_rows(len(embeddings), _COMPARED)]
    return 1 - len({row.tobytes() for row in some}) / len(some)

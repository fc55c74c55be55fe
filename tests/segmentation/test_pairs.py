"""Pairs on disk: what is damaged or something else is refused by name."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from segmentation.errors import LanternError
from segmentation.pairs import read_pairs

GOOD = np.random.default_rng(0).uniform(-1, 1, (2, 3, 4, 5)).astype(np.float32)


def npz(image: NDArray[Any], shifted: NDArray[Any]) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, image=image, shifted=shifted)
    return stream.getvalue()


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.float16])
def test_pairs_come_back_as_float32(tmp_path: Path, kind: type[np.floating[Any]]) -> None:
    path = tmp_path / "pairs.npz"
    path.write_bytes(npz(GOOD.astype(kind), -GOOD.astype(kind)))
    images, shifted = read_pairs(path)
    assert images.numpy().dtype == np.float32
    assert np.array_equal(images.numpy(), GOOD.astype(kind).astype(np.float32))
    assert np.array_equal(shifted.numpy(), -images.numpy())


def single_array() -> bytes:
    stream = io.BytesIO()
    np.save(stream, GOOD)
    return stream.getvalue()


def damaged() -> bytes:
    """An archive of which a compressed stream is no longer one."""
    data = bytearray(npz(GOOD, GOOD))
    start = 30 + len("image.npy") + int.from_bytes(data[28:30], "little")
    data[start : start + 20] = b"\xff" * 20
    return bytes(data)


def of_unknown_compression() -> bytes:
    """An archive whose directory claims a method of compression that there is not."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name in ("image.npy", "shifted.npy"):
            archive.writestr(name, single_array())
    data = bytearray(stream.getvalue())
    at = data.index(b"PK\x01\x02")
    data[at + 10 : at + 12] = (77).to_bytes(2, "little")
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (single_array(), "holds a single array"),
        (damaged(), "holds no pairs"),
        (of_unknown_compression(), "holds no pairs"),
        (npz(GOOD, GOOD)[:200], "holds no pairs"),
        (b"no archive", "holds no pairs"),
        (npz(GOOD[:, :, :0], GOOD[:, :, :0]), r"image in .* has shape \(2, 3, 0, 5\)"),
        (npz(GOOD[:0], GOOD[:0]), r"image in .* has shape \(0, 3, 4, 5\)"),
        (npz(GOOD[0], GOOD[0]), r"image in .* has shape \(3, 4, 5\)"),
        (npz(GOOD, GOOD[:, :1]), r"shifted in .* has shape \(2, 1, 4, 5\)"),
        (npz(GOOD, GOOD[:1]), r"shape \(2, 3, 4, 5\), shifted \(1, 3, 4, 5\)"),
        (npz(GOOD.astype(str), GOOD), "image in .* holds <U"),
        (npz(GOOD, GOOD.astype(complex)), "shifted in .* holds complex128"),
        (npz(np.full_like(GOOD, np.nan), GOOD), "image in .* has values outside"),
        (npz(GOOD, GOOD * 127.5), "shifted in .* has values outside"),
    ],
)
def test_what_is_no_pair_of_batches_is_refused_by_name(tmp_path: Path, data: bytes, said: str) -> None:
    path = tmp_path / "pairs.npz"
    path.write_bytes(data)
    with pytest.raises(LanternError, match=said) as caught:
        read_pairs(path)
    assert str(path) in caught.value.problem


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(LanternError, match=r"none\.npz does not exist"):
        read_pairs(tmp_path / "none.npz")

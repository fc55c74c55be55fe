"""Latent codes from files and from keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from explorer.engine import Engine, EngineConfig
from explorer.sources import EngineSource, SourceConfig, read_codes
from segmentation.errors import LanternError
from tests.analytic import DiscGenerator, lighting

CODES = np.random.default_rng(0).normal(size=(5, 8))


def source(*embeddings: NDArray[Any], alpha: float = 0.0, prior: float = 0.0) -> EngineSource:
    engine = Engine(DiscGenerator(), EngineConfig(device="cpu"))
    return EngineSource(engine, lighting(), SourceConfig(alpha=alpha, prior=prior), embeddings)


BAD = [
    (np.full((5, 8), "word"), "holds <U4"),
    (np.full((5, 8), None), "holds object"),
    (CODES.astype(complex), "holds complex128"),
    (CODES > 0, "holds bool"),
    (np.zeros((5, 8), "datetime64[s]"), "holds datetime64"),
]


@pytest.mark.parametrize(("embeddings", "said"), BAD, ids=[said for _, said in BAD])
def test_embeddings_that_are_no_numbers_are_refused(embeddings: NDArray[Any], said: str) -> None:
    with pytest.raises(LanternError, match=f"embeddings {said}"):
        source(embeddings)


@pytest.mark.parametrize(
    ("embeddings", "said"),
    [
        (CODES[:, :7], r"shape \(5, 7\)"),
        (CODES[:0], r"shape \(0, 8\)"),
        (CODES[0], r"shape \(8,\)"),
        (CODES * np.nan, "NaN or infinity"),
        (CODES * 1e300, "NaN or infinity"),
    ],
)
def test_embeddings_of_another_shape_or_without_end_are_refused(embeddings: NDArray[Any], said: str) -> None:
    with pytest.raises(LanternError, match=said):
        source(embeddings)


@pytest.mark.parametrize("kind", ["<f8", ">f8", "<f2"])
def test_without_noise_the_codes_are_the_embeddings_themselves(kind: str) -> None:
    embeddings = CODES.astype(kind)
    drawn = source(embeddings).codes(40, ("key", 1)).numpy()
    known = {row.tobytes() for row in embeddings.astype("<f4")}
    assert {row.tobytes() for row in drawn} == known


def test_noise_of_weight_alpha_is_added_to_embeddings() -> None:
    flat = np.zeros((3, 8))
    codes = source(flat, alpha=0.2).codes(4000, ("key",))
    assert codes.std().item() == pytest.approx(0.2, rel=0.02)


def test_of_several_collections_each_gives_as_many_codes() -> None:
    many, few = np.ones((300, 8)), np.full((3, 8), 2.0)
    codes = source(many, few).codes(4000, ("key",))
    assert set(codes.unique().tolist()) == {1.0, 2.0}
    assert (codes == codes[:, :1]).all()
    assert (codes[:, 0] == 2).float().mean().item() == pytest.approx(0.5, abs=0.03)


def test_a_share_of_the_codes_is_drawn_from_the_prior_all_the_same() -> None:
    codes = source(np.full((3, 8), 50.0), alpha=0.2, prior=0.25).codes(4000, ("key",))
    drawn = codes[codes[:, 0] < 25]
    assert len(drawn) / 4000 == pytest.approx(0.25, abs=0.03)
    assert drawn.std().item() == pytest.approx(1, rel=0.02)
    assert drawn.mean().item() == pytest.approx(0, abs=0.02)
    assert codes[codes[:, 0] > 25].mean().item() == pytest.approx(50, abs=0.02)


def test_codes_depend_on_their_key_alone() -> None:
    made = source()
    assert torch.equal(made.codes(6, ("held out", 0)), source().codes(6, ("held out", 0)))
    assert not torch.equal(made.codes(6, ("held out", 0)), made.codes(6, ("held out", 1)))


@pytest.mark.parametrize(("codes", "said"), [pair for pair in BAD if pair[0].dtype != object])
def test_files_of_codes_are_checked_the_same_way(tmp_path: Path, codes: NDArray[Any], said: str) -> None:
    path = tmp_path / "codes.npy"
    np.save(path, codes)
    with pytest.raises(LanternError, match=rf"codes\.npy {said}"):
        read_codes(path)
    np.save(path, CODES)
    assert np.array_equal(read_codes(path).numpy(), CODES.astype(np.float32))

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.linalg import expm
from scipy.stats import special_ortho_group

from explorer.directions.rotations import rotation_logarithm, why_no_rotation


def check(rotation: NDArray[np.float64]) -> None:
    logarithm = rotation_logarithm(rotation)
    assert np.array_equal(logarithm, -logarithm.T)
    assert np.abs(expm(logarithm) - rotation).max() < 1e-10


@settings(max_examples=30)
@given(st.integers(2, 30), st.integers(0, 999))
def test_the_exponential_of_the_logarithm_is_the_rotation(side: int, seed: int) -> None:
    check(special_ortho_group.rvs(side, random_state=seed))


@pytest.mark.parametrize("turned", [0, 2, 4])
@pytest.mark.parametrize("side", [4, 5, 120])
def test_half_turns_and_repeated_angles(side: int, turned: int) -> None:
    basis = special_ortho_group.rvs(side, random_state=1)
    check(basis @ np.diag([-1.0] * turned + [1.0] * (side - turned)) @ basis.T)
    planes = np.kron(np.eye(side // 2), [[np.cos(2.5), -np.sin(2.5)], [np.sin(2.5), np.cos(2.5)]])
    rotation = np.eye(side)
    rotation[: len(planes), : len(planes)] = planes
    check(basis @ rotation @ basis.T)


def test_permutations_are_rotations_too() -> None:
    check(np.eye(5)[[1, 2, 3, 4, 0]])
    check(np.eye(4)[[1, 0, 3, 2]])


@pytest.mark.parametrize(
    ("matrix", "why"),
    [
        (np.eye(3)[:, :2], "not square"),
        (np.eye(3) * 1.1, "not orthogonal"),
        (np.eye(3) + 0.1, "not orthogonal"),
        (np.diag([1.0, 1, -1]), "mirrors"),
    ],
)
def test_what_is_no_rotation_has_no_logarithm(matrix: NDArray[np.float64], why: str) -> None:
    assert why in why_no_rotation(matrix)
    with pytest.raises(ValueError, match=why):
        rotation_logarithm(matrix)

"""Rotations and their logarithms: how a deformator of type ortho is stored."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import schur

_ORTHOGONAL = 1e-5


def why_no_rotation(matrix: NDArray[np.float64]) -> str:
    """What keeps ``matrix`` from being a rotation, in words; empty if it is one (within 1e-5)."""
    if matrix.shape[0] != matrix.shape[1]:
        return f"its shape {matrix.shape} is not square"
    off = float(np.abs(matrix.T @ matrix - np.eye(len(matrix))).max())
    if off > _ORTHOGONAL:
        return f"its columns are not orthogonal unit vectors (off by {off:.2g})"
    return "" if np.linalg.det(matrix) > 0 else "it mirrors (its determinant is -1)"


def rotation_logarithm(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """The antisymmetric (d, d) whose matrix exponential is the rotation ``matrix`` (d, d).

    Errors: ``ValueError`` if it is no rotation.
    """
    if why := why_no_rotation(matrix):
        raise ValueError(why)
    left, _, right = np.linalg.svd(matrix)
    # The nearest exactly orthogonal matrix: only for such a one is the Schur form made of plane rotations.
    form, basis = schur(left @ right, output="real")
    planes, turned, k = np.zeros_like(form), [], 0
    while k < len(form):
        if k + 1 < len(form) and form[k + 1, k] != 0:
            angle = np.arctan2(form[k + 1, k] - form[k, k + 1], form[k, k] + form[k + 1, k + 1])
            planes[k + 1, k], planes[k, k + 1] = angle, -angle
            k += 1
        elif form[k, k] < 0:
            turned.append(k)
        k += 1
    # Two axes that are turned round are one plane, turned by half a circle.
    for one, other in zip(turned[::2], turned[1::2], strict=True):
        planes[other, one], planes[one, other] = np.pi, -np.pi
    logarithm: NDArray[np.float64] = basis @ planes @ basis.T
    return (logarithm - logarithm.T) / 2

"""The matrix that a discovery learns: its columns are the directions (Voynov and Babenko, 2020, section 3)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segmentation.configuration import check_choice, check_range

DEFORMATORS = ("ortho", "proj", "linear")
"""ortho: orthogonal columns of unit length; proj: any of unit length; linear: any, each as long as it becomes."""
_NEAR = 1e-3


class Deformator(nn.Module):
    """K directions that move the first ``moved`` numbers of a latent code; the first ``moved`` start near the axes.

    Those beyond start at random: there are no more axes.
    """

    def __init__(self, count: int, moved: int) -> None:
        super().__init__()
        check_range("the number of directions", count, 1, 65536)
        check_range("the number of latent coordinates that are moved", moved, 1, 65536)
        self.count, self.moved = count, moved

    def matrix(self) -> Tensor:
        """The matrix (``moved``, K), float32: a shift by e along direction k is e times column k."""
        raise NotImplementedError

    def shifts(self, chosen: Tensor, amounts: Tensor, latent_dim: int) -> Tensor:
        """Shifts (B, ``latent_dim``) by ``amounts`` (B,) along the directions ``chosen`` (B,), integers below K."""
        own = self.matrix().T[chosen] * amounts[:, None]
        return F.pad(own, (0, latent_dim - self.moved))

    def columns(self, latent_dim: int) -> Tensor:
        """The directions (K, ``latent_dim``), on the CPU, each of the length that it has in the matrix."""
        with torch.no_grad():
            return F.pad(self.matrix().T, (0, latent_dim - self.moved)).cpu().contiguous()


class OrthogonalDeformator(Deformator):
    """Columns of rotations, each a start times the exponential of an antisymmetric matrix.

    One rotation, near the identity, where K is at most ``moved``; otherwise as many as are needed side by side, so that
    every ``moved`` directions in turn are orthogonal to one another.
    """

    def __init__(self, count: int, moved: int) -> None:
        super().__init__(count, moved)
        rotations = -(-count // moved)
        starts = [torch.eye(moved), *(_random_rotation(moved) for _ in range(rotations - 1))]
        self.start: Tensor
        self.register_buffer("start", torch.stack(starts))
        # Only what is above the diagonal less what is below counts: half of the antisymmetric matrix.
        self.turns = nn.Parameter(_NEAR * torch.randn(rotations, moved, moved))

    def matrix(self) -> Tensor:
        """See :meth:`Deformator.matrix`."""
        rotations = self.start @ torch.matrix_exp(self.turns - self.turns.mT)
        return torch.cat(tuple(rotations), 1)[:, : self.count]


class LinearDeformator(Deformator):
    """Any matrix: directions may be alike, and a longer one is walked further."""

    def __init__(self, count: int, moved: int) -> None:
        super().__init__(count, moved)
        beyond = F.normalize(torch.randn(moved, max(0, count - moved)), dim=0)
        self.weight = nn.Parameter(torch.cat([torch.eye(moved), beyond], 1)[:, :count].contiguous())

    def matrix(self) -> Tensor:
        """See :meth:`Deformator.matrix`."""
        return self.weight


class ProjectiveDeformator(LinearDeformator):
    """Any directions, of which only where they point counts: every column is scaled to unit length."""

    def matrix(self) -> Tensor:
        """See :meth:`Deformator.matrix`."""
        return F.normalize(self.weight, dim=0)


def make_deformator(kind: str, count: int, moved: int) -> Deformator:
    """A new deformator of ``kind`` (one of :data:`DEFORMATORS`) of ``count`` directions, drawn from torch's global source."""
    check_choice("deformator", kind, DEFORMATORS)
    kinds = {"ortho": OrthogonalDeformator, "proj": ProjectiveDeformator, "linear": LinearDeformator}
    return kinds[kind](count, moved)


def _random_rotation(size: int) -> Tensor:
    basis, upper = torch.linalg.qr(torch.randn(size, size, dtype=torch.float64))
    basis = basis * upper.diagonal().sign()
    # The exponential turns and never mirrors, so neither may the start.
    basis[:, 0] *= torch.linalg.det(basis).sign()
    rotation: Tensor = basis.float()
    return rotation

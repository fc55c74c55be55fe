"""Directions in closed form: an orthonormal basis of the latent space, ordered by what it does to every image alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from explorer.engine import Engine

_COARSE = 16


def mean_effect(
    engine: Engine,
    codes: Tensor,
    step: float,
    told: Callable[[list[Tensor]], None] = lambda effects: None,
    known: Sequence[Tensor] = (),
) -> Tensor:
    """The mean change of the images per unit of each latent coordinate.

    (G(z + ``step`` e_k) - G(z - ``step`` e_k)) / (2 ``step``), averaged over ``codes`` (B, d) and pooled to 16x16:
    (d, 3 x 16 x 16). As ``step`` goes to 0 this is the mean Jacobian of the generator. ``told`` is called after each axis with
    the rows so far; those that are ``known`` from before are not measured again.
    """
    effects = list(known)
    for axis in torch.eye(engine.latent_dim)[len(effects) :]:
        walked = engine.walk(codes, axis, (-step, step)).cpu()
        change = F.adaptive_avg_pool2d((walked[:, 1] - walked[:, 0]).mean(0), _COARSE)
        effects.append(change.flatten() / (2 * step))
        told(effects)
    return torch.stack(effects)


def effect_basis(effect: Tensor) -> Tensor:
    """The orthonormal directions (d, d) whose mean effects are orthogonal images, the strongest first.

    ``effect`` is (d, P) from :func:`mean_effect`; the directions are its left singular vectors, as rows. A direction that
    changes each image in its own way has a small mean effect and comes late; one that brightens the middle of every image
    comes early. (Averaging over codes is what an interpretable direction asks for: Voynov and Babenko, 2020.)
    """
    left, _, _ = torch.linalg.svd(effect.double(), full_matrices=True)
    return left.T.float()


def centre_template(side: int, sigma: float = 0.25) -> Tensor:
    """A (``side``, ``side``) picture of what is likely object: a Gaussian of ``sigma`` sides, 1 in the middle, -1 far out."""
    axis = (torch.arange(side) + 0.5) / side - 0.5
    return 2 * torch.exp(-(axis[:, None] ** 2 + axis[None, :] ** 2) / (2 * sigma**2)) - 1


def lighting_candidate(effect: Tensor) -> Tensor:
    """The unit direction (d,) whose mean effect correlates best with a lighter middle before a darker border.

    ``effect`` is (d, 3 x 16 x 16). Regularised least squares: the template is asked of the mean effect, and everything
    else that the mean effect could do is asked to stay small.
    """
    grey = effect.view(len(effect), 3, _COARSE, _COARSE).mean(1).flatten(1).double()
    target = centre_template(_COARSE).flatten().double()
    gram = grey @ grey.T
    ridge = 0.1 * gram.diagonal().mean() * torch.eye(len(gram), dtype=torch.float64)
    direction = torch.linalg.solve(gram + ridge, grey @ target)
    return (direction / direction.norm()).float()


def random_orthogonal(latent_dim: int, seed: int) -> Tensor:
    """An orthonormal basis (d, d), uniform among all of them, the same for the same ``seed``."""
    drawn = torch.randn(latent_dim, latent_dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    orthonormal, upper = torch.linalg.qr(drawn)
    # Without the signs it would not be uniform, and depend on the library that factorises.
    return (orthonormal * upper.diagonal().sign()).T.float()


def oriented(directions: Tensor) -> Tensor:
    """``directions`` (K, d), each turned so that its entry of the largest size is positive, for factors without a sign."""
    largest = directions.gather(1, directions.abs().argmax(1, keepdim=True))
    return torch.where(largest < 0, -directions, directions)


def complete(first: Tensor, basis: Tensor) -> Tensor:
    """An orthonormal basis (d, d) that begins with ``first`` (d,) and otherwise keeps close to the rows of ``basis`` (d, d)."""
    rest = basis - torch.outer(basis @ first, first)
    order = rest.norm(dim=1).argsort(descending=True)[: len(basis) - 1].sort().values
    stacked = torch.cat([first[None], rest[order]]).double()
    orthonormal, upper = torch.linalg.qr(stacked.T)
    return (orthonormal * upper.diagonal().sign()).T.float()

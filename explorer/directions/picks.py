"""A direction from examples: from the mean of some latent codes to the mean of others, picked by a person."""

from __future__ import annotations

import dataclasses
import re

import torch
import torch.nn.functional as F
from torch import Tensor

from explorer.engine import MAX_TRUNCATION, Engine
from segmentation.errors import LanternError, require

_SEED = re.compile(r"(\d{1,18})(?::(\d{1,6}))?")


@dataclasses.dataclass(frozen=True)
class Picks:
    """Latent codes that have something (``high``, (N, d)) and that lack it (``low``, (M, d)), in a person's eyes.

    Errors: :class:`LanternError` if either is empty, of another shape, or holds NaN or infinity.
    """

    high: Tensor
    low: Tensor

    def __post_init__(self) -> None:
        for name, codes in (("high", self.high), ("low", self.low)):
            fits = codes.dim() == 2 and len(codes) > 0 and codes.shape[1] == self.high.shape[-1]
            remedy = "Give two arrays of latent codes, (N, d) and (M, d), or the seeds of both."
            require(fits, f"the picks {name} have shape {tuple(codes.shape)}", remedy)
            require(bool(codes.isfinite().all()), f"the picks {name} hold NaN or infinity", "Give finite numbers.")


def seeds_in(text: str) -> list[tuple[int, int]]:
    """The seeds that ``text`` names, as in ``3,8,12`` or ``0:4,0:17``, each with an index, from 0 on.

    Errors: :class:`LanternError` if the text is something else.
    """
    named = []
    for part in text.split(","):
        found = _SEED.fullmatch(part.strip())
        if found is None:
            raise LanternError(f"{part.strip()!r} is no seed", "Give seeds as in 3,8,12, or seed:index as in 0:4,0:17.")
        named.append((int(found[1]), int(found[2] or 0)))
    return named


def codes_of_seeds(engine: Engine, text: str, truncation: float = MAX_TRUNCATION) -> Tensor:
    """The latent codes (N, d) that ``text`` names, as in ``3,8,12`` or ``0:4,0:17``.

    ``SEED`` is the first latent code of a seed, ``SEED:INDEX`` the one of that index: what ``sample`` draws, in the order of
    its grid. Errors: as of :func:`seeds_in`.
    """
    return torch.stack([engine.codes(index + 1, seed, truncation)[index] for seed, index in seeds_in(text)])


def difference_of_means(picks: Picks) -> tuple[Tensor, float]:
    """The unit direction (d,) from the mean of the low picks to that of the high, and how much of it is no accident.

    That is an estimate of its cosine with what endless picks would give: the means of few codes differ by chance too, by
    s^2 / N + t^2 / M in the square, s^2 and t^2 being the variances within the picks. It is 0 where there is only one pick
    on a side. Errors: :class:`LanternError` if the two means are the same.
    """
    difference = (picks.high.double().mean(0) - picks.low.double().mean(0)).cpu()
    square = float(difference.square().sum())
    require(square > 1e-12, "the picks high and low have the same mean", "Pick codes that differ.")
    chance = sum(_spread(codes) / len(codes) for codes in (picks.high, picks.low))
    return F.normalize(difference, dim=0).float(), max(0.0, 1 - chance / square) ** 0.5


def _spread(codes: Tensor) -> float:
    """Sum of the variances of all entries; infinite if nobody can know."""
    return float(codes.double().var(0).sum()) if len(codes) > 1 else float("inf")

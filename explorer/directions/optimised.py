"""A direction optimised to light what stands out: gradient descent on the shift itself (Melas-Kyriazi et al., 2022)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from explorer.directions.catalogue import MAX_MAGNITUDE, PAPER_MAGNITUDE
from explorer.directions.ranking import correlation, gradient, standing_out, tell
from explorer.engine import Engine
from segmentation.configuration import Config, check_range
from segmentation.kept import NOTHING, KeptPart, State
from segmentation.masks import grey
from segmentation.progress import Watcher
from segmentation.tensors import optimiser_tensors, restore_optimiser

_SOFTNESS = 0.15
"""Change of grey at which a pixel counts as lit with a probability of 0.73."""
_SLOWER = 0.6
"""Rate of a further descent, over that of the first, from which it is to stay not too far."""


@dataclasses.dataclass(frozen=True)
class OptimiseConfig(Config):
    """How a direction is optimised."""

    steps: int = 200
    """Optimiser steps; 0 leaves the direction to the measurements alone."""
    batch_size: int = 48
    """Latent codes a step."""
    learning_rate: float = 0.05
    """Rate of Adam."""
    variation_weight: float = 2.0
    """Weight of what differs from image to image in the masks; at 0, lighting the middle of all is good enough."""
    edge_weight: float = 0.5
    """Weight of the edges staying where they are."""
    contrast_weight: float = 1.0
    """Weight of the change of light; at 0, entries of the code that change nothing take up part of the shift."""
    split_rounds: int = 2
    """Further descents (:func:`split_direction`), each from where the one before came to; 0 leaves them out."""
    split_steps: int = 120
    """Steps of each further descent."""
    split_weight: float = 4.0
    """Weight in the further descents of the shifted image being split into a light object and a dark ground."""
    split_share: float = 0.5
    """How far the direction is walked for the masks that a further descent is to give, over its magnitude."""

    def __post_init__(self) -> None:
        check_range("steps", self.steps, 0, 1_000_000)
        check_range("batch_size", self.batch_size, 2, 65536)
        check_range("learning_rate", self.learning_rate, 1e-6, 10)
        check_range("variation_weight", self.variation_weight, 0, 1000)
        check_range("edge_weight", self.edge_weight, 0, 1000)
        check_range("contrast_weight", self.contrast_weight, 0, 1000)
        check_range("split_rounds", self.split_rounds, 0, 100)
        check_range("split_steps", self.split_steps, 1, 1_000_000)
        check_range("split_weight", self.split_weight, 0, 1000)
        check_range("split_share", self.split_share, 0.01, 10)


def optimise_direction(
    engine: Engine,
    config: OptimiseConfig,
    watcher: Watcher,
    seed: int = 0,
    magnitude: float = PAPER_MAGNITUDE,
    lighter: bool = True,
    kept: KeptPart | None = None,
) -> Tensor:
    """The unit direction (d,) found by descent at ``magnitude``, without a label.

    It is asked for four things on fresh samples of every step: that the pixels which a shift by ``magnitude`` makes lighter be
    those that stand out by their colours (:mod:`segmentation.baselines.standing_out`), object and background
    counting alike; that this hold for what differs from sample to sample; that edges stay where they are; and that it be seen:
    the one made lighter and the other darker by up to 1. Unless ``lighter``, it is asked for the opposite polarity: what stands
    out becomes darker, the rest lighter. With ``kept`` it goes on where it stopped. Errors: ``KeyboardInterrupt`` if the
    watcher asks to stop.
    """
    kept = kept or NOTHING.part("descent")
    check_range("magnitude", magnitude, 0.01, MAX_MAGNITUDE)
    source = torch.Generator().manual_seed(seed)
    free = 0.05 * torch.randn(engine.latent_dim, generator=source)
    aims = _Aims(config, config.steps, magnitude, lambda codes, images: standing_out(images) == lighter)
    return _descend(engine, aims, free, source, watcher, kept)


def split_direction(
    engine: Engine,
    config: OptimiseConfig,
    watcher: Watcher,
    seed: int,
    start: tuple[Tensor, float],
    magnitude: float = PAPER_MAGNITUDE,
    kept: KeptPart | None = None,
) -> Tensor:
    """A unit direction (d,) that gives the masks of ``start``, and whose shifted images pass the histogram filter.

    ``start`` is a unit direction (d,) and the magnitude that it is walked by; the descent begins there and shifts by
    ``magnitude``. The filter (paper, section 3.2) keeps shifted images that are split into dark and light. A direction that
    only makes lighter and darker splits few but those that were so before: of objects that are darker than their ground
    hardly one is kept. Here what the mask covers has to be light in the end, and the rest dark, whatever it was before. The
    masks are those of a shorter walk (``config.split_share``), which are truer than those where light is cut off; edges are
    not asked for, since they drown there. With ``kept`` it goes on where it stopped. Errors: ``KeyboardInterrupt`` if the
    watcher asks to stop.
    """
    check_range("magnitude", magnitude, 0.01, MAX_MAGNITUDE)
    shift = config.split_share * start[1] * start[0]

    def lit(codes: Tensor, images: Tensor) -> Tensor:
        return grey(engine.images(codes + shift, "auto")) > grey(images)

    own = dataclasses.replace(config, edge_weight=0.0, contrast_weight=0.0, learning_rate=_SLOWER * config.learning_rate)
    aims = _Aims(own, config.split_steps, magnitude, lit, config.split_weight)
    source = torch.Generator().manual_seed(seed)
    return _descend(engine, aims, 0.5 * start[0], source, watcher, kept or NOTHING.part("split"))


class _Aims(NamedTuple):
    """What a descent is after: ``wanted`` says of codes (B, d) and images (B, 3, H, W) what the masks (B, H, W) should be."""

    config: OptimiseConfig
    steps: int
    magnitude: float
    wanted: Callable[[Tensor, Tensor], Tensor]
    split_weight: float = 0.0


def _descend(engine: Engine, aims: _Aims, first: Tensor, source: torch.Generator, watcher: Watcher, kept: KeptPart) -> Tensor:
    free = first.clone().requires_grad_()
    optimiser = torch.optim.Adam([free], aims.config.learning_rate)
    begun = 0 if kept.state is None else kept.state.step
    if kept.state is not None:
        free.data.copy_(kept.state.tensors["free"])
        restore_optimiser(optimiser, kept.state.tensors, "optimiser")
        source.set_state(kept.state.tensors["source"])
    for step in range(begun, aims.steps):
        codes = torch.randn(aims.config.batch_size, engine.latent_dim, generator=source)
        images = engine.images(codes, "auto").clone()
        wanted = aims.wanted(codes, images).float()
        shifted = engine.differentiable_images(codes + aims.magnitude * F.normalize(free, dim=0))
        loss, variation = lighting_loss(images, shifted, wanted, aims.config, aims.split_weight)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        figures = {"loss": loss.item(), "variation": variation.item()}
        tell(watcher, step + 1, aims.steps, kept, partial(_state, step + 1, free, optimiser, source), **figures)
    return F.normalize(free.detach(), dim=0)


def _state(step: int, free: Tensor, optimiser: torch.optim.Optimizer, source: torch.Generator) -> State:
    return State(step, {"free": free, "source": source.get_state(), **optimiser_tensors(optimiser, "optimiser")})


def lighting_loss(
    images: Tensor, shifted: Tensor, wanted: Tensor, config: OptimiseConfig, split_weight: float = 0.0
) -> tuple[Tensor, Tensor]:
    """What the descents minimise, and the correlation of what varies.

    ``images`` and ``shifted`` are (B, 3, H, W), ``wanted`` is (B, H, W), 1 where the mask should be and 0 elsewhere.
    """
    before, after = grey(images), grey(shifted)
    change = after - before
    balance = 0.5 * wanted / _share(wanted) + 0.5 * (1 - wanted) / _share(1 - wanted)
    masks = F.binary_cross_entropy_with_logits(change / _SOFTNESS, wanted)
    variation = _varying_correlation(torch.tanh(change / (2 * _SOFTNESS)), wanted)
    edges = correlation(gradient(before), gradient(after)).mean()
    sides = (2 * wanted - 1) * balance
    contrast = (change * sides).mean().clamp(max=1)
    split = (after * sides).mean()
    return (
        masks
        + config.variation_weight * (1 - variation)
        + config.edge_weight * (1 - edges)
        + config.contrast_weight * (1 - contrast)
        + split_weight * (1 - split)
    ), variation


def _share(part: Tensor) -> Tensor:
    return part.mean((1, 2), keepdim=True).clamp(min=1e-3)


def _varying_correlation(first: Tensor, second: Tensor) -> Tensor:
    """Correlation over all pixels of two batches (B, H, W) after their means over the batch are taken away."""
    a, b = first - first.mean(0), second - second.mean(0)
    return (a * b).sum() / (a.norm() * b.norm()).clamp(min=1e-6)

"""Discovery of interpretable directions, without labels (Voynov and Babenko, 2020).

A deformator and a reconstructor learn together: a latent code is shifted along a direction of the deformator, drawn at random,
and the reconstructor has to tell from G(z) and G(z + h) which direction it was and how far. Directions that it tells apart are
those that change one thing each. The generator stays as it is. Every step draws its randomness from a seed made of the
configuration's seed and the step, so that a resumed run goes on as if it had not been interrupted.
"""

from __future__ import annotations

import dataclasses
import math
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from explorer.directions.catalogue import MAX_MAGNITUDE
from explorer.directions.deformators import DEFORMATORS, make_deformator
from explorer.directions.reconstructors import RECONSTRUCTORS, make_reconstructor
from explorer.engine import Engine
from explorer.generators.seeds import source_for
from segmentation.checkpoints import Checkpoint, save_checkpoint
from segmentation.configuration import Config, check_choice, check_range
from segmentation.errors import LanternError, require
from segmentation.normalisation import share_statistics
from segmentation.precision import autocast, out_of_memory, placed
from segmentation.processes import Alone
from segmentation.tensors import (
    load_into,
    optimiser_tensors,
    restore_optimiser,
    with_prefix,
    without_prefix,
)

DISTRIBUTIONS = ("uniform", "normal")
RECOGNISED = 0.5
"""A direction counts as recognised from this accuracy on."""
KIND = "checkpoint of a discovery"
"""What the header of its checkpoints says."""
_MOST = 100_000_000


@dataclasses.dataclass(frozen=True)
class DiscoveryConfig(Config):
    """How directions are discovered; the defaults are those of the method's authors."""

    directions_count: int | None = None
    """Directions K; by default as many as there are numbers that they move (120 for BigBiGAN and pocket)."""
    max_latent_dim: int | None = None
    """Directions move the first so many numbers of the latent code; by default all."""
    deformator: str = "ortho"
    """``ortho`` (directions at right angles), ``proj`` (unit length, any angles) or ``linear`` (any)."""
    reconstructor: str = "resnet18"
    """``resnet18``, or ``lenet``: smaller and quicker, for simple images."""
    shift_scale: float = 6.0
    """Largest shift that is drawn (``normal``: its standard deviation)."""
    min_shift: float = 0.5
    """Shorter shifts are made so long."""
    shift_distribution: str = "uniform"
    """``uniform`` or ``normal``: how the lengths of shifts are drawn."""
    label_weight: float = 1.0
    """Weight of telling the direction (cross-entropy)."""
    shift_weight: float = 0.25
    """Weight of telling the length (mean absolute error)."""
    deformator_learning_rate: float = 1e-4
    """Rate of Adam for the directions."""
    reconstructor_learning_rate: float = 1e-4
    """Rate of Adam for the reconstructor."""
    batch_size: int = 32
    """Pairs a step."""
    steps: int = 100_000
    """Optimiser steps."""
    patience: int = 0
    """Steps without a rise of accuracy by half a point after which it stops early; 0: never."""
    averaged_over: int = 1000
    """Steps over which accuracies are averaged (a running average)."""
    checkpoint_every: int = 1000
    """Steps between checkpoints; each writes the catalogue."""
    seed: int = 0
    """Seed of everything random."""

    def __post_init__(self) -> None:
        check_choice("deformator", self.deformator, DEFORMATORS)
        check_choice("reconstructor", self.reconstructor, RECONSTRUCTORS)
        check_choice("shift_distribution", self.shift_distribution, DISTRIBUTIONS)
        check_range("directions_count", 2 if self.directions_count is None else self.directions_count, 2, 65536)
        check_range("max_latent_dim", 1 if self.max_latent_dim is None else self.max_latent_dim, 1, 65536)
        check_range("shift_scale", self.shift_scale, 1e-3, MAX_MAGNITUDE)
        check_range("min_shift", self.min_shift, 0, self.shift_scale, "and no more than shift_scale")
        for name in ("label_weight", "shift_weight"):
            check_range(name, getattr(self, name), 0, 1000)
        for name in ("deformator_learning_rate", "reconstructor_learning_rate"):
            check_range(name, getattr(self, name), 1e-8, 1)
        check_range("batch_size", self.batch_size, 2, 65536)
        for name in ("steps", "averaged_over", "checkpoint_every"):
            check_range(name, getattr(self, name), 1, _MOST)
        check_range("patience", self.patience, 0, _MOST)
        check_range("seed", self.seed, 0, 2**63 - 1)

    def moved(self, latent_dim: int) -> int:
        """How many numbers of a latent code of length ``latent_dim`` the directions move."""
        moved = self.max_latent_dim or latent_dim
        problem = f"max_latent_dim is {moved}, and the latent code has {latent_dim} numbers"
        require(moved <= latent_dim, problem, f"Choose at most {latent_dim}, or leave it out.")
        return moved

    def count(self, latent_dim: int) -> int:
        """How many directions there are for a latent code of length ``latent_dim``."""
        return self.directions_count or self.moved(latent_dim)


def draw_amounts(config: DiscoveryConfig, count: int, source: torch.Generator) -> Tensor:
    """``count`` lengths of shifts with their signs, none shorter than ``min_shift``: (count,)."""
    if config.shift_distribution == "uniform":
        drawn = 2 * torch.rand(count, generator=source) - 1
    else:
        drawn = torch.randn(count, generator=source)
    drawn = config.shift_scale * drawn
    return drawn.abs().clamp(min=config.min_shift).copysign(drawn)


class Recognition:
    """How often each of K directions was told right: a running average over about so many steps."""

    def __init__(self, count: int, averaged_over: int) -> None:
        self.decay = 1 - 1 / averaged_over
        self.seen, self.right = torch.zeros(count, dtype=torch.float64), torch.zeros(count, dtype=torch.float64)

    def see(self, chosen: Tensor, right: Tensor) -> None:
        """Count a step: the directions ``chosen`` (B,), integers, and which of them were told ``right`` (B,), bool."""
        weights = torch.ones(len(chosen), dtype=torch.float64)
        self.seen.mul_(self.decay).index_add_(0, chosen, weights)
        self.right.mul_(self.decay).index_add_(0, chosen, right.double())

    @property
    def accuracy(self) -> float:
        """Share of pairs whose direction was told right, in [0, 1]."""
        return float(self.right.sum() / self.seen.sum().clamp(min=1e-12))

    @property
    def accuracies(self) -> list[float]:
        """The same for the pairs of each direction; 0 for one that was never drawn."""
        return (self.right / self.seen.clamp(min=1e-12)).tolist()

    @property
    def recognised(self) -> int:
        """How many directions are told right in at least half of their pairs."""
        return sum(accuracy >= RECOGNISED for accuracy in self.accuracies)


class Discoverer:
    """Deformator, reconstructor and their optimisers on the device of ``engine``; ``step`` counts the steps done.

    Of several ``processes`` each has its share of the pairs of a step; gradients, the statistics of the normalisations and what
    was told right are those of the whole batch.
    """

    def __init__(self, engine: Engine, config: DiscoveryConfig, processes: Alone | None = None) -> None:
        self.engine, self.config, self.processes = engine, config, processes or Alone()
        count = config.count(engine.latent_dim)
        problem = f"{self.processes.count} processes are to share batches of {config.batch_size} pairs"
        require(self.processes.count <= config.batch_size, problem, "Start fewer, or raise --batch-size, in a new folder.")
        torch.manual_seed(config.seed)
        self.deformator = make_deformator(config.deformator, count, config.moved(engine.latent_dim)).to(engine.device)
        self.reconstructor = placed(make_reconstructor(config.reconstructor, count, engine.resolution), engine.device)
        self.optimisers = {
            "deformator": torch.optim.Adam(self.deformator.parameters(), config.deformator_learning_rate),
            "reconstructor": torch.optim.Adam(self.reconstructor.parameters(), config.reconstructor_learning_rate),
        }
        share_statistics(self.reconstructor, self.processes)
        self.recognition = Recognition(count, config.averaged_over)
        self.best, self.best_step, self.step = 0.0, 0, 0
        if isinstance(engine.generator, nn.Module):
            # Its gradients would cost time and memory, and nobody asks for them.
            engine.generator.requires_grad_(False)

    def advance(self) -> dict[str, float]:
        """One step; its figures.

        Errors: :class:`LanternError` if a loss is no number, the generator lets no gradients through, or memory is short.
        """
        started = time.perf_counter()
        try:
            figures = self._descend()
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
            problem = f"there is not memory enough for {self.config.batch_size} pairs of {self.engine.name} with gradients"
            raise LanternError(problem, "Lower --batch-size, in a new folder.") from error
        self.step += 1
        figures["accuracy"] = self.recognition.accuracy
        return {**figures, "milliseconds": 1000 * (time.perf_counter() - started)}

    def _descend(self) -> dict[str, float]:
        config, device = self.config, self.engine.device
        source = source_for(config.seed, "discovery", self.step)
        codes = torch.randn(config.batch_size, self.engine.latent_dim, generator=source)
        chosen = torch.randint(0, self.deformator.count, (config.batch_size,), generator=source)
        amounts = draw_amounts(config, config.batch_size, source)
        # Every process draws for all and takes its own.
        own = slice(self.processes.index, None, self.processes.count)
        codes, amounts, there = codes[own], amounts[own].to(device), chosen[own].to(device)
        # Copied, since what is made in inference mode may take no part in a backward pass.
        images = self.engine.images(codes, "auto").clone()
        shifts = self.deformator.shifts(there, amounts, self.engine.latent_dim)
        shifted = self.engine.differentiable_images(codes.to(device) + shifts)
        blind = f"the generator {self.engine.name} lets no gradients through to its latent codes"
        require(shifted.requires_grad, blind, "Take another source: python -m explorer directions")
        with autocast(device, "auto"):
            logits, told = self.reconstructor(images, shifted)
        label_loss = F.cross_entropy(logits.float(), there)
        shift_loss = (told.float() - amounts).abs().mean()
        share = len(codes) / config.batch_size
        loss = share * (config.label_weight * label_loss + config.shift_weight * shift_loss)
        for optimiser in self.optimisers.values():
            optimiser.zero_grad()
        loss.backward()
        # One transfer, since each waits for the device.
        told_of = torch.zeros(3 + config.batch_size, device=device)
        told_of[:3] = torch.stack([loss, share * label_loss, share * shift_loss]).detach()
        told_of[3:][own] = (logits.argmax(1) == there).float()
        learned = [group["params"] for optimiser in self.optimisers.values() for group in optimiser.param_groups]
        gradients = [parameter.grad for parameters in learned for parameter in parameters if parameter.grad is not None]
        self.processes.add([told_of, *gradients])
        figures, right = told_of.cpu().split([3, config.batch_size])
        self._check_finite(float(figures[0]))
        for optimiser in self.optimisers.values():
            optimiser.step()
        self.recognition.see(chosen, right.bool())
        return dict(zip(("loss", "label_loss", "shift_loss"), figures.tolist(), strict=True))

    def _check_finite(self, loss: float) -> None:
        remedy = "Lower --reconstructor-learning-rate or --deformator-learning-rate, in a new folder."
        require(math.isfinite(loss), f"the loss is {loss} at step {self.step + 1}", remedy)

    def stalled(self) -> bool:
        """Whether ``patience`` steps have passed without a rise of the accuracy, as of the last :meth:`look`."""
        return 0 < self.config.patience <= self.step - self.best_step

    def look(self, rise: float = 0.005) -> None:
        """Remember the accuracy if it is the best by ``rise``; asked at every checkpoint that is due."""
        if self.recognition.accuracy >= self.best + rise:
            self.best, self.best_step = self.recognition.accuracy, self.step

    def save(self, path: Path) -> None:
        """Write everything a resume needs to ``path``."""
        tensors = {
            **with_prefix("deformator", self.deformator.state_dict()),
            **with_prefix("reconstructor", self.reconstructor.state_dict()),
            "seen": self.recognition.seen,
            "right": self.recognition.right,
        }
        for name, optimiser in self.optimisers.items():
            tensors.update(optimiser_tensors(optimiser, f"optimiser.{name}"))
        remembered = {"step": self.step, "best": self.best, "best_step": self.best_step}
        save_checkpoint(path, tensors, {"kind": KIND, **remembered})

    def restore(self, saved: Checkpoint) -> None:
        """Go back to the state that :meth:`save` wrote."""
        tensors, header, path = saved.tensors, saved.header, saved.path
        load_into(self.deformator, without_prefix("deformator", tensors), str(path))
        load_into(self.reconstructor, without_prefix("reconstructor", tensors), str(path))
        for name, optimiser in self.optimisers.items():
            restore_optimiser(optimiser, tensors, f"optimiser.{name}")
        self.recognition.seen, self.recognition.right = tensors["seen"], tensors["right"]
        self.step, self.best, self.best_step = int(header["step"]), float(header["best"]), int(header["best_step"])

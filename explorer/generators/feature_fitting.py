"""Fit a feature network to photographs without labels: tell photographs apart, and tell how an image was turned.

*Instance discrimination* (Chen et al., 2020, SimCLR): two views of a photograph are to be more alike than views of
different ones. *Rotation prediction* (Gidaris et al., 2018): by which quarter turns was a view turned? Every step draws
its randomness from a seed made of the configuration's seed and the step, so that a resumed run goes on as if it had not
been interrupted.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from explorer.generators.features import WIDTHS, FeatureNetwork, load_features, save_features
from explorer.generators.photographs import describe_photographs, load_collections, to_signed
from explorer.generators.seeds import source_for
from segmentation.checkpoints import NAME, Checkpoint, load_checkpoint, save_checkpoint
from segmentation.configuration import Config, check_range
from segmentation.errors import LanternError, require
from segmentation.precision import autocast, placed
from segmentation.progress import Watcher
from segmentation.runfolder import claim
from segmentation.tensors import (
    load_into,
    optimiser_tensors,
    restore_optimiser,
    with_prefix,
    without_prefix,
)

_KIND = "checkpoint of features"
_TURNS = 4


@dataclasses.dataclass(frozen=True)
class FeatureConfig(Config):
    """How a feature network is fitted."""

    resolution: int = 64
    """Side in pixels that photographs are scaled to."""
    steps: int = 1600
    """Optimiser steps."""
    batch_size: int = 128
    """Photographs a step; two views of each are told apart, a third one of every other is turned."""
    learning_rate: float = 2e-3
    """Peak rate; it rises for ``warm_up`` steps and falls along a cosine to 0."""
    warm_up: int = 100
    """Steps until the peak rate."""
    temperature: float = 0.2
    """What the cosine similarities of views are divided by."""
    seed: int = 0
    """Seed of everything random."""
    checkpoint_every: int = 100
    """Steps between checkpoints."""

    def __post_init__(self) -> None:
        check_range("resolution", self.resolution, 32, 512, "px")
        check_range("batch_size", self.batch_size, 4, 65536)
        check_range("learning_rate", self.learning_rate, 1e-8, 1)
        check_range("warm_up", self.warm_up, 0, 100_000_000)
        check_range("temperature", self.temperature, 1e-3, 100)
        check_range("seed", self.seed, 0, 2**63 - 1)
        for name in ("steps", "checkpoint_every"):
            check_range(name, getattr(self, name), 1, 100_000_000)

    def rate(self, step: int) -> float:
        """Learning rate of ``step`` (from 0)."""
        rise = min(1.0, (step + 1) / max(1, self.warm_up))
        return self.learning_rate * rise * (1 + math.cos(math.pi * step / self.steps)) / 2


class FittingHeads(nn.Module):
    """What the two tasks add to the network: (B, 256) pooled features to what they are judged by."""

    def __init__(self) -> None:
        super().__init__()
        deepest = WIDTHS[-1]
        wide = [nn.Linear(deepest, deepest), nn.BatchNorm1d(deepest), nn.ReLU()]
        self.instance = nn.Sequential(*wide, nn.Linear(deepest, 96))
        self.rotation = nn.Linear(deepest, _TURNS)


def views(images: Tensor, source: torch.Generator) -> Tensor:
    """A view of each of ``images`` (B, 3, H, W): another crop, perhaps mirrored, in other colours; the same shape.

    ``source`` gives the randomness and lives on the CPU. A fifth of the views are grey.
    """
    count = len(images)

    def uniform(low: float, high: float) -> Tensor:
        return (torch.rand(count, generator=source) * (high - low) + low).to(images.device)

    def each(values: Tensor) -> Tensor:
        return values[:, None, None, None]

    images = _cropped(images, uniform(0.45, 1).sqrt(), uniform(-0.2, 0.2).exp(), uniform)
    grey = images.mean(1, keepdim=True)
    saturation = uniform(0, 1.6).where(uniform(0, 1) >= 0.2, 0.0)
    images = (images - grey) * each(saturation) + grey
    level = images.mean((1, 2, 3), keepdim=True)
    images = (images - level) * each(uniform(0.6, 1.4)) + level + each(uniform(-0.35, 0.35))
    return images + 0.12 * torch.randn(count, 3, 1, 1, generator=source).to(images.device)


def _cropped(images: Tensor, scale: Tensor, aspect: Tensor, uniform: Callable[[float, float], Tensor]) -> Tensor:
    """A window of sides ``scale`` (B,) times and over ``aspect`` (B,), anywhere in the image, every other mirrored."""
    width, height = scale * aspect, scale / aspect
    transform = images.new_zeros(len(images), 2, 3)
    transform[:, 0, 0] = width.where(uniform(0, 1) < 0.5, -width)
    transform[:, 1, 1] = height
    for row, side in enumerate((width, height)):
        transform[:, row, 2] = uniform(-1, 1) * (1 - side).clamp(min=0)
    grid = F.affine_grid(transform, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)


def instance_loss(embeddings: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Loss of instance discrimination for ``embeddings`` (2B, D), of which row i and row B + i are views of one photograph.

    The cross-entropy of picking a view's partner among all others by cosine similarity over ``temperature`` (Chen et al.,
    2020, equation 1), and the share of views whose partner is the most similar.
    """
    directions = F.normalize(embeddings, dim=1)
    similarity = (directions @ directions.T / temperature).fill_diagonal_(-torch.inf)
    partner = torch.arange(len(embeddings), device=embeddings.device).roll(len(embeddings) // 2)
    return F.cross_entropy(similarity, partner), (similarity.argmax(1) == partner).float().mean()


class FeatureFitting:
    """Network, heads, optimiser and photographs (N, 3, R, R) uint8 of one fit; ``step`` counts the steps done."""

    def __init__(self, config: FeatureConfig, photographs: Tensor, device: torch.device) -> None:
        self.config, self.photographs, self.device = config, photographs, device
        torch.manual_seed(config.seed)
        self.network = placed(FeatureNetwork(config.resolution), device)
        self.heads = FittingHeads().to(device)
        parameters = [*self.network.parameters(), *self.heads.parameters()]
        self.optimiser = torch.optim.AdamW(parameters, config.learning_rate, weight_decay=1e-4)
        self.step = 0

    def advance(self) -> dict[str, float]:
        """One step; its figures. Errors: :class:`LanternError` if the loss is not a number."""
        started = time.perf_counter()
        rate = self.config.rate(self.step)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        loss, figures = self._loss(source_for(self.config.seed, "features", self.step))
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        self.step += 1
        if not math.isfinite(loss.item()):
            raise LanternError(f"the loss is not a number at step {self.step}", "Lower --learning-rate, in a new folder.")
        spent = 1000 * (time.perf_counter() - started)
        return {"loss": loss.item(), **figures, "learning_rate": rate, "milliseconds": spent}

    def _loss(self, source: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        count = self.config.batch_size
        picked = self.photographs[torch.randint(0, len(self.photographs), (count,), generator=source)]
        images = to_signed(picked).to(self.device)
        pair = [views(images, source), views(images, source)]
        turns = torch.randint(0, _TURNS, (count // 2,), generator=source)
        upright = views(images[: count // 2], source)
        turned = torch.stack([view.rot90(int(turn), (1, 2)) for view, turn in zip(upright, turns, strict=True)])
        with autocast(self.device, "auto"):
            seen = torch.cat([*pair, turned]).contiguous(memory_format=torch.channels_last)
            deepest = self.network(seen)[-1].mean((2, 3)).float()
            embeddings, logits = self.heads.instance(deepest[: 2 * count]), self.heads.rotation(deepest[2 * count :])
        instance, matched = instance_loss(embeddings.float(), self.config.temperature)
        turns = turns.to(self.device)
        rotation = F.cross_entropy(logits.float(), turns)
        right = (logits.argmax(1) == turns).float().mean()
        figures = {"instance": instance.item(), "matched": matched.item(), "rotation": rotation.item(), "turned": right.item()}
        return instance + rotation, figures

    def save(self, path: Path) -> None:
        """Write everything a resume needs to ``path``."""
        tensors = {
            **with_prefix("network", self.network.state_dict()),
            **with_prefix("heads", self.heads.state_dict()),
            **optimiser_tensors(self.optimiser, "optimiser"),
        }
        save_checkpoint(path, tensors, {"kind": _KIND, "step": self.step})

    def restore(self, saved: Checkpoint) -> None:
        """Go back to the state that :meth:`save` wrote."""
        tensors, header, path = saved.tensors, saved.header, saved.path
        load_into(self.network, without_prefix("network", tensors), str(path))
        load_into(self.heads, without_prefix("heads", tensors), str(path))
        restore_optimiser(self.optimiser, tensors, "optimiser")
        self.step = int(header["step"])


def fit_features(
    images: Sequence[Path], out: Path, config: FeatureConfig, watcher: Watcher, device: torch.device
) -> FeatureNetwork | None:
    """Fit a feature network to the photographs in the folders and tars ``images``; go on where ``out`` stopped.

    Writes ``config.json``, ``checkpoint.safetensors`` and, at the end, ``features.safetensors`` to ``out``. Returns the
    network, or None if the watcher asked to stop. Errors: :class:`LanternError` if there are too few photographs, if
    ``out`` holds another fit, or if the loss is not a number.
    """
    photographs, _, unreadable = load_collections(images, config.resolution)
    need = config.batch_size
    require(len(photographs) >= need, f"there are {len(photographs)} photographs", f"Fitting needs at least {need}.")
    described = {"features": config.to_json(), "photographs": describe_photographs(photographs), "labels": "none"}
    claim(out, described)
    if unreadable:
        watcher.note(f"{len(unreadable)} files are no images and were passed over: {', '.join(unreadable[:5])}")
    fitting = FeatureFitting(config, photographs, device)
    checkpoint = out / NAME
    if (saved := load_checkpoint(checkpoint, _KIND)) is not None:
        fitting.restore(saved)
        if saved.said:
            watcher.note(saved.said)
        watcher.note(f"resuming at step {fitting.step} of {config.steps}")
        watcher.resume(fitting.step, config.steps)
    if not _run(fitting, checkpoint, watcher):
        return None
    save_features(fitting.network, out / "features.safetensors", described)
    return load_features(out / "features.safetensors")


def _run(fitting: FeatureFitting, checkpoint: Path, watcher: Watcher) -> bool:
    """Take the steps that are left; False if the watcher stopped it before the end."""
    steps = fitting.config.steps
    while fitting.step < steps:
        figures = fitting.advance()
        last, stop = fitting.step == steps, watcher.stop_requested()
        watcher.advance(fitting.step, steps, figures)
        if last or stop or fitting.step % fitting.config.checkpoint_every == 0:
            # The checkpoint last: what a resume finds has been told in full.
            fitting.save(checkpoint)
        if stop and not last:
            return False
    return True

"""Train the U-Net on accepted samples (paper, section 3.3): Adam, pixel binary cross-entropy, a rate that falls once."""

from __future__ import annotations

import dataclasses
import hashlib
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from segmentation.augmentation import AugmentationConfig, augment_pairs
from segmentation.configuration import Config, check_choice, check_range
from segmentation.errors import LanternError, require
from segmentation.metrics import SaliencyMetrics
from segmentation.pictures import mask_rows
from segmentation.precision import PRECISIONS, autocast, placed
from segmentation.progress import Watcher
from segmentation.runfolder import claim
from segmentation.synthesis import AcceptedStream, PairSource, Position, SynthesisConfig
from segmentation.tensors import (
    load_into,
    load_tensors,
    optimiser_tensors,
    restore_optimiser,
    save_tensors,
    with_prefix,
    without_prefix,
)
from segmentation.unet import UNet, UNetConfig, saliency_logits, save_unet


@dataclasses.dataclass(frozen=True)
class TrainingConfig(Config):
    """The schedule; the defaults are the paper's."""

    steps: int = 12_000
    """Optimiser steps."""
    batch_size: int = 95
    """Accepted samples a step."""
    learning_rate: float = 1e-3
    """Rate of Adam at the start."""
    decay: float = 0.2
    """What the rate is multiplied by, once."""
    decay_at: int | None = None
    """The step of that; None: two thirds of the steps (8,000 of 12,000)."""
    seed: int = 0
    """Seed of the weights and the samples."""
    precision: str = "auto"
    """``float32``, ``bfloat16``, or ``auto``: bfloat16 where the hardware is fast at it."""
    held_out: int = 256
    """Synthetic samples kept for validation; never trained on."""
    validate_every: int = 200
    """Steps between validations; a checkpoint is written at the same times."""
    unet: UNetConfig = UNetConfig()
    """The network."""
    augmentation: AugmentationConfig = AugmentationConfig()
    """How the samples are changed before each step; not at all by default, and never the held-out ones."""
    synthesis: SynthesisConfig = SynthesisConfig()
    """The samples."""

    def __post_init__(self) -> None:
        check_range("steps", self.steps, 1, 100_000_000)
        check_range("batch_size", self.batch_size, 2, 65536)
        check_range("learning_rate", self.learning_rate, 1e-8, 1)
        check_range("decay", self.decay, 0, 1)
        if self.decay_at is not None:
            check_range("decay_at", self.decay_at, 0, float("inf"))
        check_range("seed", self.seed, 0, 2**63 - 1)
        check_choice("precision", self.precision, PRECISIONS)
        check_range("held_out", self.held_out, 1, 1_000_000)
        check_range("validate_every", self.validate_every, 1, 100_000_000)

    def rate(self, step: int) -> float:
        """Learning rate of ``step`` (from 0)."""
        decay_at = self.steps * 2 // 3 if self.decay_at is None else self.decay_at
        return self.learning_rate * (self.decay if step >= decay_at else 1.0)


class Training:
    """Network, optimiser and stream of one training; ``step`` counts the steps done."""

    def __init__(self, source: PairSource, config: TrainingConfig, device: torch.device) -> None:
        self.source, self.config, self.device = source, config, device
        torch.manual_seed(config.seed)
        self.net = placed(UNet(config.unet), device)
        self.optimiser = torch.optim.Adam(self.net.parameters(), config.learning_rate)
        self.stream = AcceptedStream(source, config.synthesis, config.seed, "train")
        self.held_out = AcceptedStream(source, config.synthesis, config.seed, "held-out").take(config.held_out)
        self.step, self.best = 0, -1.0

    def loss(self, images: Tensor, masks: Tensor) -> Tensor:
        """Mean binary cross-entropy of the pixels of ``images`` (B, 3, H, W) against ``masks`` (B, H, W) bool."""
        with autocast(self.device, self.config.precision):
            logits = self.net(images.contiguous(memory_format=torch.channels_last))
        return F.binary_cross_entropy_with_logits(saliency_logits(logits.float()), masks.float())

    def advance(self) -> dict[str, float]:
        """One step; its figures."""
        started = time.perf_counter()
        images, masks = self._batch()
        waited = time.perf_counter() - started
        rate = self.config.rate(self.step)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.net.train()
        loss = self.loss(images, masks)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        self.step += 1
        value = loss.item()
        if value != value:
            raise LanternError(
                f"the loss is not a number at step {self.step}", "Lower the learning rate, or train with precision float32."
            )
        return {
            "loss": value,
            "learning_rate": rate,
            "acceptance_rate": self.stream.acceptance_rate,
            "waiting_for_samples": waited / (time.perf_counter() - started),
        }

    def _batch(self) -> tuple[Tensor, Tensor]:
        """The samples of the step at hand, changed as the configuration says; how, depends on nothing but seed and step."""
        images, masks = (part.to(self.device) for part in self.stream.take(self.config.batch_size))
        digest = hashlib.sha256(repr((self.config.seed, "augmentation", self.step)).encode()).digest()
        source = torch.Generator().manual_seed(int.from_bytes(digest[:7], "little"))
        return augment_pairs(images, masks, self.config.augmentation, source)

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Loss and scores on the held-out synthetic samples."""
        self.net.eval()
        metrics = SaliencyMetrics()
        losses: list[Tensor] = []
        size = self.config.batch_size
        for images, masks in zip(*(part.split(size) for part in self.held_out), strict=True):
            images, masks = images.to(self.device), masks.to(self.device)
            losses.append(self.loss(images, masks) * len(images))
            for saliency, mask in zip(self.saliency(images).cpu(), masks.cpu(), strict=True):
                metrics.step(saliency, mask)
        scores = metrics.results()
        loss = float(torch.stack(losses).sum()) / self.config.held_out
        return {"held_out_loss": loss, "max_f": scores.max_f, "iou": scores.iou, "accuracy": scores.accuracy}

    @torch.no_grad()
    def saliency(self, images: Tensor) -> Tensor:
        """Saliency (B, H, W) in [0, 1] of ``images`` (B, 3, H, W) as the network sees them now."""
        self.net.eval()
        with autocast(self.device, self.config.precision):
            logits = self.net(images.contiguous(memory_format=torch.channels_last))
        return saliency_logits(logits.float()).sigmoid()

    def provenance(self) -> dict[str, Any]:
        """What made the weights: configuration, source, steps done, acceptance."""
        return {
            "training": self.config.to_json(),
            "source": self.source.describe(),
            "steps": self.step,
            "funnel": self.stream.funnel,
        }

    def export(self, path: Path) -> None:
        """Write the network, as it is now, to ``path``, as float16."""
        save_unet(self.net, path, self.source.resolution, self.provenance(), half=True)

    def save(self, path: Path) -> None:
        """Write everything a resume needs to ``path``."""
        tensors = {**with_prefix("net", self.net.state_dict()), **optimiser_tensors(self.optimiser, "optimiser")}
        state = {"step": self.step, "best": self.best, "position": self.stream.position.to_json()}
        save_tensors(path, tensors, {"kind": "training checkpoint", **state})

    def restore(self, path: Path) -> None:
        """Go back to the state that :meth:`save` wrote."""
        tensors, header = load_tensors(path)
        require(header.get("kind") == "training checkpoint", f"{path} is no checkpoint of a training", "Give another folder.")
        load_into(self.net, without_prefix("net", tensors), str(path))
        restore_optimiser(self.optimiser, tensors, "optimiser")
        self.step, self.best = int(header["step"]), float(header["best"])
        start = Position.from_json(header["position"])
        self.stream = AcceptedStream(self.source, self.config.synthesis, self.config.seed, "train", start)


def train(source: PairSource, config: TrainingConfig, out: Path, watcher: Watcher, device: torch.device) -> Training | None:
    """Train a U-Net on the samples of ``source``; go on where ``out`` stopped.

    Writes ``config.json`` (schedule and source), ``checkpoint.safetensors``, ``best.safetensors`` (the highest IoU on the
    held-out synthetic samples) and, at the end, ``unet.safetensors``. Returns None if the watcher asked to stop. Errors:
    :class:`LanternError` if ``out`` holds another training, if nothing is accepted, or if the loss is not a number.
    """
    claim(out, {"training": config.to_json(), "source": source.describe()})
    training = Training(source, config, device)
    checkpoint = out / "checkpoint.safetensors"
    if checkpoint.exists():
        training.restore(checkpoint)
        watcher.note(f"resuming at step {training.step} of {config.steps}")
        watcher.resume(training.step, config.steps)
    while training.step < config.steps:
        figures = training.advance()
        last, stop = training.step == config.steps, watcher.stop_requested()
        if last or training.step % config.validate_every == 0:
            figures |= training.validate()
            _keep_best(training, figures["iou"], out)
            images, masks = (part[:12] for part in training.held_out)
            saliency = training.saliency(images.to(device))
            watcher.picture(f"{training.step:06d}", mask_rows(images, masks, saliency.cpu()))
        if last or stop or training.step % config.validate_every == 0:
            training.save(checkpoint)
        watcher.advance(training.step, config.steps, figures)
        if stop and not last:
            return None
    training.export(out / "unet.safetensors")
    return training


def _keep_best(training: Training, iou: float, out: Path) -> None:
    if iou > training.best:
        training.best = iou
        training.export(out / "best.safetensors")

"""Train the U-Net on accepted samples (paper, section 3.3): Adam, pixel binary cross-entropy, a rate that falls once."""

from __future__ import annotations

import copy
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from segmentation.checkpoints import NAME, load_checkpoint, save_checkpoint
from segmentation.errors import LanternError
from segmentation.feeding import Ahead, AugmentedFeed, Feed, Positions, ShardFeed, StreamFeed
from segmentation.metrics import SaliencyMetrics
from segmentation.normalisation import share_statistics
from segmentation.pictures import mask_rows
from segmentation.precision import autocast, placed
from segmentation.processes import Alone
from segmentation.progress import Unwatched, Watcher
from segmentation.reading import Shards
from segmentation.runfolder import claim
from segmentation.schedule import TrainingConfig
from segmentation.synthesis import PairSource
from segmentation.tensors import load_into, optimiser_tensors, restore_optimiser, with_prefix, without_prefix
from segmentation.unet import UNet, saliency_logits, save_unet

__all__ = ["Training", "TrainingConfig", "describe_training", "feed_for", "train"]
_KIND = "training checkpoint"
_EARLY = (10, 50)
"""Steps after which there is a picture of what the network sees, before it is validated for the first time."""
_SHOWN = 12


def feed_for(source: PairSource | Shards, config: TrainingConfig, processes: Alone) -> Feed:
    """What a training of that ``config`` is fed by ``source``; errors as of the two feeds."""
    feed: Feed
    if isinstance(source, Shards):
        feed = ShardFeed(source, config.seed, config.batch_size, config.held_out, processes)
    else:
        feed = StreamFeed(source, config.synthesis, config.seed, config.batch_size, config.streams, processes)
    return feed if config.augmentation.nothing else AugmentedFeed(feed, config.augmentation, config.seed, config.batch_size)


class Training:
    """Network, optimiser and samples of one training; ``step`` counts the steps done.

    Of several ``processes`` each has its share of every batch; gradients and the statistics of the normalisations are those of
    the whole batch, so that all have the network that a single one would have.
    """

    def __init__(self, feed: Feed, config: TrainingConfig, device: torch.device, processes: Alone | None = None) -> None:
        self.feed, self.config, self.device, self.processes = feed, config, device, processes or Alone()
        torch.manual_seed(config.seed)
        self.net = placed(UNet(config.unet), device)
        for bias in self.net.cancelled():
            # Adam would make steps of their rounding.
            bias.requires_grad_(False)
        share_statistics(self.net, self.processes)
        self.averaged = copy.deepcopy(self.net).requires_grad_(False) if config.average else None
        self.parameters = [parameter for parameter in self.net.parameters() if parameter.requires_grad]
        self.optimiser = torch.optim.Adam(self.parameters, config.learning_rate)
        self.held_out = feed.held_out(config.held_out)
        self.step, self.best = 0, -1.0
        self.scores: dict[str, float] = {}
        self.positions: Positions = {}
        self.funnel: dict[str, int] = {}

    @property
    def shown(self) -> UNet:
        """The network that is validated and written: the averaged one, if there is one."""
        return self.net if self.averaged is None else self.averaged

    def loss(self, images: Tensor, masks: Tensor, net: UNet | None = None) -> Tensor:
        """Mean binary cross-entropy of the pixels of ``images`` (B, 3, H, W) against ``masks`` (B, H, W) bool."""
        with autocast(self.device, self.config.precision):
            logits = (net or self.net)(images.contiguous(memory_format=torch.channels_last))
        return F.binary_cross_entropy_with_logits(saliency_logits(logits.float()), masks.float())

    def advance(self, samples: Ahead) -> dict[str, float]:
        """One step; its figures."""
        started = time.perf_counter()
        batch = samples.take()
        self.positions, self.funnel = batch.positions, batch.funnel
        waited = time.perf_counter() - started
        rate = self.config.rate(self.step)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.net.train()
        # The share of this process in the mean over the whole batch.
        loss = self.loss(batch.images, batch.masks) * (len(batch.images) / self.config.batch_size)
        self.optimiser.zero_grad()
        loss.backward()
        counts = torch.tensor([batch.funnel.get(name, 0) for name in ("kept", "generated")], dtype=torch.float32)
        counts = counts.to(self.device)
        figures = self._descend(loss.detach(), counts)
        self.step += 1
        if figures["loss"] != figures["loss"]:
            raise LanternError(
                f"the loss is not a number at step {self.step}", "Lower the learning rate, or train with precision float32."
            )
        kept, generated = counts.tolist()
        if generated:
            figures["acceptance_rate"] = kept / generated
        share = waited / (time.perf_counter() - started)
        return {**figures, "learning_rate": rate, "waiting_for_samples": share}

    def _descend(self, loss: Tensor, counts: Tensor) -> dict[str, float]:
        """A step of the optimiser down the gradients of all processes; the loss of all. ``counts`` become those of all."""
        # In one message with the gradients they cost nothing.
        self.processes.add([loss, counts, *(parameter.grad for parameter in self.parameters if parameter.grad is not None)])
        figures = {}
        if self.config.clip:
            figures["gradient"] = float(torch.nn.utils.clip_grad_norm_(self.parameters, self.config.clip))
        self.optimiser.step()
        if self.averaged is not None:
            _average(self.averaged, self.net, min(self.config.average, (self.step + 1) / (self.step + 10)))
        return {"loss": loss.item(), **figures}

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Loss and scores on the held-out synthetic samples."""
        net = self.shown.eval()
        metrics = SaliencyMetrics()
        losses: list[Tensor] = []
        size = self.config.batch_size
        for images, masks in zip(*(part.split(size) for part in self.held_out), strict=True):
            images, masks = images.to(self.device), masks.to(self.device)
            losses.append(self.loss(images, masks, net) * len(images))
            for saliency, mask in zip(self.saliency(images).cpu(), masks.cpu(), strict=True):
                metrics.step(saliency, mask)
        scores = metrics.results()
        loss = float(torch.stack(losses).sum()) / self.config.held_out
        self.scores = {"held_out_loss": loss, "max_f": scores.max_f, "iou": scores.iou, "accuracy": scores.accuracy}
        return self.scores

    @torch.no_grad()
    def saliency(self, images: Tensor) -> Tensor:
        """Saliency (B, H, W) in [0, 1] of ``images`` (B, 3, H, W) as the network sees them now."""
        net = self.shown.eval()
        with autocast(self.device, self.config.precision):
            logits = net(images.contiguous(memory_format=torch.channels_last))
        return saliency_logits(logits.float()).sigmoid()

    def provenance(self) -> dict[str, Any]:
        """What made the weights: configuration, source, steps done, acceptance."""
        return {
            "training": self.config.to_json(),
            "source": self.feed.describe(),
            "steps": self.step,
            "funnel": self.funnel,
        }

    def export(self, path: Path) -> None:
        """Write the network, as it is now, to ``path``, as float16."""
        save_unet(self.shown, path, self.feed.resolution, self.provenance(), half=True)

    def meet(self) -> None:
        """Have the ``positions`` of the streams of all processes, and the counts of all their candidates in the ``funnel``."""
        counts: Counter[str] = Counter()
        for positions, funnel in self.processes.gather([self.positions, self.funnel]):
            self.positions = {**self.positions, **positions}
            counts.update(funnel)
        self.funnel = dict(counts)

    def save(self, path: Path) -> None:
        """Write everything a resume needs to ``path``, after a :meth:`meet`."""
        tensors = {**with_prefix("net", self.net.state_dict()), **optimiser_tensors(self.optimiser, "optimiser")}
        if self.averaged is not None:
            tensors.update(with_prefix("averaged", self.averaged.state_dict()))
        remembered = {"best": self.best, "scores": self.scores, "positions": self.positions, "funnel": self.funnel}
        save_checkpoint(path, tensors, {"kind": _KIND, "step": self.step, **remembered})

    def restore(self, path: Path) -> str | None:
        """Go back to the state that :meth:`save` wrote: None if there is none, otherwise what is to be said of it."""
        found = load_checkpoint(path, _KIND)
        if found is None:
            return None
        tensors, header = found.tensors, found.header
        load_into(self.net, without_prefix("net", tensors), str(path))
        if self.averaged is not None:
            load_into(self.averaged, without_prefix("averaged", tensors), str(path))
        restore_optimiser(self.optimiser, tensors, "optimiser")
        self.step, self.best, self.scores = int(header["step"]), float(header["best"]), dict(header["scores"])
        self.positions, self.funnel = header["positions"], header["funnel"]
        self.feed.go_to(self.positions)
        return found.said


@torch.no_grad()
def _average(slow: UNet, fast: UNet, decay: float) -> None:
    for name, value in fast.state_dict().items():
        own = slow.state_dict()[name]
        own.lerp_(value, 1 - decay) if own.is_floating_point() else own.copy_(value)


def describe_training(feed: Feed, config: TrainingConfig) -> dict[str, Any]:
    """What a folder of a training belongs to: all of the configuration that counts for the result, and the source."""
    return {"training": config.counting(), "source": feed.describe()}


def train(
    source: PairSource | Shards,
    config: TrainingConfig,
    out: Path,
    watcher: Watcher,
    device: torch.device,
    processes: Alone | None = None,
) -> Training | None:
    """Train a U-Net on samples of ``source``, made on the way or read from a data set; go on where ``out`` stopped.

    Writes ``config.json`` (schedule and source), ``checkpoint.safetensors`` and the one before it, ``best.safetensors`` (the
    highest IoU on the held-out synthetic samples) and, at the end, ``unet.safetensors``. Several ``processes`` train together,
    and the first writes. Returns None if the watcher asked to stop. Errors: :class:`LanternError` if ``out`` holds another
    training, if nothing is accepted, if the loss is not a number, or if another process has ended.
    """
    processes = processes or Alone()
    feed = feed_for(source, config, processes)
    processes.decide(lambda: claim(out, describe_training(feed, config)))
    loop = _Loop(Training(feed, config, device, processes), out, watcher if processes.first else Unwatched())
    loop.begin()
    return loop.training if loop.run() else None


class _Loop:
    """Takes the steps of a ``training`` in the folder ``out``."""

    def __init__(self, training: Training, out: Path, watcher: Watcher) -> None:
        self.training, self.out, self.watcher = training, out, watcher
        self.config, self.processes = training.config, training.processes

    def begin(self) -> None:
        """Go back to the last checkpoint, or show what will be trained on."""
        training = self.training
        said = training.restore(self.out / NAME)
        steps = training.processes.gather(training.step)
        problem = f"the processes found checkpoints of different steps ({', '.join(map(str, steps))})"
        if len(set(steps)) > 1:
            raise LanternError(problem, "Give all of them the same folder, on a disk that they share.")
        if said is None:
            self.processes.decide(partial(self._show, mask_rows(*(part[:_SHOWN] for part in training.held_out))))
            return
        if said:
            self.watcher.note(said)
        self.watcher.note(f"resuming at step {training.step} of {self.config.steps}")
        self.watcher.resume(training.step, self.config.steps)

    def run(self) -> bool:
        """Take the steps that are left; False if the watcher stopped it before the end."""
        training, config = self.training, self.config
        with Ahead(training.feed, training.device, training.step, config.steps, config.prefetch) as samples:
            while training.step < config.steps:
                figures = training.advance(samples)
                stop = self.processes.decide(self.watcher.stop_requested)
                last, due = training.step == config.steps, stop or config.checkpoint_due(training.step)
                if due or config.validation_due(training.step):
                    training.meet()
                if config.validation_due(training.step):
                    self.processes.decide(partial(self._judge, figures))
                elif training.step in _EARLY:
                    self.processes.decide(self._show)
                self.watcher.advance(training.step, config.steps, figures)
                if due:
                    # The checkpoint last: what a resume finds has been told in full.
                    self.processes.decide(self._save)
                if stop and not last:
                    return False
        self.processes.decide(self._finish)
        return True

    def _judge(self, figures: dict[str, float]) -> bool:
        """Validate, keep the network if it is the best, and show what it sees."""
        training = self.training
        figures.update(training.validate())
        if figures["iou"] > training.best:
            training.best = figures["iou"]
            training.export(self.out / "best.safetensors")
        return self._show()

    def _show(self, picture: NDArray[np.uint8] | None = None) -> bool:
        training = self.training
        if picture is None:
            images, masks = (part[:_SHOWN] for part in training.held_out)
            picture = mask_rows(images, masks, training.saliency(images.to(training.device)).cpu())
        self.watcher.picture(f"{training.step:06d}", picture)
        return True

    def _save(self) -> bool:
        self.training.save(self.out / NAME)
        return True

    def _finish(self) -> bool:
        self.training.export(self.out / "unet.safetensors")
        return True

"""The three stages of fitting a pocket generator, a step at a time.

1. *Autoencoder*: photographs to 8x8 maps and back.
2. *Variational*: latent codes to those maps and back (a variational autoencoder in the space of maps).
3. *Adversarial*: latent generator and decoder go on against a projected discriminator; the loss of stage 2 stays as an
   anchor, without which the samples collapse to a few pictures.

The weights that are kept are exponential averages of the last stage. Every step draws its randomness from a seed made of
the configuration's seed, the stage and the step, so that a resumed run goes on as if it had not been interrupted.
"""

from __future__ import annotations

import copy
import dataclasses
import hashlib
from collections import deque
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from explorer.generators.pocket import PocketConfig, PocketGenerator
from explorer.generators.projected import Features, Heads, augment
from segmentation.configuration import Config, check_range
from segmentation.errors import require
from segmentation.precision import autocast, placed
from segmentation.tensors import (
    load_into,
    load_tensors,
    optimiser_tensors,
    restore_optimiser,
    save_tensors,
    with_prefix,
    without_prefix,
)

STAGES = ("autoencoder", "variational", "adversarial")
_REMEMBERED = 50


@dataclasses.dataclass(frozen=True)
class FitConfig(Config):
    """How a pocket generator is fitted."""

    pocket: PocketConfig = PocketConfig()
    """The shape of the generator."""
    autoencoder_steps: int = 4000
    """Steps of stage 1."""
    variational_steps: int = 5000
    """Steps of stage 2."""
    adversarial_steps: int = 1000
    """Steps of stage 3; with far more, the samples we saw began to repeat."""
    batch_size: int = 64
    """Images a step in stages 1 and 2."""
    adversarial_batch_size: int = 32
    """Images a step in stage 3, for the discriminator and again for the generator."""
    learning_rate: float = 1.5e-3
    """Peak rate of stage 1 (falls linearly to 0); stage 2 runs at two thirds of it."""
    adversarial_learning_rate: float = 6e-4
    """Rate of latent generator, encoder and discriminator in stage 3; the decoder runs at a fifth of it."""
    anchor_weight: float = 0.01
    """Weight of stage 2's loss in stage 3."""
    average: float = 0.998
    """Decay a step of the exponential average of the weights."""
    held_out: float = 0.05
    """Share of the photographs kept out of fitting, to measure reconstructions on."""
    seed: int = 0
    """Seed of everything random."""
    checkpoint_every: int = 250
    """Steps between checkpoints; sample grids are drawn at the same times."""

    def __post_init__(self) -> None:
        check_range("adversarial_batch_size", self.adversarial_batch_size, 2, 65536)
        check_range("seed", self.seed, 0, 2**63 - 2)
        for name in ("autoencoder_steps", "variational_steps", "batch_size", "checkpoint_every"):
            check_range(name, getattr(self, name), 1, 100_000_000)
        check_range("adversarial_steps", self.adversarial_steps, 0, 100_000_000)
        check_range("learning_rate", self.learning_rate, 1e-8, 1)
        check_range("adversarial_learning_rate", self.adversarial_learning_rate, 1e-8, 1)
        check_range("anchor_weight", self.anchor_weight, 0, 1000)
        check_range("average", self.average, 0, 0.999999)
        check_range("held_out", self.held_out, 0, 0.5)

    @property
    def stage_steps(self) -> tuple[int, int, int]:
        """Steps of the three stages."""
        return self.autoencoder_steps, self.variational_steps, self.adversarial_steps


def source_for(*parts: int | str) -> torch.Generator:
    """A random source on the CPU that depends on ``parts`` only."""
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "little"))


class Fitting:
    """The networks, their optimisers and the photographs (N, 3, R, R) uint8 of one fit.

    ``features`` is what the discriminator sees images through; stage 3 needs it.
    """

    def __init__(self, config: FitConfig, photographs: Tensor, device: torch.device, features: Features | None = None) -> None:
        self.config, self.device = config, device
        self.features = None if features is None else placed(features, device)
        order = torch.randperm(len(photographs), generator=source_for(config.seed, "split"))
        held = int(len(photographs) * config.held_out)
        self.held_out, self.photographs = photographs[order[:held]], photographs[order[held:]]
        torch.manual_seed(config.seed)
        self.generator = placed(PocketGenerator(config.pocket), device)
        self.averaged = copy.deepcopy(self.generator)
        self.stage = self.step = 0
        self.maps = torch.empty(0)
        self.optimisers: dict[str, torch.optim.Optimizer] = {}
        self.heads: Heads | None = None
        self._diversities: deque[float] = deque(maxlen=_REMEMBERED)

    def begin_stage(self, stage: int) -> None:
        """Make what ``stage`` (0 to 2) needs: optimisers, and from the second stage on the photographs' maps."""
        self.stage, self.step = stage, 0
        config, own = self.config, self.generator
        if stage == 0:
            parameters = [*own.analysis.parameters(), *own.decoder.parameters()]
            self.optimisers = {"fit": torch.optim.AdamW(parameters, config.learning_rate, betas=(0.9, 0.99), weight_decay=1e-4)}
            return
        self._measure_maps()
        inner = [*own.latent.parameters(), *own.encoder.parameters()]
        if stage == 1:
            self.optimisers = {"fit": torch.optim.Adam(inner, config.learning_rate / 1.5, betas=(0.9, 0.99))}
            return
        torch.manual_seed(config.seed + 1)
        self.heads = placed(Heads(), self.device)
        self.averaged.load_state_dict(own.state_dict())
        rate = config.adversarial_learning_rate
        groups = [{"params": inner, "lr": rate}, {"params": list(own.decoder.parameters()), "lr": rate / 5}]
        self.optimisers = {
            "fit": torch.optim.Adam(groups, betas=(0.0, 0.99)),
            "heads": torch.optim.Adam(self.heads.parameters(), rate, betas=(0.0, 0.99)),
        }

    @torch.no_grad()
    def _measure_maps(self) -> None:
        own = self.generator
        batches = (part.to(self.device).float() / 127.5 - 1 for part in self.photographs.split(256))
        maps = torch.cat([own.analysis(images) for batch in batches for images in (batch, batch.flip(3))])
        own.mean.copy_(maps.mean((0, 2, 3), keepdim=True))
        own.std.copy_(maps.std((0, 2, 3), keepdim=True))
        self.maps = ((maps - own.mean) / own.std).contiguous(memory_format=torch.channels_last)

    def _photograph_batch(self, count: int, source: torch.Generator) -> Tensor:
        picked = self.photographs[torch.randint(0, len(self.photographs), (count,), generator=source)].float() / 127.5 - 1
        flip = torch.rand(count, generator=source) < 0.5
        picked[flip] = picked[flip].flip(3)
        return picked.to(self.device).contiguous(memory_format=torch.channels_last)

    def _noise(self, shape: tuple[int, ...], source: torch.Generator) -> Tensor:
        return torch.randn(shape, generator=source).to(self.device)

    def autoencoder_step(self, source: torch.Generator) -> dict[str, float]:
        """One step of stage 1: absolute error of pixels and of their differences."""
        config, own, optimiser = self.config, self.generator, self.optimisers["fit"]
        rate = config.learning_rate * min(1, (self.step + 1) / 200) * (1 - self.step / config.autoencoder_steps)
        for group in optimiser.param_groups:
            group["lr"] = rate
        images = self._photograph_batch(config.batch_size, source)
        with autocast(self.device, "auto"):
            maps = own.analysis(images)
            decoded = own.decoder(maps + 0.1 * self._noise(tuple(maps.shape), source)).float()
        error = decoded - images
        across, down = error.diff(dim=3).abs().mean(), error.diff(dim=2).abs().mean()
        loss = error.abs().mean() + 0.5 * (across + down) + 1e-3 * maps.pow(2).mean()
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_([p for group in optimiser.param_groups for p in group["params"]], 1.0)
        optimiser.step()
        return {"loss": loss.item(), "squared_error": error.pow(2).mean().item()}

    def _variational_loss(self, count: int, source: torch.Generator) -> tuple[Tensor, Tensor]:
        """Squared error of the maps and divergence of the codes, summed over dimensions, means over the batch."""
        maps = self.maps[torch.randint(0, len(self.maps), (count,), generator=source).to(self.device)]
        mean, log_variance = self.generator.encoder(maps)
        codes = mean + self._noise(tuple(mean.shape), source) * (0.5 * log_variance).exp()
        error = (self.generator.latent(codes).float() - maps).pow(2).sum((1, 2, 3)).mean()
        divergence = 0.5 * (mean.pow(2) + log_variance.exp() - 1 - log_variance).sum(1).mean()
        return error, divergence

    def variational_step(self, source: torch.Generator) -> dict[str, float]:
        """One step of stage 2."""
        with autocast(self.device, "auto"):
            error, divergence = self._variational_loss(self.config.batch_size, source)
        self.optimisers["fit"].zero_grad()
        (error + divergence).backward()
        self.optimisers["fit"].step()
        return {"map_error": error.item() / self.maps[0].numel(), "divergence": divergence.item()}

    def adversarial_step(self, source: torch.Generator) -> dict[str, float]:
        """One step of stage 3: discriminator, then generator with the anchor, then the average."""
        if self.features is None or self.heads is None:
            raise RuntimeError("stage 3 needs features, and begin_stage(2)")
        config, count = self.config, self.config.adversarial_batch_size
        shape = (count, config.pocket.latent_dim)
        with autocast(self.device, "auto"):
            with torch.no_grad():
                photographs = self._photograph_batch(count, source)
                samples = self.generator.generate(self._noise(shape, source)).float()
                real = self.features(augment(photographs, source))
                fake = self.features(augment(samples, source))
            pairs = zip(self.heads(real), self.heads(fake), strict=True)
            loss_heads = torch.stack([F.relu(1 - a).mean() + F.relu(1 + b).mean() for a, b in pairs]).sum()
        self.optimisers["heads"].zero_grad()
        loss_heads.backward()
        self.optimisers["heads"].step()
        with autocast(self.device, "auto"):
            images = self.generator.generate(self._noise(shape, source)).float()
            loss_generator = -torch.stack([a.mean() for a in self.heads(self.features(augment(images, source)))]).sum()
            error, divergence = self._variational_loss(count, source)
        self.optimisers["fit"].zero_grad()
        (loss_generator + config.anchor_weight * (error + divergence)).backward()
        self.optimisers["fit"].step()
        self._update_average()
        self._diversities.append((samples.std(0).mean() / photographs.std(0).mean()).item())
        return {
            "discriminator": loss_heads.item(),
            "generator": loss_generator.item(),
            "map_error": error.item() / self.maps[0].numel(),
            "divergence": divergence.item(),
            "diversity": sum(self._diversities) / len(self._diversities),
        }

    @torch.no_grad()
    def _update_average(self) -> None:
        decay = min(self.config.average, (self.step + 1) / (self.step + 61))
        for slow, fast in zip(self.averaged.parameters(), self.generator.parameters(), strict=True):
            slow.lerp_(fast, 1 - decay)
        self.averaged.mean.copy_(self.generator.mean)
        self.averaged.std.copy_(self.generator.std)

    @property
    def best(self) -> PocketGenerator:
        """The weights to look at now: averaged in the last stage, the plain ones before."""
        return self.averaged if self.stage == 2 else self.generator

    @torch.no_grad()
    def reconstruction_error(self) -> float:
        """Mean squared error, in [-1, 1] units, of G(E(x)) on the held-out photographs; NaN without any."""
        if not len(self.held_out):
            return float("nan")
        errors = []
        for batch in self.held_out.split(128):
            images = batch.to(self.device).float() / 127.5 - 1
            errors.append((self.best.generate(self.best.encode(images)) - images).pow(2).mean((1, 2, 3)))
        return torch.cat(errors).mean().item()

    @torch.no_grad()
    def sample_grid(self) -> Tensor:
        """Held-out photographs, their maps decoded, their reconstructions, then samples; (60, 3, R, R), 12 a row."""
        chosen = self.held_out if len(self.held_out) >= 12 else self.photographs
        own, images = self.best, chosen[:12].to(self.device).float() / 127.5 - 1
        codes = torch.randn(24, self.config.pocket.latent_dim, generator=source_for(self.config.seed, "grid"))
        parts = [images, own.decoder(own.analysis(images)), own.generate(own.encode(images))]
        return torch.cat([*parts, own.generate(codes.to(self.device))]).cpu()

    def save(self, path: Path) -> None:
        """Write everything a resume needs to ``path``."""
        tensors = {
            **with_prefix("generator", self.generator.state_dict()),
            **with_prefix("averaged", self.averaged.state_dict()),
        }
        if self.heads is not None:
            tensors |= with_prefix("heads", self.heads.state_dict())
        for name, optimiser in self.optimisers.items():
            tensors |= optimiser_tensors(optimiser, f"optimiser.{name}")
        save_tensors(path, tensors, {"kind": "fit checkpoint", "stage": self.stage, "step": self.step})

    def restore(self, path: Path) -> None:
        """Go back to the state that :meth:`save` wrote."""
        tensors, header = load_tensors(path)
        require(header.get("kind") == "fit checkpoint", f"{path} is no checkpoint of a fit", "Give the folder of a fit.")
        for name, module in (("generator", self.generator), ("averaged", self.averaged)):
            load_into(module, without_prefix(name, tensors), str(path))
        self.begin_stage(int(header["stage"]))
        if self.heads is not None:
            load_into(self.heads, without_prefix("heads", tensors), str(path))
        load_into(self.averaged, without_prefix("averaged", tensors), str(path))
        for name, optimiser in self.optimisers.items():
            restore_optimiser(optimiser, tensors, f"optimiser.{name}")
        self.step = int(header["step"])

"""The three stages of fitting a pocket generator, a step at a time.

1. *Autoencoder*: photographs to 8x8 maps and appearances, and back. Light falls at random on what stands out in the
   photographs. The maps are made of them under another light and exposure than the appearances, so that they cannot say how
   light the object is beside its background; that is left to the appearance, which knows no places, and the decoder has to
   know what the object is. A generator without appearance is a plain autoencoder, and sees its photographs as they are.
2. *Variational*: latent codes to those maps and back (a variational autoencoder in the space of maps).
3. *Adversarial*: everything but the analysis goes on against a projected discriminator, which sees samples and
   reconstructions. The loss of stage 2 and that of the reconstructions stay as anchors, without which the samples collapse to
   a few pictures.

In the last stage the weights that are kept are exponential averages. Every step draws its randomness, on the device, from
a seed made of the configuration's seed, the stage and the step, so that a resumed run goes on, on the same kind of device,
as if it had not been interrupted. Nothing in a step waits for a GPU.

Of several processes each takes its share of the rows of every batch; gradients are averaged, so that stages 1 and 2 are
those of a single process. In stage 3 the batch normalisation of the discriminator sees one process's share alone.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from explorer.generators.lighting import light_fields, random_exposure, relit
from explorer.generators.photographs import hold_out, to_signed
from explorer.generators.pocket import PocketGenerator
from explorer.generators.projected import Features, Heads, augment
from explorer.generators.recipe import FitConfig
from explorer.generators.seeds import Draws, source_for
from segmentation.checkpoints import Checkpoint, save_checkpoint
from segmentation.precision import autocast, placed
from segmentation.processes import Alone
from segmentation.tensors import (
    load_into,
    optimiser_tensors,
    restore_optimiser,
    with_prefix,
    without_prefix,
)

KIND = "fit checkpoint"
"""What the header of its checkpoints says."""
_HIDING = 2.0


class Fitting:
    """The networks, their optimisers and the photographs (N, 3, R, R) uint8 of one fit.

    ``features`` is what the discriminator sees images through; stage 3 needs it. ``processes`` fit together, this one on
    ``device``. With ``compiled``, the networks are compiled before their first step.
    """

    def __init__(
        self,
        config: FitConfig,
        photographs: Tensor,
        device: torch.device,
        features: Features | None = None,
        processes: Alone | None = None,
        compiled: bool = False,
    ) -> None:
        self.config, self.device, self.compiled = config, device, compiled
        self.processes = processes or Alone()
        self.features = None if features is None else placed(features, device)
        self.held_out, fitted = hold_out(photographs, config.held_out, config.seed)
        self.photographs = _near(fitted, device)
        lit = config.pocket.appearance_dim and config.light
        # Without light there is nothing to say of where it falls.
        self.fields = _near(light_fields(fitted), device) if lit else torch.zeros(1, 1, 1, 1, dtype=torch.int8, device=device)
        torch.manual_seed(config.seed)
        self.generator = placed(PocketGenerator(config.pocket), device)
        self.averaged = copy.deepcopy(self.generator)
        self.stage = self.step = 0
        self.maps = torch.empty(0)
        self.optimisers: dict[str, torch.optim.Optimizer] = {}
        self.heads: Heads | None = None
        if compiled:
            own = self.generator
            # The network within the features: stage 1 asks it alone.
            networks = [] if self.features is None else self.features.children()
            for module in (own.analysis, own.decoder, own.latent, own.encoder, own.appearance, *networks):
                if module is not None:
                    module.compile(dynamic=False)

    def begin_stage(self, stage: int) -> None:
        """Make what ``stage`` (0 to 2) needs: optimisers, and from the second stage on the photographs' maps."""
        self.stage, self.step = stage, 0
        config, own = self.config, self.generator
        if stage == 0:
            parameters = [*own.analysis.parameters(), *own.decoder.parameters(), *self._appearance_parameters()]
            self._optimise("fit", torch.optim.AdamW, parameters, config.learning_rate, (0.9, 0.99), weight_decay=1e-4)
            return
        self._measure_maps()
        inner = [*own.latent.parameters(), *own.encoder.parameters()]
        if stage == 1:
            self._measure_appearances()
            self._optimise("fit", torch.optim.Adam, inner, config.learning_rate, (0.9, 0.99))
            return
        torch.manual_seed(config.seed + 1)
        self.heads = placed(Heads(), self.device)
        self.averaged.load_state_dict(own.state_dict())
        rate = config.adversarial_learning_rate
        inner += self._appearance_parameters()
        groups = [{"params": inner, "lr": rate}, {"params": list(own.decoder.parameters()), "lr": rate / 3}]
        self._optimise("fit", torch.optim.Adam, groups, rate, (0.0, 0.99))
        self._optimise("heads", torch.optim.Adam, self.heads.parameters(), rate, (0.0, 0.99))

    def _optimise(
        self,
        name: str,
        kind: type[torch.optim.Adam],
        parameters: Iterable[Any],
        rate: float,
        betas: tuple[float, float],
        **options: Any,
    ) -> None:
        """Make the optimiser ``name``; as one kernel on a GPU, which is the faster and needs no word from the CPU."""
        self.optimisers[name] = kind(parameters, rate, betas=betas, fused=self.device.type == "cuda" or None, **options)

    def _appearance_parameters(self) -> list[nn.Parameter]:
        appearance = self.generator.appearance
        return [] if appearance is None else list(appearance.parameters())

    @torch.no_grad()
    def _measure_maps(self) -> None:
        own = self.generator
        with self._as_written():
            made = []
            # All photographs, then all of them mirrored.
            for mirrored in (False, True):
                for part in self.photographs.split(256):
                    images = to_signed(part.to(self.device))
                    made.append(own.analysis(images.flip(3) if mirrored else images))
            maps = torch.cat(made)
        own.mean.copy_(maps.mean((0, 2, 3), keepdim=True))
        own.std.copy_(maps.std((0, 2, 3), keepdim=True))
        self.processes.agree(own)
        self.maps = ((maps - own.mean) / own.std).contiguous(memory_format=torch.channels_last)

    @torch.no_grad()
    def _measure_appearances(self) -> None:
        """Fit a Gaussian to the appearances of the photographs, as far apart and as uncertain as the encoder has them."""
        own = self.generator
        if own.appearance is None:
            return
        with self._as_written():
            draws = Draws(source_for(self.config.seed, "light", device=self.device))
            found = [own.appearances(self._lit(index, draws)) for index in torch.arange(len(self.photographs)).split(256)]
        means, variances = (torch.cat(parts).double() for parts in zip(*found, strict=True))
        own.fit_appearances(means.mean(0), means.T.cov() + variances.exp().mean(0).diag())
        self.processes.agree(own)

    def _as_written(self) -> AbstractContextManager[object]:
        """Run networks as they are written: compiling them for every odd size would take longer."""
        return torch.compiler.set_stance("force_eager") if self.compiled else nullcontext()

    def _share(self, count: int) -> int:
        return count // self.processes.count

    def _photograph_batch(self, count: int, draws: Draws) -> Tensor:
        """Photographs (B, 3, R, R) under random light, half of them mirrored."""
        index = draws.integers(len(self.photographs), count)
        return _mirrored(self._lit(index, draws), draws.uniform(count, 1, 1, 1) < 0.5)

    def _lit(self, index: Tensor, draws: Draws, times: float = 1.0, exposed: bool = False) -> Tensor:
        """The photographs ``index`` (B,) under a random light ``times`` as strong as the configuration's."""
        images = to_signed(self.photographs[index.to(self.photographs.device)].to(self.device))
        if len(self.fields) == 1:
            return images
        fields = self.fields[index.to(self.fields.device)].to(self.device)
        amounts = times * self.config.light * draws.normal(len(index), 1, 1, 1)
        return relit(images, fields, amounts, random_exposure(len(index), draws) if exposed else None)

    def advance(self) -> dict[str, Tensor]:
        """Take a step of the stage; its figures as tensors on the device, so that nobody waits for them."""
        step = (self.autoencoder_step, self.variational_step, self.adversarial_step)[self.stage]
        source = source_for(self.config.seed, self.stage, self.step, device=self.device)
        figures = step(Draws(source, self.processes.index, self.processes.count))
        self.step += 1
        return {name: value.detach().float() for name, value in figures.items()}

    def autoencoder_step(self, draws: Draws) -> dict[str, Tensor]:
        """One step of stage 1: errors of pixels, of their differences and of features, and the appearances' divergence."""
        config, own = self.config, self.generator
        rate = config.learning_rate * min(1, (self.step + 1) / 300) * (1 - self.step / config.autoencoder_steps)
        for group in self.optimisers["fit"].param_groups:
            group["lr"] = rate
        count = self._share(config.batch_size)
        index, mirror = draws.integers(len(self.photographs), count), draws.uniform(count, 1, 1, 1) < 0.5
        images = _mirrored(self._lit(index, draws), mirror)
        # Under light that is strong enough to say nothing of the other.
        seen = images if own.appearance is None else _mirrored(self._lit(index, draws, _HIDING, exposed=True), mirror)
        with autocast(self.device, config.precision):
            maps = own.analysis(seen)
            appearances, divergence = self._draw_appearances(images, draws)
            decoded = own.decoder(maps + 0.1 * draws.normal(*maps.shape), appearances)
            perceptual = self._perceptual_error(decoded, images)
        pixels, squared = _pixel_errors(decoded, images)
        loss = pixels + config.perceptual_weight * perceptual + config.appearance_weight * divergence
        self._descend("fit", loss + 1e-3 * maps.pow(2).mean(), clip=1.0)
        return {"loss": loss, "squared_error": squared, "perceptual": perceptual, "appearance_divergence": divergence}

    def _draw_appearances(self, images: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        """Appearances of ``images``, drawn as the encoder is unsure of them, and their mean divergence in nats."""
        mean, log_variance = self.generator.appearances(images)
        drawn = mean + draws.normal(*mean.shape) * (0.5 * log_variance).exp()
        # Of the encoder's Gaussian from the one that samples are drawn from; a constant of the latter is left out.
        own, variance = self.generator, log_variance.exp()
        away = own.standardise(mean).pow(2).sum(1)
        if own.appearance is not None:
            variance = variance @ own.appearance_inverse.pow(2)
        return drawn, 0.5 * (away + (variance - 1 - log_variance).sum(1)).mean()

    def _perceptual_error(self, made: Tensor, images: Tensor) -> Tensor:
        """Mean squared error of the features of two batches of images, each map's in units of its mean square."""
        if self.features is None or not self.config.perceptual_weight:
            return made.new_zeros(())
        with torch.no_grad():
            wanted = [tap.float() for tap in self.features.taps(images)]
            units = [goal.pow(2).mean() for goal in wanted]
            # The mean of the processes' quotients is not the quotient over all rows.
            self.processes.average(units)
        compared = zip(self.features.taps(made), wanted, units, strict=True)
        return torch.stack([(tap.float() - goal).pow(2).mean() / unit for tap, goal, unit in compared]).mean()

    def _variational_loss(self, maps: Tensor, draws: Draws) -> tuple[Tensor, Tensor, Tensor]:
        """The maps that come back, and means over the batch: their summed squared error, the codes' divergence."""
        mean, log_variance = self.generator.encoder(maps)
        codes = mean + draws.normal(*mean.shape) * (0.5 * log_variance).exp()
        back = self.generator.latent(codes).float()
        return back, (back - maps).pow(2).sum((1, 2, 3)).mean(), _divergence(mean, log_variance)

    def variational_step(self, draws: Draws) -> dict[str, Tensor]:
        """One step of stage 2."""
        maps = self.maps[draws.integers(len(self.maps), self._share(self.config.batch_size))]
        with autocast(self.device, self.config.precision):
            _, error, divergence = self._variational_loss(maps, draws)
        self._descend("fit", error + divergence)
        return {"map_error": error / self.maps[0].numel(), "divergence": divergence}

    def adversarial_step(self, draws: Draws) -> dict[str, Tensor]:
        """One step of stage 3: discriminator, then generator and encoders with the anchors, then the average."""
        if self.features is None or self.heads is None:
            raise RuntimeError("stage 3 needs features, and begin_stage(2)")
        config, count = self.config, self._share(self.config.adversarial_batch_size)
        photographs = self._photograph_batch(count, draws)
        originals, maps = self._originals(max(1, count // 2), draws)
        with autocast(self.device, config.precision):
            back, error, divergence = self._variational_loss(maps, draws)
            appearances, appearance_divergence = self._draw_appearances(originals, draws)
            reconstructions = self.generator.decode(back, appearances)
            samples = self.generator.generate(draws.normal(count, config.pocket.latent_dim))
            made = torch.cat([samples, reconstructions])
            with torch.no_grad():
                real = self.features(augment(photographs, draws))
                fake = self.features(augment(made, draws))
            pairs = zip(self.heads(real), self.heads(fake), strict=True)
            loss_heads = torch.stack([F.relu(1 - a).mean() + _halved(F.relu(1 + b), count) for a, b in pairs]).sum()
        self._descend("heads", loss_heads)
        with autocast(self.device, config.precision):
            logits = self.heads(self.features(augment(made, draws)))
            loss_generator = -torch.stack([_halved(a, count) for a in logits]).sum()
            perceptual = self._perceptual_error(reconstructions, originals)
        reconstruction = _pixel_errors(reconstructions, originals)[0] + perceptual
        originals_loss = reconstruction + config.appearance_weight * appearance_divergence
        anchors = config.reconstruction_weight * originals_loss + config.anchor_weight * (error + divergence)
        self._descend("fit", loss_generator + anchors)
        self._update_average()
        return {
            "discriminator": loss_heads,
            "generator": loss_generator,
            "reconstruction_loss": reconstruction,
            "map_error": error / self.maps[0].numel(),
            "divergence": divergence,
            "appearance_divergence": appearance_divergence,
            "diversity": samples.detach().std(0).mean() / photographs.std(0).mean(),
        }

    def _originals(self, count: int, draws: Draws) -> tuple[Tensor, Tensor]:
        """Photographs (B, 3, R, R) under random light, half of them mirrored, and their standardised maps."""
        index = draws.integers(len(self.maps), count)
        number = len(self.photographs)
        images = self._lit(index % number, draws)
        return _mirrored(images, (index >= number)[:, None, None, None]), self.maps[index]

    def _descend(self, name: str, loss: Tensor, clip: float | None = None) -> None:
        """A step of the optimiser ``name`` down ``loss``; its gradients are averaged over processes, ``clip`` long at most."""
        optimiser = self.optimisers[name]
        optimiser.zero_grad()
        loss.backward()
        parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
        self.processes.average(parameter.grad for parameter in parameters)
        if clip is not None:
            nn.utils.clip_grad_norm_(parameters, clip)
        optimiser.step()

    @torch.no_grad()
    def _update_average(self) -> None:
        decay = min(self.config.average, (self.step + 1) / (self.step + 61))
        update: Callable[..., None] = get_ema_multi_avg_fn(decay)
        update(list(self.averaged.parameters()), list(self.generator.parameters()), None)
        for slow, fast in zip(self.averaged.buffers(), self.generator.buffers(), strict=True):
            slow.copy_(fast)

    @property
    def current(self) -> PocketGenerator:
        """The weights to look at now: averaged in the last stage, the plain ones before."""
        return self.averaged if self.stage == 2 else self.generator

    @torch.no_grad()
    def reconstruction_error(self) -> float:
        """Mean squared error, in [-1, 1] units, of G(E(x)) on the held-out photographs; NaN without any."""
        if not len(self.held_out):
            return float("nan")
        errors = []
        with self._as_written():
            for batch in self.held_out.split(128):
                images = to_signed(batch.to(self.device))
                errors.append((self.current.generate(self.current.encode(images)) - images).pow(2).mean((1, 2, 3)))
        return torch.cat(errors).mean().item()

    @torch.no_grad()
    def sample_grid(self) -> Tensor:
        """Held-out photographs, their maps decoded, their reconstructions, then samples; (60, 3, R, R), 12 a row."""
        chosen = self.held_out if len(self.held_out) >= 12 else self.photographs
        own, images = self.current, to_signed(chosen[:12].to(self.device))
        codes = torch.randn(24, self.config.pocket.latent_dim, generator=source_for(self.config.seed, "grid"))
        with self._as_written():
            decoded = own.decoder(own.analysis(images), own.appearances(images)[0])
            parts = [images, decoded, own.generate(own.encode(images))]
            return torch.cat([*parts, own.generate(codes.to(self.device))]).cpu()

    def save(self, path: Path, remembered: dict[str, Any] | None = None) -> None:
        """Write everything a resume needs to ``path``, and what else is to be ``remembered``, as plain JSON types."""
        tensors = {
            **with_prefix("generator", self.generator.state_dict()),
            **with_prefix("averaged", self.averaged.state_dict()),
        }
        if self.heads is not None:
            tensors |= with_prefix("heads", self.heads.state_dict())
        for name, optimiser in self.optimisers.items():
            tensors |= optimiser_tensors(optimiser, f"optimiser.{name}")
        told = {"kind": KIND, "stage": self.stage, "step": self.step, "remembered": remembered or {}}
        save_checkpoint(path, tensors, told)

    def restore(self, saved: Checkpoint) -> dict[str, Any]:
        """Go back to the state that :meth:`save` wrote; returns what it was to remember."""
        tensors, header, path = saved.tensors, saved.header, saved.path
        load_into(self.generator, without_prefix("generator", tensors), str(path))
        self.begin_stage(int(header["stage"]))
        if self.heads is not None:
            load_into(self.heads, without_prefix("heads", tensors), str(path))
        # The generator once more: the beginning of a stage has measured its statistics anew.
        for name, module in (("generator", self.generator), ("averaged", self.averaged)):
            load_into(module, without_prefix(name, tensors), str(path))
        for name, optimiser in self.optimisers.items():
            restore_optimiser(optimiser, tensors, f"optimiser.{name}")
        self.step = int(header["step"])
        remembered: dict[str, Any] = header.get("remembered", {})
        return remembered


def _mirrored(images: Tensor, mirror: Tensor) -> Tensor:
    """``images`` (B, 3, H, W), those of ``mirror`` (B, 1, 1, 1) left to right."""
    return images.flip(3).where(mirror, images).contiguous(memory_format=torch.channels_last)


def _pixel_errors(made: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
    """Absolute error of pixels and half that of their differences to the next; and the squared error."""
    error = made - images
    across, down = error.diff(dim=3).abs().mean(), error.diff(dim=2).abs().mean()
    return error.abs().mean() + 0.5 * (across + down), error.pow(2).mean()


def _divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Kullback-Leibler divergence of diagonal Gaussians (B, d) from N(0, I) in nats, the mean over the batch."""
    return 0.5 * (mean.pow(2) + log_variance.exp() - 1 - log_variance).sum(1).mean()


def _halved(values: Tensor, count: int) -> Tensor:
    """The mean over the first ``count`` of a batch plus half the mean over the rest."""
    return values[:count].mean() + 0.5 * values[count:].mean()


def _near(photographs: Tensor, device: torch.device) -> Tensor:
    """``photographs`` on ``device``, unless they would take more than half of the memory that is free there."""
    if device.type != "cuda":
        return photographs
    free, _ = torch.cuda.mem_get_info(device)
    return photographs.to(device) if photographs.nbytes < free / 2 else photographs

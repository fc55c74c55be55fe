"""The four stages of fitting a pocket generator, a step at a time.

1. *Autoencoder*: photographs to 8x8 maps and appearances, and back. Light falls at random on the objects in the
   photographs. The maps are made of them under another light and exposure than the appearances, so that they cannot say how
   light the object is beside its background; that is left to the appearance, which knows no places, and the decoder has to
   know what the object is. A generator without appearance is a plain autoencoder, and sees its photographs as they are.
2. *Variational*: latent codes to those maps and back (a variational autoencoder in the space of maps).
3. *Joint*: photographs to maps, codes, maps and images again, everything at once, the error counted in the images: what a
   code keeps of a photograph is what shows.
4. *Adversarial*: everything but the analysis goes on against a projected discriminator, which sees samples and
   reconstructions. The loss of stage 3 stays as an anchor, without which the samples collapse to a few pictures.

In the last stage the weights that are kept are exponential averages. Every step draws its randomness, on the device, from
a seed made of the configuration's seed, the stage and the step, so that a resumed run goes on, on the same kind of device,
as if it had not been interrupted. Nothing in a step waits for a GPU.

Of several processes each takes its share of the rows of every batch; gradients are averaged, so that stages 1 to 3 are
those of a single process. In stage 4 the batch normalisation of the discriminator sees one process's share alone.
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

from explorer.generators.batches import Batches
from explorer.generators.limits import ADVERSARIAL, JOINT
from explorer.generators.losses import draw_appearances, halved, perceptual_error, pixel_errors, reconstructed, through_codes
from explorer.generators.photographs import to_signed
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
    """The networks and their optimisers of one fit, and its photographs.

    ``features`` is what the discriminator sees images through; stage 4 needs it. ``processes`` fit together, this one on
    ``device``. With ``compiled``, the networks are compiled before their first step. ``start``, a generator of the
    configuration's shape, stands in for what the first two stages make; then they have no steps.
    """

    def __init__(
        self,
        config: FitConfig,
        batches: Batches,
        device: torch.device,
        features: Features | None = None,
        processes: Alone | None = None,
        compiled: bool = False,
        start: PocketGenerator | None = None,
    ) -> None:
        self.config, self.batches, self.device, self.compiled = config, batches, device, compiled
        self.processes = processes or Alone()
        self.features = None if features is None else placed(features, device)
        torch.manual_seed(config.seed)
        self.generator = placed(PocketGenerator(config.pocket), device)
        self.stage_steps = config.stage_steps
        if start is not None:
            self.generator.load_state_dict(start.state_dict())
            self.stage_steps = (0, 0, config.joint_steps, config.adversarial_steps)
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
        """Make what ``stage`` (0 to 3) needs: optimisers, for the second the photographs' maps, for the last the adversary."""
        self.stage, self.step = stage, 0
        config, own, rate = self.config, self.generator, self.config.learning_rate
        outer = [*own.analysis.parameters(), *own.decoder.parameters(), *self._appearance_parameters()]
        inner = [*own.latent.parameters(), *own.encoder.parameters()]
        if stage == 0:
            self._optimise("fit", torch.optim.AdamW, outer, rate, (0.9, 0.99), weight_decay=1e-4)
        elif stage == 1:
            self._measure_maps()
            self._measure_appearances()
            self._optimise("fit", torch.optim.Adam, inner, rate, (0.9, 0.99))
        elif stage == JOINT:
            self._optimise("fit", torch.optim.Adam, [*outer, *inner], config.joint_learning_rate, (0.9, 0.99))
        else:
            self._begin_adversarial([*inner, *self._appearance_parameters()])

    def _begin_adversarial(self, inner: list[nn.Parameter]) -> None:
        rate, own = self.config.adversarial_learning_rate, self.generator
        torch.manual_seed(self.config.seed + 1)
        self.heads = placed(Heads(), self.device)
        self.averaged.load_state_dict(own.state_dict())
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
                for part in self.batches.photographs.split(256):
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
            found = [own.appearances(self.batches.lit(i, draws)) for i in torch.arange(len(self.batches)).split(256)]
        means, variances = (torch.cat(parts).double() for parts in zip(*found, strict=True))
        own.fit_appearances(means.mean(0), means.T.cov() + variances.exp().mean(0).diag())
        self.processes.agree(own)

    def _as_written(self) -> AbstractContextManager[object]:
        """Run networks as they are written: compiling them for every odd size would take longer."""
        return torch.compiler.set_stance("force_eager") if self.compiled else nullcontext()

    def _share(self, count: int) -> int:
        return count // self.processes.count

    def advance(self) -> dict[str, Tensor]:
        """Take a step of the stage; its figures as tensors on the device, so that nobody waits for them."""
        step = (self.autoencoder_step, self.variational_step, self.joint_step, self.adversarial_step)[self.stage]
        source = source_for(self.config.seed, self.stage, self.step, device=self.device)
        figures = step(Draws(source, self.processes.index, self.processes.count))
        self.step += 1
        return {name: value.detach().float() for name, value in figures.items()}

    def autoencoder_step(self, draws: Draws) -> dict[str, Tensor]:
        """One step of stage 1: errors of pixels, of their differences and of features, and the appearances' divergence."""
        config, own = self.config, self.generator
        self._set_rate(config.learning_rate, 300)
        images, seen = self.batches.take_twice(self._share(config.batch_size), draws, _HIDING)
        with autocast(self.device, config.precision):
            maps = own.analysis(seen)
            appearances, divergence = draw_appearances(own, images, draws)
            decoded = own.decoder(maps + 0.1 * draws.normal(*maps.shape), appearances)
            perceptual = self._perceptual_error(decoded, images)
        pixels, squared = pixel_errors(decoded, images)
        loss = pixels + config.perceptual_weight * perceptual + config.appearance_weight * divergence
        self._descend("fit", loss + 1e-3 * maps.pow(2).mean(), clip=1.0)
        return {"loss": loss, "squared_error": squared, "perceptual": perceptual, "appearance_divergence": divergence}

    def _set_rate(self, peak: float, warm_up: int) -> None:
        """Let the rate rise over ``warm_up`` steps to ``peak`` and fall linearly to 0 at the end of the stage."""
        rate = peak * min(1, (self.step + 1) / warm_up) * (1 - self.step / self.stage_steps[self.stage])
        for group in self.optimisers["fit"].param_groups:
            group["lr"] = rate

    def variational_step(self, draws: Draws) -> dict[str, Tensor]:
        """One step of stage 2."""
        maps = self.maps[draws.integers(len(self.maps), self._share(self.config.batch_size))]
        with autocast(self.device, self.config.precision):
            back, divergence = through_codes(self.generator, maps, draws)
        error = (back - maps).pow(2).sum((1, 2, 3)).mean()
        self._descend("fit", error + divergence)
        return {"map_error": error / self.maps[0].numel(), "divergence": divergence}

    def joint_step(self, draws: Draws) -> dict[str, Tensor]:
        """One step of stage 3."""
        config = self.config
        self._set_rate(config.joint_learning_rate, 100)
        images, seen = self.batches.take_twice(self._share(config.batch_size), draws, _HIDING)
        with autocast(self.device, config.precision):
            made, divergences = reconstructed(self.generator, images, self.generator.analysis(seen), draws)
            perceptual = self._perceptual_error(made, images)
        pixels, squared = pixel_errors(made, images)
        loss = pixels + config.perceptual_weight * perceptual + self._weighed(divergences)
        self._descend("fit", loss, clip=1.0)
        return {"loss": loss, "squared_error": squared, "perceptual": perceptual, **divergences}

    def _perceptual_error(self, made: Tensor, images: Tensor) -> Tensor:
        if self.features is None or not self.config.perceptual_weight:
            return made.new_zeros(())
        return perceptual_error(self.features, made, images, self.processes)

    def _weighed(self, divergences: dict[str, Tensor]) -> Tensor:
        config = self.config
        codes, appearances = divergences["divergence"], divergences["appearance_divergence"]
        return config.code_weight * codes + config.appearance_weight * appearances

    def adversarial_step(self, draws: Draws) -> dict[str, Tensor]:
        """One step of stage 4: discriminator, then generator and encoders with the anchor, then the average."""
        if self.features is None or self.heads is None:
            raise RuntimeError("stage 4 needs features, and begin_stage(3)")
        config, count = self.config, self._share(self.config.adversarial_batch_size)
        photographs = self.batches.take(count, draws)
        originals, seen = self.batches.take_twice(max(1, count // 2), draws, _HIDING)
        with autocast(self.device, config.precision):
            with torch.no_grad():
                maps = self.generator.analysis(seen)
            reconstructions, divergences = reconstructed(self.generator, originals, maps, draws)
            samples = self.generator.generate(draws.normal(count, config.pocket.latent_dim))
            made = torch.cat([samples, reconstructions])
            with torch.no_grad():
                real = self.features(augment(photographs, draws))
                fake = self.features(augment(made, draws))
            pairs = zip(self.heads(real), self.heads(fake), strict=True)
            loss_heads = torch.stack([F.relu(1 - a).mean() + halved(F.relu(1 + b), count) for a, b in pairs]).sum()
        self._descend("heads", loss_heads)
        with autocast(self.device, config.precision):
            logits = self.heads(self.features(augment(made, draws)))
            loss_generator = -torch.stack([halved(a, count) for a in logits]).sum()
            perceptual = self._perceptual_error(reconstructions, originals)
        reconstruction = pixel_errors(reconstructions, originals)[0] + perceptual
        anchor = config.reconstruction_weight * (reconstruction + self._weighed(divergences))
        self._descend("fit", loss_generator + anchor)
        self._update_average()
        return {
            "discriminator": loss_heads,
            "generator": loss_generator,
            "reconstruction_loss": reconstruction,
            **divergences,
            "diversity": samples.detach().std(0).mean() / photographs.std(0).mean(),
        }

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
        return self.averaged if self.stage == ADVERSARIAL else self.generator

    @torch.no_grad()
    def reconstruction_error(self) -> float:
        """Mean squared error, in [-1, 1] units, of G(E(x)) on the held-out photographs; NaN without any."""
        if not len(self.batches.held_out):
            return float("nan")
        errors = []
        with self._as_written():
            for batch in self.batches.held_out.split(128):
                images = to_signed(batch.to(self.device))
                errors.append((self.current.generate(self.current.encode(images)) - images).pow(2).mean((1, 2, 3)))
        return torch.cat(errors).mean().item()

    @torch.no_grad()
    def sample_grid(self) -> Tensor:
        """Held-out photographs, their maps decoded, their reconstructions, then samples; (60, 3, R, R), 12 a row."""
        chosen = self.batches.held_out if len(self.batches.held_out) >= 12 else self.batches.photographs
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

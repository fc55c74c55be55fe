"""Fit a pocket generator to anybody's photographs: the loop around the stages, with its checkpoints."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from explorer.generators.batches import Batches
from explorer.generators.judging import Judge
from explorer.generators.limits import ADVERSARIAL, STAGES, Health, check_finite
from explorer.generators.material import find_objects
from explorer.generators.photographs import describe_photographs, load_collections, to_signed
from explorer.generators.pocket import PocketGenerator, load_pocket, save_pocket
from explorer.generators.projected import Features, Heads, ProjectedFeatures
from explorer.generators.recipe import FitConfig
from explorer.generators.stages import KIND, Fitting
from segmentation.baselines.standing_out import standing_out
from segmentation.checkpoints import NAME, load_checkpoint
from segmentation.errors import require
from segmentation.pictures import image_grid, mask_rows
from segmentation.processes import Alone, join
from segmentation.progress import Unwatched, Watcher
from segmentation.runfolder import claim
from segmentation.tensors import load_tensors, save_tensors
from segmentation.unet import save_unet

_FETCHED_EVERY = 25
"""Steps on a GPU between two looks at the figures: each look waits for it."""


def fit_generator(
    images: Sequence[Path],
    out: Path,
    config: FitConfig,
    watcher: Watcher,
    device: torch.device,
    make_features: Callable[[Tensor, int], Features] = ProjectedFeatures,
    compiled: bool | None = None,
    favoured: Sequence[Path] = (),
    start: PocketGenerator | None = None,
) -> PocketGenerator | None:
    """Fit a pocket generator to the photographs in ``images``, folders or tars; go on where ``out`` stopped.

    Those of ``favoured`` are fitted to as well, and drawn more often. With ``start``, a generator of the configuration's
    shape, the fit begins with what that one knows, in stage 3.

    Writes to ``out``: ``config.json``; ``objects.safetensors``, the masks of the objects on which light falls, and
    ``objects-unet.safetensors``, the network that finds them; at every checkpoint ``checkpoint.safetensors``, all that a resume
    needs, and ``newest.safetensors``, the generator as it is; and ``generator.safetensors``, which in the last stage is the
    state whose samples were closest to the photographs (``frechet`` among the figures of a checkpoint, see
    :mod:`explorer.generators.judging`). Returns that generator, or None if the watcher asked to stop. Under ``torchrun`` or
    ``accelerate launch`` the processes fit it together, and the first alone writes. ``compiled`` networks start slowly and run
    faster; by default on a GPU. Errors: :class:`LanternError` if there are too few photographs, if ``out`` holds another fit,
    if ``start`` has another shape, if the samples collapse, the discriminator wins or a loss is no number (what was saved
    before stays).
    """
    processes, device = join(device)
    photographs, _, unreadable = load_collections([*images, *favoured], config.pocket.resolution)
    _check_sizes(config, photographs, [*images, *favoured], processes)
    if start is not None:
        _check_shape(start, config)
    preferred = len(load_collections(favoured, config.pocket.resolution)[1]) if favoured else 0
    described = describe_fit(config, photographs, preferred, start)

    def claimed() -> bool:
        claim(out, described)
        return True

    processes.decide(claimed)
    loop = _Loop(out, watcher if processes.first else Unwatched(), described)
    if unreadable:
        loop.watcher.note(f"{len(unreadable)} files are no images and were passed over: {', '.join(unreadable[:5])}")
    batches = Batches(config, photographs, device, preferred)
    if not loop.light(batches, processes):
        return None
    adversary = config.adversarial_steps or config.perceptual_weight
    features = make_features(photographs, config.seed) if adversary else None
    use = device.type == "cuda" if compiled is None else compiled
    return loop.run(Fitting(config, batches, device, features, processes, use, start))


def _check_sizes(config: FitConfig, photographs: Tensor, paths: Sequence[Path], processes: Alone) -> None:
    need = max(config.batch_size, config.adversarial_batch_size)
    named = ", ".join(str(path) for path in paths)
    require(len(photographs) >= need, f"{named} has {len(photographs)} photographs", f"Fitting needs at least {need}.")
    for size in (config.batch_size, config.adversarial_batch_size):
        remedy = f"Choose a multiple of {processes.count}."
        require(size % processes.count == 0, f"{processes.count} processes are to share batches of {size}", remedy)


def _check_shape(start: PocketGenerator, config: FitConfig) -> None:
    own, wanted = start.config.to_json(), config.pocket.to_json()
    other = [name for name in own if own[name] != wanted[name]]
    said = ", ".join(f"{name} {own[name]} instead of {wanted[name]}" for name in other)
    options = " ".join(f"--pocket.{name.replace('_', '-')} {own[name]}" for name in other)
    require(not other, f"the generator {start.name} to start from has {said}", f"Fit one of its shape: {options}.")
    require(
        bool(config.joint_steps or config.adversarial_steps),
        "a fit that starts from a generator has no steps",
        "Give --joint-steps or --adversarial-steps.",
    )


def describe_fit(
    config: FitConfig, photographs: Tensor, favoured: int = 0, start: PocketGenerator | None = None
) -> dict[str, Any]:
    """What makes a fit: its configuration, the number and SHA-256 of the photographs as they are fitted to, how many of them,
    the last ones, are favoured, and the fingerprint of the generator that it starts from.
    """
    begun = {} if start is None else {"start": {"name": start.name, "fingerprint": start.fingerprint}}
    return {
        "fit": config.to_json(),
        "photographs": {**describe_photographs(photographs), "favoured": favoured},
        **begun,
    }


class _Loop:
    """Runs the stages of a fit in the folder ``out`` and remembers how good the samples were."""

    def __init__(self, out: Path, watcher: Watcher, described: dict[str, Any]) -> None:
        self.out, self.watcher, self.described = out, watcher, described
        self.checkpoint = out / NAME
        self.best = float("inf")
        self.judge: Judge | None = None

    def light(self, batches: Batches, processes: Alone) -> bool:
        """Find the objects on which light falls, once for all resumes; False if stopped meanwhile."""
        if not (batches.config.pocket.appearance_dim and batches.config.light):
            return True
        masks = torch.zeros(len(batches), *batches.photographs.shape[2:], dtype=torch.uint8)
        if not processes.decide(lambda: self._find_objects(batches, masks)):
            return False
        processes.copy_first(masks)
        batches.light(masks.bool())
        return True

    def _find_objects(self, batches: Batches, masks: Tensor) -> bool:
        path = self.out / "objects.safetensors"
        if path.exists():
            masks.copy_(load_tensors(path)[0]["masks"])
            return True
        self.watcher.note("looking for the objects in the photographs")
        found = find_objects(batches, self.watcher.stop_requested)
        if found is None:
            return False
        masks.copy_(found.masks)
        if found.network is not None:
            made = {"fit": batches.config.to_json(), "photographs": self.described["photographs"]}
            resolution = batches.config.pocket.resolution
            save_unet(found.network, self.out / "objects-unet.safetensors", resolution, made, half=True)
        chosen = to_signed(batches.photographs[:12].cpu())
        self.watcher.picture("objects", mask_rows(chosen, standing_out(chosen), found.masks[:12]))
        save_tensors(path, {"masks": masks}, {"kind": "objects"})
        return True

    def run(self, fitting: Fitting) -> PocketGenerator | None:
        """Go on from the checkpoint, if there is one, to the end; None if stopped before."""
        config, steps = fitting.config, sum(fitting.stage_steps)
        self.health = Health(config.limits, Heads.GUESSING)
        if (saved := load_checkpoint(self.checkpoint, KIND)) is not None:
            remembered = fitting.restore(saved)
            self.best = float(remembered.get("best") or "inf")
            self.health.restore(remembered.get("health", {}))
            if saved.said:
                self.watcher.note(saved.said)
            self.watcher.note(f"resuming in stage {STAGES[fitting.stage]} at step {fitting.step}")
            self.watcher.resume(_done(fitting), steps)
        else:
            fitting.begin_stage(_next_stage(fitting, 0))
        while self._run_stage(fitting):
            if _done(fitting) == steps:
                return load_pocket(self.out / "generator.safetensors")
            fitting.begin_stage(_next_stage(fitting, fitting.stage + 1))
        return None

    def _run_stage(self, fitting: Fitting) -> bool:
        """Run what is left of a stage; False if the watcher stopped it before the end of everything."""
        config, steps = fitting.config, fitting.stage_steps[fitting.stage]
        while fitting.step < steps:
            figures = self._steps(fitting, min(steps, _next_look(fitting)))
            stop = fitting.processes.decide(self.watcher.stop_requested)
            due = fitting.step == steps or fitting.step % config.checkpoint_every == 0
            if stop or due:
                fitting.processes.decide(partial(self._checkpoint, fitting, figures, due))
            else:
                self._tell(fitting, fitting.step, figures)
            if stop and _done(fitting) < sum(fitting.stage_steps):
                return False
        return True

    def _steps(self, fitting: Fitting, until: int) -> dict[str, float]:
        """Take steps ``until`` a number of the stage, tell of all but the last, and return the figures of that."""
        started, first, taken = time.perf_counter(), fitting.step, []
        while fitting.step < until:
            taken.append(fitting.advance())
        names = list(taken[0])
        table = torch.stack([torch.stack([figures[name] for name in names]) for figures in taken])
        fitting.processes.average([table])
        rows = table.tolist()
        milliseconds = 1000 * (time.perf_counter() - started) / len(rows)
        figures: dict[str, float] = {}
        for number, row in enumerate(rows, first + 1):
            figures = dict(zip(names, row, strict=True))
            check_finite(fitting.stage, number, figures)
            if fitting.stage == ADVERSARIAL:
                self.health.see(figures)
                self.health.check_step(number)
            figures["milliseconds"] = milliseconds
            if number < until:
                self._tell(fitting, number, figures)
        return figures

    def _tell(self, fitting: Fitting, step: int, figures: dict[str, float]) -> None:
        steps = fitting.stage_steps
        done = sum(steps[: fitting.stage]) + step
        self.watcher.advance(done, sum(steps), {"stage": fitting.stage + 1, **figures})

    def _checkpoint(self, fitting: Fitting, figures: dict[str, float], due: bool) -> bool:
        """Tell of the step and save the state; ``figures`` get what was measured.

        The checkpoint comes last: what a resume finds has been told in full. One that is not ``due``, since the run was
        stopped, is not judged: what is kept does not depend on the stops.
        """
        better = fitting.stage < ADVERSARIAL or (due and self._judge(fitting, figures))
        if fitting.stage > 0:
            figures["reconstruction"] = fitting.reconstruction_error()
            made = {**self.described, "state": {"stage": STAGES[fitting.stage], "step": fitting.step, **_rounded(figures)}}
            save_pocket(fitting.current, self.out / "newest.safetensors", made)
            if better:
                save_pocket(fitting.current, self.out / "generator.safetensors", made)
        best = self.best if self.best < float("inf") else None
        self.watcher.picture(f"{fitting.stage + 1}-{fitting.step:06d}", image_grid(fitting.sample_grid(), 12))
        self._tell(fitting, fitting.step, figures)
        fitting.save(self.checkpoint, {"best": best, "health": self.health.to_json()})
        return True

    def _judge(self, fitting: Fitting, figures: dict[str, float]) -> bool:
        """Whether the samples are the best so far; raises :class:`LanternError` if they have collapsed."""
        if self.judge is None:
            self.judge = Judge(fitting.batches.photographs, fitting.config.seed, fitting.device)
        figures.update(self.judge.judge(fitting.current))
        self.health.check_samples(fitting.step, figures["near_duplicates"])
        better = figures["frechet"] < self.best
        self.best = min(self.best, figures["frechet"])
        return better


def _next_look(fitting: Fitting) -> int:
    """The step to look at the figures again: the next one on the CPU; on a GPU later, but at every checkpoint."""
    if fitting.device.type != "cuda":
        return fitting.step + 1
    every = fitting.config.checkpoint_every
    return min(fitting.step + _FETCHED_EVERY, (fitting.step // every + 1) * every)


def _rounded(figures: dict[str, float]) -> dict[str, float]:
    return {name: round(figures[name], 4) for name in ("frechet", "near_duplicates", "reconstruction") if name in figures}


def _done(fitting: Fitting) -> int:
    return sum(fitting.stage_steps[: fitting.stage]) + fitting.step


def _next_stage(fitting: Fitting, stage: int) -> int:
    """The first stage from ``stage`` on that has steps."""
    return next(number for number in range(stage, len(STAGES)) if fitting.stage_steps[number])

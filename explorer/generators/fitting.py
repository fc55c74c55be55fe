"""Fit a pocket generator to anybody's photographs: the loop around the stages, with its checkpoints."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from explorer.generators.judging import Judge
from explorer.generators.limits import STAGES, Health, check_finite
from explorer.generators.photographs import describe_photographs, load_collections
from explorer.generators.pocket import PocketGenerator, load_pocket, save_pocket
from explorer.generators.projected import Features, Heads, ProjectedFeatures
from explorer.generators.recipe import FitConfig
from explorer.generators.stages import KIND, Fitting
from segmentation.checkpoints import NAME, load_checkpoint
from segmentation.errors import require
from segmentation.pictures import image_grid
from segmentation.processes import join
from segmentation.progress import Unwatched, Watcher
from segmentation.runfolder import claim

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
) -> PocketGenerator | None:
    """Fit a pocket generator to the photographs in ``images``, folders or tars; go on where ``out`` stopped.

    Writes to ``out``: ``config.json``; at every checkpoint ``checkpoint.safetensors``, all that a resume needs, and
    ``newest.safetensors``, the generator as it is; and ``generator.safetensors``, which in the last stage is the state whose
    samples were closest to the photographs (``frechet`` among the figures of a checkpoint, see
    :mod:`explorer.generators.judging`). Returns that generator, or None if the watcher asked to stop. Under ``torchrun`` or
    ``accelerate launch`` the processes fit it together, and the first alone writes. ``compiled`` networks start slowly and run
    faster; by default on a GPU. Errors: :class:`LanternError` if there are too few photographs, if ``out`` holds another fit,
    if the samples collapse, the discriminator wins or a loss is no number (what was saved before stays).
    """
    processes, device = join(device)
    photographs, _, unreadable = load_collections(images, config.pocket.resolution)
    need = max(config.batch_size, config.adversarial_batch_size)
    named = ", ".join(str(path) for path in images)
    require(len(photographs) >= need, f"{named} has {len(photographs)} photographs", f"Fitting needs at least {need}.")
    for size in (config.batch_size, config.adversarial_batch_size):
        remedy = f"Choose a multiple of {processes.count}."
        require(size % processes.count == 0, f"{processes.count} processes are to share batches of {size}", remedy)
    described = describe_fit(config, photographs)

    def claimed() -> bool:
        claim(out, described)
        return True

    processes.decide(claimed)
    loop = _Loop(out, watcher if processes.first else Unwatched(), described)
    if unreadable:
        loop.watcher.note(f"{len(unreadable)} files are no images and were passed over: {', '.join(unreadable[:5])}")
    features = make_features(photographs, config.seed) if config.adversarial_steps or config.perceptual_weight else None
    use = device.type == "cuda" if compiled is None else compiled
    fitting = Fitting(config, photographs, device, features, processes, use)
    return loop.run(fitting)


def describe_fit(config: FitConfig, photographs: Tensor) -> dict[str, Any]:
    """What makes a fit: its configuration, and the number and SHA-256 of the photographs as they are fitted to."""
    return {"fit": config.to_json(), "photographs": describe_photographs(photographs)}


class _Loop:
    """Runs the stages of a fit in the folder ``out`` and remembers how good the samples were."""

    def __init__(self, out: Path, watcher: Watcher, described: dict[str, Any]) -> None:
        self.out, self.watcher, self.described = out, watcher, described
        self.checkpoint = out / NAME
        self.best = float("inf")
        self.judge: Judge | None = None

    def run(self, fitting: Fitting) -> PocketGenerator | None:
        """Go on from the checkpoint, if there is one, to the end; None if stopped before."""
        config = fitting.config
        self.health = Health(config.limits, Heads.GUESSING)
        if (saved := load_checkpoint(self.checkpoint, KIND)) is not None:
            remembered = fitting.restore(saved)
            self.best = float(remembered.get("best") or "inf")
            self.health.restore(remembered.get("health", {}))
            if saved.said:
                self.watcher.note(saved.said)
            self.watcher.note(f"resuming in stage {STAGES[fitting.stage]} at step {fitting.step}")
            self.watcher.resume(_done(fitting), sum(config.stage_steps))
        else:
            fitting.begin_stage(0)
        while self._run_stage(fitting):
            if _done(fitting) == sum(config.stage_steps):
                return load_pocket(self.out / "generator.safetensors")
            fitting.begin_stage(fitting.stage + 1)
        return None

    def _run_stage(self, fitting: Fitting) -> bool:
        """Run what is left of a stage; False if the watcher stopped it before the end of everything."""
        config, steps = fitting.config, fitting.config.stage_steps[fitting.stage]
        while fitting.step < steps:
            figures = self._steps(fitting, min(steps, _next_look(fitting)))
            stop = fitting.processes.decide(self.watcher.stop_requested)
            due = fitting.step == steps or fitting.step % config.checkpoint_every == 0
            if stop or due:
                fitting.processes.decide(partial(self._checkpoint, fitting, figures, due))
            self._tell(fitting, fitting.step, figures)
            if stop and _done(fitting) < sum(config.stage_steps):
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
            if fitting.stage == 2:
                self.health.see(figures)
                self.health.check_step(number)
            figures["milliseconds"] = milliseconds
            if number < until:
                self._tell(fitting, number, figures)
        return figures

    def _tell(self, fitting: Fitting, step: int, figures: dict[str, float]) -> None:
        config = fitting.config
        done = sum(config.stage_steps[: fitting.stage]) + step
        self.watcher.advance(done, sum(config.stage_steps), {"stage": fitting.stage + 1, **figures})

    def _checkpoint(self, fitting: Fitting, figures: dict[str, float], due: bool) -> bool:
        """Save the state and what is to be seen of it; ``figures`` get what was measured.

        One that is not ``due``, since the run was stopped, is not judged: what is kept does not depend on the stops.
        """
        better = fitting.stage < 2 or (due and self._judge(fitting, figures))
        if fitting.stage > 0:
            figures["reconstruction"] = fitting.reconstruction_error()
            made = {**self.described, "state": {"stage": STAGES[fitting.stage], "step": fitting.step, **_rounded(figures)}}
            save_pocket(fitting.current, self.out / "newest.safetensors", made)
            if better:
                save_pocket(fitting.current, self.out / "generator.safetensors", made)
        best = self.best if self.best < float("inf") else None
        fitting.save(self.checkpoint, {"best": best, "health": self.health.to_json()})
        self.watcher.picture(f"{fitting.stage + 1}-{fitting.step:06d}", image_grid(fitting.sample_grid(), 12))
        return True

    def _judge(self, fitting: Fitting, figures: dict[str, float]) -> bool:
        """Whether the samples are the best so far; raises :class:`LanternError` if they have collapsed."""
        if self.judge is None:
            self.judge = Judge(fitting.photographs, fitting.config.seed, fitting.device)
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
    return sum(fitting.config.stage_steps[: fitting.stage]) + fitting.step

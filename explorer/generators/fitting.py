"""Fit a pocket generator to anybody's photographs: the loop around the stages, with its checkpoints."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from explorer.generators.photographs import load_photographs
from explorer.generators.pocket import PocketGenerator, save_pocket
from explorer.generators.projected import Features, ProjectedFeatures
from explorer.generators.stages import STAGES, FitConfig, Fitting, source_for
from segmentation.errors import LanternError, require
from segmentation.pictures import image_grid
from segmentation.progress import Watcher
from segmentation.runfolder import claim

_DIVERSITY_FLOOR = 0.15
_SETTLED = 200


def fit_generator(
    images: Path,
    out: Path,
    config: FitConfig,
    watcher: Watcher,
    device: torch.device,
    make_features: Callable[[], Features] = ProjectedFeatures,
) -> PocketGenerator | None:
    """Fit a pocket generator to the photographs in ``images``; go on where ``out`` stopped.

    Writes ``config.json``, ``checkpoint.safetensors``, and at every checkpoint ``generator.safetensors`` to ``out``.
    Returns the generator, or None if the watcher asked to stop. Errors: :class:`LanternError` if there are too few
    photographs, if ``out`` holds another fit, if a package is missing, or if the samples collapse (what was saved before
    stays).
    """
    photographs, _, unreadable = load_photographs(images, config.pocket.resolution)
    need = max(config.batch_size, config.adversarial_batch_size)
    require(len(photographs) >= need, f"{images} has {len(photographs)} photographs", f"Fitting needs at least {need}.")
    features = make_features() if config.adversarial_steps else None
    described = describe_fit(config, photographs)
    claim(out, described)
    if unreadable:
        watcher.note(f"{len(unreadable)} files are no images and were passed over: {', '.join(unreadable[:5])}")
    fitting = Fitting(config, photographs, device, features)
    checkpoint = out / "checkpoint.safetensors"
    if checkpoint.exists():
        fitting.restore(checkpoint)
        watcher.note(f"resuming in stage {STAGES[fitting.stage]} at step {fitting.step}")
        watcher.resume(_done(fitting), sum(config.stage_steps))
    else:
        fitting.begin_stage(0)
    if not _run_stages(fitting, out, watcher, described):
        return None
    save_pocket(fitting.best, out / "generator.safetensors", described)
    return fitting.best


def describe_fit(config: FitConfig, photographs: Tensor) -> dict[str, Any]:
    """What makes a fit: its configuration, and the number and SHA-256 of the photographs as they are fitted to."""
    digest = hashlib.sha256(photographs.numpy().tobytes()).hexdigest()
    return {"fit": config.to_json(), "photographs": {"count": len(photographs), "sha256": digest}}


def _done(fitting: Fitting) -> int:
    return sum(fitting.config.stage_steps[: fitting.stage]) + fitting.step


def _run_stages(fitting: Fitting, out: Path, watcher: Watcher, described: dict[str, Any]) -> bool:
    """Run what is left; False if the watcher stopped it before the end."""
    config = fitting.config
    total = sum(config.stage_steps)
    while True:
        stage = fitting.stage
        while fitting.step < config.stage_steps[stage]:
            figures = _step(fitting)
            stop = watcher.stop_requested()
            if stop or fitting.step == config.stage_steps[stage] or fitting.step % config.checkpoint_every == 0:
                _checkpoint(fitting, out, watcher, figures, described)
            watcher.advance(_done(fitting), total, {"stage": stage + 1, **figures})
            if stop and _done(fitting) < total:
                return False
        if _done(fitting) == total:
            return True
        fitting.begin_stage(stage + 1)


def _step(fitting: Fitting) -> dict[str, float]:
    started = time.perf_counter()
    step = (fitting.autoencoder_step, fitting.variational_step, fitting.adversarial_step)[fitting.stage]
    figures = step(source_for(fitting.config.seed, fitting.stage, fitting.step))
    fitting.step += 1
    return {**figures, "milliseconds": 1000 * (time.perf_counter() - started)}


def _checkpoint(fitting: Fitting, out: Path, watcher: Watcher, figures: dict[str, float], described: dict[str, Any]) -> None:
    if fitting.step >= _SETTLED:
        refuse_collapse(figures)
    fitting.save(out / "checkpoint.safetensors")
    if fitting.stage > 0:
        save_pocket(fitting.best, out / "generator.safetensors", described)
        figures["reconstruction"] = fitting.reconstruction_error()
    watcher.picture(f"{fitting.stage + 1}-{fitting.step:06d}", image_grid(fitting.sample_grid(), 12))


def refuse_collapse(figures: dict[str, float]) -> None:
    """Raise :class:`LanternError` if the ``diversity`` among ``figures`` says that all samples look alike."""
    if figures.get("diversity", 1.0) < _DIVERSITY_FLOOR:
        raise LanternError(
            f"the samples have collapsed: they vary {figures['diversity']:.2f} times as much as the photographs",
            "Raise --anchor-weight or lower --adversarial-learning-rate, and start in a new folder.",
        )

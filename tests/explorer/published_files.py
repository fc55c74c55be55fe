"""Artefacts in the form of the method's authors, made with PyTorch's own layers, and what such a deformator does to a code."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from scipy.linalg import expm
from torch import Tensor, nn


def seeded(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def deformator_state(
    kind: str, latent_dim: int = 120, count: int = 120, bias: float | None = 0.1, seed: int = 0
) -> dict[str, Tensor]:
    """A learned-looking state dict: near the identity for linear and proj, a wide rotation for ortho."""
    if kind == "ortho":
        return {"log_mat_half": 0.3 * seeded(latent_dim, latent_dim, seed=seed)}
    layer = nn.Linear(count, latent_dim, bias=bias is not None)
    with torch.no_grad():
        layer.weight.copy_(torch.eye(latent_dim, count) + 0.1 * seeded(latent_dim, count, seed=seed))
        if bias is not None:
            layer.bias.copy_(bias * seeded(latent_dim, seed=seed + 1))
    return {f"linear.{name}": value.clone() for name, value in layer.state_dict().items()}


def deformed(kind: str, state: dict[str, Tensor], shifts: Tensor) -> Tensor:
    """What a deformator of that kind makes of ``shifts`` (B, K), without its bias: (B, d), float64."""
    if kind == "ortho":
        half = state["log_mat_half"].double()
        return F.linear(shifts.double(), torch.from_numpy(expm((half - half.T).numpy())))
    moved = F.linear(shifts.double(), state["linear.weight"].double())
    return moved * (shifts.double().norm(dim=1) / moved.norm(dim=1))[:, None] if kind == "proj" else moved


def write_run(
    folder: Path,
    kind: str | None,
    states: dict[int, dict[str, Tensor]],
    labels: str = "",
    predictor: bool = False,
    **args: Any,
) -> Path:
    """The folder of a discovery run with a deformator for each step in ``states``."""
    (folder / "models").mkdir(parents=True)
    if kind is not None:
        (folder / "args.json").write_text(json.dumps({"deformator": kind, "shift_scale": 6.0, **args}))
    for step, state in states.items():
        torch.save(state, folder / "models" / f"deformator_{step}.pt")
        if predictor:
            torch.save(reconstructor(step), folder / "models" / f"shift_predictor_{step}.pt")
    if labels:
        (folder / "human_annotation.txt").write_text(labels)
    return folder


def reconstructor(seed: int) -> dict[str, Tensor]:
    """The state dict of a small network that sees two images at once."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(6, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 5)).state_dict()


class Malice:
    """Unpickled, it makes a folder."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.target),)

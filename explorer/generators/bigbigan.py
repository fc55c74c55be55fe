"""BigBiGAN's generator from disk: a checkpoint is checked whole, key by key, and folded for use."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from explorer.generators.bigbigan_folding import FoldedBigBiGAN
from explorer.generators.bigbigan_network import (
    MIN_WIDTH,
    BigBiGAN,
    SpectralConv2d,
    SpectralLinear,
    bigbigan_shapes,
    optional,
    optional_shapes,
    spectral_norm,
)
from segmentation.errors import LanternError, require
from segmentation.foreign import load_foreign, unwrapped
from segmentation.tensors import fingerprint, load_tensors, save_tensors

__all__ = [
    "KIND",
    "MODULE_FINGERPRINT",
    "BigBiGAN",
    "FoldedBigBiGAN",
    "bigbigan_shapes",
    "check_state",
    "load_bigbigan",
    "optional_shapes",
    "read_bigbigan",
    "save_bigbigan",
    "unfolded",
]

KIND = "bigbigan"
"""What a file of :func:`save_bigbigan` says it holds."""
MODULE_FINGERPRINT = "module_fingerprint"
"""Where its header says which TF-Hub module it was converted from."""
_REMEDY = "Give the whole generator: BigBiGAN_x1.pth as it was published, or what `python -m explorer convert` writes."


def check_state(state: Mapping[str, Tensor], source: str) -> int:
    """The width of the generator whose ``state`` this is.

    Errors: :class:`LanternError`, which names ``source`` and every key that is missing, unexpected, of another shape, or holds
    something else than finite numbers, or a negative variance.
    """
    width = _width(state)
    if width is None:
        raise LanternError(f"{source} holds nothing of BigBiGAN's generator", _REMEDY)
    needed = bigbigan_shapes(width)
    shapes = {**needed, **optional_shapes(width)}
    plain = {name: value for name, value in state.items() if name in shapes and _is_plain(value)}
    fitting = {name: value for name, value in plain.items() if value.shape == shapes[name]}
    misshapen = [f"{name} {tuple(plain[name].shape)} instead of {shapes[name]}" for name in plain if name not in fitting]
    faults = {
        "missing": [name for name in needed if name not in state],
        "unexpected": [str(name) for name in state if name not in shapes],
        "not of real numbers": [name for name in state if name in shapes and name not in plain],
        "of another shape": misshapen,
        "with NaN or infinity": [name for name in fitting if not optional(name) and not fitting[name].float().isfinite().all()],
        "with negative variance": [name for name in fitting if name.endswith(".stored_var") and (fitting[name] < 0).any()],
    }
    said = [f"{len(names)} {title}: {', '.join(names)}" for title, names in faults.items() if names]
    require(not said, f"{source} is no BigBiGAN generator of width {width} ({'; '.join(said)})", _REMEDY)
    return width


def _is_plain(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point() and value.layout is torch.strided and not value.is_meta


def _width(state: Mapping[str, Tensor]) -> int | None:
    """The width that most keys agree on, so that the others can be named against it."""
    small, large = bigbigan_shapes(MIN_WIDTH), bigbigan_shapes(2 * MIN_WIDTH)
    votes: Counter[int] = Counter()
    for name, shape in small.items():
        tensor = state.get(name)
        if isinstance(tensor, Tensor) and tensor.dim() == len(shape) and shape[:1] != large[name][:1]:
            width, rest = divmod(MIN_WIDTH * tensor.shape[0], shape[0])
            votes.update([width] if width >= MIN_WIDTH and not rest else [])
    return votes.most_common(1)[0][0] if votes else None


def unfolded(state: Mapping[str, Tensor], source: str) -> BigBiGAN:
    """The unfolded generator with a ``state`` from ``source``, float32, in evaluation mode.

    Errors: as of :func:`check_state`, and if a spectral norm is zero.
    """
    width = check_state(state, source)
    with torch.device("meta"):
        network = BigBiGAN(width)
    logs = {name: torch.ones(shape) for name, shape in optional_shapes(width).items()}
    network.load_state_dict({**logs, **_plain(state)}, assign=True)
    network.eval().requires_grad_(False)
    layers = ((name, layer) for name, layer in network.named_modules() if isinstance(layer, SpectralConv2d | SpectralLinear))
    dead = [name for name, layer in layers if not 0 < spectral_norm(layer.weight, layer.u0) < torch.inf]
    require(not dead, f"{source} has layers that cannot be divided by their spectral norm: {', '.join(dead)}", _REMEDY)
    return network


def _plain(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().float() for name, tensor in state.items() if not optional(name)}


def save_bigbigan(state: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write a generator's ``state`` to ``path`` (safetensors, float32), without ``sv0``; ``metadata`` goes into the header.

    Errors: as of :func:`check_state`.
    """
    width = check_state(state, "the state")
    save_tensors(path, _plain(state), {**(metadata or {}), "kind": KIND, "width": width})


def read_bigbigan(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """What is to be a generator's state, unchecked, and its header, empty for a ported checkpoint (``.pth``, ``.pt``).

    Nothing in a checkpoint can run. Errors: :class:`LanternError` if the file is missing, cut short, or holds something else.
    """
    if path.suffix.lower() == ".safetensors":
        tensors, header = load_tensors(path)
        found = header.get("kind", "something else")
        require(found == KIND, f"{path} holds {found}, not a BigBiGAN generator", _REMEDY)
        return tensors, header
    state = unwrapped(load_foreign(path))
    if state is None:
        raise LanternError(f"{path} is not a state dict", _REMEDY)
    return state, {}


def load_bigbigan(path: Path) -> FoldedBigBiGAN:
    """The generator in ``path``, folded: a ported checkpoint or what :func:`save_bigbigan` wrote.

    The same weights have the same fingerprint in both kinds of file. One that was converted from a TF-Hub module takes the
    latent codes of that module for its own. Errors: as of :func:`read_bigbigan` and :func:`check_state`.
    """
    state, header = read_bigbigan(path)
    network = unfolded(state, str(path))
    same_codes_as = (str(header[MODULE_FINGERPRINT]),) if header.get(MODULE_FINGERPRINT) else ()
    return FoldedBigBiGAN(network, fingerprint(_plain(state), {"kind": KIND}), same_codes_as)

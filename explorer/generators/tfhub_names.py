"""Names of TF-Hub modules; which variable of BigBiGAN's is which tensor of its PyTorch form, and how its layout changes."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from explorer.generators.bigbigan_network import CHUNK, MIN_WIDTH, SHARED, SIDE, bigbigan_shapes
from explorer.weights.known import MODULES
from segmentation.errors import LanternError

REMEDY = f"Give {' or '.join(MODULES.values())}, or the folder that one of them was unpacked to."
"""What to do about a module that is not BigBiGAN's."""
AVERAGE = "/ema_0.9999"
"""What the names of exponentially averaged weights end in; these are taken where they exist."""

_URL = re.compile("https?://")
_SCOPE = re.compile(r"^((?:.*?/)?Generator/)(.+?)(?::0)?$")
_COLOURS = 3
_PUBLISHED_SCOPE = "GenEncWrapper/Generator/"
# Training keeps these beside the weights: how many batches the statistics saw, the right singular vector that follows from
# u0, the optimiser's moments.
_BOOKKEEPING = re.compile(r"(?:^|/)(?:accumulation_counter|u1|Adam(?:_\d+)?)$")
Shape = tuple[int, ...]
Arrays = Mapping[str, NDArray[Any]]


@dataclasses.dataclass(frozen=True)
class Layout:
    """How a tensor lies in the module: its shape there, from the shape here, and the way back."""

    stored: Callable[[Shape], Shape]
    change: Callable[[Tensor], Tensor]


def _channels_first(tensor: Tensor) -> Tensor:
    # (..., 4 x 4 x C) -> (..., C x 4 x 4): the columns of the first linear layer are the pixels of its feature map.
    return tensor.unflatten(-1, (SIDE, SIDE, -1)).movedim(-1, -3).flatten(-3)


_AS_IS = Layout(lambda shape: shape, lambda tensor: tensor)
_CONV = Layout(lambda s: (s[2], s[3], s[1], s[0]), lambda tensor: tensor.permute(3, 2, 0, 1))
# The module appends the shared embedding to the chunk of the latent code; here it goes before.
_CONDITION = Layout(lambda s: (s[1], s[0]), lambda tensor: tensor.t().roll(-CHUNK, 1))
_FIRST = Layout(lambda s: (s[1], s[0]), lambda tensor: _channels_first(tensor).t())
_FIRST_VECTOR = Layout(lambda shape: shape, _channels_first)
_ALL_CLASSES = Layout(lambda s: (1, s[1]), lambda tensor: tensor.expand(1000, -1))


def _convolution(name: str, key: str, bias: bool = True) -> Iterator[tuple[str, str, Layout]]:
    yield f"{name}/w", f"{key}.weight", _CONV
    yield f"{name}/u0", f"{key}.u0", _AS_IS
    if bias:
        yield f"{name}/b", f"{key}.bias", _AS_IS


def _statistics(name: str, key: str) -> Iterator[tuple[str, str, Layout]]:
    yield f"{name}/accumulated_mean", f"{key}.stored_mean", _AS_IS
    yield f"{name}/accumulated_var", f"{key}.stored_var", _AS_IS


def _block(index: int) -> Iterator[tuple[str, str, Layout]]:
    name, key = f"GBlock_{index}" if index else "GBlock", f"blocks.{index}.0"
    for theirs, ours in (("conv0", "conv1"), ("conv1", "conv2"), ("conv_sc", "conv_sc")):
        yield from _convolution(f"{name}/{theirs}", f"{key}.{ours}")
    for theirs, ours in (("BatchNorm", "bn1"), ("BatchNorm_1", "bn2")):
        yield from _statistics(f"{name}/{theirs}", f"{key}.{ours}")
        for part, own in (("scale", "gain"), ("offset", "bias")):
            yield f"{name}/{theirs}/{part}/w", f"{key}.{ours}.{own}.weight", _CONDITION
            yield f"{name}/{theirs}/{part}/u0", f"{key}.{ours}.{own}.u0", _AS_IS


def _table() -> Iterator[tuple[str, str, Layout]]:
    yield "linear/w", "shared.weight", _ALL_CLASSES
    yield "GenZ/G_linear/w", "linear.weight", _FIRST
    yield "GenZ/G_linear/b", "linear.bias", _FIRST_VECTOR
    yield "GenZ/G_linear/u0", "linear.u0", _FIRST_VECTOR
    for index in range(5):
        yield from _block(index)
    yield "attention/gamma", "blocks.3.1.gamma", _AS_IS
    for theirs, ours in (("theta", "theta"), ("phi", "phi"), ("g", "g"), ("o_conv", "o")):
        yield from _convolution(f"attention/{theirs}", f"blocks.3.1.{ours}", bias=False)
    yield from _statistics("BatchNorm", "output_layer.0")
    yield "BatchNorm/scale", "output_layer.0.gain", _AS_IS
    yield "BatchNorm/offset", "output_layer.0.bias", _AS_IS
    yield from _convolution("conv_2d", "output_layer.2")


TABLE: dict[str, tuple[str, Layout]] = {name: (key, layout) for name, key, layout in _table()}
"""Name below ``Generator/`` -> the key in PyTorch, and the layout."""


def is_handle(module: str) -> bool:
    """Whether ``module`` is a handle, a URL, and no folder."""
    return _URL.match(module) is not None


def module_name(module: str) -> str:
    """What people call a module, given by its handle or folder: the last part that is not a version."""
    path = module.partition("?")[0] if is_handle(module) else str(Path(module).resolve())
    parts = [part for part in re.split(r"[/\\]", path) if part and not part.isdigit()]
    return parts[-1] if parts else module


def to_pytorch(variables: Arrays, source: str) -> tuple[dict[str, Tensor], list[str]]:
    """The PyTorch form, float32, of a generator's ``variables``, and the names of those that only training needs.

    ``source`` is what errors call the module. Names are matched below the scope ``Generator``, wherever that lies, and
    averaged weights stand in for the raw ones. Errors: :class:`LanternError` listing every variable that is missing, is
    not used, or has another shape.
    """
    scope, found = _generator(variables, source)
    averages = {name.removesuffix(AVERAGE): array for name, array in found.items() if name.endswith(AVERAGE)}
    current = {name: array for name, array in found.items() if not name.endswith(AVERAGE)} | averages
    shapes = _expected_shapes(current)
    passed_over = sorted(name for name in current if name not in TABLE and _BOOKKEEPING.search(name))
    faults = {
        "missing": sorted(set(TABLE) - set(current)),
        "not used": sorted(set(current) - set(TABLE) - set(passed_over)),
        "of another shape": _misfits(current, shapes),
    }
    listed = [f"\n  {title}: {', '.join(scope + name for name in names)}" for title, names in faults.items() if names]
    if listed:
        raise LanternError(f"{source} does not have the variables of BigBiGAN's generator:{''.join(listed)}", REMEDY)
    state = {}
    for name, (key, layout) in TABLE.items():
        tensor = torch.from_numpy(np.array(current[name], np.float32).reshape(shapes[name]))
        state[key] = layout.change(tensor).contiguous()
    return state, [scope + name for name in passed_over]


def _generator(variables: Arrays, source: str) -> tuple[str, dict[str, NDArray[Any]]]:
    """The scope with most of the table's names, and its variables without it."""
    scopes: dict[str, dict[str, NDArray[Any]]] = {}
    for name, array in variables.items():
        if match := _SCOPE.match(name):
            scopes.setdefault(match[1], {})[match[2]] = array
    if not scopes:
        some = ", ".join(sorted(variables)[:8]) or "no variables at all"
        raise LanternError(f"{source} has no variables named {_PUBLISHED_SCOPE}...; it has {some}", REMEDY)
    scope = max(scopes, key=lambda prefix: len({name.removesuffix(AVERAGE) for name in scopes[prefix]} & set(TABLE)))
    return scope, scopes[scope]


def _expected_shapes(found: Arrays) -> dict[str, Shape]:
    """The shapes in the module, at the width that most of the variables ``found`` agree on."""
    votes = Counter(
        found[name].shape[-1] * MIN_WIDTH // shape[-1]
        for name, shape in _stored_shapes(MIN_WIDTH).items()
        if name in found and found[name].shape and shape and shape[-1] not in (_COLOURS, SHARED)
    )
    return _stored_shapes(max(MIN_WIDTH, min(4096, votes.most_common(1)[0][0])) if votes else MIN_WIDTH)


def _stored_shapes(width: int) -> dict[str, Shape]:
    here = bigbigan_shapes(width)
    return {name: layout.stored(here[key]) for name, (key, layout) in TABLE.items()}


def _misfits(found: Arrays, shapes: Mapping[str, Shape]) -> list[str]:
    # Statistics are stored as (1, 1, 1, C) or (C,): sides of one do not count.
    return [
        f"{name} {found[name].shape} instead of {shape}"
        for name, shape in sorted(shapes.items())
        if name in found and [n for n in found[name].shape if n != 1] != [n for n in shape if n != 1]
    ]

"""Tensors on disk: safetensors with a JSON header for weights, optimisers and their configuration. Nothing is pickled."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from segmentation.errors import LanternError, require
from segmentation.files import replacing

_HEADER = "lantern"


def save_tensors(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Write named ``tensors`` and a JSON ``header`` to ``path`` (safetensors), whole or not at all."""
    own = {name: tensor.detach().to("cpu").contiguous().clone() for name, tensor in tensors.items()}
    with replacing(path) as temporary:
        try:
            save_file(own, temporary, metadata={_HEADER: json.dumps(dict(header))})
        except SafetensorError as error:
            raise _system_error(str(error)) from error


def _system_error(message: str) -> OSError:
    """The error of the operating system that ``message`` of the safetensors library tells of."""
    number = re.search(r"os error (\d+)", message)
    return OSError(int(number[1]), os.strerror(int(number[1]))) if number else OSError(errno.EIO, message)


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the header of ``path``.

    Errors: :class:`LanternError` if the file is missing, cut short, or no safetensors file of this program.
    """
    with _opened(path) as opened:
        return {name: opened.get_tensor(name) for name in opened.keys()}, _header_of(opened)  # noqa: SIM118 - no mapping


def read_header(path: Path) -> dict[str, Any]:
    """The header of ``path`` alone; errors as of :func:`load_tensors`."""
    with _opened(path) as opened:
        return _header_of(opened)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    require(path.is_file(), f"the weights file {path} does not exist", "Check the path.")
    try:
        with safe_open(path, framework="pt") as opened:
            yield opened
    except (SafetensorError, ValueError, OSError) as error:
        raise LanternError(
            f"{path} is not a safetensors file, or it is cut short ({error})", "Copy it again from where it came."
        ) from error


def _header_of(opened: Any) -> dict[str, Any]:
    header = json.loads((opened.metadata() or {}).get(_HEADER, "{}"))
    if not isinstance(header, dict):
        raise ValueError("its header is not that of this program")
    return header


def load_into(module: nn.Module, tensors: Mapping[str, Tensor], origin: str) -> None:
    """Fill ``module`` with ``tensors``; every missing, unknown or misshapen one is named in the error.

    ``origin`` says where they come from. Floating-point tensors of another precision are converted.
    """
    wanted = module.state_dict()
    missing = sorted(set(wanted) - set(tensors))
    unknown = sorted(set(tensors) - set(wanted))
    shapes = [
        f"{name} {tuple(tensors[name].shape)} instead of {tuple(wanted[name].shape)}"
        for name in sorted(set(wanted) & set(tensors))
        if tensors[name].shape != wanted[name].shape
    ]
    faults = [
        f"{title}: {', '.join(names[:4])}{f' and {len(names) - 4} more' if len(names) > 4 else ''}"
        for title, names in (("missing", missing), ("unknown", unknown), ("another shape", shapes))
        if names
    ]
    require(
        not faults,
        f"{origin} does not fit a {type(module).__name__} ({'; '.join(faults)})",
        "Use weights that were made for this network.",
    )
    module.load_state_dict({name: tensor.to(wanted[name].dtype) for name, tensor in tensors.items()})


def half(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``tensors`` with float32 turned into float16, for shipping."""
    return {name: t.half() if t.dtype == torch.float32 else t for name, t in tensors.items()}


def fingerprint(tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> str:
    """Sixteen hexadecimal digits that change with any weight or setting (SHA-256 over both, in the order of the names)."""
    digest = hashlib.sha256(json.dumps(dict(header), sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().to("cpu")
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.reshape(-1).contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def optimiser_tensors(optimiser: torch.optim.Optimizer, prefix: str) -> dict[str, Tensor]:
    """The state of ``optimiser`` (moments and step counts, not the rates) as named tensors."""
    state = optimiser.state_dict()["state"]
    return {f"{prefix}.{index}.{key}": torch.as_tensor(value) for index, own in state.items() for key, value in own.items()}


def restore_optimiser(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor], prefix: str) -> None:
    """Give ``optimiser`` the state that :func:`optimiser_tensors` took; rates stay as they are configured."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith(f"{prefix}."):
            index, key = name[len(prefix) + 1 :].split(".", 1)
            state.setdefault(int(index), {})[key] = tensor
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})


def with_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``tensors`` with ``prefix.`` before every name."""
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def without_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those of ``tensors`` whose name starts with ``prefix.``, without it."""
    return {name[len(prefix) + 1 :]: tensor for name, tensor in tensors.items() if name.startswith(f"{prefix}.")}

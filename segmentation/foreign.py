"""What PyTorch saves: other programs' files, read without running what is in them, and files for other programs."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from segmentation.errors import LanternError, require
from segmentation.files import replacing

FOREIGN = (".pth", ".pt")
"""What the names of such files end in."""


def load_foreign(path: Path) -> Any:
    """What PyTorch saved in ``path``, on the CPU; tensors are mapped rather than read where the file allows it.

    Nothing in it can run. Errors: :class:`LanternError` if the file is missing, is damaged, or holds more than plain values and
    tensors.
    """
    require(path.is_file(), f"the weights file {path} does not exist", "Check the path.")
    remedy = "Copy it again from where it came, or save it anew as plain tensors: torch.save(network.state_dict(), path)."
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=_can_be_mapped(path))
    except pickle.UnpicklingError as error:
        raise LanternError(f"{path} holds more than weights, or it is damaged, and was not opened", remedy) from error
    except Exception as error:  # a damaged archive raises whatever its bytes lead to
        raise LanternError(f"{path} is no PyTorch file, or it is cut short ({type(error).__name__})", remedy) from error


def _can_be_mapped(path: Path) -> bool:
    # Older files are no archives.
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        # PyTorch compresses nothing, but who packed it again may have.
        return all(entry.compress_type == zipfile.ZIP_STORED for entry in archive.infolist())


def save_foreign(path: Path, value: Any) -> None:
    """Write tensors to ``path`` as PyTorch does, for programs that read nothing else; whole or not at all."""
    # Through memory: PyTorch's own writer tells of a full disk in words that nobody can act on.
    buffer = io.BytesIO()
    torch.save(value, buffer)
    with replacing(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())


def unwrapped(loaded: Any) -> dict[Any, Any] | None:
    """The innermost dictionary of what PyTorch saved; None if there is none.

    A checkpoint may hold it as ``model`` or ``state_dict``, and a parallel module puts ``module.`` before every name.
    """
    for wrapper in ("model", "state_dict"):
        if isinstance(loaded, Mapping) and isinstance(loaded.get(wrapper), Mapping):
            loaded = loaded[wrapper]
    if not isinstance(loaded, Mapping):
        return None
    return {name.removeprefix("module.") if isinstance(name, str) else name: value for name, value in loaded.items()}


def state_of(loaded: Any) -> dict[str, Tensor] | None:
    """The state dict in what PyTorch saved (see :func:`unwrapped`); None if there is none, or it holds more than tensors."""
    state = unwrapped(loaded)
    if not state or not all(isinstance(name, str) and isinstance(value, Tensor) for name, value in state.items()):
        return None
    return {name: value.detach() for name, value in state.items()}

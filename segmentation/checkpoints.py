"""Checkpoints in pairs: the newest and the one before it, so that one that was cut short costs steps and not the run.

The newest lies at the path that is asked for, say ``checkpoint.safetensors``, the one before it beside it as
``checkpoint.previous.safetensors``. Only the one process that holds the folder may write them; any number may read.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from segmentation.errors import LanternError, require
from segmentation.tensors import fingerprint, load_tensors, save_tensors

NAME = "checkpoint.safetensors"
"""What the newest checkpoint of a run is called."""
_CHECKSUM = "checksum"


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint held, and what is to be told of how it was found."""

    path: Path
    tensors: dict[str, Tensor]
    header: dict[str, Any]
    said: str
    """Empty, or a sentence for the log: the newest was damaged and this is the one before it."""


def previous(path: Path) -> Path:
    """Where the checkpoint before the one at ``path`` lies."""
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def damaged(path: Path) -> Path:
    """Where a checkpoint that could not be read is put aside."""
    return path.with_name(f"{path.stem}.damaged{path.suffix}")


def save_checkpoint(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Write ``tensors`` and a JSON ``header`` (with its ``kind``) to ``path``; what lay there becomes the previous one.

    At every moment, also if the process dies or the disk is full, one of the two is whole. Errors: :class:`LanternError` if
    it cannot be written; both are as they were then.
    """
    for left in path.parent.glob(f".*{path.name}.*"):
        # Of a process that was killed while it wrote.
        left.unlink(missing_ok=True)
    own = {name: tensor.detach().to("cpu") for name, tensor in tensors.items()}
    told = json.loads(json.dumps(dict(header)))
    fresh = path.with_name(f".{path.name}.fresh{path.suffix}")
    try:
        save_tensors(fresh, own, {**told, _CHECKSUM: fingerprint(own, told)})
    except LanternError as error:
        raise LanternError(error.problem.replace(str(fresh), str(path)), error.remedy) from error
    try:
        if path.exists():
            _keep(path)
        fresh.replace(path)
        _settle(path.parent)
    except OSError as error:
        raise LanternError(f"{path} could not be written ({error.strerror or error})", "Choose another folder.") from error


def _keep(path: Path) -> None:
    """Make ``path`` the previous one too; where the file system knows links, it never leaves its place."""
    linked = path.with_name(f".{path.name}.linked{path.suffix}")
    try:
        os.link(path, linked)
    except OSError:
        path.replace(previous(path))
    else:
        linked.replace(previous(path))


def _settle(folder: Path) -> None:
    """Have the names in ``folder`` on the disk before anybody says that it is saved."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError:
        # Some network file systems cannot do that for a folder.
        pass
    finally:
        os.close(handle)


def load_checkpoint(path: Path, kind: str) -> Checkpoint | None:
    """The checkpoint at ``path``, or the one before it if that is damaged or missing; None if there is neither.

    A damaged one is put aside, under the name that :func:`damaged` gives, so that the next save does not take it for a good
    one. Errors: :class:`LanternError` if there are some and none can be read, or if it is not of that ``kind``.
    """
    faults = []
    for place in (path, previous(path)):
        if not place.exists():
            continue
        try:
            tensors, header = _read(place)
        except LanternError as error:
            faults.append(error.problem)
            continue
        require(header.get("kind") == kind, f"{place} is no {kind}", "Give the folder of another run, or a new one.")
        if faults:
            _put_aside(path)
        lost = f"{faults[0]}; " if faults else "" if place == path else f"{path} is missing; "
        said = "" if place == path else f"{lost}going on from the checkpoint before it, {place.name}"
        return Checkpoint(place, tensors, header, said)
    remedy = f"Remove {path.name} and {previous(path).name} to begin anew, or choose another folder."
    require(not faults, "; ".join(faults), remedy)
    return None


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    tensors, header = load_tensors(path)
    checksum = header.pop(_CHECKSUM, None)
    same = checksum is None or checksum == fingerprint(tensors, header)
    require(same, f"{path} is damaged (its contents do not have its checksum)", "Use the one before it.")
    return tensors, header


def _put_aside(path: Path) -> None:
    try:
        path.replace(damaged(path))
    except OSError:
        # Another process of the same run was quicker, or the folder is not ours to write.
        return

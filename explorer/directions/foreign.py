"""Directions and deformators in the form of the method's authors: read without running what is in them, and written.

The authors walk every direction by 5 times its column, whatever its length. Here a direction has unit length and a magnitude of
its own: 5 times that length. So a shift is the same on both sides, and the way there and back loses nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from explorer.directions.catalogue import MAX_MAGNITUDE, PAPER_MAGNITUDE, Catalogue, Entry
from explorer.directions.rotations import rotation_logarithm, why_no_rotation
from segmentation.errors import require
from segmentation.foreign import state_of
from segmentation.tensors import load_tensors, save_tensors
from segmentation.unet import is_unet

_OPTIONS = {
    "shift_scale": "shift_scale",
    "min_shift": "min_shift",
    "shift_distribution": "shift_distribution",
    "label_weight": "label_weight",
    "shift_weight": "shift_weight",
    "deformator_learning_rate": "deformator_lr",
    "reconstructor_learning_rate": "shift_predictor_lr",
    "batch_size": "batch_size",
    "steps": "n_steps",
}
"""Options of a discovery, and what they are called in the authors' ``args.json``."""
_NETWORKS = {"resnet18": "ResNet", "lenet": "LeNet"}
TYPES = ("linear", "proj", "ortho")
"""Deformators whose columns are directions. linear: shifts by a column as it is; proj: by the column scaled to unit length, so
that only its direction counts; ortho: by a column of a rotation."""
DIRECTION, DEFORMATOR, UNET, GENERATOR, SHIFT_PREDICTOR = "direction", "deformator", "U-Net", "generator", "shift predictor"
_WEIGHT, _BIAS, _HALF, _LENGTH = "linear.weight", "linear.bias", "log_mat_half", "length"
_SHORTEST = 1e-6


@dataclasses.dataclass(frozen=True)
class Deformator:
    """What a discovery run learns: ``matrix`` (d, K), float64, whose column k is direction k; K and d may differ.

    ``bias`` (d,), of the types linear and proj, is added to every shift and belongs to no direction.
    """

    type: str
    matrix: Tensor
    bias: Tensor | None = None


def kind_of(loaded: Any) -> str | None:
    """Which artefact ``loaded`` is, by its content alone: one of the kinds named in this module, or None."""
    if isinstance(loaded, Tensor):
        return DIRECTION if loaded.numel() == max((0, *loaded.shape)) and loaded.numel() > 1 else None
    state = state_of(loaded)
    if state is None:
        return None
    if is_unet(state):
        return UNET
    if "shared.weight" in state and any(name.startswith("blocks.") for name in state):
        return GENERATOR
    if _WEIGHT in state or _HALF in state or {"fc1.weight", "fc4.weight"} <= set(state):
        return DEFORMATOR
    # The reconstructor sees two images at once: six channels, or two of grey ones.
    pairs = any(value.dim() == 4 and value.shape[1] in (2, 6) for value in state.values())
    return SHIFT_PREDICTOR if pairs else None


def read_deformator(loaded: Any, declared: str | None, source: str) -> Deformator:
    """The deformator of a state dict; ``declared`` is the type that its run's ``args.json`` names.

    Without one the weights decide, and ``linear.weight`` is taken to be linear.

    Errors: :class:`LanternError` if the type and the weights contradict each other, a shape does not fit, or a column is zero,
    NaN or infinite (all of them are named).
    """
    state = state_of(loaded) or {}
    bends = "A deformator of another type bends its directions, or has none: a catalogue cannot hold it."
    require(declared is None or declared in TYPES, f"{source} is of type {declared!r}, not {', '.join(TYPES)}", bends)
    found = "ortho" if _HALF in state else "linear"
    known = {_HALF} if found == "ortho" else {_WEIGHT, _BIAS}
    unknown = sorted(set(state) - known)
    more = f" and {len(unknown) - 8} more" if len(unknown) > 8 else ""
    listed = f"{source} is no deformator of type {', '.join(TYPES)} (it also holds {', '.join(unknown[:8])}{more})"
    require(not unknown and bool(state), listed, bends)
    agree = declared is None or (declared == "ortho") == (found == "ortho")
    contradiction = f"{source} holds {', '.join(sorted(state))}, but its args.json says type {declared}"
    require(agree, contradiction, "Give the args.json that belongs to this deformator.")
    matrix = _matrix(state, source)
    broken = (~matrix.isfinite().all(0)).nonzero().flatten().tolist()
    require(not broken, f"{source} holds NaN or infinity in directions {broken}", "Take another step of the run.")
    empty = (matrix.norm(dim=0) < _SHORTEST).nonzero().flatten().tolist()
    require(not empty, f"{source} has zero directions: {empty}", "Take another step of the run.")
    bias = state.get(_BIAS)
    fits = bias is None or (tuple(bias.shape) == (len(matrix),) and bool(bias.isfinite().all()))
    require(fits, f"{_BIAS} of {source} is not {len(matrix)} finite numbers", "Copy the file again from where it came.")
    return Deformator(declared or found, matrix, bias)


def _matrix(state: Mapping[str, Tensor], source: str) -> Tensor:
    name = _HALF if _HALF in state else _WEIGHT
    stored = state[name].double()
    fits = stored.dim() == 2 and 0 not in stored.shape and (name == _WEIGHT or stored.shape[0] == stored.shape[1])
    wanted = "(d, K)" if name == _WEIGHT else "(d, d)"
    require(fits, f"{name} of {source} has shape {tuple(stored.shape)}", f"It has to be {wanted}.")
    return stored if name == _WEIGHT else torch.linalg.matrix_exp(stored - stored.T)


def catalogue_of_direction(loaded: Any, source: str) -> Catalogue:
    """A catalogue of one direction, saliency lighting, from a tensor of d numbers; it belongs to no generator yet.

    Errors: :class:`LanternError` if the tensor holds NaN or infinity, or is zero.
    """
    vector = loaded.detach().flatten()
    require(not vector.is_complex(), f"{source} holds complex numbers", "Give a tensor of d numbers.")
    vector = vector.double()
    require(bool(vector.isfinite().all()), f"{source} holds NaN or infinity", "Copy the file again from where it came.")
    require(bool(vector.norm() >= _SHORTEST), f"{source} is zero: it leads nowhere", "Copy the file again from where it came.")
    catalogue = _catalogue(vector[:, None], f"imported: {Path(source).name}", {"kind": DIRECTION, "file": Path(source).name})
    lighting = dataclasses.replace(catalogue.entries[0], label="saliency lighting", status="saliency lighting")
    return dataclasses.replace(catalogue, entries=(lighting,))


def catalogue_of_deformator(deformator: Deformator, source: str, told: Mapping[str, Any]) -> Catalogue:
    """The K directions of ``deformator``, none of them chosen; the catalogue belongs to no generator yet.

    ``told`` is what else is known of the run, as plain JSON types.
    """
    bias = None if deformator.bias is None else [float(value) for value in deformator.bias.double().tolist()]
    imported = {"kind": DEFORMATOR, "type": deformator.type, "bias": bias, **told}
    catalogue = _catalogue(deformator.matrix, f"imported: {source}, type {deformator.type}", imported)
    if deformator.type == "linear":
        return catalogue
    # Only the direction of a column counts; proj keeps its length to be written again.
    scores = [entry.scores if deformator.type == "proj" else {} for entry in catalogue.entries]
    return dataclasses.replace(catalogue, entries=tuple(Entry(scores=own) for own in scores))


def _catalogue(matrix: Tensor, source: str, imported: Mapping[str, Any]) -> Catalogue:
    lengths = matrix.norm(dim=0)
    entries = tuple(Entry(magnitude=magnitude_of(length), scores={_LENGTH: length}) for length in lengths.tolist())
    return Catalogue((matrix / lengths).T.contiguous().float(), entries, source, "", {"imported": dict(imported)})


def magnitude_of(length: float) -> float:
    """How far to walk, in units of the latent space, along a direction that came with this ``length``.

    5 times its length, as the authors do; 5 itself for a length of 1 within a thousandth, and where 5 times it is beyond the
    largest magnitude.
    """
    walked = PAPER_MAGNITUDE * length
    return PAPER_MAGNITUDE if abs(length - 1) < 1e-3 or walked > MAX_MAGNITUDE else round(walked, 6)


def direction_tensor(catalogue: Catalogue, index: int) -> Tensor:
    """Direction ``index`` as the authors keep it: (d,), float32, of which 5 times is the catalogue's shift."""
    direction = catalogue.direction(index).double() * _length(catalogue, index)
    return direction.float()


def _length(catalogue: Catalogue, index: int) -> float:
    entry = catalogue.entries[index]
    came = entry.scores.get(_LENGTH)
    length = entry.magnitude / PAPER_MAGNITUDE if came is None or magnitude_of(came) != entry.magnitude else came
    nowhere = f"direction {index} has a magnitude of {entry.magnitude:g}: it leads nowhere"
    require(length >= _SHORTEST, nowhere, "Give it a magnitude first.")
    return length


def deformator_type(catalogue: Catalogue) -> str:
    """The type of deformator that loses nothing of ``catalogue``: the one it came from if it still is one, else linear."""
    came = told_of_run(catalogue).get("type", "linear")
    rotated = came == "ortho" and not why_no_rotation(_columns(catalogue).numpy())
    return came if came == "proj" or rotated else "linear"


def told_of_run(catalogue: Catalogue) -> dict[str, Any]:
    """What is known of the run that ``catalogue`` was imported from, or discovered by, as plain JSON types.

    ``type`` of the deformator, ``step``, and ``args``, the options by their authors' names; empty if it came from elsewhere.
    """
    if "discovery" not in catalogue.provenance:
        return dict(catalogue.provenance.get("imported", {}))
    found = dict(catalogue.provenance["discovery"])
    args = {theirs: found[own] for own, theirs in _OPTIONS.items() if own in found}
    network = {"shift_predictor": _NETWORKS[found["reconstructor"]]} if found.get("reconstructor") in _NETWORKS else {}
    return {"type": found.get("deformator", "linear"), "step": found.get("step", 0), "args": {**args, **network}}


def _columns(catalogue: Catalogue) -> Tensor:
    return torch.stack([catalogue.direction(index).double() for index in range(len(catalogue))], 1)


def deformator_state(catalogue: Catalogue, kind: str) -> dict[str, Tensor]:
    """The state dict, float32, of a deformator of type ``kind`` whose column k is direction k with its sign.

    linear keeps the magnitudes, as lengths; proj and ortho keep only the directions. A bias that came with the catalogue goes
    along; else it is zero. Errors: :class:`LanternError` if the type is ortho and the directions are no rotation.
    """
    require(kind in TYPES, f"the type of deformator is {kind!r}", f"Choose one of: {', '.join(TYPES)}.")
    columns = _columns(catalogue)
    if kind == "ortho":
        why = why_no_rotation(columns.numpy())
        require(not why, f"the matrix of these directions is no rotation: {why}", "Choose the type linear or proj.")
        return {_HALF: torch.from_numpy(np.triu(rotation_logarithm(columns.numpy()))).float()}
    stored = [entry.scores.get(_LENGTH, 1.0) for entry in catalogue.entries]
    lengths = stored if kind == "proj" else [_length(catalogue, index) for index in range(len(catalogue))]
    bias = told_of_run(catalogue).get("bias") or [0.0] * len(columns)
    return {_WEIGHT: (columns * torch.tensor(lengths, dtype=torch.float64)).float(), _BIAS: torch.tensor(bias)}


def save_shift_predictor(path: Path, state: Mapping[str, Tensor]) -> None:
    """Keep the ``state`` dict of a run's reconstructor as named tensors (safetensors)."""
    save_tensors(path, state, {"kind": SHIFT_PREDICTOR})


def load_shift_predictor(path: Path) -> dict[str, Tensor]:
    """The state dict that :func:`save_shift_predictor` kept."""
    tensors, header = load_tensors(path)
    require(header.get("kind") == SHIFT_PREDICTOR, f"{path} holds no shift predictor", "Import the run again.")
    return tensors

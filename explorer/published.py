"""What the method's authors published, recognised by its content: directions, discovery runs, labels, embeddings, U-Nets."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explorer.directions.annotation import annotated_share, parse_annotation
from explorer.directions.catalogue import Catalogue, load_catalogue
from explorer.directions.foreign import (
    DEFORMATOR,
    DIRECTION,
    GENERATOR,
    SHIFT_PREDICTOR,
    UNET,
    catalogue_of_direction,
    kind_of,
)
from explorer.published_runs import ANNOTATION_FILE, files_around, find_run, is_pickled, read_run, read_text, some, step_of
from segmentation.errors import LanternError, require
from segmentation.foreign import load_foreign, state_of
from segmentation.unet import unet_of

RUN, EMBEDDINGS, ANNOTATION, CATALOGUE, OURS = "discovery run", "embeddings", "annotation", "catalogue", "safetensors file"
KNOWN = "a direction, a deformator or the folder of its run, embeddings (.npy), a U-Net, or a text of lines `index: label`"
_ROWS = 65536


@dataclasses.dataclass(frozen=True)
class Artefact:
    """One thing that was found, read and checked."""

    kind: str
    path: Path
    content: Any
    """A catalogue, embeddings (N, d), a U-Net, labels by index, or None for what is recognised but not imported."""
    facts: tuple[str, ...] = ()
    """What there is to say of it."""
    shift_predictor: Path | None = None
    """With a discovery run: the file of its reconstructor at the same step."""

    @property
    def latent_dim(self) -> int | None:
        """Length of a latent code of the generator that it belongs to, where it says."""
        if isinstance(self.content, Catalogue):
            return int(self.content.directions.shape[1])
        return int(self.content.shape[1]) if self.kind == EMBEDDINGS else None


@dataclasses.dataclass(frozen=True)
class Findings:
    """What there is in a path: the artefacts, and files that are none, with the reason why."""

    artefacts: tuple[Artefact, ...]
    passed_over: tuple[str, ...] = ()


def find_artefacts(path: Path, step: int | None = None) -> Findings:
    """What ``path`` is: a file, a discovery run, a catalogue, or a folder of several of these.

    ``step`` chooses among the deformators of a run; by default the last. Errors: :class:`LanternError` if it is nothing that is
    known, or is damaged; in a folder of several such a file is passed over, as long as there is another.
    """
    require(path.exists(), f"{path} does not exist", "Check the path.")
    return _folder(path, step, 1) if path.is_dir() else Findings((_file(path, step),))


def _folder(path: Path, step: int | None, deeper: int) -> Findings:
    children = sorted(child for child in path.iterdir() if not child.name.startswith("."))
    require(bool(children), f"the folder {path} is empty", f"Give {KNOWN}, or a folder with some of these.")
    if (path / "catalogue.json").is_file():
        return Findings((_catalogue(path),))
    run = find_run(path)
    found: list[Artefact] = []
    if run:
        read = read_run(run, step)
        found.append(Artefact(RUN, path, read.catalogue, read.facts, read.shift_predictor))
    passed_over = []
    for child in children:
        try:
            if run and run.holds(child):
                continue
            if not child.is_dir():
                found.append(_file(child, step, alone=False))
            elif deeper:
                below = _folder(child, step, deeper - 1)
                found += below.artefacts
                passed_over += [f"{child.name}/{reason}" for reason in below.passed_over]
        except LanternError as error:
            passed_over.append(f"{child.name} ({error.problem})")
    nothing = f"nothing in {path} is known: {some(passed_over)}"
    require(bool(found), nothing, f"Give {KNOWN}, or a folder with some of these.")
    return Findings(tuple(found), tuple(passed_over))


def _file(path: Path, step: int | None, alone: bool = True) -> Artefact:
    with path.open("rb") as stream:
        head = stream.read(16)
    if head.startswith(b"\x93NUMPY"):
        return _embeddings(path)
    if is_pickled(path):
        return _pickled(path, step)
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < path.stat().st_size:
        return Artefact(OURS, path, None, ("in a form that Lantern reads as it is",))
    return _text(path, alone)


def _pickled(path: Path, step: int | None) -> Artefact:
    loaded = load_foreign(path)
    kind = kind_of(loaded)
    if kind == DIRECTION:
        return _direction(path, loaded)
    if kind == UNET:
        net = unet_of(state_of(loaded) or {}, str(path))
        size = f"{len(net.state_dict())} tensors, {sum(weight.numel() for weight in net.parameters()):,} weights"
        meaning = "two logits a pixel: its saliency is the sigmoid of their difference"
        return Artefact(UNET, path, net, (f"{size}, width {net.config.width}", meaning))
    if kind == DEFORMATOR:
        root = path.parent.parent if path.parent.name == "models" else path.parent
        read = read_run(files_around(root, {step_of(path): path}), step)
        return Artefact(DEFORMATOR, path, read.catalogue, read.facts, read.shift_predictor)
    if kind == GENERATOR:
        keep = f"use it with --generator {path}, or keep it with: python -m explorer weights --install bigbigan --from {path}"
        return Artefact(GENERATOR, path, None, ("a BigBiGAN", keep))
    if kind == SHIFT_PREDICTOR:
        return Artefact(SHIFT_PREDICTOR, path, None, ("the reconstructor of a discovery run: import the folder of the run",))
    held = f"a tensor of shape {tuple(loaded.shape)}" if hasattr(loaded, "shape") else f"a {type(loaded).__name__}"
    raise LanternError(f"{path} holds {held}, which is no known artefact", f"Give {KNOWN}.")


def _direction(path: Path, loaded: Any) -> Artefact:
    catalogue = catalogue_of_direction(loaded, str(path))
    entry = catalogue.entries[0]
    facts = (
        f"a tensor of shape {tuple(loaded.shape)}, {entry.scores['length']:.4g} long",
        f"one direction of {loaded.numel()} numbers: saliency lighting, magnitude {entry.magnitude:g}",
    )
    return Artefact(DIRECTION, path, catalogue, facts)


def _embeddings(path: Path) -> Artefact:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise LanternError(f"{path} is no .npy array of numbers, or it is cut short ({error})", "Copy it again.") from error
    fits = array.ndim == 2 and array.dtype.kind in "fiu" and 0 not in array.shape
    require(fits, f"{path} holds {array.dtype} of shape {array.shape}", "Embeddings are numbers of shape (N, d).")
    broken, total, squares = 0, 0.0, 0.0
    for part in float_parts(array):
        broken += int((~np.isfinite(part).all(1)).sum())
        total, squares = total + float(part.sum(dtype=np.float64)), squares + float(np.square(part, dtype=np.float64).sum())
    require(not broken, f"{broken} of the {len(array)} embeddings in {path} hold NaN or infinity", "Make the file again.")
    mean = total / array.size
    deviation = max(squares / array.size - mean**2, 0) ** 0.5
    facts = (
        f"{array.dtype} {array.shape}: {len(array)} latent codes of {array.shape[1]} numbers",
        f"mean {mean:.3f}, standard deviation {deviation:.3f} (codes from N(0, I) have 0 and 1)",
    )
    return Artefact(EMBEDDINGS, path, array, facts)


def float_parts(array: NDArray[Any]) -> Iterator[NDArray[np.float32]]:
    """The rows of ``array`` (N, d) as float32, some at a time; what is beyond float32 becomes infinity."""
    for first in range(0, len(array), _ROWS):
        with np.errstate(over="ignore", invalid="ignore"):
            part = np.ascontiguousarray(array[first : first + _ROWS], np.float32)
        yield part


def _text(path: Path, alone: bool) -> Artefact:
    text = read_text(path)
    share = annotated_share(text)
    # Given by its own path, a text with a single such line is meant as labels; among others it has to look like them.
    known = share > 0 if alone or path.name == ANNOTATION_FILE else share >= 0.5
    require(known, f"{path} is no known artefact", f"Give {KNOWN}.")
    labels = parse_annotation(text, str(path))
    told = [f"{index} {label}" for index, label in labels.items()]
    return Artefact(ANNOTATION, path, labels, (f"{len(labels)} labels: {some(told)}",))


def _catalogue(path: Path) -> Artefact:
    catalogue = load_catalogue(path)
    count, latent_dim = catalogue.directions.shape
    facts = (
        f"{count} directions of {latent_dim} numbers, {sum(bool(entry.label) for entry in catalogue.entries)} labels",
        "saliency lighting: " + ("not chosen" if catalogue.lighting is None else catalogue.title(catalogue.lighting)),
        f"belongs to the generator {catalogue.fingerprint}" if catalogue.fingerprint else "belongs to no generator yet",
    )
    return Artefact(CATALOGUE, path, catalogue, facts)

"""The artefacts that the method's authors published become this program's, and the other way round."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from explorer.directions.annotation import annotation_text, with_labels
from explorer.directions.catalogue import Catalogue, load_catalogue
from explorer.directions.foreign import (
    TYPES,
    UNET,
    deformator_state,
    deformator_type,
    direction_tensor,
    load_shift_predictor,
    save_shift_predictor,
    told_of_run,
)
from explorer.generators.registry import load_generator
from explorer.published import ANNOTATION, CATALOGUE, EMBEDDINGS, KNOWN, Artefact, Findings, find_artefacts, float_parts
from explorer.published_runs import ANNOTATION_FILE
from explorer.weights.store import installed
from segmentation.configuration import check_choice
from segmentation.errors import LanternError, require
from segmentation.files import write_array_in_parts, write_json, write_text
from segmentation.foreign import FOREIGN, load_foreign, save_foreign, state_of
from segmentation.unet import PAPER_SIZE, load_unet, save_unet

PAPER_LATENT_DIM = 120
"""Length of a latent code of the generator that the paper walks."""
_SHIFT_PREDICTOR = "shift_predictor.safetensors"


@dataclasses.dataclass(frozen=True)
class Owner:
    """The generator that a catalogue or embeddings belong to."""

    name: str
    latent_dim: int
    fingerprint: str


@dataclasses.dataclass(frozen=True)
class Import:
    """What was found, and what was written of it, with the generator it was given to."""

    findings: Findings
    written: tuple[Path, ...] = ()
    owner: Owner | None = None


def import_path(
    path: Path,
    out: Path | None = None,
    generator: str | None = None,
    directions: Path | None = None,
    step: int | None = None,
) -> Import:
    """Find the artefacts in ``path`` and, with ``out``, write them in this program's form.

    A direction or a discovery run becomes a catalogue (the folder ``out``), embeddings a ``.npy`` of float32 (N, d), a U-Net
    a ``.safetensors``; several become files and folders in ``out`` named after theirs. Labels alone go into a copy of the
    catalogue in the folder ``directions``. A catalogue belongs to ``generator`` (a name or a file); without one, to the
    installed BigBiGAN if it has as many numbers; else to none, until it is imported itself with a generator. ``step`` chooses
    among the deformators of a run.

    Errors: :class:`LanternError` if there is nothing to import, if it does not fit the generator, or if ``out`` would replace
    another catalogue.
    """
    findings = find_artefacts(path, step)
    owner = None if generator is None else _owner(generator)
    for artefact in findings.artefacts:
        _check_owner(artefact, owner)
    if out is None:
        return Import(findings)
    wanted = [one for one in findings.artefacts if one.content is not None and (one.kind != ANNOTATION or directions)]
    whole = len(findings.artefacts) == 1
    told = "; ".join(f"{one.path} is a {one.kind}: {'; '.join(one.facts)}" for one in findings.artefacts if one not in wanted)
    lone = any(one.kind == ANNOTATION for one in findings.artefacts)
    remedy = "Name the catalogue that the labels belong to with --directions FOLDER." if lone else f"Give {KNOWN}."
    require(bool(wanted), f"there is nothing to import: {told}", remedy)
    if owner is None and any(isinstance(one.content, Catalogue) and one.latent_dim == PAPER_LATENT_DIM for one in wanted):
        owner = _installed()
    written = [_write(one, out if whole else out / one.path.stem, owner, directions, whole) for one in wanted]
    return Import(findings, tuple(written), owner)


def _owner(generator: str) -> Owner:
    loaded = load_generator(generator)
    return Owner(loaded.name, loaded.latent_dim, loaded.fingerprint)


def _installed() -> Owner | None:
    return None if installed("bigbigan") is None else _owner("bigbigan")


def _check_owner(artefact: Artefact, owner: Owner | None) -> None:
    if owner is None:
        return
    fits = artefact.latent_dim in (None, owner.latent_dim)
    problem = f"{artefact.path} is for latent codes of {artefact.latent_dim} numbers, and {owner.name} takes {owner.latent_dim}"
    require(fits, problem, "Name the generator that it belongs to with --generator.")
    if artefact.kind == CATALOGUE:
        made_for = artefact.content.fingerprint
        other = f"{artefact.path} was made for the generator {made_for}, not for {owner.name} ({owner.fingerprint})"
        require(made_for in ("", owner.fingerprint), other, "Name the generator that it belongs to with --generator.")


def _write(artefact: Artefact, out: Path, owner: Owner | None, directions: Path | None, whole: bool) -> Path:
    if artefact.kind == UNET:
        target = _file_at(out, ".safetensors", "unet", whole)
        save_unet(artefact.content, target, PAPER_SIZE, {"imported": artefact.path.name})
        return target
    if artefact.kind == EMBEDDINGS:
        target = _file_at(out, ".npy", "embeddings", whole)
        write_array_in_parts(target, artefact.content.shape, float_parts(artefact.content))
        return target
    if artefact.kind == ANNOTATION and directions is not None:
        _save(_labelled(artefact, load_catalogue(directions)), out, owner, replacing=directions)
        _keep_shift_predictor(directions, out)
        return out
    _save(artefact.content, out, owner, replacing=artefact.path)
    if artefact.kind == CATALOGUE:
        _keep_shift_predictor(artefact.path, out)
    if artefact.shift_predictor is not None:
        save_shift_predictor(out / _SHIFT_PREDICTOR, state_of(load_foreign(artefact.shift_predictor)) or {})
    return out


def _keep_shift_predictor(source: Path, target: Path) -> None:
    kept = source / _SHIFT_PREDICTOR
    if kept.is_file() and source.resolve() != target.resolve():
        save_shift_predictor(target / _SHIFT_PREDICTOR, load_shift_predictor(kept))


def _file_at(out: Path, suffix: str, name: str, whole: bool) -> Path:
    if not whole:
        return out.with_name(out.name + suffix)
    return out if out.suffix.lower() == suffix else out / f"{name}{suffix}"


def _labelled(artefact: Artefact, catalogue: Catalogue) -> Catalogue:
    outside = [f"{index} {label}" for index, label in artefact.content.items() if index >= len(catalogue)]
    problem = f"labels in {artefact.path} are of directions that the catalogue has not: {', '.join(outside)}"
    require(not outside, problem, f"It has 0 to {len(catalogue) - 1}: give the catalogue that they belong to.")
    return with_labels(catalogue, artefact.content)


def _save(catalogue: Catalogue, out: Path, owner: Owner | None, replacing: Path) -> None:
    same = out.resolve() == replacing.resolve()
    free = same or not (out / "catalogue.json").exists()
    require(free, f"there is a catalogue in {out} already", "Choose another folder, or take that one away.")
    if owner is not None:
        _check_owner(Artefact(CATALOGUE, replacing, catalogue), owner)
        catalogue = dataclasses.replace(catalogue, fingerprint=owner.fingerprint)
    catalogue.save(out)


def export_path(path: Path, to: Path, deformator: str | None = None, direction: int | None = None) -> tuple[Path, ...]:
    """Write a catalogue, a U-Net or embeddings in the form of the method's authors; returns the files written.

    A catalogue goes as :func:`export_catalogue` says; a U-Net to a ``.pth``, embeddings to a ``.npy``.

    Errors: :class:`LanternError` if ``path`` is none of these, or ``to`` has another suffix.
    """
    if path.is_dir():
        return export_catalogue(load_catalogue(path), to, deformator, direction, path / _SHIFT_PREDICTOR)
    require(deformator is None and direction is None, f"{path} has no directions", "Give the folder of a catalogue.")
    require(path.is_file(), f"{path} does not exist", "Check the path.")
    if path.suffix.lower() == ".npy":
        _check_suffix(to, (".npy",))
        found = find_artefacts(path).artefacts[0]
        require(found.kind == EMBEDDINGS, f"{path} is a {found.kind}", "Give embeddings, or another suffix.")
        write_array_in_parts(to, found.content.shape, float_parts(found.content))
    else:
        _check_suffix(to, FOREIGN)
        save_foreign(to, dict(load_unet(path).net.state_dict()))
    return (to,)


def export_catalogue(
    catalogue: Catalogue,
    to: Path,
    deformator: str | None = None,
    direction: int | None = None,
    shift_predictor: Path | None = None,
) -> tuple[Path, ...]:
    """Write ``catalogue`` in the form of the method's authors; returns the files written.

    ``to`` a ``.pth``: one ``direction``, by default saliency lighting, as a tensor (d,) of which 5 times is the shift. ``to``
    a ``.txt``: the labels. Otherwise the folder of a discovery run with a ``deformator`` of type linear, proj or ortho, (d, K),
    by default the one that keeps most, and the file ``shift_predictor``, if it is there. Directions go with their sign.

    Errors: :class:`LanternError` if there is nothing to write, the type does not fit, or the folder is not empty.
    """
    if to.suffix.lower() in FOREIGN:
        index = catalogue.lighting if direction is None else direction
        if index is None:
            raise LanternError("the catalogue has no saliency-lighting direction", "Give one with --direction INDEX.")
        save_foreign(to, direction_tensor(catalogue, index))
        return (to,)
    require(direction is None, f"{to} takes more than one direction", "End it with .pth to write one.")
    if to.suffix.lower() == ".txt":
        require(bool(text := annotation_text(catalogue)), "the catalogue has no labels", "Label its directions first.")
        write_text(to, text)
        return (to,)
    return _export_run(catalogue, to, deformator, shift_predictor)


def _export_run(catalogue: Catalogue, to: Path, kind: str | None, shift_predictor: Path | None) -> tuple[Path, ...]:
    if kind is not None:
        check_choice("the type of deformator", kind, TYPES)
    free = not to.exists() or (to.is_dir() and not any(to.iterdir()))
    require(free, f"{to} is no empty folder", "Choose another folder, or a file ending in .pth or .txt.")
    kind = kind or deformator_type(catalogue)
    told = told_of_run(catalogue)
    step = int(told.get("step", 0))
    state = deformator_state(catalogue, kind)
    args = to / "args.json"
    files = [args, to / "models" / f"deformator_{step}.pt"]
    save_foreign(files[-1], state)
    count, latent_dim = catalogue.directions.shape
    options: dict[str, Any] = {**told.get("args", {}), "deformator": kind}
    write_json(args, {**options, "directions_count": count, "max_latent_dim": latent_dim})
    if shift_predictor is not None and shift_predictor.is_file():
        files.append(to / "models" / f"shift_predictor_{step}.pt")
        save_foreign(files[-1], load_shift_predictor(shift_predictor))
    if text := annotation_text(catalogue):
        files.append(to / ANNOTATION_FILE)
        write_text(files[-1], text)
    return tuple(files)


def _check_suffix(path: Path, suffixes: tuple[str, ...]) -> None:
    ends = path.suffix.lower() in suffixes
    require(ends, f"{path} ends in {path.suffix or 'nothing'}", f"End it with {' or '.join(suffixes)}.")

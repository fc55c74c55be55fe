"""Commands that exchange artefacts with the programs of the method's authors: import and export."""

from __future__ import annotations

from pathlib import Path

import tyro

from explorer.artefacts import Import, export_path, import_path
from explorer.directions.catalogue import Catalogue
from explorer.published import Artefact
from explorer.weights.store import resolved


def import_artefact(
    path: tyro.conf.Positional[Path],
    out: Path | None = None,
    generator: str | None = None,
    directions: Path | None = None,
    step: int | None = None,
) -> None:
    """Say what published files are, and write them in this program's form.

    They are told by their content: the lighting direction (bg_direction.pth), the folder of a discovery run or one of its
    deformators, its labels (human_annotation.txt), embeddings (.npy), U-Nets (.pth), or a folder with several of these. Nothing
    in them is run.

    Args:
        path: a file or a folder, or the name of weights that are installed (bg-direction).
        out: where to write: the folder of a catalogue, or a .npy or .safetensors; without it, nothing is written.
        generator: the generator that the directions or embeddings belong to, named as for other commands.
        directions: for labels alone: folder of the catalogue that they belong to.
        step: which deformator of a run; by default the last.
    """
    done = import_path(resolved(path), out, generator, directions, step)
    for artefact in done.findings.artefacts:
        print("\n  ".join((f"{artefact.path}: {artefact.kind}", *artefact.facts)))
    for reason in done.findings.passed_over:
        print(f"passed over: {reason}")
    for written in done.written:
        print(f"written: {written}")
    if out is not None and any(_is_catalogue(artefact) for artefact in done.findings.artefacts):
        print(_owner_in_words(done, out))


def _is_catalogue(artefact: Artefact) -> bool:
    return isinstance(artefact.content, Catalogue) and not artefact.content.fingerprint


def _owner_in_words(done: Import, out: Path) -> str:
    if done.owner is not None:
        return f"for the generator {done.owner.name} ({done.owner.fingerprint})"
    folder = next(folder for folder in done.written if (folder / "catalogue.json").is_file())
    adopt = f"python -m explorer import {folder} --out {folder} --generator NAME_OR_FILE"
    return f"the directions belong to no generator yet; give them to one with: {adopt}"


def export(
    path: tyro.conf.Positional[Path],
    to: Path,
    deformator: str | None = None,
    direction: int | None = None,
) -> None:
    """Write a catalogue, a U-Net or embeddings in the form of the method's authors.

    Args:
        path: folder of a catalogue, a U-Net (.safetensors) or embeddings (.npy).
        to: for a catalogue a .pth (one direction), a .txt (its labels) or a new folder (a discovery run); for a U-Net a .pth;
            for embeddings a .npy.
        deformator: type of the deformator of a discovery run: linear (keeps the magnitudes too), proj (directions alone) or
            ortho (directions that make a rotation); by default the one they came in, else linear.
        direction: index of the direction for a .pth; by default saliency lighting.
    """
    for file in export_path(path, to, deformator, direction):
        print(f"written: {file}")

"""Discovery runs as the method's authors keep them: ``args.json``, ``models/deformator_N.pt`` and the labels of a person."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

from explorer.directions.annotation import annotated_share, lighting_labels, parse_annotation, with_labels
from explorer.directions.catalogue import MAX_MAGNITUDE, PAPER_MAGNITUDE, Catalogue
from explorer.directions.foreign import (
    DEFORMATOR,
    Deformator,
    catalogue_of_deformator,
    kind_of,
    read_deformator,
)
from segmentation.errors import LanternError, require
from segmentation.files import read_json
from segmentation.foreign import load_foreign, state_of

ANNOTATION_FILE = "human_annotation.txt"
_MAX_TEXT = 4_000_000


@dataclasses.dataclass(frozen=True)
class DiscoveryRun:
    """The catalogue of a run at one of its steps, what there is to say of it, and the file of its reconstructor, if any."""

    catalogue: Catalogue
    facts: tuple[str, ...]
    shift_predictor: Path | None


@dataclasses.dataclass(frozen=True)
class RunFiles:
    """Where the parts of a run lie: its deformators by step, its options and its labels, where there are any.

    More than one file of labels is one too many: then none is taken.
    """

    root: Path
    deformators: dict[int, Path]
    args: Path | None
    labels: tuple[Path, ...]

    def holds(self, path: Path) -> bool:
        """Whether the file or folder ``path``, in the root, belongs to the run."""
        files = self.deformators.values()
        named = path == self.args or path in self.labels or path.stem.startswith("shift_predictor")
        return named or path in files or path in {file.parent for file in files}


def find_run(root: Path) -> RunFiles | None:
    """The run in the folder ``root``, told by its content; None if there is none."""
    deformators = {}
    for path in sorted([*root.glob("*"), *root.glob("models/*")]):
        # What cannot be read is a fault only where it is wanted.
        if path.is_file() and (path.stem.startswith("deformator") or _is_deformator(path)):
            deformators[step_of(path)] = path
    files = files_around(root, deformators)
    return files if deformators or files.args else None


def files_around(root: Path, deformators: dict[int, Path]) -> RunFiles:
    """The run in ``root`` that these ``deformators`` belong to."""
    named = root / ANNOTATION_FILE
    alike = [path for path in sorted(root.glob("*.txt")) if annotated_share(read_text(path)) >= 0.5]
    return RunFiles(root, deformators, _find_args(root), (named,) if named.is_file() else tuple(alike))


def step_of(path: Path) -> int:
    """The number that the name of a file ends in; 0 without one."""
    number = re.search(r"([0-9]{1,15})$", path.stem)
    return int(number[1]) if number else 0


def _find_args(root: Path) -> Path | None:
    # The options of a run are a JSON object that names a deformator.
    for path in sorted(root.glob("*.json"), key=lambda path: (path.name != "args.json", path.name)):
        if path.name == "args.json" or '"deformator"' in read_text(path):
            values = read_json(path)
            if isinstance(values, dict) and "deformator" in values:
                return path
    return None


def read_text(path: Path) -> str:
    """The text in ``path``; empty if it is none, or too long to be labels or options."""
    if not path.is_file() or path.stat().st_size > _MAX_TEXT:
        return ""
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError:
        return ""


def is_pickled(path: Path) -> bool:
    """Whether the file ``path`` begins as what PyTorch saves, an archive or a bare pickle."""
    with path.open("rb") as stream:
        head = stream.read(2)
    return head == b"PK" or head[:1] == b"\x80"


def _is_deformator(path: Path) -> bool:
    try:
        return is_pickled(path) and kind_of(load_foreign(path)) == DEFORMATOR
    except LanternError:
        return False


def read_run(files: RunFiles, step: int | None = None) -> DiscoveryRun:
    """The run at ``step``, by default its last.

    Errors: :class:`LanternError` if there is no deformator (of that step), or the parts of the run contradict each other, or
    one of them is damaged.
    """
    steps = sorted(files.deformators)
    bare = f"{files.root} has {files.args.name if files.args else 'nothing'}, but no deformator"
    require(bool(steps), bare, "Copy its folder models too.")
    chosen = steps[-1] if step is None else step
    require(chosen in steps, f"{files.root} has no deformator of step {chosen}", f"Choose one of: {_listed(steps)}.")
    path = files.deformators[chosen]
    options = read_json(files.args) if files.args else {}
    deformator = read_deformator(load_foreign(path), options.get("deformator"), str(path))
    count, asked = deformator.matrix.shape[1], options.get("directions_count")
    agree = asked is None or asked == count
    require(agree, f"{path} has {count} directions, but {files.args} says {asked}", "Give the files of one run.")
    told = {"file": path.name, "step": chosen, "args": options}
    labels, labelled = _labels(files.labels, count)
    catalogue = with_labels(catalogue_of_deformator(deformator, files.root.resolve().name, told), labels)
    predictor = _shift_predictor(path)
    facts = (
        _matrix_in_words(deformator, files.args),
        f"deformators of steps {_listed(steps)}: {chosen} taken" if len(steps) > 1 else path.name,
        *_lengths_in_words(catalogue, deformator),
        labelled,
        *_hints(catalogue),
        *([f"{predictor.name}: the reconstructor, kept with the catalogue"] if predictor else []),
    )
    return DiscoveryRun(catalogue, facts, predictor)


def _shift_predictor(deformator: Path) -> Path | None:
    path = deformator.with_name(deformator.name.replace("deformator", "shift_predictor"))
    if path == deformator or not path.is_file():
        return None
    require(state_of(load_foreign(path)) is not None, f"{path} holds no weights", "Copy it again, or take it away.")
    return path


def _matrix_in_words(deformator: Deformator, args: Path | None) -> str:
    shape = tuple(deformator.matrix.shape)
    doubt = "" if deformator.type == "ortho" else "; had it been proj, the lengths of its columns would mean nothing"
    told_by = f"says {args.name}" if args else f"told by its weights, as no args.json names it{doubt}"
    return f"a deformator of type {deformator.type} ({told_by}), {shape}: {shape[1]} directions of {shape[0]} numbers"


def _lengths_in_words(catalogue: Catalogue, deformator: Deformator) -> list[str]:
    told = []
    if deformator.type == "proj":
        told.append(f"of its columns only the direction counts; magnitude {PAPER_MAGNITUDE:g}")
    if deformator.type == "linear":
        lengths = [entry.scores["length"] for entry in catalogue.entries]
        beyond = sum(PAPER_MAGNITUDE * length > MAX_MAGNITUDE for length in lengths)
        capped = f"; {beyond} would be beyond {MAX_MAGNITUDE:g}, and are {PAPER_MAGNITUDE:g}" if beyond else ""
        told.append(f"columns {min(lengths):.3g} to {max(lengths):.3g} long; magnitudes {PAPER_MAGNITUDE:g} times that{capped}")
    if deformator.bias is not None and (length := float(deformator.bias.norm())) > 0:
        told.append(f"its bias ({length:.3g} long) belongs to no direction; it is kept for an export")
    return told


def _labels(files: tuple[Path, ...], count: int) -> tuple[dict[int, str], str]:
    if len(files) != 1:
        return {}, f"no labels taken: {', '.join(path.name for path in files)} all look like them" if files else "no labels"
    labels = parse_annotation(read_text(files[0]), str(files[0]), count)
    return labels, f"{len(labels)} labels from {files[0].name}: {some([f'{i} {label}' for i, label in labels.items()])}"


def _hints(catalogue: Catalogue) -> list[str]:
    hints = lighting_labels(catalogue)
    spoken = f"labels that speak of lighting or background: {', '.join(hints)}; none is taken for saliency lighting by itself"
    return [spoken] if hints else []


def some(values: list[str]) -> str:
    """The first few ``values`` in a line, and how many more there are."""
    return ", ".join(values[:8]) + (f" and {len(values) - 8} more" if len(values) > 8 else "")


def _listed(steps: list[int]) -> str:
    return ", ".join(map(str, steps)) if len(steps) <= 8 else f"{steps[0]} to {steps[-1]} ({len(steps)} of them)"

"""The command that looks after a catalogue of directions: show, label, merge, diff, export, import."""

from __future__ import annotations

import dataclasses
import io
import shutil
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from explorer.commands.options import Flat, suffix_of
from explorer.directions.catalogue import Catalogue, Entry, load_catalogue, update
from explorer.directions.comparing import CompareConfig, Comparison, compare
from explorer.directions.exchange import export_zip, import_zip
from explorer.directions.merging import merge_folders
from explorer.directions.words import plain
from segmentation.errors import require
from segmentation.files import write_array

_WIDTH = 160
_EDITED = ("label", "notes", "status", "sign", "magnitude")


@dataclasses.dataclass(frozen=True)
class Show:
    """A table of the directions of a catalogue, or all that is known of one of them."""

    folder: tyro.conf.Positional[Path]
    """Folder of the catalogue."""
    direction: int | None = None
    """The index of the one direction to tell everything of: its notes, scores and history."""
    status: str | None = None
    """Only directions of this status: new, saliency lighting, other or rejected."""
    sort: str | None = None
    """The score to sort by, the highest first; by default the order of the catalogue."""

    def run(self) -> None:
        """Print it."""
        catalogue = load_catalogue(self.folder)
        if self.direction is not None:
            catalogue.direction(self.direction)
            print(_details(catalogue, self.direction))
            return
        indices = [i for i, entry in enumerate(catalogue.entries) if self.status in (None, entry.status)]
        score = self.sort or "total"
        if self.sort is not None:
            known = sorted({name for entry in catalogue.entries for name in entry.scores})
            require(self.sort in known, f"no direction has the score {self.sort!r}", f"Known: {', '.join(known) or 'none'}.")
            indices.sort(key=lambda i: -catalogue.entries[i].scores.get(score, float("-inf")))
        print(_overview(catalogue, indices, score))
        print(f"{len(indices)} of {len(catalogue)} directions in {self.folder}; {_facts(catalogue)}")


@dataclasses.dataclass(frozen=True)
class Label:
    """Say what a direction does, and how it is walked; what is not given stays."""

    folder: tyro.conf.Positional[Path]
    """Folder of the catalogue."""
    direction: int
    """Index of the direction."""
    label: str | None = None
    """What it does, in at most 200 characters; empty takes the label away."""
    notes: str | None = None
    """Anything else worth keeping, in at most 10,000 characters."""
    status: str | None = None
    """new, saliency lighting (of one direction only), other or rejected."""
    sign: int | None = None
    """1 or -1: which way it is walked."""
    magnitude: float | None = None
    """Length of the shift along it."""

    def run(self) -> None:
        """Write it into the catalogue."""
        values: dict[str, Any] = {name: getattr(self, name) for name in _EDITED if getattr(self, name) is not None}
        options = ", ".join(f"--{name}" for name in _EDITED)
        require(bool(values), "there is nothing to change", f"Give one of {options}.")
        changed = update(self.folder, lambda catalogue: catalogue.edited(self.direction, **values), "catalogue label")
        print(_details(changed, self.direction))


@dataclasses.dataclass(frozen=True)
class Merge:
    """Make one catalogue of several of the same generator; near-duplicate directions become one."""

    folders: tyro.conf.Positional[tuple[Path, ...]]
    """Folders of the catalogues; where they disagree, the first counts, or the one that judged the direction."""
    out: Path
    """Folder of the merged catalogue; there must be none in it."""
    config: Annotated[CompareConfig, Flat] = dataclasses.field(default_factory=CompareConfig)
    """When two directions count as one."""

    def run(self) -> None:
        """Write it."""
        merged = merge_folders(self.folders, self.out, self.config)
        for conflict in merged.conflicts:
            said = f"{_value(conflict.kept)}, not {_value(conflict.dropped)} ({plain(conflict.source)})"
            print(f"conflict: {conflict.field} of direction {conflict.direction}: {said}")
        print(f"{len(merged.catalogue)} directions in {self.out}; {merged.folded} folded, {len(merged.conflicts)} conflicts")


@dataclasses.dataclass(frozen=True)
class Diff:
    """What two catalogues of the same generator share, and what they say differently of it."""

    first: tyro.conf.Positional[Path]
    """Folder of a catalogue."""
    second: tyro.conf.Positional[Path]
    """Folder of another one."""
    config: Annotated[CompareConfig, Flat] = dataclasses.field(default_factory=CompareConfig)
    """When two directions count as one."""
    out: Path | None = None
    """Where the cosines go (.npy, float64 (K1, K2), without signs)."""

    def run(self) -> None:
        """Print it."""
        if self.out is not None:
            suffix_of(self.out, ".npy")
        first, second = load_catalogue(self.first), load_catalogue(self.second)
        found = compare(first, second, self.config)
        for line in _differences(found, first, second):
            print(line)
        alike = sum(not match.changes for match in found.matches)
        shared = f"{len(found.matches)} directions are in both, {alike} of them told alike"
        print(f"{shared}; {len(found.only_first)} only in {self.first}, {len(found.only_second)} only in {self.second}")
        if self.out is not None:
            write_array(self.out, found.cosines.numpy())
            print(f"cosines in {self.out}")


@dataclasses.dataclass(frozen=True)
class Export:
    """Write a catalogue with its thumbnails to one zip."""

    folder: tyro.conf.Positional[Path]
    """Folder of the catalogue."""
    out: Path
    """The zip (.zip)."""

    def run(self) -> None:
        """Write it."""
        catalogue = export_zip(self.folder, self.out)
        print(f"{len(catalogue)} directions in {self.out}, {self.out.stat().st_size:,} bytes")


@dataclasses.dataclass(frozen=True)
class Import:
    """Take over the catalogue in a zip; a zip that holds anything else is refused."""

    path: tyro.conf.Positional[Path]
    """The zip."""
    out: Path
    """Folder of the catalogue; there must be none in it."""

    def run(self) -> None:
        """Write it."""
        catalogue = import_zip(self.path, self.out)
        print(f"{len(catalogue)} directions in {self.out}; {_facts(catalogue)}")


Action = (
    Annotated[Show, tyro.conf.subcommand("show", prefix_name=False)]
    | Annotated[Label, tyro.conf.subcommand("label", prefix_name=False)]
    | Annotated[Merge, tyro.conf.subcommand("merge", prefix_name=False)]
    | Annotated[Diff, tyro.conf.subcommand("diff", prefix_name=False)]
    | Annotated[Export, tyro.conf.subcommand("export", prefix_name=False)]
    | Annotated[Import, tyro.conf.subcommand("import", prefix_name=False)]
)


def catalogue(action: Annotated[Action, Flat]) -> None:
    """Show, label, merge and compare catalogues of directions, or hand them on as one zip.

    Args:
        action: what to do.
    """
    action.run()


def _facts(catalogue: Catalogue) -> str:
    lighting = "not chosen" if catalogue.lighting is None else plain(catalogue.title(catalogue.lighting))
    owner = f"of the generator {plain(catalogue.fingerprint)}" if catalogue.fingerprint else "of no generator yet"
    return f"{owner}; saliency lighting: {lighting}"


def _overview(catalogue: Catalogue, indices: list[int], score: str) -> str:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("", "label", "status", "sign", "magnitude", plain(score), "source", "strip", "changes"):
        table.add_column(title, justify="right" if title in ("", "sign", "magnitude", score, "changes") else "left")
    for index in indices:
        entry = catalogue.entries[index]
        figure = f"{entry.scores[score]:.4f}" if score in entry.scores else ""
        way = f"{entry.sign:+d}", f"{entry.magnitude:g}", figure, catalogue.source_of(index)
        cells = str(index), entry.label, entry.status, *way, "yes" if entry.thumbnail else "", str(len(entry.history) or "")
        table.add_row(*(Text(plain(cell)) for cell in cells))
    # Printed as text, so that a reader that has gone away is seen by whoever prints.
    console = Console(file=io.StringIO(), width=shutil.get_terminal_size((_WIDTH, 0)).columns, color_system=None)
    with console.capture() as captured:
        console.print(table)
    return "\n".join(line.rstrip() for line in captured.get().rstrip().splitlines())


def _details(catalogue: Catalogue, index: int) -> str:
    entry = catalogue.entries[index]
    lines = [f"direction {plain(catalogue.title(index))}", *(f"  {name:<10} {value}" for name, value in _about(entry))]
    lines += [f"  {'source':<10} {plain(catalogue.source_of(index))}"]
    lines += [f"  {'notes':<10} {plain(line)}" for line in entry.notes.splitlines()]
    lines += [f"  {'score':<10} {plain(name)} {value:.4g}" for name, value in entry.scores.items()]
    for change in entry.history:
        told = f"{plain(change.field)}: {_value(change.before)} -> {_value(change.after)}"
        lines.append(f"  {change.time} {told}{f' ({plain(change.by)})' if change.by else ''}")
    return "\n".join(lines)


def _about(entry: Entry) -> list[tuple[str, str]]:
    about = [("status", entry.status), ("sign", f"{entry.sign:+d}"), ("magnitude", f"{entry.magnitude:g}")]
    return [*about, ("thumbnail", entry.thumbnail)] if entry.thumbnail else about


def _value(value: str | float) -> str:
    return repr(plain(value)) if isinstance(value, str) else f"{value:g}"


def _differences(found: Comparison, first: Catalogue, second: Catalogue) -> list[str]:
    lines = []
    for match in found.matches:
        changes = [f"{change.field} {_value(change.before)} -> {_value(change.after)}" for change in match.changes]
        if changes or match.first != match.second:
            pair = f"{match.first} = {match.second} (cosine {match.cosine:+.4f})"
            lines.append(f"{pair}: {'; '.join(changes) or 'told alike'}")
    for index in found.only_first:
        other, cosine = found.best(index)
        closest = f"closest: {plain(second.title(other))} (cosine {cosine:+.4f})"
        lines.append(f"{plain(first.title(index))}: only in the first; {closest}")
    return [*lines, *(f"{plain(second.title(index))}: only in the second" for index in found.only_second)]

"""The paper's tables with one's own rows among them: what to score, on what, and what has been scored already."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from shutil import rmtree
from typing import Any

from explorer.weights.store import resolved
from segmentation.configuration import check_range
from segmentation.datasets import few
from segmentation.errors import LanternError, require
from segmentation.examples import Example
from segmentation.files import read_json, write_image, write_json, write_text
from segmentation.inference import InferenceConfig, load_segmenter
from segmentation.kept import Kept
from segmentation.layouts import Dataset, folder_pair, layout, locate
from segmentation.methods import Method, Network, classical
from segmentation.processes import Alone
from segmentation.progress import Parts, Watcher
from segmentation.published import PublishedTable, published_table
from segmentation.scoring import ScoreSheet, ScoringConfig, chosen_names, score
from segmentation.tables import Picture, Row, Table, measured_row, published_rows
from segmentation.unet import load_unet

Figures = dict[tuple[str, str], float]
_OWN = {"boxes": ("max_box_acc",), "regions": ("px_ap",), "masks": ("max_f", "iou", "accuracy")}
_TOLD = 10
"""Images that are named below a table; all are named in the log and in the files of scores."""
_STRUCTURE = ("s_measure", "e_measure", "weighted_f")


@dataclasses.dataclass(frozen=True)
class Entry:
    """A row to be measured: one classical method, or the networks of one or several runs."""

    title: str
    method: str = ""
    """A name in :data:`segmentation.methods.CLASSICAL`, or "" for networks."""
    weights: tuple[Path, ...] = ()
    """One weights file a run."""

    @property
    def runs(self) -> int:
        """How often it is measured on each data set."""
        return max(1, len(self.weights))


def entries_of(weights: Sequence[str], methods: Sequence[str]) -> list[Entry]:
    """The rows that ``weights`` and ``methods`` name.

    Of ``weights``, each is ``PATH`` or ``NAME=PATH``: a weights file, the name of an installed one, the folder of a training,
    or a folder of such folders. What has the same name (without one: "own U-Net") is one row, the mean of its runs. Errors:
    :class:`LanternError` if a file is missing or a method unknown.
    """
    rows: dict[str, list[Path]] = {}
    for given in weights:
        name, equals, path = given.partition("=")
        rows.setdefault(name if equals else "own U-Net", []).extend(_weights_in(Path(path if equals else given)))
    chosen = [Entry(classical(name).title, name) for name in methods]
    return chosen + [Entry(title, weights=tuple(files)) for title, files in rows.items()]


def _weights_in(path: Path) -> list[Path]:
    if not path.is_dir():
        return [resolved(path)]
    if (path / "unet.safetensors").is_file():
        return [path / "unet.safetensors"]
    found = sorted(path.glob("*/unet.safetensors"))
    require(bool(found), f"{path} holds no finished training", "Give a folder with unet.safetensors, or one of such folders.")
    return found


@dataclasses.dataclass(frozen=True)
class Places:
    """Where data sets are looked for."""

    root: Path | None = None
    """Folder in which published data sets lie, and folders with images/ and masks/."""
    datasets: tuple[str, ...] = ()
    """Further data sets under the root that become columns, for example "Weizmann horses"."""
    images: Path | None = None
    """Folder of images of a data set of one's own, a column too."""
    masks: Path | None = None
    """Folder of its masks."""

    def __post_init__(self) -> None:
        both = (self.images is None) == (self.masks is None)
        require(both, "there are images without masks, or the other way round", "Give --images DIR and --masks DIR.")
        require(not self.datasets or self.root is not None, "data sets are named without a root", "Give --root DIR.")


@dataclasses.dataclass(frozen=True, eq=False)
class Found:
    """The data sets of a table, and what is missing of them."""

    datasets: dict[str, Dataset]
    columns: tuple[tuple[str, tuple[str, ...]], ...]
    notes: tuple[str, ...]


def find(table: PublishedTable, places: Places, config: ScoringConfig) -> Found:
    """The data sets of ``table`` and of ``places`` that are there.

    One of the table that is missing or cannot be read becomes a note; one that was asked for by name is an error, and so is a
    root that is not there.
    """
    there = places.root is None or places.root.is_dir()
    require(there, f"the folder {places.root} does not exist", "Give the folder in which the data sets lie.")
    found: dict[str, Dataset] = {}
    notes: list[str] = []
    for name, _ in table.columns:
        try:
            if places.root is None:
                known = layout(name)
                remedy = f"Give --root DIR, in which it is {known.expects}. Source: {known.source}."
                raise LanternError(f"{name}: no folder of data sets was given", remedy)
            found[name] = locate(places.root, name)
        except LanternError as error:
            notes.append(f"Not run: {error.problem}. {error.remedy}")
    own: dict[str, Dataset] = {}
    for name in places.datasets:
        if places.root is not None and name not in found:
            dataset = locate(places.root, name)
            own[dataset.name] = dataset
    if places.images is not None and places.masks is not None:
        pair = folder_pair(places.images, places.masks)
        own[pair.name] = pair
    notes += [told for dataset in (*found.values(), *own.values()) for told in _unmatched(dataset)]
    columns = [(name, _metrics(found[name], config) if name in found else metrics) for name, metrics in table.columns]
    columns += [(name, _metrics(dataset, config)) for name, dataset in own.items()]
    return Found({**found, **own}, tuple(columns), tuple(notes))


def _unmatched(dataset: Dataset) -> list[str]:
    kinds = (("images without their truth", dataset.missing), ("truths without their image", dataset.spare))
    return [f"{dataset.name}: {len(names)} {what}, not scored: {few(names, _TOLD)}" for what, names in kinds if names]


def _metrics(dataset: Dataset, config: ScoringConfig) -> tuple[str, ...]:
    more = _STRUCTURE if config.structure and dataset.kind == "masks" else ()
    return _OWN[dataset.kind] + more


class Scores:
    """Scores that are kept in a folder, so that a run that was stopped goes on where it was.

    One that is being measured is saved every ``checkpoint_every`` images. Of several processes, which share the images, the
    first alone keeps them, and has the notes and pictures.
    """

    def __init__(
        self,
        out: Path,
        config: ScoringConfig,
        inference: InferenceConfig,
        device: str,
        checkpoint_every: int = 100,
        processes: Alone | None = None,
    ) -> None:
        check_range("checkpoint_every", checkpoint_every, 1, 100_000_000)
        self.out, self.config, self.inference, self.device = out, config, inference, device
        self.checkpoint_every = checkpoint_every
        self.processes = processes or Alone()
        self.notes: list[str] = []
        self.pictures: list[Picture] = []
        self._keys: dict[tuple[Entry, int, str], str] = {}

    def of(self, entry: Entry, run: int, dataset: Dataset, watcher: Watcher) -> dict[str, float] | None:
        """The figures of a run of ``entry`` on ``dataset``, measured unless they are there; None if asked to stop.

        They are kept in ``scores/ROW-RUN-DATASET.json`` with everything that they depend on.
        """
        path, key = self._path(entry, run, dataset), self._key(entry, run, dataset)
        if self.there(entry, run, dataset):
            kept: dict[str, Any] = read_json(path)
            self._tell(entry, dataset, kept)
            return dict(kept["figures"])
        place = path.with_suffix(f".{key}")
        interim = Kept(place, self.checkpoint_every)
        interim.restore({"key": key}, self.images(dataset), watcher, self.processes, "image")
        part = interim.part("score")
        sheet = score(self._method(entry, run), dataset, self.config, watcher, self.processes, part)
        if sheet.stopped:
            return None
        if not self.processes.first:
            return sheet.figures()
        shown = self._draw(sheet, path.stem) if run == 0 else []
        record = {"key": key, "figures": sheet.figures(), "run": run, "pictures": shown, **sheet.to_json()}
        write_json(path, record)
        rmtree(place)
        self._tell(entry, dataset, record)
        return sheet.figures()

    def there(self, entry: Entry, run: int, dataset: Dataset) -> bool:
        """Whether the figures of a run of ``entry`` on ``dataset`` have been measured already."""
        path, key = self._path(entry, run, dataset), self._key(entry, run, dataset)
        return self.processes.decide(lambda: path.is_file() and read_json(path).get("key") == key)

    def images(self, dataset: Dataset) -> int:
        """How many images of ``dataset`` are scored."""
        return len(chosen_names(dataset, self.config))

    def _path(self, entry: Entry, run: int, dataset: Dataset) -> Path:
        return self.out / "scores" / f"{slug(entry.title)}-{run}-{slug(dataset.name)}.json"

    def _method(self, entry: Entry, run: int) -> Method:
        if entry.method:
            return classical(entry.method)
        return Network(load_segmenter(entry.weights[run], self.device, self.inference), entry.title)

    def _key(self, entry: Entry, run: int, dataset: Dataset) -> str:
        """Of all that the figures depend on; looked up once, since the weights are read for it."""
        asked = (entry, run, dataset.name)
        if asked not in self._keys:
            what: Any = entry.method
            if not entry.method:
                what = [load_unet(entry.weights[run]).fingerprint, self.inference.to_json()]
            parts = [what, dataset.name, dataset.mark(), self.config.to_json()]
            self._keys[asked] = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
        return self._keys[asked]

    def _tell(self, entry: Entry, dataset: Dataset, record: dict[str, Any]) -> None:
        refused = record["refused"]
        if refused:
            # Without the row's name, so that what all rows leave out is told once.
            self.notes.append(f"{dataset.name}: {len(refused)} images left out: {few(refused, _TOLD)}")
        if record["empty_truths"]:
            self.notes.append(f"{dataset.name}: {record['empty_truths']} truths are empty; they count")
        if record["images"] < record["of_images"]:
            self.notes.append(f"{entry.title} on {dataset.name}: {record['images']} of {record['of_images']} images")
        self.pictures += [Picture(*shown) for shown in record["pictures"]]

    def _draw(self, sheet: ScoreSheet, stem: str) -> list[tuple[str, str]]:
        drawn = []
        for kind, examples in (("best", sheet.best), ("worst", sheet.worst)):
            for number, example in enumerate(examples, 1):
                file = f"pictures/{stem}-{kind}-{number}.jpg"
                write_image(self.out / file, example.picture)
                drawn.append((file, _caption(sheet, kind, example)))
        return drawn


def _caption(sheet: ScoreSheet, kind: str, example: Example) -> str:
    return f"{sheet.method} on {sheet.dataset}, {kind}: {example.name}, IoU {example.score:.3f} (image, truth, saliency)"


def slug(text: str) -> str:
    """``text`` as part of a file's name."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "row"


def protocol_of(config: ScoringConfig, inference: InferenceConfig, size: int | None) -> str:
    """How a row was measured, in words; ``size`` is the shorter side that a network saw, None for other methods."""
    parts = [config.protocol]
    if size is not None:
        parts.append(f"shorter side {size}")
    if size is not None and inference.preset != "paper":
        parts.append(f"preset {inference.preset}")
    if config.refinement.title:
        parts.append(config.refinement.title)
    return ", ".join(parts)


def reproduce(
    number: int, entries: Sequence[Entry], found: Found, scores: Scores, watcher: Watcher, done: Callable[[Table], None]
) -> Table | None:
    """The paper's table ``number`` with the rows ``entries``, measured on the data sets ``found``.

    ``done`` gets the table as far as it is after every score. Returns None if the watcher asked to stop.
    """
    published, progress = published_table(number), _progress(watcher, entries, found, scores)
    rows: list[Row] = []
    for entry in entries:
        runs: list[Figures] = []
        for run in range(entry.runs):
            figures: Figures = {}
            for name, dataset in found.datasets.items():
                made = not scores.there(entry, run, dataset)
                part = scores.of(entry, run, dataset, progress)
                if part is None:
                    return None
                if made:
                    progress.done(scores.images(dataset))
                figures |= {(name, metric): value for metric, value in part.items()}
                table = _assembled(published, [*rows, _measured(entry, [*runs, figures], scores)], found, scores)
                done(table)
            runs.append(figures)
        rows.append(_measured(entry, runs, scores))
    progress.tell_of_before()
    table = _assembled(published, rows, found, scores)
    done(table)
    return table


def _progress(watcher: Watcher, entries: Sequence[Entry], found: Found, scores: Scores) -> Parts:
    """How far a table is: images scored, of all that its rows take."""
    tasks = [(entry, run, dataset) for entry in entries for run in range(entry.runs) for dataset in found.datasets.values()]
    there = sum(scores.images(task[2]) for task in tasks if scores.there(*task))
    return Parts(watcher, there, sum(scores.images(dataset) for _, _, dataset in tasks), "images")


def _measured(entry: Entry, runs: Sequence[Figures], scores: Scores) -> Row:
    size = None
    if entry.weights:
        size = scores.inference.size or load_unet(entry.weights[0]).size
    source = classical(entry.method).source if entry.method else "this program"
    return measured_row(entry.title, runs, protocol_of(scores.config, scores.inference, size), source)


def _assembled(published: PublishedTable, rows: Sequence[Row], found: Found, scores: Scores) -> Table:
    alike: dict[tuple[str, str], list[str]] = {}
    for row in published.rows:
        if row.runs:
            alike.setdefault((row.runs, row.needs), []).append(row.method)
    ways = [f"To run {', '.join(names)}: {runs}; needs {needs}." for (runs, needs), names in alike.items()]
    others = [row.method for row in published.rows if not row.runs and row.figures]
    unknown = [row.method for row in published.rows if not row.figures]
    only = [f"Published figures only, by other programs: {', '.join(others)}."] if others else []
    only += [f"Without a figure that could be checked: {', '.join(unknown)}."] if unknown else []
    notes = (*found.notes, *dict.fromkeys(scores.notes), *ways, *only)
    title = f"Table {published.number}: {published.title}"
    return Table(title, found.columns, (*published_rows(published), *rows), notes, tuple(scores.pictures))


def write_table(out: Path, table: Table) -> None:
    """Write ``table`` to ``out``: table.md, table.csv, table.html, table.json."""
    write_text(out / "table.md", table.markdown())
    write_text(out / "table.csv", table.csv())
    write_text(out / "table.html", table.html())
    write_json(out / "table.json", table.to_json())

"""Tables of scores as Markdown, CSV and HTML, one's own rows among the published ones."""

from __future__ import annotations

import csv
import dataclasses
import html
import io
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from segmentation.published import METRICS, PublishedTable


@dataclasses.dataclass(frozen=True)
class Cell:
    """A score over one or several runs."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """The mean over the runs."""
        return statistics.fmean(self.values)

    @property
    def std(self) -> float:
        """The standard deviation over the runs (with n - 1); 0 for a single one."""
        return statistics.stdev(self.values) if len(self.values) > 1 else 0.0

    def text(self) -> str:
        """The mean to three places, with the standard deviation where there are several runs."""
        return f"{self.mean:.3f}" if len(self.values) < 2 else f"{self.mean:.3f} ± {self.std:.3f}"


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of a table."""

    method: str
    cells: Mapping[tuple[str, str], Cell]
    """By data set and metric."""
    origin: str
    """``measured``, or ``published``."""
    source: str
    """Where the figures come from."""
    protocol: str
    """How they were measured."""
    runs: int = 1
    """Over how many runs a measured row was taken."""
    note: str = ""
    """What a published row starts from, and the like."""


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture for the HTML form: its file beside the table, and what it shows."""

    file: str
    caption: str


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows over data sets and metrics, and what is to be said below them."""

    title: str
    columns: tuple[tuple[str, tuple[str, ...]], ...]
    """Data sets, each with its metrics."""
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    """What could not be run and what it takes; what was refused."""
    pictures: tuple[Picture, ...] = ()

    @property
    def _names(self) -> list[tuple[str, str]]:
        return [(name, metric) for name, metrics in self.columns for metric in metrics]

    def _texts(self, row: Row) -> list[str]:
        return [row.cells[name].text() if name in row.cells else "—" for name in self._names]

    def _heads(self) -> list[str]:
        return ["Method", *(f"{name}, {METRICS[metric]}" for name, metric in self._names), "Figures", "Protocol", "Source"]

    def _lines(self) -> list[list[str]]:
        return [[row.method, *self._texts(row), _origin(row), row.protocol, row.source] for row in self.rows]

    def markdown(self) -> str:
        """As a Markdown table, measured rows in bold, with the notes below."""
        lines = [f"## {self.title}", "", "| " + " | ".join(map(_escaped, self._heads())) + " |"]
        lines.append("|" + "---|" * len(self._heads()))
        for row, line in zip(self.rows, self._lines(), strict=True):
            cells = [_escaped(cell) for cell in line]
            if row.origin == "measured" and row.cells:
                cells = [f"**{cell}**" if index <= len(self._names) else cell for index, cell in enumerate(cells)]
            lines.append("| " + " | ".join(cells) + " |")
        lines += ["", *(f"- {_escaped(note)}" for note in self.notes)] if self.notes else []
        return "\n".join(lines) + "\n"

    def csv(self) -> str:
        """As CSV, means and standard deviations in columns of their own."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        scores = [f"{name} {metric}{part}" for name, metric in self._names for part in ("", " std")]
        writer.writerow(["method", *scores, "origin", "runs", "protocol", "source", "note"])
        for row in self.rows:
            numbers: list[str] = []
            for name in self._names:
                cell = row.cells.get(name)
                numbers += ["", ""] if cell is None else [f"{cell.mean:.6g}", f"{cell.std:.6g}" if row.runs > 1 else ""]
            writer.writerow([row.method, *numbers, row.origin, row.runs, row.protocol, row.source, row.note])
        return text.getvalue()

    def html(self) -> str:
        """As a page of its own, with the pictures that lie beside it."""
        heads = "".join(f"<th>{html.escape(head)}</th>" for head in self._heads())
        body = "".join(
            f'<tr class="{row.origin}">' + "".join(f"<td>{html.escape(cell)}</td>" for cell in line) + "</tr>"
            for row, line in zip(self.rows, self._lines(), strict=True)
        )
        notes = "".join(f"<li>{html.escape(note)}</li>" for note in self.notes)
        pictures = "".join(
            f'<figure><img src="{html.escape(picture.file, quote=True)}" alt="{html.escape(picture.caption, quote=True)}">'
            f"<figcaption>{html.escape(picture.caption)}</figcaption></figure>"
            for picture in self.pictures
        )
        return (
            f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(self.title)}</title>'
            f"<style>{_STYLE}</style><h1>{html.escape(self.title)}</h1>"
            f"<table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table><ul>{notes}</ul>{pictures}</html>\n"
        )

    def to_json(self) -> dict[str, Any]:
        """The table as plain JSON types, with every run's score."""
        rows = [
            {
                "method": row.method,
                "origin": row.origin,
                "runs": row.runs,
                "protocol": row.protocol,
                "source": row.source,
                "note": row.note,
                "scores": {
                    name: {
                        metric: {"mean": cell.mean, "std": cell.std, "runs": list(cell.values)}
                        for (owner, metric), cell in row.cells.items()
                        if owner == name
                    }
                    for name, _ in self.columns
                },
            }
            for row in self.rows
        ]
        return {"title": self.title, "rows": rows, "notes": list(self.notes)}


_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;margin:2rem;color:#1a1a1a}table{border-collapse:collapse}"
    "td,th{padding:.3rem .7rem;border-bottom:1px solid #ccc;text-align:left;vertical-align:top}"
    "tr.measured{font-weight:600;background:#eef5fb}figure{display:inline-block;margin:1rem 1rem 0 0}"
)


def _origin(row: Row) -> str:
    if row.origin == "published":
        return f"{'published only' if row.cells else 'no figures'}{f', {row.note}' if row.note else ''}"
    if not row.cells:
        return "not measured"
    runs = f", mean of {row.runs} runs" if row.runs > 1 else ""
    return f"measured{runs}{f', {row.note}' if row.note else ''}"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("*", "\\*").replace("\n", " ")


def published_rows(table: PublishedTable) -> list[Row]:
    """The rows that were printed, each with where it stands and what it starts from."""
    return [
        Row(
            row.method,
            {name: Cell((value,)) for name, value in row.figures.items()},
            "published",
            row.source,
            row.protocol,
            note="" if row.starts_from == "nothing" else f"starts from {row.starts_from}",
        )
        for row in table.rows
    ]


def measured_row(
    method: str, runs: Sequence[Mapping[tuple[str, str], float]], protocol: str, source: str, note: str = ""
) -> Row:
    """The row of one's own ``method`` from the scores of its ``runs``; the others' scores are kept where one run lacks one."""
    names = {name: None for run in runs for name in run}
    cells = {name: Cell(tuple(run[name] for run in runs if name in run and not math.isnan(run[name]))) for name in names}
    return Row(
        method, {name: cell for name, cell in cells.items() if cell.values}, "measured", source, protocol, len(runs), note
    )

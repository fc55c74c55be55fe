"""The command that ranks directions by how much they look like saliency lighting: rank."""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import Annotated

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from explorer.commands.options import Flat, GeneratorOptions, run_at, watched
from explorer.directions.catalogue import Catalogue, catalogue_for
from explorer.directions.kept_scores import KeptScores
from explorer.directions.ranking import FIGURES, FORMULA, RankConfig, order, score_catalogue, with_ranking, write_ranking
from explorer.directions.words import plain
from explorer.engine import Engine
from explorer.generators.registry import load_generator
from segmentation.configuration import check_range

_WIDTH = 240
"""Columns where there is no terminal."""
_WAY = ("direction", "status", "sign", "magnitude")


def rank(
    options: Annotated[GeneratorOptions, Flat],
    config: Annotated[RankConfig, Flat],
    directions: Path,
    top: int = 10,
    write: bool = True,
    run: Path | None = None,
    checkpoint_every: int = 10,
) -> None:
    """Measure every direction of a catalogue without labels, both ways, and rank them by how much they look like lighting.

    Labelled and judged directions keep their sign; if none is saliency lighting yet, the best becomes it.

    Args:
        options: the generator.
        config: how the directions are measured.
        directions: folder of the catalogue.
        top: how many of the best are shown.
        write: write the figures, and the signs, into the catalogue.
        run: folder of a run that keeps a record of it, so that it can be watched and stopped from elsewhere, and goes on
            where it stopped.
        checkpoint_every: with a run: directions between two times that their figures are saved.
    """
    check_range("top", top, 1, 1_000_000)
    folder = run_at(run)
    kept = None if folder is None else KeptScores(folder, checkpoint_every)
    with watched("rank", folder, options.devices()) as watcher:
        engine = Engine(load_generator(options.generator), options.engine)
        catalogue = catalogue_for(options.generator, directions, *engine.accepted_fingerprints)
        scores = score_catalogue(engine, catalogue, config, watcher, kept)
        # Inside of the run: who waits for its end looks at the catalogue then.
        ranked = (
            write_ranking(directions, catalogue, scores, config, "rank") if write else with_ranking(catalogue, scores, config)
        )
    print(ranking_table(ranked, top, shutil.get_terminal_size((_WIDTH, 0)).columns))
    print(f"total = {FORMULA}")
    print(_summary(ranked, config, f"written to {directions}" if write else "nothing written"))


def ranking_table(catalogue: Catalogue, top: int, width: int) -> str:
    """The best ``top`` directions of a ranked catalogue in lines of ``width`` characters, with the figures that fit."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True, show_edge=False)
    for title in _WAY:
        table.add_column(title, justify="left" if title in ("direction", "status") else "right")
    best = order(catalogue)[:top]
    used = 2 * len(_WAY) + sum(map(len, _WAY)) + max(len(catalogue.title(index)) for index in best)
    shown = []
    for name in FIGURES:
        used += max(len(name), 7) + 2
        if used <= width or name == "total":
            shown.append(name)
            table.add_column(name, justify="right", no_wrap=True)
    for index in best:
        entry = catalogue.entries[index]
        figures = [f"{entry.scores[name]:.{5 if name == 'total' else 3}f}" if name in entry.scores else "" for name in shown]
        cells = plain(catalogue.title(index)), entry.status, f"{entry.sign:+d}", f"{entry.magnitude:g}"
        table.add_row(*(Text(cell) for cell in cells), *figures)
    # Printed as text, so that a reader that has gone away is seen by whoever prints.
    console = Console(file=io.StringIO(), width=width, color_system=None)
    with console.capture() as captured:
        console.print(table)
    return "\n".join(line.rstrip() for line in captured.get().strip("\n").splitlines())


def _summary(catalogue: Catalogue, config: RankConfig, written: str) -> str:
    chosen = "none chosen" if catalogue.lighting is None else f"direction {catalogue.lighting}"
    return f"{len(catalogue)} directions measured on {config.codes} codes; saliency lighting: {chosen}; {written}"

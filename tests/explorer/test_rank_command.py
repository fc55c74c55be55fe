from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import tyro

from explorer.commands.ranking import rank, ranking_table
from explorer.directions.catalogue import load_catalogue
from explorer.directions.ranking import FIGURES, FORMULA
from segmentation.errors import LanternError

LOOSE = ("--codes", "8", "--sets", "2", "--precision", "float32", "--filters.no-size", "--filters.no-histogram")


def run(generator: Path, folder: Path, *arguments: str) -> None:
    tyro.cli(rank, args=["--generator", str(generator), "--directions", str(folder), *LOOSE, *arguments])


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "240")


@pytest.fixture
def folder(small_generator: Path, tmp_path: Path) -> Path:
    """A copy of the small generator's catalogue."""
    return Path(shutil.copytree(small_generator.parent / "directions", tmp_path / "directions"))


def test_it_writes_the_scores_and_shows_the_best(
    small_generator: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(small_generator, folder, "--top", "3")
    shown, ranked = capsys.readouterr().out.splitlines(), load_catalogue(folder)
    totals = [entry.scores["total"] for entry in ranked.entries]
    assert min(totals) >= 0 and len(set(totals)) > 3
    assert all(set(entry.scores) == set(FIGURES) for entry in ranked.entries)
    assert ranked.lighting == 4
    rows = [line.split() for line in shown[2:-2]]
    assert shown[0].split() == ["direction", "status", "sign", "magnitude", *FIGURES]
    best = sorted(range(12), key=lambda index: -totals[index])[:3]
    assert [int(row[0]) for row in rows] == best
    assert [float(row[-len(FIGURES)]) for row in rows] == pytest.approx([totals[i] for i in best], abs=6e-6)
    assert shown[-2] == f"total = {FORMULA}"
    assert shown[-1].endswith(f"12 directions measured on 8 codes; saliency lighting: direction 4; written to {folder}")


def test_without_writing_the_catalogue_stays(small_generator: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (folder / "catalogue.json").read_bytes()
    run(small_generator, folder, "--no-write", "--choose", "--magnitude", "6")
    assert (folder / "catalogue.json").read_bytes() == before
    assert "nothing written" in capsys.readouterr().out


def test_a_narrow_terminal_gets_the_figures_that_fit(small_generator: Path, folder: Path) -> None:
    run(small_generator, folder)
    ranked = load_catalogue(folder)
    for width in (60, 100, 200):
        lines = ranking_table(ranked, 12, width).splitlines()
        assert max(map(len, lines)) <= width
        names = [name for name in lines[0].split() if name in FIGURES]
        assert names == list(FIGURES)[: len(names)]
    assert names == list(FIGURES)


def test_another_generators_catalogue_is_refused(small_generator: Path, folder: Path) -> None:
    with pytest.raises(LanternError, match="was made for the generator"):
        tyro.cli(rank, args=["--directions", str(folder), "--codes", "4", "--sets", "1"])

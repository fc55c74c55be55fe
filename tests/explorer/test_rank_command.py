from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import tyro

from explorer.commands.ranking import rank, ranking_table
from explorer.directions.catalogue import load_catalogue
from explorer.directions.ranking import FIGURES, FORMULA
from explorer.runs.store import Run, read_status
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


def test_a_ranking_is_a_run_that_goes_on_where_it_stopped(
    small_generator: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(small_generator, Path(shutil.copytree(folder, tmp_path / "whole")))
    asked = [0]

    def stops(self: Run) -> bool:
        asked[0] += 1
        return asked[0] > 14

    with monkeypatch.context() as patched:
        patched.setattr(Run, "stop_requested", stops)
        with pytest.raises(KeyboardInterrupt):
            run(small_generator, folder, "--run", str(tmp_path / "run"))
    before = json.loads((tmp_path / "run" / "scores.json").read_text())
    status = read_status(tmp_path / "run")
    assert (status["state"], status["step"], status["steps"]) == ("stopped", len(before), 12)
    assert 3 < len(before) < 12
    assert load_catalogue(folder).entries[0].scores == {}
    run(small_generator, folder, "--run", str(tmp_path / "run"), "--checkpoint-every", "1")
    status = read_status(tmp_path / "run")
    assert (status["state"], status["step"]) == ("done", 12)
    assert json.loads((tmp_path / "run" / "scores.json").read_text())[: len(before)] == before
    ranked, whole = (
        [(entry.sign, entry.magnitude, entry.status, entry.scores) for entry in load_catalogue(place).entries]
        for place in (folder, tmp_path / "whole")
    )
    assert ranked == whole
    # As after a kill right at the end, when the signs have been entered already.
    assert [entry.sign for entry in load_catalogue(folder).entries] != [1] * 12
    run(small_generator, folder, "--run", str(tmp_path / "run"))
    assert [entry.scores for entry in load_catalogue(folder).entries] == [scores for *_, scores in whole]
    with pytest.raises(LanternError, match="another configuration"):
        run(small_generator, folder, "--run", str(tmp_path / "run"), "--seed", "9")


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

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tyro

from explorer.__main__ import exit_code
from explorer.commands.cataloguing import catalogue
from explorer.commands.making import choose
from explorer.directions.catalogue import load_catalogue
from tests.explorer.directions.catalogues import seeded_catalogue, with_thumbnails


def run(*arguments: object) -> int:
    """The exit code of ``catalogue`` with these arguments."""
    return exit_code(lambda: tyro.cli(catalogue, args=[str(argument) for argument in arguments]))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "catalogue"
    seeded_catalogue().save(folder)
    return folder


def cells(line: str) -> list[str]:
    return [cell for cell in re.split(r" {2,}", line.strip()) if cell]


def test_show_prints_a_line_for_each_direction(folder: Path, capsys: Any) -> None:
    with_thumbnails(folder, 4)
    assert run("show", folder) == 0
    lines = capsys.readouterr().out.splitlines()
    assert cells(lines[1]) == ["label", "status", "sign", "magnitude", "total", "source", "strip", "changes"]
    rows = [cells(line) for line in lines[3:-1]]
    assert [row[0] for row in rows] == list("012345") and [row[1] for row in rows] == [f"label {i}" for i in range(6)]
    assert rows[2][2:] == ["saliency lighting", "-1", "3", "0.2000", "seed 0"] and rows[4][-1] == "yes"
    assert lines[-1] == f"6 of 6 directions in {folder}; of the generator abc; saliency lighting: 2 label 2"


def test_show_sorts_and_selects(folder: Path, capsys: Any) -> None:
    assert run("show", folder, "--sort", "total", "--status", "new") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [cells(line)[0] for line in lines[3:-1]] == list("54310") and lines[-1].startswith("5 of 6 directions")
    assert run("show", folder, "--sort", "beauty") == 2
    assert "no direction has the score 'beauty'. Known: total." in capsys.readouterr().err


def test_nothing_that_a_label_holds_reaches_the_terminal(folder: Path, capsys: Any) -> None:
    path = folder / "catalogue.json"
    path.write_text(path.read_text().replace("label 4", "\\u001b[2J[red]x"))
    for options in ((), ("--direction", 4)):
        assert run("show", folder, *options) == 0
        told = capsys.readouterr().out
        assert "\x1b" not in told and "[2J[red]x" in told


def test_label_writes_and_tells_the_history(folder: Path, capsys: Any) -> None:
    given = ("--label", "größe", "--notes", "of it", "--status", "saliency lighting", "--sign", "-1", "--magnitude", 2.5)
    assert run("label", folder, "--direction", 4, *given) == 0
    loaded = load_catalogue(folder)
    entry = loaded.entries[4]
    assert (entry.label, entry.notes, entry.sign, entry.magnitude, loaded.lighting) == ("größe", "of it", -1, 2.5, 4)
    told = capsys.readouterr().out
    assert re.search(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ label: 'label 4' -> 'größe' \(catalogue label\)\n", told)
    assert run("label", folder, "--direction", 4, "--label", "") == 0
    assert load_catalogue(folder).entries[4].label == "" and load_catalogue(folder).entries[4].notes == "of it"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("--direction", 9, "--label", "x"), "there is no direction 9"),
        (("--direction", 1), "there is nothing to change"),
        (("--direction", 1, "--label", "x" * 201), "has 201 characters"),
        (("--direction", 1, "--notes", "a\x07"), "control character"),
        (("--direction", 1, "--status", "good"), "status is 'good'"),
        (("--direction", 1, "--sign", 0), "sign is 0"),
    ],
)
def test_label_refuses(folder: Path, capsys: Any, given: tuple[object, ...], words: str) -> None:
    before = (folder / "catalogue.json").read_bytes()
    assert run("label", folder, *given) == 2
    assert words in capsys.readouterr().err and (folder / "catalogue.json").read_bytes() == before


def test_choose_is_part_of_the_history(folder: Path, capsys: Any) -> None:
    choose(folder, 5, sign=-1)
    history = load_catalogue(folder).entries[5].history
    assert [(change.field, change.by) for change in history] == [("status", "choose"), ("sign", "choose")]
    assert "direction 5, sign -1, magnitude 5" in capsys.readouterr().out
    assert exit_code(lambda: choose(folder, 5, sign=0)) == 2


def test_diff_tells_what_differs(tmp_path: Path, folder: Path, capsys: Any) -> None:
    assert run("diff", folder, folder) == 0
    assert capsys.readouterr().out.startswith("6 directions are in both, 6 of them told alike; 0 only in")
    other = seeded_catalogue(7)
    seeded_catalogue().edited(1, label="ears", status="rejected").save(tmp_path / "told")
    assert run("diff", folder, tmp_path / "told", "--out", tmp_path / "cosines.npy") == 0
    told = capsys.readouterr().out
    assert "1 = 1 (cosine +1.0000): label 'label 1' -> 'ears'; status 'new' -> 'rejected'\n" in told
    a, b = seeded_catalogue().directions.numpy(), load_catalogue(tmp_path / "told").directions.numpy()
    np.testing.assert_allclose(np.load(tmp_path / "cosines.npy"), a.astype(float) @ b.T.astype(float), atol=1e-6)
    other.save(tmp_path / "more")
    assert run("diff", tmp_path / "more", folder, "--threshold", "0.999") == 0
    assert run("diff", folder, tmp_path / "none") == 2
    assert run("diff", folder, folder, "--out", tmp_path / "c.txt") == 2


def test_merge_reports_conflicts(tmp_path: Path, folder: Path, capsys: Any) -> None:
    seeded_catalogue().edited(1, label="ears").save(tmp_path / "told")
    seeded_catalogue(seed=1).save(tmp_path / "more")
    assert run("merge", folder, tmp_path / "told", tmp_path / "more", "--out", tmp_path / "out") == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0] == "conflict: label of direction 1: 'label 1', not 'ears' (seed 0)"
    assert told[1] == "conflict: status of direction 8: 'other', not 'saliency lighting' (seed 1)"
    assert told[2] == f"12 directions in {tmp_path / 'out'}; 6 folded, 2 conflicts"
    assert len(load_catalogue(tmp_path / "out")) == 12
    assert run("merge", folder, tmp_path / "told", "--out", folder) == 2


def test_export_and_import_go_by_one_zip(tmp_path: Path, folder: Path, capsys: Any) -> None:
    assert run("export", folder, "--out", tmp_path / "c.zip") == 0
    assert run("import", tmp_path / "c.zip", "--out", tmp_path / "again") == 0
    assert "6 directions in" in capsys.readouterr().out
    assert load_catalogue(tmp_path / "again").entries == load_catalogue(folder).entries
    assert run("import", tmp_path / "c.zip", "--out", folder) == 2
    assert run("import", Path(sys.executable), "--out", tmp_path / "new") == 2
    assert "no zip" in capsys.readouterr().err and not (tmp_path / "new").exists()

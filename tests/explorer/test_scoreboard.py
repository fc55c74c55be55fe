"""What the Benchmark tab stands on: data sets, command lines, tables so far."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from explorer.scoreboard import Wish, available, datasets_root, read_board, reproduce_words
from explorer.segmenting import Networks, PhotographSegmenter
from segmentation.errors import LanternError
from segmentation.unet import save_unet
from tests.explorer.test_benchmark_commands import run
from tests.segmentation.miniatures import ecssd, horses, picture, save
from tests.segmentation.test_inference import lively_net


@pytest.fixture
def networks(tmp_path: Path) -> Networks:
    (tmp_path / "runs/first").mkdir(parents=True)
    for path in (tmp_path / "given.safetensors", tmp_path / "runs/first/unet.safetensors"):
        save_unet(lively_net(3), path, 16, {})
    return Networks(PhotographSegmenter(tmp_path / "given.safetensors"), tmp_path / "runs")


def test_the_data_sets_that_are_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert available(tmp_path / "nowhere") == {}
    ecssd(tmp_path)
    assert available(tmp_path) == {"ECSSD": 3}
    monkeypatch.setenv("LANTERN_DATASETS", str(tmp_path))
    assert datasets_root() == tmp_path
    monkeypatch.delenv("LANTERN_DATASETS")
    assert datasets_root() == Path("datasets")


def test_the_command_line_scores_what_was_wished(tmp_path: Path, networks: Networks) -> None:
    """It is run, as the page has it run."""
    ecssd(tmp_path / "sets")
    horses(tmp_path / "sets")
    wish = Wish(2, ("given", "first"), ("centre",), ("Weizmann horses",), "pysod", "bilateral", 2, 24, True)
    words = reproduce_words(wish, networks, tmp_path / "sets", "cpu", tmp_path / "out")
    assert run(*words) == 0
    rows = {row["method"]: row for row in json.loads((tmp_path / "out/table.json").read_text())["rows"] if row["runs"]}
    assert {"given", "first", "centre prior"} <= set(rows)
    assert rows["given"]["protocol"] == "pysod, shorter side 24, bilateral refinement"
    assert set(rows["given"]["scores"]["Weizmann horses"]) >= {"max_f", "iou", "accuracy", "s_measure", "weighted_f"}
    board = read_board(tmp_path / "out")
    assert "| **given** |" in board.markdown and board.mark > 0
    assert len(board.pictures) == 3 * 2 * 2 and all(path.is_file() for path, _ in board.pictures)
    assert "given, bilateral refinement on ECSSD, best" in " ".join(caption for _, caption in board.pictures)


def test_only_what_was_wished_is_said(tmp_path: Path, networks: Networks) -> None:
    ecssd(tmp_path / "sets")
    words = reproduce_words(Wish(2, ("first",)), networks, tmp_path / "sets", "cpu", tmp_path / "out")
    assert "--datasets" not in words and "--limit" not in words and "--protocol" not in words
    assert "--inference.size" not in words and "--structure" not in words


def test_a_run_without_a_table_yet_and_one_that_points_elsewhere(tmp_path: Path) -> None:
    assert read_board(tmp_path).markdown == ""
    secret = save(tmp_path / "secret.jpg", picture())
    (tmp_path / "run/scores").mkdir(parents=True)
    (tmp_path / "run/table.md").write_text("| a |")
    (tmp_path / "run/scores/a.json").write_text(json.dumps({"pictures": [[f"../../{secret.name}", "x"], ["none.jpg", "y"]]}))
    assert read_board(tmp_path / "run").pictures == ()


def test_mistakes_are_named(tmp_path: Path, networks: Networks) -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"table": 9}, "no table 9"),
        ({"methods": ("best",)}, "no method is called best"),
        ({"protocol": "p"}, "protocol"),
        ({"refinement": "r"}, "refinement"),
        ({"limit": -1}, "number of images is -1"),
        ({"size": 3}, "size is 3"),
    ]
    for values, told in wrong:
        with pytest.raises(LanternError, match=told):
            Wish(**{"table": 2, **values})
    with pytest.raises(LanternError, match="no network called 'other'"):
        reproduce_words(Wish(2, ("other",)), networks, tmp_path, "cpu", tmp_path / "out")
    with pytest.raises(LanternError, match="no data set ECSSD"):
        reproduce_words(Wish(2, datasets=("ECSSD",)), networks, tmp_path, "cpu", tmp_path / "out")

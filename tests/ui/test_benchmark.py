"""The Benchmark tab: what a click starts, and what the page shows of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from explorer import jobs
from explorer.overview import Overview
from explorer.segmenting import Networks, PhotographSegmenter
from explorer.ui import benchmark
from segmentation.methods import CLASSICAL
from tests.segmentation.miniatures import ecssd


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], Path]]:
    """The runs that would have been started."""
    started: list[tuple[list[str], Path]] = []
    monkeypatch.setattr(jobs, "begin", lambda words, folder, place: started.append((words, folder)))
    return started


def score(tmp_path: Path, segmenter: PhotographSegmenter, *values: Any) -> str:
    name: str = benchmark._begin(Networks(segmenter), Overview(tmp_path / "runs"))(*values)
    return name


def test_a_click_starts_a_run_of_the_command(
    tmp_path: Path, segmenter: PhotographSegmenter, begun: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    ecssd(tmp_path / "sets")
    monkeypatch.setenv("LANTERN_DATASETS", str(tmp_path / "sets"))
    name = score(tmp_path, segmenter, 2, ["given"], ["hs"], ["ECSSD"], "voynov", "crf", 5, 96, True)
    [(words, folder)] = begun
    assert name.startswith("benchmark-") and folder == tmp_path / "runs" / name
    assert words[:3] == ["reproduce", "--table", "2"] and f"given={segmenter.weights}" in words
    assert words[words.index("--root") + 1] == str(tmp_path / "sets")
    assert words[-7:] == ["--refinement.kind", "crf", "--limit", "5", "--inference.size", "96", "--structure"]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ((2, [], [], [], "voynov", "none", 0, 0, False), "nothing to score"),
        ((2, ["other"], [], [], "voynov", "none", 0, 0, False), "no network called"),
        ((2, ["given"], [], ["COCO"], "voynov", "none", 0, 0, False), "no data set COCO"),
        ((2, ["given"], [], [], "voynov", "none", 1.5, 0, False), "number of images is 1.5"),
        ((2, ["given"], [], [], "voynov", "none", 0, 7, False), r"Shorter side \(size\) is 7"),
        ((2, ["given"], ["x"], [], "voynov", "none", 0, 0, False), "no method is called x"),
    ],
)
def test_mistakes_become_messages(
    tmp_path: Path, segmenter: PhotographSegmenter, begun: list[Any], values: tuple[Any, ...], told: str
) -> None:
    with pytest.raises(gr.Error, match=told):
        score(tmp_path, segmenter, *values)
    assert begun == []


@pytest.mark.parametrize("folder", ["", "empty", "nowhere"])
def test_without_a_data_set_of_the_table_nothing_is_started(
    tmp_path: Path, segmenter: PhotographSegmenter, begun: list[Any], monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LANTERN_DATASETS", folder and str(tmp_path / folder))
    told = "no data set of table 2 .ECSSD, DUTS-TE, DUT-OMRON. lies in the folder that LANTERN_DATASETS names"
    with pytest.raises(gr.Error, match=told) as refused:
        score(tmp_path, segmenter, 2, ["given"], ["hs"], [], "voynov", "none", 0, 0, False)
    assert "start the page anew with LANTERN_DATASETS=FOLDER" in str(refused.value)
    assert str(tmp_path) not in str(refused.value) and begun == []


def test_a_table_is_scored_on_one_of_its_data_sets_or_on_a_further_one(
    tmp_path: Path, segmenter: PhotographSegmenter, begun: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    ecssd(tmp_path)
    monkeypatch.setenv("LANTERN_DATASETS", str(tmp_path))
    with pytest.raises(gr.Error, match="no data set of table 1 .CUB-200-2011, Flowers-102. lies"):
        score(tmp_path, segmenter, 1, ["given"], [], [], "voynov", "none", 0, 0, False)
    assert begun == []
    score(tmp_path, segmenter, 1, ["given"], [], ["ECSSD"], "voynov", "none", 0, 0, False)
    score(tmp_path, segmenter, 2, ["given"], [], [], "voynov", "none", 0, 0, False)
    assert [words[words.index("--root") + 1] for words, _ in begun] == [str(tmp_path)] * 2


def test_notes_name_the_folder_of_data_sets_and_not_where_it_lies(tmp_path: Path) -> None:
    told = "Not run: ECSSD is not in {}. It is expected as ECSSD/images."
    lies = told.format(tmp_path)
    assert benchmark._without_root(lies, ("reproduce", "--root", str(tmp_path))) == told.format("LANTERN_DATASETS")
    assert benchmark._without_root(lies, ("reproduce", "--out", "x")) == lies


def test_the_tab_lists_networks_methods_and_data_sets(
    tmp_path: Path, segmenter: PhotographSegmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    ecssd(tmp_path)
    monkeypatch.setenv("LANTERN_DATASETS", str(tmp_path))
    with gr.Blocks() as page:
        timer = gr.Timer(1.0)
        with gr.Tab("Benchmark") as tab:
            benchmark.build(Networks(segmenter), Overview(tmp_path / "runs"), timer, tab)
    shown = {block.label: block for block in page.blocks.values() if getattr(block, "label", None)}
    assert [value for _, value in shown["Networks"].choices] == ["given"]
    assert [name for name, _ in shown["Further data sets"].choices] == ["ECSSD (3 images)"]
    assert [value for _, value in shown["Classical methods"].choices] == list(CLASSICAL)
    assert [value for _, value in shown["Table of the paper"].choices] == [1, 2, 3, 4]

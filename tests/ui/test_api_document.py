"""docs/api.md: what it shows is carried out, word for word, against a page; the front matter of the README likewise."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from explorer import jobs
from explorer.runs.status import Status
from explorer.segmenting import PhotographSegmenter
from explorer.ui.shell import build_page, serve
from explorer.views import Workbench
from tests.ui.test_page import free_port

ROOT = Path(__file__).resolve().parents[2]
SHOWN = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "api.md").read_text("utf-8"), re.DOTALL)


@pytest.fixture
def url(bench: Workbench, segmenter: PhotographSegmenter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A page whose runs are noted, and not carried out."""
    monkeypatch.setenv("LANTERN_RUNS", str(tmp_path))

    def noted(words: list[str], folder: Path, place: Any) -> None:
        folder.mkdir()
        Status("train", "running", 3, 1000).of_process().write(folder)

    monkeypatch.setattr(jobs, "begin", noted)
    page: gr.Blocks = build_page(bench, segmenter)
    yield serve(page, "127.0.0.1", free_port())
    page.close()


def test_three_actions_are_shown() -> None:
    assert [re.findall(r'api_name="(/\w+)"', text)[0] for text in SHOWN] == ["/walk", "/masks", "/train"]


def test_what_is_shown_works(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped: list[Path] = []
    # The real stop would send a signal to this very process.
    monkeypatch.setattr("explorer.ui.runs.stop", stopped.append)
    for text in SHOWN:
        # Another name than the page's own: the program is a stranger.
        exec(compile(text.replace("http://127.0.0.1:7860", url), "docs/api.md", "exec"), {"__name__": "program"})
    said = capsys.readouterr().out
    assert ".jpeg" in said
    assert re.search(r"^[\d.]+ {'generated': 48", said, re.MULTILINE)
    assert "running 3 of 1000" in said
    assert len(stopped) == 1 and stopped[0].parent == tmp_path


def front_matter() -> dict[str, str]:
    head = (ROOT / "README.md").read_text("utf-8").split("---")[1]
    return dict(re.findall(r"^(\w+): *\"?(.*?)\"?$", head, re.MULTILINE))


def test_a_space_would_be_made_of_what_the_project_stands_on() -> None:
    told = front_matter()
    [wanted] = re.findall(r"^gradio>=([\d.]+),<(\d+)", (ROOT / "requirements.txt").read_text("utf-8"), re.MULTILINE)
    assert tuple(map(int, wanted[0].split("."))) <= tuple(map(int, told["sdk_version"].split(".")[:2])) < (int(wanted[1]),)
    assert told["sdk"] == "gradio" and (ROOT / told["app_file"]).is_file() and told["license"] == "apache-2.0"
    assert told["python_version"] in ("3.10", "3.11", "3.12") and len(told["short_description"]) <= 60
    assert told["title"] and told["emoji"] and told["colorFrom"] and told["colorTo"]

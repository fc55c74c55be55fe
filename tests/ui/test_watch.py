"""The list of runs and the view of one of them: what is said, and that nothing is said twice."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest

from explorer.overview import Overview
from explorer.runs.command import Command
from explorer.runs.launcher import stop
from explorer.runs.status import Status, read_status
from explorer.runs.store import Run
from explorer.ui import plots, runpages, watch
from explorer.ui.watch import WatchTexts, look_at
from segmentation.errors import LanternError

TEXTS = WatchTexts("train", ("train",), "None yet.", "Samples", compare=True, delete=False)
PARTS = ("chosen", *watch._PARTS, "seen")


def is_skip(value: Any) -> bool:
    return isinstance(value, dict) and value.get("__type__") == "update" and set(value) <= {"__type__"}


class Visitor:
    """One session of the page: what it has chosen, seen and shows."""

    def __init__(self, overview: Overview) -> None:
        self.overview, self.look = overview, look_at(overview, TEXTS)
        self.shown: dict[str, Any] = {"chosen": None, "seen": {}}

    def tick(self, compare: list[str] | None = None) -> set[str]:
        """Look once; the parts that were sent."""
        self.overview.forget()
        answers = self.look(self.shown["chosen"], compare or [], self.shown["seen"])
        sent = {name: value for name, value in zip(PARTS, answers, strict=True) if not is_skip(value)}
        self.shown |= sent
        return set(sent)


@pytest.fixture
def overview(tmp_path: Path) -> Overview:
    return Overview(tmp_path)


def work(run: Run, step: int, steps: int = 10) -> None:
    run.advance(step, steps, {"loss": 1 / step})
    run._write_status()


def test_nothing_is_sent_while_nothing_changes_and_only_the_change_when_it_does(overview: Overview) -> None:
    visitor = Visitor(overview)
    assert {"runs", "about", "log", "curves", "seen"} <= visitor.tick()
    assert "None yet." in visitor.shown["runs"] and visitor.tick() == set()
    with Run(overview.root / "first", "train") as run:
        work(run, 1)
        assert {"chosen", "runs", "about", "stop"} <= visitor.tick()
        assert visitor.shown["chosen"] == "first" and visitor.shown["stop"].interactive is True
        assert "<strong>first</strong> is running" in visitor.shown["about"]
        assert visitor.tick() == set()
        work(run, 4)
        sent = visitor.tick()
        assert {"runs", "about"} <= sent and "picture" not in sent and "stop" not in sent
        assert "4 of 10" in visitor.shown["about"]
        run.picture("000004", np.zeros((4, 4, 3), np.uint8))
        assert visitor.tick() == {"picture", "seen"}
        work(run, 10)
    visitor.tick()
    assert "first</strong> is done" in visitor.shown["about"] and visitor.shown["stop"].interactive is False


def test_the_curves_of_a_run_at_work_are_drawn_every_other_second(overview: Overview, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    visitor = Visitor(overview)
    with Run(overview.root / "first", "train") as run:
        work(run, 1)
        visitor.tick()
        drawn = []
        for step in range(2, 8):
            now[0] += 0.5
            work(run, step)
            drawn.append("curves" in visitor.tick())
    assert drawn == [False, False, False, True, False, False]
    # The last points are not left out when it has ended.
    assert "curves" in visitor.tick()
    assert list(visitor.shown["curves"].data[0].x) == [1, 2, 3, 4, 5, 6, 7]


def test_a_reload_and_a_second_browser_see_the_run_at_work(overview: Overview) -> None:
    with Run(overview.root / "first", "train") as run:
        work(run, 3)
        for visitor in (Visitor(overview), Visitor(overview)):
            visitor.tick()
            assert visitor.shown["chosen"] == "first" and "3 of 10" in visitor.shown["about"]


def test_a_look_that_fails_is_logged_and_disturbs_nobody(
    overview: Overview, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    visitor = Visitor(overview)
    monkeypatch.setattr(overview, "runs", lambda kinds: 1 / 0)
    assert visitor.tick() == set() and "ZeroDivisionError" in caplog.text


def test_two_visitors_look_at_different_runs(overview: Overview) -> None:
    for name in ("first", "second"):
        with Run(overview.root / name, "train") as run:
            work(run, 10)
    one, other = Visitor(overview), Visitor(overview)
    one.shown["chosen"], other.shown["chosen"] = "first", "second"
    one.tick(), other.tick()
    assert "<strong>first" in one.shown["about"] and "<strong>second" in other.shown["about"]


def test_compared_runs_are_drawn_together_and_others_of_the_kind_are_offered(overview: Overview) -> None:
    for name, kind in (("first", "train"), ("second", "train"), ("third", "generate")):
        with Run(overview.root / name, kind) as run:
            work(run, 2)
    visitor = Visitor(overview)
    visitor.shown["chosen"] = "first"
    visitor.tick()
    assert visitor.shown["compare"].choices == [("second", "second")]
    assert "curves" in visitor.tick(["second"])
    assert {trace.name for trace in visitor.shown["curves"].data} == {"first: loss", "second: loss"}


def test_a_failed_run_says_what_went_wrong_and_what_to_do(overview: Overview) -> None:
    def fail() -> None:
        with Run(overview.root / "first", "train") as run:
            work(run, 1)
            raise LanternError("the <loss> is not a number", "Lower the learning rate.")

    with pytest.raises(LanternError):
        fail()
    visitor = Visitor(overview)
    visitor.tick()
    assert "the &lt;loss&gt; is not a number" in visitor.shown["about"] and "Lower the learning rate." in visitor.shown["about"]


def test_a_run_that_was_deleted_gives_way_to_the_newest(overview: Overview) -> None:
    with Run(overview.root / "first", "train") as run:
        work(run, 1)
    visitor = Visitor(overview)
    visitor.shown["chosen"] = "gone"
    visitor.tick()
    assert visitor.shown["chosen"] == "first"


def test_stop_asks_the_run_to_stop_and_nothing_else_is_touched(overview: Overview) -> None:
    with Run(overview.root / "first", "train") as run:
        work(run, 1)
        # Not the real stop: its signal would reach this process.
        asked: list[Path] = []
        watch._acted(overview, asked.append)("first")
        assert asked == [overview.root / "first"]
    with pytest.raises(gr.Error, match="^'?first is done. There is nothing to stop"):
        watch._acted(overview, stop)("first")
    with pytest.raises(gr.Error, match="no run is chosen"):
        watch._acted(overview, stop)(None)
    with pytest.raises(gr.Error, match="no run called"):
        watch._acted(overview, stop)("../first")


@pytest.mark.parametrize(("state", "resumable"), [("stopped", True), ("failed", True), ("done", False)])
def test_only_what_ended_before_its_end_can_be_resumed(overview: Overview, state: str, resumable: bool) -> None:
    folder = overview.root / "first"
    folder.mkdir()
    Command(("train", "--out", str(folder)), overview.root).save(folder)
    Status("train", state, 1, 2).write(folder)
    visitor = Visitor(overview)
    visitor.tick()
    assert visitor.shown["resume"].interactive is resumable
    assert read_status(folder)["state"] == state


def test_a_name_cannot_put_markup_into_the_page(overview: Overview) -> None:
    folder = overview.root / '"><img src=x onerror=alert(1)>'
    with Run(folder, "train") as run:
        work(run, 1)
    [named] = overview.runs()
    page = runpages.run_list([named], None, "") + runpages.about(named)
    assert "<img" not in page and 'data-run="&quot;&gt;&lt;img' in page


def test_only_the_newest_runs_are_listed_and_the_others_counted(overview: Overview, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runpages, "LISTED", 2)
    for name in ("a", "b", "c"):
        (overview.root / name).mkdir()
        Status("train", "done", 1, 1).write(overview.root / name)
    page = runpages.run_list(overview.runs(), None, "")
    assert page.count("data-run=") == 2 and "1 older ones" in page


def test_figures_that_belong_together_share_a_panel() -> None:
    run: Any = {
        "loss": ([1, 2], [1, 2]),
        "held_out_loss": ([2], [3]),
        "iou": ([2], [0.5]),
        "learning_rate": ([1], [1]),
        "odd": ([1], [4]),
    }
    drawn = plots.curves({"a": run})
    assert {trace.name: trace.yaxis for trace in drawn.data} == {"loss": "y", "held out loss": "y", "iou": "y2", "odd": "y3"}
    assert [title.text for title in drawn.layout.annotations] == ["loss", "scores on held-out samples", "odd"]
    assert "No figures yet" in plots.curves({}).layout.annotations[0].text


def test_curves_differ_by_dash_and_not_by_colour_alone() -> None:
    figures: Any = {"loss": ([1, 2], [1, 2]), "held_out_loss": ([1, 2], [3, 4])}
    drawn = plots.curves({"a": figures, "b": figures})
    looks = [(trace.line.color, trace.line.dash) for trace in drawn.data]
    assert len(set(looks)) == 4 and len({dash for _, dash in looks}) == 2

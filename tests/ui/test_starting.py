"""The tabs Generate and Train: what they start, and what they refuse to."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from explorer import jobs
from explorer.__main__ import check
from explorer.knobs import Knob, knobs
from explorer.overview import Overview
from explorer.runs.launcher import LaunchConfig
from explorer.runs.status import Status
from explorer.runs.store import Run
from explorer.segmenting import PhotographSegmenter
from explorer.ui import directions_runs, generate, masks, place, runs, train, watch
from explorer.ui.shell import build_page
from explorer.views import SampleView, Workbench
from segmentation.filters import FilterConfig
from segmentation.progress import Unwatched
from segmentation.shards import ShardConfig, write_shards
from segmentation.synthesis import SynthesisConfig
from segmentation.training import TrainingConfig
from tests.segmentation.sources import disc_source
from tests.ui.conftest import LIGHTING

SHOWN = knobs(jobs.QUICK, without=("synthesis.filters",))
Begun = list[tuple[list[str], Path, LaunchConfig]]


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> Begun:
    """What would have been started."""
    noted: Begun = []
    monkeypatch.setattr(jobs, "begin", lambda words, folder, where: noted.append((words, folder, where)))
    return noted


def masks_values(**filters: Any) -> list[Any]:
    return ["", LIGHTING, 6.5, 3, 4.0, *{**FilterConfig().to_json(), **filters}.values()]


def generating(bench: Workbench, root: Path) -> Callable[..., str]:
    return generate._begin(generate._work(bench, Overview(root)))


def training(bench: Workbench, root: Path) -> Callable[..., str]:
    return train._begin(train._work(bench, Overview(root)), SHOWN)


def settings(**given: Any) -> list[Any]:
    values = dict(zip((knob.name for knob in SHOWN), train._values(train.QUICK, SHOWN), strict=True))
    return list({**values, **{name.replace("__", ".").replace("_", "-"): value for name, value in given.items()}}.values())


def test_a_data_set_has_the_direction_and_thresholds_of_masks(bench: Workbench, begun: Begun, tmp_path: Path) -> None:
    name = generating(bench, tmp_path)(*masks_values(max_area=0.4), 70, 5, "  mine ")
    [(words, folder, where)] = begun
    assert name == "mine" and folder == tmp_path / "mine" and where == LaunchConfig()
    said = " ".join(words)
    assert said.startswith("generate --generator disc") and f"--direction {LIGHTING} --magnitude 6.5" in said
    assert "--count 70 --seed 5 --synthesis.filters.max-area 0.4" in said and words[-2:] == ["--out", str(folder)]


def test_one_click_trains_by_the_quick_schedule(bench: Workbench, begun: Begun, tmp_path: Path) -> None:
    name = training(bench, tmp_path)(*masks_values(), "", "", *settings())
    [(words, folder, _)] = begun
    assert name.startswith("train-") and folder == tmp_path / name
    assert words == jobs.train_words(jobs.origin(bench), SampleView(LIGHTING, 6.5, 3), jobs.QUICK, folder)


def data_set(root: Path, name: str, state: str = "done") -> Path:
    """A data set of six samples, as the tab Generate leaves one."""
    config = ShardConfig(count=6, shard_size=6, synthesis=SynthesisConfig(candidates=16))
    write_shards(disc_source(), config, root / name, Unwatched())
    Status("generate", state, 6, 6).write(root / name)
    return root / name


def test_a_training_is_of_a_data_set_that_generate_made(bench: Workbench, begun: Begun, tmp_path: Path) -> None:
    folder = data_set(tmp_path, "few")
    data_set(tmp_path, "growing", "queued")
    overview = Overview(tmp_path)
    assert [value for _, value in train._sources(overview)] == ["", "few"]
    said = train._about(bench, overview)(*masks_values(), "few")
    assert "**few**: 6 samples" in said and f"{LIGHTING} lamp" in train._about(bench, overview)(*masks_values(), "")
    training(bench, tmp_path)(*masks_values(max_area=0.4), "few", "mine", *settings(held_out=4, batch_size=2))
    [(words, out, _)] = begun
    assert words[-4:] == ["--data", str(folder), "--out", str(out)] and out == tmp_path / "mine"
    assert "--direction" not in words and "filters" not in " ".join(words)
    check(words)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "few has 6 samples, and this training takes at least 272: 256 held out for validation and 16 a batch"),
        ({"held_out": 4, "batch_size": 3}, "at least 7: 4 held .* 3 a batch. Lower held-out or batch-size under Advanced"),
    ],
)
def test_a_data_set_that_is_too_small_is_refused_before_a_run_is_there(
    bench: Workbench, begun: Begun, tmp_path: Path, given: dict[str, int], words: str
) -> None:
    data_set(tmp_path, "few")
    with pytest.raises(gr.Error, match=words) as refused:
        training(bench, tmp_path)(*masks_values(), "few", "mine", *settings(**given))
    assert str(tmp_path) not in str(refused.value)
    action = train._action(train._work(bench, Overview(tmp_path)))
    with pytest.raises(gr.Error, match=words):
        action(LIGHTING, 6.5, {name.replace("_", "-"): value for name, value in given.items()}, data="few", name="mine")
    assert begun == [] and not (tmp_path / "mine").exists()


def test_a_data_set_that_is_not_whole_is_refused_by_its_name(bench: Workbench, begun: Begun, tmp_path: Path) -> None:
    images = next(data_set(tmp_path, "few").glob("images-*.npy"))
    images.write_bytes(images.read_bytes()[:-9])
    data_set(tmp_path, "growing", "queued")
    for name, words in (("few", f"few/{images.name} is damaged"), ("growing", "growing is queued"), ("gone", "no run called")):
        with pytest.raises(gr.Error, match=words) as refused:
            training(bench, tmp_path)(*masks_values(), name, "mine", *settings())
        assert str(tmp_path) not in str(refused.value)
    assert begun == []


def test_a_knob_reaches_the_command_line(bench: Workbench, begun: Begun, tmp_path: Path) -> None:
    training(bench, tmp_path)(*masks_values(size=False), "", "x", *settings(steps=33.0, unet__width="8", decay_at="20"))
    said = " ".join(begun[0][0])
    assert (
        "--steps 33" in said and "--unet.width 8" in said and "--decay-at 20" in said and "--synthesis.filters.no-size" in said
    )


def test_the_schedules_fill_the_knobs() -> None:
    paper = dict(zip((knob.name for knob in SHOWN), train._values(train.PAPER, SHOWN), strict=True))
    default = TrainingConfig()
    assert (paper["steps"], paper["batch-size"], paper["decay-at"]) == (default.steps, default.batch_size, "")
    assert settings()[0] == jobs.QUICK.steps


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"steps": 0}, "steps is 0"),
        ({"steps": 1.5}, "steps is '1.5'. Give a whole number"),
        ({"precision": "float8"}, "precision is 'float8'"),
        ({"unet__width": "wide"}, "unet.width is 'wide'"),
        ({"learning_rate": None}, "learning-rate is empty"),
        ({"batch_size": 0}, "^'?batch-size is 0"),
        ({"unet__width": 0}, "^'?unet.width is 0"),
        ({"steps": None}, f"steps is empty. Its default is {jobs.QUICK.steps}"),
    ],
)
def test_wrong_knobs_are_named_and_nothing_is_started(
    bench: Workbench, begun: Begun, tmp_path: Path, given: dict[str, Any], words: str
) -> None:
    with pytest.raises(gr.Error, match=words):
        training(bench, tmp_path)(*masks_values(), "", "", *settings(**given))
    assert begun == []


@pytest.mark.parametrize(
    ("count", "seed", "name", "words"),
    [
        (0, 0, "", r"Samples \(count\) is 0"),
        (None, 0, "", "number of samples is empty"),
        (5, -1, "", "seed is -1"),
        (5, 0, "../x", "is no name for a run"),
        (5, 0, "taken", "a run called taken already"),
    ],
)
def test_wrong_values_start_no_data_set(
    bench: Workbench, begun: Begun, tmp_path: Path, count: Any, seed: Any, name: str, words: str
) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(gr.Error, match=words):
        generating(bench, tmp_path)(*masks_values(), count, seed, name)
    assert begun == []


def test_a_space_starts_no_runs_and_says_why(
    bench: Workbench, begun: Begun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPACE_ID", "someone/lantern")
    with pytest.raises(gr.Error, match="a Space starts no runs. Run Lantern on a machine of your own"):
        training(bench, tmp_path)(*masks_values(), "", "", *settings())
    with pytest.raises(gr.Error, match="a Space starts no runs"):
        generating(bench, tmp_path)(*masks_values(), 5, 0, "")
    assert begun == []
    with pytest.raises(gr.Error, match="a Space starts no runs"):
        directions_runs._start(bench)("", "rank", 4, 25, "proj", "lenet")
    (tmp_path / "first").mkdir()
    Status("train", "stopped", 1, 2).write(tmp_path / "first")
    with pytest.raises(gr.Error, match="a Space starts no runs"):
        watch._acted(Overview(tmp_path), watch.go_on)("first")


def test_on_a_space_every_tab_that_starts_runs_says_why_it_cannot(
    bench: Workbench, segmenter: PhotographSegmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts = ("start-run", "generate-go", "train-go", "benchmark-go")
    notices = ("directions-space", "generate-space", "train-space", "benchmark-space")
    here = {block.elem_id: block for block in build_page(bench, segmenter).blocks.values() if isinstance(block, gr.Component)}
    assert all(here[name].interactive for name in starts) and not any(name in here for name in notices)
    monkeypatch.setenv("SPACE_ID", "someone/lantern")
    there = {block.elem_id: block for block in build_page(bench, segmenter).blocks.values() if isinstance(block, gr.Component)}
    assert not any(there[name].interactive for name in starts)
    assert all("sleeps" in there[name].value and "make run" in there[name].value for name in notices)


def test_without_slurm_there_is_no_choice_of_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place, "slurm_available", lambda: False)
    assert place.controls("x") == [] and place.chosen(()) == LaunchConfig()


def test_with_slurm_the_place_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place, "slurm_available", lambda: True)
    with gr.Blocks():
        assert [control.value for control in place.controls("x")] == ["local", "", 0, 0]
    assert place.chosen(("slurm", "gpu", 2.0, 90)) == LaunchConfig("slurm", minutes=90, partition="gpu", gpus=2)
    assert place.chosen(("local", "gpu", 2, 30)) == LaunchConfig(minutes=30)


def test_the_summary_says_what_a_run_would_be_of(bench: Workbench) -> None:
    said = masks.summary(bench, masks_values())
    assert f"**{LIGHTING} lamp" in said and "magnitude **6.5**" in said and "filters: **paper**" in said
    assert "max" in masks.summary(bench, masks_values(max_area=0.4))


def test_a_run_shows_its_configuration_and_command(tmp_path: Path) -> None:
    overview = Overview(tmp_path)
    with Run(tmp_path / "first", "train") as run:
        run.advance(1, 1, {})
    (tmp_path / "first" / "config.json").write_text(json.dumps({"steps": "<3>"}))
    command, config = runs._about(overview, "first")
    assert "No command" in command and "&lt;3&gt;" in config
    assert runs._about(overview, None) == ("", "")


@pytest.mark.parametrize("knob", SHOWN, ids=lambda knob: knob.name)
def test_every_knob_has_a_control_with_its_words_and_default(knob: Knob) -> None:
    with gr.Blocks():
        control = train._control(knob)
    assert control.label == knob.name and control.info == knob.words.replace("``", "")
    assert control.value == ("" if knob.default is None else knob.default)

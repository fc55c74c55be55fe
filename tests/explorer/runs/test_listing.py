from __future__ import annotations

import json
from pathlib import Path

import pytest

from explorer.runs.command import Command, carried_out, current, folder_of, moved, read_command, runs_root
from explorer.runs.listing import list_runs, metrics, run_folders, tail, view
from explorer.runs.status import Status
from explorer.runs.store import Run
from segmentation.errors import LanternError


def test_a_view_is_what_the_folder_tells(tmp_path: Path) -> None:
    Status("train", "failed", 3, 9, 0.5, None, "no light", "Choose another.", started=7.0).write(tmp_path)
    Command(("train", "--out", "x"), tmp_path).save(tmp_path)
    run = view(tmp_path)
    assert (run.folder, run.kind, run.state, run.step, run.steps, run.steps_per_second) == (
        tmp_path,
        "train",
        "failed",
        3,
        9,
        0.5,
    )
    assert (run.error, run.remedy, run.command, run.started) == ("no light", "Choose another.", ("train", "--out", "x"), 7.0)
    assert (run.live, run.resumable) == (False, True)
    assert json.loads(json.dumps(run.to_json()))["folder"] == str(tmp_path)
    (tmp_path / "command.json").write_text("{}")
    assert view(tmp_path).command == () and not view(tmp_path).resumable


def test_runs_are_found_in_folders_of_folders_and_not_inside_of_what_runs_write(tmp_path: Path) -> None:
    for number, name in enumerate(("b", "sweep", "sweep/seed-0", "sweep/seed-1/deep", "a/b/c/d", "x/samples/y", "x/.hidden")):
        (tmp_path / name).mkdir(parents=True)
        Status("train", "done", started=float(number)).write(tmp_path / name)
    (tmp_path / "a" / "b" / "c" / "d" / "e").mkdir()
    Status("train", "done").write(tmp_path / "a" / "b" / "c" / "d" / "e")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "status.json").write_text("{")
    names = [str(run.folder.relative_to(tmp_path)) for run in list_runs(tmp_path)]
    assert names == ["a/b/c/d", "sweep/seed-1/deep", "sweep/seed-0", "sweep", "b"]
    assert list_runs(tmp_path / "nowhere") == []
    assert list(run_folders(tmp_path / "b")) == [tmp_path / "b"]


def test_figures_come_after_a_step_and_a_half_line_is_left(tmp_path: Path) -> None:
    assert (metrics(tmp_path), tail(tmp_path)) == ([], [])
    with Run(tmp_path, "train") as run:
        for step in (1, 2, 3):
            run.advance(step, 3, {"loss": float(step)})
    with (tmp_path / "metrics.jsonl").open("a") as stream:
        stream.write('{"step": 4, "lo')
    assert metrics(tmp_path, after=1) == [{"step": 2, "loss": 2.0}, {"step": 3, "loss": 3.0}]
    assert tail(tmp_path, 1) == [tail(tmp_path)[-1]] and "done at step 3 of 3" in tail(tmp_path)[-1]
    assert tail(tmp_path, 0) == []


def test_a_command_is_kept_and_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_command(tmp_path) is None
    cases = [
        (("train", "--out", "runs/a"), "runs/a", ("train", "--out", "NEW")),
        (("train", "--out=runs/a", "--steps", "3"), "runs/a", ("train", "--out=NEW", "--steps", "3")),
        (("encode", "--out", "z.npy"), "z.run", ("encode", "--out", "NEW.npy")),
        (("rank", "--directions", "d", "--run", "r"), "r", ("rank", "--directions", "d", "--run", "NEW")),
        (("directions", "--out", "catalogue"), None, ("directions", "--out", "catalogue")),
        ((), None, ()),
    ]
    for arguments, folder, after in cases:
        assert folder_of(arguments) == (None if folder is None else Path(folder))
        assert moved(arguments, Path("NEW")) == after
    monkeypatch.chdir(tmp_path)
    with carried_out(["train", "--out", "runs/a"]):
        with Run(tmp_path / "run", "train"):
            pass
        assert read_command(tmp_path / "run") == current() == Command(("train", "--out", "runs/a"), tmp_path)
    assert current() is None
    monkeypatch.setenv("LANTERN_RUNS", "/data/runs")
    assert runs_root() == Path("/data/runs")
    (tmp_path / "run" / "command.json").write_text("[]")
    with pytest.raises(LanternError, match="no record of a command"):
        read_command(tmp_path / "run")

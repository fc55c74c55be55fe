from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from explorer.__main__ import _commands, main
from explorer.runs import launcher
from explorer.runs.command import RUNS_BY_OPTION, RUNS_BY_OUT, Command
from explorer.runs.launcher import LaunchConfig
from explorer.runs.launching import save_launch
from explorer.runs.status import Status
from explorer.runs.store import Run

Called = list[tuple[Any, ...]]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three runs: one that is done, one that failed inside another folder, and one that runs."""
    root = tmp_path / "runs"
    with Run(root / "done", "train") as run:
        run.advance(1, 2, {"loss": 0.5})
        run.advance(2, 2, {"loss": 0.25})
    Command(("train", "--steps", "2", "--out", str(root / "done")), tmp_path).save(root / "done")
    failed = Status("rank", "failed", 3, 9, error="the disk is full", remedy="Free some space.", started=5.0)
    (root / "group" / "failed").mkdir(parents=True)
    failed.write(root / "group" / "failed")
    (root / "live").mkdir()
    live = Status("encode", "running", 5, 50, steps_per_second=2.0, seconds_left=3723.0, started=9e9)
    live.of_process().write(root / "live")
    (root / "no-run").mkdir()
    monkeypatch.setenv("LANTERN_RUNS", str(root))
    return root


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> Called:
    """What was asked of the launcher, which does nothing."""
    called: Called = []
    for name in ("start", "stop", "resume"):
        monkeypatch.setattr(launcher, name, lambda *given, name=name: called.append((name, *given)))
    return called


def test_the_list_has_the_newest_first(root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["runs", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = [line.split() for line in lines if str(root) in line]
    assert [row[:4] for row in rows[:3]] == [
        [str(root / "live"), "encode", "running", "5/50"],
        [str(root / "done"), "train", "done", "2/2"],
        [str(root / "group" / "failed"), "rank", "failed", "3/9"],
    ]
    assert rows[0][4:] == ["2", "1:02:03"]
    assert rows[2][4:] == ["the", "disk", "is", "full"]
    assert lines[-1] == f"3 runs under {root}"


def test_the_list_as_json_and_by_state(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", "list", "--json", "--state", "failed"]) == 0
    (run,) = json.loads(capsys.readouterr().out)
    assert (run["kind"], run["error"], run["remedy"]) == ("rank", "the disk is full", "Free some space.")
    assert main(["runs", "list", str(root / "group")]) == 0
    assert capsys.readouterr().out.endswith(f"1 run under {root / 'group'}\n")
    assert main(["runs", "list", "--state", "asleep"]) == 2
    assert main(["runs", "list", str(root / "nowhere")]) == 2
    said = capsys.readouterr().err
    assert "state is 'asleep'" in said and "nowhere is no folder" in said


def test_without_runs_the_list_is_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LANTERN_RUNS", raising=False)
    assert main(["runs", "list"]) == 0
    assert capsys.readouterr().out == "0 runs under runs\n"


def test_show_tells_everything(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", "show", str(root / "done")]) == 0
    said = capsys.readouterr().out
    for text in (
        "state     done",
        "step      2 of 2",
        f"command   python -m explorer train --steps 2 --out {root / 'done'}",
        "0.25",
    ):
        assert text in said
    assert main(["runs", "show", "--json", str(root / "done")]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["figures"], told["command"][0]) == ({"step": 2, "loss": 0.25}, "train")
    assert main(["runs", "show", str(root / "group" / "failed")]) == 0
    assert "remedy    Free some space." in capsys.readouterr().out


@pytest.mark.parametrize("action", ["show", "tail", "stop", "resume", "repeat", "delete"])
def test_a_folder_that_is_no_run_is_refused(
    root: Path, called: Called, capsys: pytest.CaptureFixture[str], action: str
) -> None:
    assert main(["runs", action, str(root / "no-run")]) == 2
    assert "is no folder of a run" in capsys.readouterr().err
    assert called == [] and (root / "no-run").is_dir()


def test_tail_shows_the_end_and_follows_to_the_end(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = root / "done" / "log.txt"
    log.write_text("".join(f"line {number}\n" for number in range(100)))
    assert main(["runs", "tail", "--lines", "3", str(root / "done")]) == 0
    assert capsys.readouterr().out.splitlines() == ["line 97", "line 98", "line 99"]
    assert main(["runs", "tail", "--follow", "--lines", "1", str(root / "done")]) == 0
    assert capsys.readouterr().out.splitlines() == ["line 99"]


def test_start_hands_the_command_over(root: Path, called: Called, capsys: pytest.CaptureFixture[str]) -> None:
    command = ("train", "--steps", "4", "--out", "runs/x")
    assert main(["runs", "start", "--minutes", "30", "--", *command]) == 0
    assert main(["runs", "start", "--", "encode", "--images", "p", "--out", "z.npy"]) == 0
    assert main(["runs", "start", "--", "rank", "--directions", "d"]) == 0
    assert main(["runs", "start", "--folder", "here", "--", "rank", "--directions", "d"]) == 0
    (root / "rank").mkdir()
    assert main(["runs", "start", "--", "rank", "--directions", "d"]) == 0
    assert main(["runs", "start"]) == 2
    assert [call[1:3] for call in called] == [
        (command, Path("runs/x")),
        (("encode", "--images", "p", "--out", "z.npy"), Path("z.run")),
        (("rank", "--directions", "d"), root / "rank"),
        (("rank", "--directions", "d"), Path("here")),
        (("rank", "--directions", "d"), root / "rank-2"),
    ]
    assert called[0][3] == LaunchConfig(minutes=30) and called[1][3] == LaunchConfig()
    assert "no command is given" in capsys.readouterr().err


def test_start_refuses_what_is_no_run_and_says_what_is_one(
    root: Path, called: Called, capsys: pytest.CaptureFixture[str]
) -> None:
    export = ("data", "export", "runs/data", "--out", "tars")
    for words in ("data show", "data", "app", "runs list", "trian", "export d"):
        assert main(["runs", "start", "--", *words.split(), "--out", "x"]) == 2
        said = capsys.readouterr().err
        assert f"'{words}' is no command that makes a run" in said
        for name in ("train", "encode", "evaluate", "data export"):
            assert f" {name}" in said
    assert called == []
    assert main(["runs", "start", "--", *export]) == 0
    assert called[0][1:3] == (export, Path("tars.run"))


def test_commands_that_are_runs_are_those_with_a_folder_of_one(capsys: pytest.CaptureFixture[str]) -> None:
    with_option = []
    for name in _commands([]):
        ended([name, "--help"])
        if "--run " in capsys.readouterr().out:
            with_option.append(name)
    assert sorted(with_option) == sorted(RUNS_BY_OPTION)


def test_resume_keeps_how_it_was_started_or_changes_it(root: Path, called: Called) -> None:
    done = root / "done"
    save_launch(done, LaunchConfig("slurm", processes=2, partition="low", minutes=9))
    for more in ((), ("--minutes", "60"), ("--cluster", "local"), ("--cluster", "slurm")):
        assert main(["runs", "resume", str(done), *more]) == 0
    before = LaunchConfig("slurm", processes=2, partition="low", minutes=9)
    expected = [None, dataclasses.replace(before, minutes=60), LaunchConfig(processes=2, minutes=9), before]
    assert [call[2] for call in called] == expected


def test_repeat_is_the_same_command_in_a_new_folder(root: Path, called: Called, tmp_path: Path) -> None:
    assert main(["runs", "repeat", str(root / "done")]) == 0
    new = root / "done-2"
    assert called == [("start", ("train", "--steps", "2", "--out", str(new)), new, LaunchConfig(), tmp_path)]
    encoded = root / "z.run"
    shutil.copytree(root / "done", encoded)
    (root / "z-2.run").mkdir()
    Command(("encode", "--images", "p", "--out", str(root / "z.npy")), tmp_path).save(encoded)
    assert main(["runs", "repeat", str(encoded)]) == 0
    assert called.pop()[1:3] == (("encode", "--images", "p", "--out", str(root / "z-3.npy")), root / "z-3.run")
    assert main(["runs", "repeat", "--to", str(root / "live"), str(root / "done")]) == 2
    assert main(["runs", "repeat", str(root / "live")]) == 2
    assert len(called) == 1


def test_the_exit_code_says_how_a_run_ended(root: Path, called: Called, capsys: pytest.CaptureFixture[str]) -> None:
    for state, code in (("done", 0), ("failed", 1), ("stopped", 3)):
        Status("train", state, 1, 2, error="no light" if code == 1 else None).write(root / "done")
        assert ended(["runs", "resume", "--wait", str(root / "done")]) == code
    said = capsys.readouterr().err
    assert "has failed at step 1 of 2: no light" in said


def ended(arguments: list[str]) -> Any:
    """The exit code of a command that may leave early."""
    try:
        return main(arguments)
    except SystemExit as end:
        return end.code


def test_delete_takes_ended_runs_alone(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", "delete", str(root / "done"), str(root / "group" / "failed")]) == 0
    assert main(["runs", "delete", str(root / "live")]) == 2
    assert "is running. Stop it first" in capsys.readouterr().err
    assert sorted(path.name for path in root.iterdir()) == ["group", "live", "no-run"]


def test_it_answers_without_torch(root: Path) -> None:
    program = "import sys; from explorer.__main__ import main; main(['runs', 'list']); print('torch' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines()[-1] == "False"


def test_every_run_says_how_often_it_saves(capsys: pytest.CaptureFixture[str]) -> None:
    runs = (*RUNS_BY_OUT, "encode", *RUNS_BY_OPTION)
    assert len(runs) == 14
    for name in runs:
        assert ended([name, "--help"]) == 0
        assert "--checkpoint-every" in capsys.readouterr().out, name
    documented = Path(__file__).parents[2].joinpath("docs/runs.md").read_text()
    assert all(f"`{name}`" in documented for name in runs)

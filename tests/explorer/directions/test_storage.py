from __future__ import annotations

import fcntl
import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import TextIO

import pytest
import torch
from safetensors.torch import load_file

from explorer.directions import storage
from explorer.directions.catalogue import POCKET_DIRECTIONS, Catalogue, Entry, load_catalogue, save_changes, update
from segmentation.errors import LanternError
from tests.explorer.directions.catalogues import seeded_catalogue

# One start of Python is shared by the processes that it is split into.
FORK = """
import os, sys
from pathlib import Path
import torch
from explorer.directions import storage
from explorer.directions.catalogue import Catalogue, Entry, update

def forked(work, *names):
    children = []
    for name in names:
        if not (child := os.fork()):
            work(name)
            os._exit(0)
        children.append(child)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    print(*codes)

folder = Path(sys.argv[1])
"""
EDITS = """
def edit(name):
    own = 3 + (name == "b")
    for number in range(50):
        update(folder, lambda now: now.edited(1, label=f"{name} {number}").edited(own, notes=f"{number}"), name)

forked(edit, "a", "b")
"""
SWITCHES = """
def switch(name):
    for row in 5 * list(range(8)):
        Catalogue(torch.eye(8)[row : row + 1], (Entry(label=str(row)),), "", "abc").save(folder)

forked(switch, "a", "b")
"""
CRASH = """
storage.write_json = lambda *arguments: os._exit(9)
after = Catalogue(torch.eye(8)[:2], (Entry(label="after"),) * 2, "after", "abc")
forked(lambda name: after.save(folder / name), "old", "fresh")
"""
HOLD = """
import fcntl, sys, time
with open(sys.argv[1] + "/catalogue.lock", "a") as stream:
    fcntl.flock(stream, fcntl.LOCK_EX)
    print("held", flush=True)
    time.sleep(60)
"""


def start(program: str, *arguments: object) -> subprocess.Popen[str]:
    root = Path(__file__).resolve().parents[3]
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True)


def running(process: subprocess.Popen[str]) -> Iterator[int]:
    """Count 0, 1, ... as long as ``process`` runs."""
    for number in count():
        if process.poll() is not None:
            return
        yield number
        time.sleep(0.003)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_two_processes_that_edit_at_once_lose_nothing(tmp_path: Path) -> None:
    seeded_catalogue().save(tmp_path)
    writers = start(FORK + EDITS, tmp_path)
    seen = {load_catalogue(tmp_path).entries[1].label for _ in running(writers)}
    assert writers.communicate()[0] == "0 0\n" and len(seen) > 4
    entries = load_catalogue(tmp_path).entries
    history = entries[1].history
    assert {change.after for change in history} == {f"{name} {number}" for name in "ab" for number in range(50)}
    # Each edit saw the one before it, so the two did take turns and none went back to an older state.
    assert [change.before for change in history] == ["label 1", *(change.after for change in history[:-1])]
    assert {change.by for change in history} == {"a", "b"} and entries[1].label == history[-1].after
    assert (entries[3].notes, entries[4].notes, len(entries[3].history), len(entries[4].history)) == ("49", "49", 50, 50)
    assert names(tmp_path) == {"catalogue.json", "directions.safetensors"}


def test_a_reader_never_sees_directions_of_another_state(tmp_path: Path) -> None:
    Catalogue(torch.eye(8)[:1], (Entry(label="0"),), "", "abc").save(tmp_path)
    writers = start(FORK + SWITCHES, tmp_path)
    seen = set()
    for _ in running(writers):
        catalogue = load_catalogue(tmp_path)
        row = int(catalogue.directions[0].argmax())
        assert catalogue.entries[0].label == str(row)
        seen.add(row)
    assert writers.communicate()[0] == "0 0\n" and len(seen) > 3
    assert len(names(tmp_path)) == 2


def test_threads_take_turns_too(tmp_path: Path) -> None:
    seeded_catalogue().save(tmp_path)

    def edit(name: int) -> None:
        for number in range(5):
            update(tmp_path, partial(Catalogue.edited, index=0, notes=f"{name} {number}"))

    threads = [threading.Thread(target=edit, args=(name,)) for name in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(load_catalogue(tmp_path).entries[0].history) == 30


def test_a_process_killed_between_the_two_files_leaves_the_old_state(tmp_path: Path) -> None:
    before, folder = seeded_catalogue(), tmp_path / "old"
    before.save(folder)
    assert start(FORK + CRASH, tmp_path).communicate()[0] == "9 9\n"
    assert len(list(folder.glob("*.safetensors"))) == 2 and "catalogue.lock" in names(folder)
    loaded = load_catalogue(folder)
    assert loaded.entries == before.entries and torch.equal(loaded.directions, before.directions)
    # What it left does not keep the next writer out, and goes.
    update(folder, lambda catalogue: catalogue.edited(0, label="next"))
    assert names(folder) == {"catalogue.json", "directions.safetensors"}
    with pytest.raises(LanternError, match=r"catalogue\.json does not exist"):
        load_catalogue(tmp_path / "fresh")
    before.save(tmp_path / "fresh")
    assert load_catalogue(tmp_path / "fresh").entries == before.entries


def test_a_file_of_other_directions_under_the_same_name_is_told(tmp_path: Path) -> None:
    for number, folder in enumerate((tmp_path / "one", tmp_path / "two")):
        seeded_catalogue(seed=number).save(folder)
    shutil.copyfile(tmp_path / "two" / "directions.safetensors", tmp_path / "one" / "directions.safetensors")
    with pytest.raises(LanternError, match=r"is not the file that catalogue\.json was written for"):
        load_catalogue(tmp_path / "one")


@pytest.mark.parametrize("name", ["../one/directions.safetensors", "/etc/passwd", "directions-0.safetensors", 3, None])
def test_only_a_file_of_directions_in_the_folder_is_opened(tmp_path: Path, name: object) -> None:
    seeded_catalogue().save(tmp_path)
    described = json.loads((tmp_path / "catalogue.json").read_text())
    described["directions"]["file"] = name
    (tmp_path / "catalogue.json").write_text(json.dumps(described))
    with pytest.raises(LanternError, match="names no file of directions"):
        load_catalogue(tmp_path)


def test_a_folder_of_before_there_were_versions_is_read_and_changed(tmp_path: Path) -> None:
    old = tmp_path / "old"
    shutil.copytree(POCKET_DIRECTIONS, old)
    described = json.loads((old / "catalogue.json").read_text())
    for entry in described["entries"]:
        for name in ("source", "thumbnail", "history"):
            entry.pop(name, None)
    described.pop("directions", None)
    (old / "catalogue.json").write_text(json.dumps(described))
    stored = load_file(POCKET_DIRECTIONS / "directions.safetensors")["directions"]
    loaded = load_catalogue(old)
    assert torch.equal(loaded.directions, stored) and [e.label for e in loaded.entries] == [
        entry["label"] for entry in described["entries"]
    ]
    update(old, lambda catalogue: catalogue.edited(7, label="seven"), "a test")
    again = load_catalogue(old)
    assert torch.equal(again.directions, stored) and again.entries[7].label == "seven"
    assert [entry for i, entry in enumerate(again.entries) if i != 7] == [e for i, e in enumerate(loaded.entries) if i != 7]
    assert names(old) == {"catalogue.json", "directions.safetensors"}


def test_a_writer_waits_for_another_only_so_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seeded_catalogue().save(tmp_path)
    other = start(HOLD, tmp_path)
    try:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        monkeypatch.setattr(storage, "PATIENCE", 0.1)
        with pytest.raises(LanternError, match="is being written by another process"):
            update(tmp_path, lambda catalogue: catalogue.edited(0, label="late"))
        assert load_catalogue(tmp_path).entries[0].label == "label 0"
    finally:
        other.kill()
        other.communicate()
    # A lock goes with its process, whatever becomes of the file.
    assert update(tmp_path, lambda catalogue: catalogue.edited(0, label="now")).entries[0].label == "now"


def test_a_lock_on_a_file_that_is_no_longer_there_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other writer is done, and takes its file away, between the opening and the locking of that same file."""
    real, path, calls = fcntl.flock, tmp_path / "catalogue.lock", []

    def flock(stream: TextIO, how: int) -> None:
        calls.append(how)
        if len(calls) == 1:
            path.unlink()
        real(stream, how)

    monkeypatch.setattr("explorer.directions.storage.fcntl.flock", flock)
    with storage.locked(tmp_path):
        assert path.exists() and len(calls) == 2
        with pytest.raises(LanternError, match="by another process"), storage.locked(tmp_path, patience=0):
            pass
    assert not path.exists()


def test_a_failed_change_leaves_everything_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seeded_catalogue().save(tmp_path)
    before = {name: (tmp_path / name).read_bytes() for name in names(tmp_path)}
    with pytest.raises(LanternError, match="no direction 9"):
        update(tmp_path, lambda catalogue: catalogue.edited(9, label="none"))
    with pytest.raises(ZeroDivisionError):
        update(tmp_path, lambda catalogue: catalogue.edited(0, magnitude=1 / 0))

    def full(*arguments: object) -> None:
        raise LanternError("the disk is full", "Free some.")

    monkeypatch.setattr(storage, "write_json", full)
    with pytest.raises(LanternError, match="disk is full"):
        update(tmp_path, lambda catalogue: catalogue.edited(0, label="more"))
    assert {name: (tmp_path / name).read_bytes() for name in names(tmp_path)} == before


def test_a_folder_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(LanternError, match="cannot be written"):
        seeded_catalogue().save(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"


def test_long_work_changes_only_what_it_changed(tmp_path: Path) -> None:
    seeded_catalogue().save(tmp_path)
    before = load_catalogue(tmp_path)
    after = before.edited(0, magnitude=2.0, scores={"total": 0.9}).with_lighting(5)
    update(tmp_path, lambda catalogue: catalogue.edited(0, label="by hand").edited(1, magnitude=7.0))
    now = save_changes(tmp_path, before, after, "rank")
    assert (now.entries[0].label, now.entries[0].magnitude, now.entries[0].scores) == ("by hand", 2.0, {"total": 0.9})
    assert now.entries[1].magnitude == 7.0 and now.lighting == 5
    # A direction that was chosen while the work went on stays the chosen one.
    update(tmp_path, lambda catalogue: catalogue.with_lighting(4))
    later = save_changes(tmp_path, now, now.edited(3, sign=-1).with_lighting(0), "rank")
    assert later.lighting == 4 and later.entries[3].sign == -1
    assert [entry.status for entry in later.entries].count("saliency lighting") == 1
    assert load_catalogue(tmp_path).entries == later.entries
    seeded_catalogue(seed=1).save(tmp_path)
    with pytest.raises(LanternError, match="other directions were written"):
        save_changes(tmp_path, later, later.edited(0, sign=-1))

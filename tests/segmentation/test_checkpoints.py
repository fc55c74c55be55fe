from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from segmentation import tensors
from segmentation.checkpoints import NAME, damaged, load_checkpoint, previous, save_checkpoint
from segmentation.errors import LanternError
from segmentation.tensors import save_tensors

KIND = "checkpoint of a test"


def save(path: Path, step: int) -> None:
    state = {"weights": torch.full((50, 40), float(step)), "count": torch.tensor(step)}
    save_checkpoint(path, state, {"kind": KIND, "step": step, "widths": (3, 4), "by": {1: 0.1}})


def loaded(path: Path) -> tuple[int, str]:
    found = load_checkpoint(path, KIND)
    assert found is not None
    step = found.header["step"]
    assert torch.equal(found.tensors["weights"], torch.full((50, 40), float(step)))
    assert set(found.header) == {"kind", "step", "widths", "by"}
    return step, found.said


def test_there_is_none_at_first(tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path / NAME, KIND) is None


def test_the_newest_is_loaded_and_two_are_kept(tmp_path: Path) -> None:
    path = tmp_path / NAME
    for step in (1, 2, 3):
        save(path, step)
        assert loaded(path) == (step, "")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["checkpoint.previous.safetensors", NAME]
    assert loaded(previous(path))[0] == 2


@pytest.mark.parametrize("how", ["half", "nothing", "flipped", "zeros"])
def test_of_one_that_is_damaged_the_one_before_is_used_and_said(tmp_path: Path, how: str) -> None:
    path = tmp_path / NAME
    save(path, 1)
    save(path, 2)
    whole = path.read_bytes()
    broken = {
        "half": whole[: len(whole) // 2],
        "nothing": b"",
        "flipped": whole[:-100] + bytes([whole[-100] ^ 1]) + whole[-99:],
        "zeros": whole[: len(whole) // 2] + bytes(len(whole) - len(whole) // 2),
    }
    # Written anew, since the name may share its contents with others.
    path.unlink()
    path.write_bytes(broken[how])
    step, said = loaded(path)
    assert step == 1
    assert str(path) in said and "checkpoint before it, checkpoint.previous.safetensors" in said
    assert damaged(path).read_bytes() == broken[how]
    # What is saved next does not push the good one out by the bad one.
    save(path, 2)
    assert loaded(path) == (2, "")
    assert loaded(previous(path))[0] == 1


def test_one_that_is_missing_is_said(tmp_path: Path) -> None:
    path = tmp_path / NAME
    save(path, 1)
    save(path, 2)
    path.unlink()
    step, said = loaded(path)
    assert step == 1 and f"{path} is missing" in said


def test_two_that_are_damaged_are_an_error_with_a_remedy(tmp_path: Path) -> None:
    path = tmp_path / NAME
    path.write_bytes(b"half")
    previous(path).write_bytes(b"")
    with pytest.raises(LanternError) as caught:
        load_checkpoint(path, KIND)
    assert str(path) in caught.value.problem and str(previous(path)) in caught.value.problem
    assert "Remove checkpoint.safetensors and checkpoint.previous.safetensors" in caught.value.remedy
    assert path.read_bytes() == b"half"


def test_one_of_another_kind_is_refused_and_stays(tmp_path: Path) -> None:
    path = tmp_path / NAME
    save(path, 1)
    with pytest.raises(LanternError, match="is no checkpoint of a fit"):
        load_checkpoint(path, "checkpoint of a fit")
    assert loaded(path) == (1, "")


def test_one_without_a_checksum_is_read(tmp_path: Path) -> None:
    path = tmp_path / NAME
    save_tensors(path, {"weights": torch.ones(3)}, {"kind": KIND})
    found = load_checkpoint(path, KIND)
    assert found is not None and found.header == {"kind": KIND}


def test_a_disk_that_is_full_leaves_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / NAME
    save(path, 1)
    save(path, 2)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}

    def full(*given: object, **named: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tensors, "save_file", full)
    with pytest.raises(LanternError, match="the disk is full"):
        save(path, 3)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_without_links_it_is_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*given: object) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    path = tmp_path / NAME
    save(path, 1)
    save(path, 2)
    assert (loaded(path)[0], loaded(previous(path))[0]) == (2, 1)


def test_a_kill_at_any_moment_leaves_one_that_is_whole(tmp_path: Path) -> None:
    program = """
import sys
from pathlib import Path
from tests.segmentation.test_checkpoints import save
for step in range(1, 100_000):
    save(Path(sys.argv[1]), step)
    print(step, flush=True)
"""
    path = tmp_path / NAME
    reported = 0
    for delay in (0.0, 0.005):
        with subprocess.Popen(
            [sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
        ) as process:
            assert process.stdout is not None
            for _ in range(3):
                reported = int(process.stdout.readline())
            time.sleep(delay)
            process.send_signal(signal.SIGKILL)
            for line in process.stdout.read().split("\n")[:-1]:
                reported = int(line)
        assert loaded(path)[0] in (reported, reported + 1)
    save(path, 7)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["checkpoint.previous.safetensors", NAME]

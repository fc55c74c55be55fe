from __future__ import annotations

import errno
import os
import resource
import signal
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError

from segmentation.errors import LanternError
from segmentation.files import (
    read_array,
    write_array,
    write_array_in_parts,
    write_arrays,
    write_image,
    write_json,
    write_text,
)
from segmentation.tensors import save_tensors
from segmentation.training import train
from tests.segmentation.sources import disc_source
from tests.segmentation.test_training import CPU, Notebook, configuration


def test_an_array_in_parts_is_the_array(tmp_path: Path) -> None:
    array = np.random.default_rng(0).standard_normal((7, 3, 4)).astype(np.float32)
    parts = (array[:3], np.asfortranarray(array[3:4]), array[4:])
    write_array_in_parts(tmp_path / "a.npy", array.shape, iter(parts))
    found = read_array(tmp_path / "a.npy")
    assert found.dtype == np.float32
    assert np.array_equal(found, array)


def test_parts_that_fail_or_do_not_add_up_leave_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    path.write_bytes(b"before")

    def failing() -> Iterator[NDArray[np.float32]]:
        yield np.zeros((2, 3), np.float32)
        raise LanternError("no more", "Stop.")

    with pytest.raises(LanternError, match="no more"):
        write_array_in_parts(path, (4, 3), failing())
    for wrong in (np.zeros((3, 3), np.float32), np.zeros((4, 2), np.float32)):
        with pytest.raises(ValueError, match=r"instead of 4|a part of shape"):
            write_array_in_parts(path, (4, 3), [wrong])
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_has_the_usual_permissions_and_the_umask_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "plain").touch()

    def refuse(mask: int) -> int:
        raise AssertionError("the umask was touched")

    monkeypatch.setattr(os, "umask", refuse)
    write_text(tmp_path / "written", "x")
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "written")]
    assert modes[0] == modes[1]


WRITERS: dict[str, Callable[[Path], None]] = {
    "a.npy": lambda path: write_array(path, np.zeros(100_000)),
    "b.npy": lambda path: write_array_in_parts(path, (100_000,), [np.zeros(100_000, np.float32)]),
    "c.safetensors": lambda path: save_tensors(path, {"a": torch.zeros(100_000)}, {}),
    "d.npz": lambda path: write_arrays(path, {"a": np.random.default_rng(0).standard_normal(100_000)}),
    "e.json": lambda path: write_json(path, "x" * 400_000),
    "f.png": lambda path: write_image(path, np.random.default_rng(0).integers(0, 256, (300, 300, 3)).astype(np.uint8)),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_is_called_so_and_leaves_what_was_there(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"before")
    with little_room(), pytest.raises(LanternError) as raised:
        WRITERS[name](path)
    assert raised.value.problem.startswith(f"the disk is full: {path} could not be written")
    assert "Free some space, for example by deleting runs or data sets" in raised.value.remedy
    assert "run the same command again" in raised.value.remedy
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]
    WRITERS[name](path)
    assert path.stat().st_size > 50_000


@pytest.mark.parametrize(("said", "number"), [("No space left on device (os error 28)", errno.ENOSPC), ("broken", errno.EIO)])
def test_what_the_library_of_tensors_says_keeps_its_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, number: int
) -> None:
    def fail(*given: object, **named: object) -> None:
        raise SafetensorError(f"Error while serializing: I/O error: {said}")

    monkeypatch.setattr("segmentation.tensors.save_file", fail)
    with pytest.raises(LanternError) as raised:
        save_tensors(tmp_path / "a.safetensors", {"a": torch.zeros(1)}, {})
    assert raised.value.problem.startswith("the disk is full") == (number == errno.ENOSPC)
    assert isinstance(raised.value.__cause__, OSError) and raised.value.__cause__.errno == number


def test_a_training_on_a_full_disk_loses_nothing_that_was_saved(tmp_path: Path) -> None:
    config = configuration(steps=6, checkpoint_every=2, validate_every=6)
    whole, rest = Notebook(), Notebook()
    train(disc_source(), config, tmp_path / "whole", whole, CPU)
    train(disc_source(), config, tmp_path / "full", Notebook(2), CPU)
    before = (tmp_path / "full" / "checkpoint.safetensors").read_bytes()
    with little_room(), pytest.raises(LanternError, match="the disk is full"):
        train(disc_source(), config, tmp_path / "full", Notebook(), CPU)
    assert (tmp_path / "full" / "checkpoint.safetensors").read_bytes() == before
    train(disc_source(), config, tmp_path / "full", rest, CPU)
    assert sorted(rest.figures) == [3, 4, 5, 6]
    assert all(rest.figures[step]["loss"] == whole.figures[step]["loss"] for step in rest.figures)


@contextmanager
def little_room() -> Iterator[None]:
    """No file may grow beyond 50,000 bytes in the block: the system then fails as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)

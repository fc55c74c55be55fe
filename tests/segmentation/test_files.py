from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from segmentation.errors import LanternError
from segmentation.files import read_array, write_array_in_parts, write_text


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

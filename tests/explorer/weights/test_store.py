from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
import torch

from explorer.weights.installing import install
from explorer.weights.store import digest_of, folder_of, home, installed, record_of, remove, verify
from segmentation.errors import LanternError


def test_where_home_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("LANTERN_HOME", str(tmp_path / "mine"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert home() == tmp_path / "mine"
    monkeypatch.setenv("LANTERN_HOME", "~/lamps")
    assert home() == tmp_path / "lamps"
    monkeypatch.delenv("LANTERN_HOME")
    assert home() == tmp_path / "cache" / "lantern"
    for ignored in ("", "relative/cache"):
        monkeypatch.setenv("XDG_CACHE_HOME", ignored)
        assert home() == tmp_path / ".cache" / "lantern"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert home() == tmp_path / ".cache" / "lantern"


@pytest.fixture
def direction(tmp_path: Path) -> Path:
    torch.save(torch.ones(120), tmp_path / "mine.pth")
    return install("bg-direction", tmp_path / "mine.pth")


def test_a_touched_file_is_still_what_was_installed(direction: Path) -> None:
    os.utime(direction, (1, 1))
    assert installed("bg-direction") == direction


def test_a_changed_file_is_not(direction: Path, tmp_path: Path) -> None:
    direction.write_bytes(direction.read_bytes()[:-1] + b"x")
    for look in (installed, verify):
        with pytest.raises(LanternError, match="is no longer what was installed. Install it again"):
            look("bg-direction")
    again = install("bg-direction", tmp_path / "mine.pth")
    assert installed("bg-direction") == again
    assert again.read_bytes() == (tmp_path / "mine.pth").read_bytes()


def test_a_change_that_keeps_size_and_time_is_found_by_reading(direction: Path) -> None:
    state = direction.stat()
    content = bytearray(direction.read_bytes())
    content[-1] ^= 1
    direction.write_bytes(content)
    os.utime(direction, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert installed("bg-direction") == direction
    with pytest.raises(LanternError, match="no longer"):
        verify("bg-direction")


def test_a_vanished_file_is_not_installed(direction: Path) -> None:
    direction.unlink()
    assert installed("bg-direction") is None
    assert verify("bg-direction") is None


def test_removing_leaves_the_checksum_alone(direction: Path) -> None:
    folder = folder_of("bg-direction")
    assert remove("bg-direction")
    assert sorted(path.name for path in folder.iterdir()) == ["first-use.json", "lock"]
    assert not remove("bg-direction")
    assert not remove("unet-cub")
    assert record_of("bg-direction") is None


def test_a_damaged_record_is_said_and_installing_puts_it_right(direction: Path, tmp_path: Path) -> None:
    (folder_of("bg-direction") / "record.json").write_text("{")
    with pytest.raises(LanternError, match="not valid JSON"):
        installed("bg-direction")
    assert install("bg-direction", tmp_path / "mine.pth") == installed("bg-direction")


def test_the_digest_of_a_folder_sees_names_and_contents(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "below").mkdir(parents=True)
    (folder / "b").write_bytes(b"1")
    (folder / "below" / "a").write_bytes(b"2")
    lines = f"b {hashlib.sha256(b'1').hexdigest()}\nbelow/a {hashlib.sha256(b'2').hexdigest()}\n"
    before = digest_of(folder)
    assert before == hashlib.sha256(lines.encode()).hexdigest()
    (folder / "b").rename(folder / "c")
    assert digest_of(folder) != before
    assert digest_of(folder / "c") == hashlib.sha256(b"1").hexdigest()

from __future__ import annotations

import errno
import os
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from segmentation.errors import LanternError
from segmentation.foreign import load_foreign, save_foreign, state_of, unwrapped

WEIGHT = torch.arange(12.0).view(3, 4)


class Malice:
    """Unpickled, it makes a folder."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.target),)


def test_what_is_written_any_pytorch_reads_and_so_do_we(tmp_path: Path) -> None:
    save_foreign(tmp_path / "w.pth", {"a": WEIGHT, "b": torch.tensor(2)})
    for loaded in (torch.load(tmp_path / "w.pth", weights_only=True), load_foreign(tmp_path / "w.pth")):
        assert list(loaded) == ["a", "b"]
        assert torch.equal(loaded["a"], WEIGHT) and loaded["b"] == 2


@pytest.mark.parametrize("form", ["archive", "packed again", "before 1.6"])
def test_every_form_of_file_is_read(tmp_path: Path, form: str) -> None:
    path = tmp_path / "w.pth"
    torch.save({"a": WEIGHT}, path, _use_new_zipfile_serialization=form != "before 1.6")
    if form == "packed again":
        with zipfile.ZipFile(path) as archive:
            content = {name: archive.read(name) for name in archive.namelist()}
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in content.items():
                archive.writestr(name, data)
    assert torch.equal(load_foreign(path)["a"], WEIGHT)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_pickle_does_not_run(tmp_path: Path, zipped: bool) -> None:
    path, target = tmp_path / "evil.pth", tmp_path / "ran"
    torch.save({"a": WEIGHT, "more": Malice(target)}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(LanternError, match=r"evil.pth holds more than weights.*was not opened"):
        load_foreign(path)
    assert not target.exists()
    torch.load(path, weights_only=False)
    assert target.exists(), "the file was harmless: the test would prove nothing"


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
@pytest.mark.parametrize("zipped", [True, False])
def test_files_cut_short_are_named(tmp_path: Path, share: float, zipped: bool) -> None:
    path = tmp_path / "cut.pth"
    torch.save({"a": torch.randn(100, 100)}, path, _use_new_zipfile_serialization=zipped)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(LanternError, match=r"cut\.pth (is no PyTorch file|holds more than weights, or it is damaged)"):
        load_foreign(path)
    with pytest.raises(LanternError, match=r"none\.pth does not exist"):
        load_foreign(tmp_path / "none.pth")


def test_a_full_disk_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "w.pth").write_bytes(b"before")
    monkeypatch.setattr("segmentation.files.os.fsync", full)
    with pytest.raises(LanternError, match="disk is full"):
        save_foreign(tmp_path / "w.pth", WEIGHT)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"before"]


@pytest.mark.parametrize(
    ("loaded", "names"),
    [
        ({"a": WEIGHT}, ["a"]),
        ({"module.a": WEIGHT, "b.module.c": WEIGHT}, ["a", "b.module.c"]),
        ({"model": {"a": WEIGHT}, "optimizer": {}, "epoch": 3}, ["a"]),
        ({"model": {"state_dict": {"module.a": WEIGHT}}}, ["a"]),
        ({"a": WEIGHT, "epoch": 3}, None),
        ({3: WEIGHT}, None),
        ({}, None),
        (WEIGHT, None),
        ([WEIGHT], None),
    ],
)
def test_a_state_dict_is_found_where_it_is_kept(loaded: Any, names: list[str] | None) -> None:
    state = state_of(loaded)
    assert (None if state is None else list(state)) == names
    assert state is None or all(torch.equal(value, WEIGHT) for value in state.values())


def test_what_is_beside_the_tensors_is_kept_for_who_lists_it() -> None:
    assert unwrapped({"state_dict": {"module.a": 1, 3: "x"}, "epoch": 7}) == {"a": 1, 3: "x"}
    assert unwrapped([1]) is None

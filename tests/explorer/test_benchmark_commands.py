"""The commands of the benchmarks: datasets, reproduce, ablate."""

from __future__ import annotations

from pathlib import Path

import pytest

from explorer.__main__ import main
from tests.segmentation.miniatures import build_all, ecssd


def run(*arguments: object) -> int:
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as stop:
        return int(stop.code or 0)


def test_datasets_are_listed_with_counts_and_sources(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ecssd(tmp_path)
    (tmp_path / "ECSSD/images/0002.jpg").unlink()
    assert run("datasets", "list", "--root", tmp_path) == 0
    told = capsys.readouterr().out
    assert f"ECSSD: 2 of 1000 images with masks in {tmp_path / 'ECSSD'}" in told
    assert "1 masks without an image: 0002" in told
    assert "DUTS-TE: not there" in told and "http://saliencydetection.net/duts/" in told
    assert "1 of 13 data sets are there" in told
    build_all(tmp_path)
    assert run("datasets", "list", "--root", tmp_path) == 0
    assert "13 of 13 data sets are there" in capsys.readouterr().out


def test_datasets_without_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("datasets", "list", "--root", tmp_path / "nowhere") == 2
    assert "does not exist" in capsys.readouterr().err

from __future__ import annotations

from pathlib import Path

import pytest

from explorer.__main__ import main
from explorer.runs.command import folder_of, moved, read_command
from segmentation.files import read_json
from segmentation.progress import Unwatched
from segmentation.shards import ShardConfig, write_shards
from tests.segmentation.sources import Brightness


def test_an_export_leaves_a_clean_folder_and_its_run_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_shards(Brightness(), ShardConfig(count=19, shard_size=8), tmp_path / "made", Unwatched())
    command = ["data", "export", "made", "--to", "webdataset", "--out", "tars"]
    for _ in range(2):
        assert main(command) == 0
        assert capsys.readouterr().out == "19 samples in tars\n"
    assert sorted(path.name for path in (tmp_path / "tars").iterdir()) == ["00000.tar", "00001.tar", "00002.tar"]
    assert folder_of(command) == Path("tars.run")
    assert read_json(tmp_path / "tars.run" / "status.json")["state"] == "done"
    kept = read_command(tmp_path / "tars.run")
    assert kept is not None and list(kept.arguments) == command
    assert moved(command, Path("more/tars-2.run"))[-1] == "more/tars-2"

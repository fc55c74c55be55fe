"""One of two processes that work together is killed, with nobody to look after them: the other ends with an error."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from explorer.directions.catalogue import Catalogue, Entry
from explorer.runs.listing import view
from segmentation.reading import Shards, verify
from tests.analytic import lighting
from tests.explorer.encoders import flat_codes, write_flat
from tests.explorer.runs.waiting import until
from tests.explorer.test_commands import run

pytestmark = pytest.mark.timeout(300)
ROOT = Path(__file__).parents[2]
ENCODERS = Path(__file__).with_name("encoders.py")


def start_two(arguments: list[str], folder: Path, **surroundings: str) -> list[subprocess.Popen[str]]:
    """Two processes of the command that can meet, and no torchrun that ends the one when the other dies."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    shared |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **surroundings}
    command = [sys.executable, "-m", "explorer", *arguments]
    return [
        subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **shared, "RANK": rank, "LOCAL_RANK": rank},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in ("0", "1")
    ]


def kill_one(processes: list[subprocess.Popen[str]], killed: int, when: Callable[[], bool]) -> str:
    """Kill one of them when it is time to; what the other says as it ends with exit code 2."""
    until(lambda: when() or any(process.poll() is not None for process in processes), "both are at work")
    processes[killed].send_signal(signal.SIGKILL)
    try:
        said = processes[1 - killed].communicate(timeout=100)[1]
    finally:
        for process in processes:
            process.kill()
    assert processes[killed].wait() == -signal.SIGKILL
    assert processes[1 - killed].returncode == 2, said
    return " ".join(said.split())


@pytest.mark.parametrize("killed", [0, 1])
def test_generate_misses_a_process_that_was_killed_and_goes_on_later(tmp_path: Path, killed: int) -> None:
    directions, out = tmp_path / "directions", tmp_path / "data"
    entries = (Entry(status="saliency lighting", magnitude=5.0),)
    Catalogue(lighting()[None], entries, "by hand", "disc-1").save(directions)
    source = ["--generator", f"{ENCODERS}:SlowDisc", "--directions", str(directions), "--engine.device", "cpu"]
    filters = ["--synthesis.filters.no-histogram", "--synthesis.candidates", "8"]
    options = ["generate", *source, *filters, "--count", "120", "--shard-size", "10", "--checkpoint-every", "5"]

    def both_at_work() -> bool:
        return all((out / f"shard-0000{number}.json").exists() for number in (0, 1))

    processes = start_two([*options, "--out", str(out)], tmp_path, GENERATOR_SECONDS="0.2")
    said = kill_one(processes, killed, both_at_work)
    assert f"process {killed} of 2 has ended before the data set was done" in said
    assert "Run the same command again: it goes on with the shards that are missing" in said
    assert view(out).state == ("dead" if killed == 0 else "failed")
    saved = {path.name: path.stat().st_mtime_ns for path in out.glob("shard-*.json")}
    assert run(*options, "--out", out) == 0
    assert view(out).state == "done" and len(Shards(out)) == 120 and verify(out) == []
    assert all((out / name).stat().st_mtime_ns == when for name, when in saved.items())
    assert run(*options, "--out", tmp_path / "whole") == 0
    for name in [path.name for path in out.glob("*.npy")]:
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.parametrize("killed", [0, 1])
def test_encode_misses_a_process_that_was_killed_and_goes_on_later(
    tmp_path: Path, killed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_flat(tmp_path / "images", 60)
    out, folder = tmp_path / "z.npy", tmp_path / "z.run"
    log = tmp_path / "log.txt"
    options = ["encode", "--generator", f"{ENCODERS}:LoggingEncoder", "--images", str(tmp_path / "images")]
    options += ["--out", str(out), "--block-size", "2", "--engine.device", "cpu"]

    def both_at_work() -> bool:
        return all((folder / f"block-000000{number}.npz").exists() for number in (0, 1))

    processes = start_two(options, tmp_path, ENCODER_SECONDS="0.2", ENCODER_LOG=str(log))
    said = kill_one(processes, killed, both_at_work)
    assert f"process {killed} of 2 has ended before all photographs were encoded" in said
    assert "Run the same command again: it goes on with the photographs that are missing" in said
    assert view(folder).state == ("dead" if killed == 0 else "failed")
    assert not out.exists()
    before = len(list(folder.glob("block-*.npz")))
    assert 2 <= before < 30
    monkeypatch.setenv("ENCODER_LOG", str(tmp_path / "second.txt"))
    assert run(*options) == 0
    assert np.allclose(np.load(out), flat_codes(list(range(60))), atol=1e-6)
    assert len((tmp_path / "second.txt").read_text().splitlines()) == 60 - 2 * before
    assert view(folder).state == "done"

"""The commands as torchrun starts them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from explorer.runs.store import read_status
from segmentation.reading import Shards, verify
from segmentation.tensors import load_tensors
from tests.explorer.test_commands import TRAIN, run

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(300)
def test_accelerate_makes_the_data_set_that_the_plain_command_does(small_generator: Path, tmp_path: Path) -> None:
    filters = ["--synthesis.filters.no-histogram", "--synthesis.filters.no-size"]
    arguments = ["generate", "--generator", str(small_generator), *filters, "--count", "40", "--shard-size", "10"]
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2", "--num_machines", "1"]
    launcher += ["--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0", "-m", "explorer"]
    surroundings = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HOME": str(tmp_path / "home")}
    command = [*launcher, *arguments, "--engine.device", "cpu", "--out", str(tmp_path / "two")]
    ended = subprocess.run(command, cwd=tmp_path, env=surroundings, capture_output=True, text=True, check=False, timeout=280)
    assert ended.returncode == 0, ended.stderr
    assert run(*arguments, "--engine.device", "cpu", "--out", tmp_path / "one") == 0
    names = sorted(path.name for path in (tmp_path / "one").glob("*.npy"))
    assert len(names) == 8
    assert all((tmp_path / "two" / name).read_bytes() == (tmp_path / "one" / name).read_bytes() for name in names)
    assert ended.stdout.count("40 samples in") == 1


@pytest.mark.timeout(300)
def test_torchrun_trains_what_the_plain_command_does(small_generator: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    filters = ("--synthesis.filters.no-histogram", "--synthesis.filters.no-size")
    assert run("generate", "--generator", small_generator, *filters, "--count", 16, "--out", data) == 0
    assert verify(data) == [] and len(Shards(data)) == 16
    arguments = ["train", *TRAIN, "--data", str(data), "--steps", "2", "--precision", "float32", "--engine.device", "cpu"]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "explorer"]
    surroundings = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [*launcher, *arguments, "--out", str(tmp_path / "two")]
    ended = subprocess.run(command, cwd=tmp_path, env=surroundings, capture_output=True, text=True, check=False, timeout=280)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("unet.safetensors: 2 steps") == 1
    assert run(*arguments, "--out", tmp_path / "one") == 0
    one, two = (load_tensors(tmp_path / name / "checkpoint.safetensors")[0] for name in ("one", "two"))
    assert max(float((one[name] - two[name]).abs().max()) for name in one if name.startswith("net.")) < 1e-5
    assert read_status(tmp_path / "two")["state"] == "done"
    lines = [json.loads(line)["step"] for line in (tmp_path / "two" / "metrics.jsonl").read_text().splitlines()]
    assert lines == [1, 2]

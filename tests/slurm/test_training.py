"""A training on a real Slurm: warned, queued again, stopped and resumed, it has the losses of one that nothing happened to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from explorer.__main__ import main
from explorer.runs import launcher, slurm
from explorer.runs.launcher import LaunchConfig
from explorer.runs.listing import metrics, view
from segmentation.checkpoints import NAME
from segmentation.tensors import load_tensors
from tests.explorer.runs.counting import ROOT
from tests.explorer.runs.waiting import until, until_state, until_step

pytestmark = pytest.mark.timeout(400)

STEPS = 300
TRAIN = [
    *("train", "--steps", str(STEPS), "--batch-size", "4", "--unet.width", "4", "--held-out", "4", "--streams", "1"),
    *("--synthesis.candidates", "8", "--precision", "float32", "--engine.device", "cpu"),
]


@pytest.fixture
def folder(slurm_node: str, tmp_path: Path) -> Iterator[Path]:
    """The folder of a run; a job of it that is left over is taken away."""
    yield tmp_path / "run"
    if (tmp_path / "run" / "status.json").exists() and (job := view(tmp_path / "run").job) is not None:
        slurm.cancel(job)


def test_a_training_is_warned_queued_again_stopped_and_resumed(folder: Path, tmp_path: Path) -> None:
    launcher.start([*TRAIN, "--out", str(folder)], folder, LaunchConfig("slurm", partition="low"), ROOT)
    first = until_step(folder, 3)
    # What Slurm sends some time before the end of the time limit.
    slurm.signal_job(str(first.job), "USR2")
    until(lambda: "the time is nearly over: saving" in (folder / "log.txt").read_text(), "the warning")
    queued = until_state(folder, "queued")
    saved = load_tensors(folder / NAME)[1]["step"]
    assert first.step <= saved == queued.step < STEPS
    again = until_step(folder, saved + 2)
    assert (again.state, again.job) == ("running", first.job) and again.process != first.process
    launcher.stop(folder)
    stopped = until_state(folder, "stopped")
    assert saved < stopped.step == load_tensors(folder / NAME)[1]["step"] < STEPS
    launcher.resume(folder)
    done = until_state(folder, "done")
    assert (done.step, done.job != first.job) == (STEPS, True)
    log = (folder / "log.txt").read_text()
    assert f"resuming at step {saved} of" in log and f"resuming at step {stopped.step} of" in log
    assert main([*TRAIN, "--out", str(tmp_path / "plain")]) == 0
    losses, plain = ([(line["step"], line["loss"]) for line in metrics(place)] for place in (folder, tmp_path / "plain"))
    assert losses == plain and len(plain) == STEPS
    nets = [load_tensors(place / "unet.safetensors")[0] for place in (folder, tmp_path / "plain")]
    assert all(torch.equal(value, nets[1][name]) for name, value in nets[0].items())

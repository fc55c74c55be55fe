from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from explorer.generators.fitting import fit_generator
from explorer.generators.seeds import Draws, source_for
from segmentation.errors import LanternError
from segmentation.processes import Several
from tests.explorer.generators.discs import Figures, brief_fit, draw_discs

CPU = torch.device("cpu")
ROOT = Path(__file__).parents[3]
OPTIONS = """--pocket.latent-dim 8 --pocket.appearance-dim 3 --pocket.map-channels 4 --pocket.width 16 --pocket.channels 16
    --material.rounds 1 --material.steps 2 --material.batch-size 4 --material.width 2 --autoencoder-steps 3
    --variational-steps 3 --joint-steps 2 --adversarial-steps 2 --batch-size 8 --adversarial-batch-size 4 --checkpoint-every 2
    --precision float32 --device cpu"""


@pytest.mark.timeout(400)
def test_two_processes_fit_what_one_does(tmp_path: Path) -> None:
    images, one, two = tmp_path / "images", tmp_path / "one", tmp_path / "two"
    draw_discs(images, 24)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*launcher, "-m", "explorer", "fit-generator", "--images", str(images), "--out", str(two), *OPTIONS.split()]
    surroundings = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=surroundings, capture_output=True, text=True, timeout=360)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("generator.safetensors") == 1

    alone = Figures()
    config = brief_fit(autoencoder_steps=3, variational_steps=3, joint_steps=2, adversarial_steps=2)
    fit_generator([images], one, config, alone, CPU)
    lines = (two / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    together = {figures["step"]: figures for figures in map(json.loads, lines)}
    assert len(lines) == len(together) == len(alone.figures) == 10
    for step in range(1, 9):
        own = {name: value for name, value in alone.figures[step].items() if name != "milliseconds"}
        # The file has six digits, to which 1e-5 is added; stage 2 starts from maps that carry the rounding of stage 1, of
        # which Adam's first steps make more where a gradient is next to nothing.
        rel = 1.6e-5 if step <= 3 else 2e-4
        assert {name: together[step][name] for name in own} == pytest.approx(own, rel=rel, abs=1e-6), step
    # In stage 4 the discriminator's batch normalisation sees half of the batch.
    assert all(together[step]["discriminator"] > 0 for step in (9, 10))
    assert together[10]["frechet"] > 0
    names = {"config.json", "checkpoint.safetensors", "newest.safetensors", "generator.safetensors"}
    assert names <= {path.name for path in two.iterdir()}
    assert json.loads((two / "config.json").read_text()) == json.loads((one / "config.json").read_text())


@pytest.mark.parametrize("processes", [2, 3])
def test_the_processes_numbers_are_together_those_of_one(processes: int) -> None:
    def drawn(index: int, count: int, rows: int) -> list[torch.Tensor]:
        draws = Draws(source_for("numbers", 3), index, count)
        return [draws.normal(rows, 2, 5), draws.uniform(rows), draws.integers(1000, rows, 1), draws.normal(rows)]

    whole = drawn(0, 1, 6)
    parts = [drawn(index, processes, 6 // processes) for index in range(processes)]
    assert all(torch.equal(torch.cat(own), expected) for own, expected in zip(zip(*parts, strict=True), whole, strict=True))


def test_integers_are_below_and_all_reached() -> None:
    assert set(Draws(source_for(1)).integers(4, 200).tolist()) == {0, 1, 2, 3}


def test_batches_that_cannot_be_shared_out_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw_discs(tmp_path / "images", 24)
    monkeypatch.setattr("explorer.generators.fitting.join", lambda device: (Several(0, 3, device), device))
    with pytest.raises(LanternError, match=r"3 processes are to share batches of 8.*multiple of 3"):
        fit_generator([tmp_path / "images"], tmp_path / "out", brief_fit(), Figures(), CPU)
    assert not (tmp_path / "out").exists()

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from explorer.generators.fitting import fit_generator
from explorer.generators.limits import STAGES, Health, LimitsConfig, check_finite
from explorer.generators.projected import Heads
from segmentation.errors import LanternError
from segmentation.tensors import load_tensors
from tests.explorer.generators.discs import Figures, brief_fit, draw_discs

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("limits") / "photographs"
    draw_discs(folder, 24)
    return folder


def stopped(photographs: Path, out: Path, **values: Any) -> str:
    with pytest.raises(LanternError) as caught:
        fit_generator([photographs], out, brief_fit(**values), Figures(), CPU)
    return str(caught.value)


def kept(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.glob("*.safetensors")}


def test_samples_that_are_all_alike_stop_the_fit(photographs: Path, tmp_path: Path) -> None:
    # After two steps of each stage a generator makes the same grey picture of every code.
    limits = LimitsConfig(patience=1)
    fit_generator([photographs], tmp_path, brief_fit(limits=limits), Figures(stop_at=6), CPU)
    before = kept(tmp_path)
    said = stopped(photographs, tmp_path, limits=limits)
    assert "have collapsed: they vary 0.0" in said and "--reconstruction-weight" in said
    checkpoints = {"checkpoint.safetensors", "checkpoint.previous.safetensors"}
    objects = {"objects.safetensors", "objects-unet.safetensors"}
    assert set(before) == {*checkpoints, *objects, "newest.safetensors", "generator.safetensors"}
    assert kept(tmp_path) == before


def test_near_duplicates_at_two_checkpoints_in_a_row_stop_the_fit(photographs: Path, tmp_path: Path) -> None:
    limits = LimitsConfig(patience=1, diversity=0)
    said = stopped(photographs, tmp_path, limits=limits)
    assert "have collapsed: 100% of them and then 100% were nearly the same" in said
    # The first such checkpoint alone was no reason: it was saved.
    state = load_tensors(tmp_path / "newest.safetensors")[1]["provenance"]["state"]
    assert (state["stage"], state["step"], state["near_duplicates"]) == ("adversarial", 2, 1.0)


def test_a_discriminator_that_wins_stops_the_fit(photographs: Path, tmp_path: Path) -> None:
    limits = LimitsConfig(patience=5, diversity=0, near_duplicates=1, discriminator=0.95)
    said = stopped(photographs, tmp_path, limits=limits, adversarial_steps=60, adversarial_learning_rate=0.002)
    assert "the discriminator has won: over the last 5 steps its loss was" in said
    assert "guessing gives 10" in said and "--adversarial-learning-rate" in said


@pytest.mark.parametrize(
    ("stage", "option", "values"),
    [
        ("variational", "--learning-rate", {"variational_steps": 60, "learning_rate": 1.0}),
        ("joint", "--joint-learning-rate", {"joint_steps": 60, "joint_learning_rate": 1.0}),
        ("adversarial", "--adversarial-learning-rate", {"adversarial_steps": 60, "adversarial_learning_rate": 1.0}),
    ],
)
def test_a_loss_that_is_no_number_stops_the_fit(
    photographs: Path, tmp_path: Path, stage: str, option: str, values: dict[str, Any]
) -> None:
    said = stopped(photographs, tmp_path, checkpoint_every=100, **values)
    assert f"of the {stage} stage" in said and f"Lower {option}," in said
    assert "is nan at step" in said or "is inf at step" in said


def test_every_stage_names_what_is_no_number() -> None:
    check_finite(0, 3, {"loss": 1e30})
    for stage, name in enumerate(STAGES):
        with pytest.raises(LanternError, match=rf"squared error is inf at step 7 of the {name} stage"):
            check_finite(stage, 7, {"loss": 0.0, "squared_error": math.inf})


def test_guessing_gives_the_loss_that_a_win_is_measured_by() -> None:
    # Stage 4 takes max(0, 1 - logit) of photographs, max(0, 1 + logit) of samples, and half that of reconstructions.
    assert len(Heads().heads) * (1 + 1 + 0.5) == Heads.GUESSING


def test_one_bad_checkpoint_is_forgiven_and_patience_is_kept() -> None:
    health = Health(LimitsConfig(patience=10), 10.0)
    health.see({"diversity": 1.0, "discriminator": 5.0})
    for step, share in ((10, 0.95), (20, 0.5), (30, 0.95)):
        health.check_samples(step, share)
    health.check_samples(9, 0.95)
    health.see({"diversity": 0.0, "discriminator": 0.0})
    with pytest.raises(LanternError, match="95% of them and then 99%"):
        health.check_samples(40, 0.99)


def test_what_is_remembered_survives_an_interruption() -> None:
    config = LimitsConfig(patience=3)
    whole, first, second = (Health(config, 10.0) for _ in range(3))
    seen = [{"diversity": 0.1 * n, "discriminator": float(n)} for n in range(1, 8)]
    for figures in seen:
        whole.see(dict(figures))
    for figures in seen[:4]:
        first.see(dict(figures))
    first.check_samples(4, 0.95)
    second.restore(first.to_json())
    for figures in seen[4:]:
        second.see(dict(figures))
    assert second.to_json()["losses"] == whole.to_json()["losses"] == [5.0, 6.0, 7.0]
    assert second.to_json()["diversities"] == whole.to_json()["diversities"]
    assert second.to_json()["near_duplicates"] == 0.95

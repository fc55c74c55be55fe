from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from segmentation.augmentation import AugmentationConfig
from segmentation.errors import LanternError
from segmentation.inference import load_segmenter
from segmentation.processes import Alone
from segmentation.progress import Unwatched
from segmentation.synthesis import SynthesisConfig
from segmentation.tensors import load_tensors
from segmentation.training import Training, TrainingConfig, feed_for, train
from segmentation.unet import UNetConfig
from tests.segmentation.sources import disc_source

CPU = torch.device("cpu")


def configuration(**values: Any) -> TrainingConfig:
    small: dict[str, Any] = {
        "steps": 8,
        "batch_size": 4,
        "held_out": 12,
        "precision": "float32",
        "validate_every": 5,
    }
    return TrainingConfig(unet=UNetConfig(4), synthesis=SynthesisConfig(candidates=16), **{**small, **values})


def begun(**values: Any) -> Training:
    config = configuration(**values)
    return Training(feed_for(disc_source(), config, Alone()), config, CPU)


class Notebook(Unwatched):
    def __init__(self, stop_at: int = 0) -> None:
        self.figures: dict[int, dict[str, float]] = {}
        self.pictures: list[str] = []
        self.stop_at = stop_at

    def advance(self, step: int, steps: int, figures: dict[str, float]) -> None:
        self.figures[step] = figures

    def picture(self, name: str, image: object) -> None:
        self.pictures.append(name)

    def stop_requested(self) -> bool:
        return len(self.figures) + 1 == self.stop_at


def test_it_learns_to_segment_discs(tmp_path: Path) -> None:
    notebook = Notebook()
    train(disc_source(), configuration(steps=60, batch_size=8, learning_rate=0.01, validate_every=60), tmp_path, notebook, CPU)
    assert notebook.figures[60]["iou"] > 0.5
    assert notebook.figures[60]["held_out_loss"] < 0.6 * notebook.figures[1]["loss"]
    source = disc_source()
    code = source.codes(1, (99, "fresh", 0))
    image = source.engine.images(code)[0]
    saliency = load_segmenter(tmp_path / "unet.safetensors").saliency(((image.permute(1, 2, 0) + 1) * 127.5).byte().numpy())
    assert saliency.shape == (32, 32)


CHANGES = AugmentationConfig(flips=True, crop=0.7, stretch=1.3, colour=0.1)


@pytest.mark.parametrize(("stop_at", "changes"), [(3, AugmentationConfig()), (5, CHANGES), (7, AugmentationConfig())])
def test_an_interrupted_training_goes_on_with_the_same_losses(
    tmp_path: Path, stop_at: int, changes: AugmentationConfig
) -> None:
    whole, first, second, config = Notebook(), Notebook(stop_at), Notebook(), configuration(augmentation=changes)
    train(disc_source(), config, tmp_path / "whole", whole, CPU)
    assert train(disc_source(), config, tmp_path / "parts", first, CPU) is None
    assert max(first.figures) == stop_at
    train(disc_source(), config, tmp_path / "parts", second, CPU)
    for step in range(1, 9):
        found = (first.figures if step <= stop_at else second.figures)[step]
        assert found["loss"] == pytest.approx(whole.figures[step]["loss"], abs=1e-5)
        assert found["acceptance_rate"] == whole.figures[step]["acceptance_rate"]
    weights = [load_tensors(tmp_path / name / "unet.safetensors")[0] for name in ("whole", "parts")]
    assert all(torch.allclose(weights[0][n].float(), weights[1][n].float(), atol=1e-3) for n in weights[0])


def test_the_loss_is_the_two_channel_cross_entropy() -> None:
    training = begun()
    images, masks = training.feed.batch(0)[:2]
    training.net.eval()
    expected = F.cross_entropy(training.net(images), masks.long())
    assert training.loss(images, masks).item() == pytest.approx(expected.item(), abs=1e-6)


def test_the_papers_schedule_is_the_default() -> None:
    config = TrainingConfig()
    assert (config.steps, config.batch_size) == (12_000, 95)
    rates = [config.rate(step) for step in (0, 7999, 8000, 11_999)]
    assert rates == pytest.approx([1e-3, 1e-3, 2e-4, 2e-4])
    assert TrainingConfig(decay_at=10).rate(10) == pytest.approx(2e-4)


def test_training_samples_are_changed_and_held_out_ones_are_not() -> None:
    plain, changed = begun(), begun(augmentation=CHANGES)
    assert torch.equal(plain.held_out[0], changed.held_out[0])
    before, after, again = plain.feed.batch(0), changed.feed.batch(0), begun(augmentation=CHANGES).feed.batch(0)
    assert before.images.shape == after.images.shape and not torch.equal(before.images, after.images)
    assert torch.equal(after.images, again.images) and torch.equal(after.masks, again.masks)


def test_held_out_samples_are_not_trained_on() -> None:
    training = begun(batch_size=40)
    trained_on = training.feed.batch(0).images
    distances = (training.held_out[0][:, None] - trained_on[None]).abs().amax((2, 3, 4))
    assert distances.min() > 1e-3


def test_pictures_and_checkpoints_come_when_validated(tmp_path: Path) -> None:
    notebook = Notebook()
    train(disc_source(), configuration(), tmp_path, notebook, CPU)
    assert notebook.pictures == ["000005", "000008"]
    assert {"best.safetensors", "unet.safetensors", "checkpoint.safetensors", "config.json"} <= {
        p.name for p in tmp_path.iterdir()
    }
    assert [step for step, figures in notebook.figures.items() if "iou" in figures] == [5, 8]


def test_a_folder_of_another_training_is_refused(tmp_path: Path) -> None:
    train(disc_source(), configuration(steps=2), tmp_path, Unwatched(), CPU)
    for source, config in ((disc_source(), configuration(steps=3)), (disc_source(magnitude=3.0), configuration(steps=2))):
        with pytest.raises(LanternError, match="another configuration"):
            train(source, config, tmp_path, Unwatched(), CPU)


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    train(disc_source(), configuration(), tmp_path, Notebook(3), CPU)
    checkpoint = tmp_path / "checkpoint.safetensors"
    checkpoint.write_bytes(checkpoint.read_bytes()[:400])
    with pytest.raises(LanternError, match=r"checkpoint\.safetensors"):
        train(disc_source(), configuration(), tmp_path, Unwatched(), CPU)


@pytest.mark.parametrize(
    "values", [{"steps": 0}, {"learning_rate": -1.0}, {"precision": "int8"}, {"batch_size": 1}, {"seed": -1}]
)
def test_bad_schedules_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(LanternError):
        configuration(**values)


def test_the_configuration_survives_json() -> None:
    assert TrainingConfig.from_json(configuration(seed=3).to_json()) == configuration(seed=3)

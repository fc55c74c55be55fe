from __future__ import annotations

import json
import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from segmentation.augmentation import AugmentationConfig
from segmentation.errors import LanternError
from segmentation.feeding import Ahead, Batch, ShardFeed
from segmentation.inference import load_segmenter
from segmentation.processes import Alone
from segmentation.progress import Unwatched
from segmentation.reading import Shards
from segmentation.shards import ShardConfig, write_shards
from segmentation.synthesis import SynthesisConfig
from segmentation.tensors import load_tensors
from segmentation.training import Training, TrainingConfig, feed_for, train
from segmentation.unet import UNetConfig, load_unet
from tests.segmentation.forked import in_a_process
from tests.segmentation.sources import Darkness, disc_source

pytestmark = pytest.mark.timeout(300)

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


def test_pictures_and_checkpoints_come_when_due(tmp_path: Path) -> None:
    notebook = Notebook()
    train(disc_source(), configuration(steps=11, checkpoint_every=2), tmp_path, notebook, CPU)
    assert notebook.pictures == ["000000", "000005", "000010", "000011"]
    names = {"best.safetensors", "unet.safetensors", "checkpoint.safetensors", "checkpoint.previous.safetensors", "config.json"}
    assert names <= {path.name for path in tmp_path.iterdir()}
    assert [step for step, figures in notebook.figures.items() if "iou" in figures] == [5, 10, 11]
    steps = [load_tensors(tmp_path / name)[1]["step"] for name in ("checkpoint.safetensors", "checkpoint.previous.safetensors")]
    assert steps == [11, 10]


def test_early_pictures_come_before_the_first_validation(tmp_path: Path) -> None:
    notebook = Notebook()
    train(disc_source(), configuration(steps=12, validate_every=12), tmp_path, notebook, CPU)
    assert notebook.pictures == ["000000", "000010", "000012"]


def test_a_folder_of_another_training_is_refused(tmp_path: Path) -> None:
    train(disc_source(), configuration(steps=2), tmp_path, Unwatched(), CPU)
    for source, config in ((disc_source(), configuration(steps=3)), (disc_source(magnitude=3.0), configuration(steps=2))):
        with pytest.raises(LanternError, match="another configuration"):
            train(source, config, tmp_path, Unwatched(), CPU)


class Dying(Notebook):
    """Kills its process when told of step ``at``."""

    def __init__(self, at: int, path: Path) -> None:
        super().__init__()
        self.at, self.path = at, path

    def advance(self, step: int, steps: int, figures: dict[str, float]) -> None:
        super().advance(step, steps, figures)
        with self.path.open("a") as lines:
            lines.write(json.dumps([step, figures["loss"]]) + "\n")
        if step == self.at:
            os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("at", [1, 3, 4, 6])
@pytest.mark.parametrize("kind", ["online", "shards"])
def test_a_training_killed_at_any_step_has_the_same_losses_in_the_end(tmp_path: Path, data: Path, kind: str, at: int) -> None:
    config = configuration(steps=6, checkpoint_every=2, validate_every=4)

    def source() -> Any:
        return disc_source() if kind == "online" else Shards(data)

    lines, whole = tmp_path / "lines", Notebook()
    train(source(), config, tmp_path / "whole", whole, CPU)
    code = in_a_process(lambda: train(source(), config, tmp_path / "parts", Dying(at, lines), CPU))
    assert code == -signal.SIGKILL
    rest = Notebook()
    train(source(), config, tmp_path / "parts", rest, CPU)
    assert min(rest.figures) == (at - 1) // 2 * 2 + 1, "no checkpoint that was due is lost, and nothing is done twice"
    before = dict(map(json.loads, lines.read_text().splitlines()))
    for step in range(1, 7):
        loss = rest.figures[step]["loss"] if step in rest.figures else before[step]
        assert loss == whole.figures[step]["loss"]
    weights = [load_tensors(tmp_path / name / "unet.safetensors")[0] for name in ("whole", "parts")]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_a_checkpoint_cut_in_half_costs_steps_and_not_the_run(tmp_path: Path) -> None:
    config = configuration(checkpoint_every=2)
    whole, notebook = Notebook(), Notes()
    train(disc_source(), config, tmp_path / "whole", whole, CPU)
    train(disc_source(), config, tmp_path / "cut", Notebook(5), CPU)
    checkpoint = tmp_path / "cut" / "checkpoint.safetensors"
    content = checkpoint.read_bytes()
    checkpoint.write_bytes(content[: len(content) // 2])
    train(disc_source(), config, tmp_path / "cut", notebook, CPU)
    assert "going on from the checkpoint before it" in notebook.notes[0] and "checkpoint.safetensors" in notebook.notes[0]
    assert sorted(notebook.figures) == [5, 6, 7, 8]
    assert all(notebook.figures[step]["loss"] == whole.figures[step]["loss"] for step in notebook.figures)


class Notes(Notebook):
    def __init__(self) -> None:
        super().__init__()
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def test_checkpoints_that_are_both_damaged_are_named(tmp_path: Path) -> None:
    train(disc_source(), configuration(), tmp_path, Notebook(3), CPU)
    (tmp_path / "checkpoint.safetensors").write_bytes(b"x" * 400)
    with pytest.raises(LanternError, match=r"checkpoint\.safetensors"):
        train(disc_source(), configuration(), tmp_path, Unwatched(), CPU)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 discs on disk, in shards of 16."""
    folder = tmp_path_factory.mktemp("data")
    write_shards(disc_source(), ShardConfig(count=40, shard_size=16), folder, Unwatched())
    return folder


def test_samples_made_ahead_are_the_same(tmp_path: Path) -> None:
    ahead, when_asked = Notebook(), Notebook()
    train(disc_source(), configuration(), tmp_path / "ahead", ahead, CPU)
    train(disc_source(), configuration(prefetch=False), tmp_path / "asked", when_asked, CPU)
    assert [ahead.figures[step]["loss"] for step in range(1, 9)] == [when_asked.figures[step]["loss"] for step in range(1, 9)]
    # How it is done is nothing that a folder belongs to.
    train(disc_source(), configuration(prefetch=False, checkpoint_every=3), tmp_path / "ahead", Unwatched(), CPU)


def test_the_next_batch_is_made_while_one_is_trained_on() -> None:
    asked: list[int] = []
    made = threading.Event()

    class Slow:
        resolution = 32

        def batch(self, step: int) -> Batch:
            asked.append(step)
            if step == 1:
                made.set()
            return Batch(torch.zeros(1, 3, 32, 32), torch.zeros(1, 32, 32, dtype=torch.bool), {"at": step}, {})

    with Ahead(Slow(), CPU, 0, 3, True) as samples:  # type: ignore[arg-type]
        first = samples.take()
        assert made.wait(60), "batch 1 is made though nobody has asked for it"
        assert [first.positions, samples.take().positions, samples.take().positions] == [{"at": 0}, {"at": 1}, {"at": 2}]
    assert asked == [0, 1, 2], "nothing is made for after the last step"


def test_an_error_while_making_samples_ahead_is_that_of_the_training(tmp_path: Path) -> None:
    with pytest.raises(LanternError, match="none of the last"):
        train(Darkness(), configuration(held_out=1), tmp_path, Unwatched(), CPU)


def test_training_from_shards_sees_every_sample_once_an_epoch(data: Path) -> None:
    shards = Shards(data)
    feed = ShardFeed(shards, 3, 7, 12, Alone())
    assert torch.equal(feed.held_out(12)[0], shards.batch(range(28, 40))[0])
    first, second = ([image for step in steps for image in feed.batch(step).images] for steps in (range(4), range(4, 8)))
    for epoch in (first, second):
        assert {image.numpy().tobytes() for image in epoch} == {image.numpy().tobytes() for image in shards.batch(range(28))[0]}
    assert not all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    # Batches of 9 reach over the end of an epoch.
    feed = ShardFeed(shards, 3, 9, 12, Alone())
    again = [image for step in range(7) for image in feed.batch(step).images][:56]
    assert all(torch.equal(a, b) for a, b in zip(again, first + second, strict=True))


def test_it_learns_from_shards_and_says_what_they_were(tmp_path: Path, data: Path) -> None:
    notebook = Notebook()
    config = configuration(steps=40, batch_size=8, learning_rate=0.01, validate_every=40)
    assert train(Shards(data), config, tmp_path, notebook, CPU) is not None
    assert notebook.figures[40]["loss"] < 0.5 * notebook.figures[1]["loss"]
    provenance = load_unet(tmp_path / "unet.safetensors").provenance
    assert provenance["source"]["data"] == Shards(data).fingerprint
    assert provenance["source"]["source"]["fingerprint"] == "disc-1"
    with pytest.raises(LanternError, match="another configuration"):
        train(disc_source(), config, tmp_path, Unwatched(), CPU)


def test_too_small_a_data_set_is_refused(tmp_path: Path, data: Path) -> None:
    with pytest.raises(LanternError, match=r"has 40 samples, of which 38 are held out.*lower --held-out"):
        train(Shards(data), configuration(held_out=38), tmp_path, Unwatched(), CPU)


def test_the_averaged_network_is_the_running_average() -> None:
    training = begun(average=0.5, steps=3)
    expected = {name: value.clone() for name, value in training.net.state_dict().items()}
    with Ahead(training.feed, CPU, 0, 3, False) as samples:
        for step in range(3):
            training.advance(samples)
            decay = min(0.5, (step + 1) / (step + 10))
            for name, value in training.net.state_dict().items():
                expected[name] = decay * expected[name] + (1 - decay) * value if value.is_floating_point() else value.clone()
    assert training.shown is training.averaged
    for name, value in training.shown.state_dict().items():
        assert torch.allclose(value, expected[name], atol=1e-6)


def test_the_average_is_resumed_and_written(tmp_path: Path) -> None:
    config = configuration(average=0.9)
    train(disc_source(), config, tmp_path / "whole", Notebook(), CPU)
    train(disc_source(), config, tmp_path / "parts", Notebook(3), CPU)
    train(disc_source(), config, tmp_path / "parts", Notebook(), CPU)
    whole, parts = (load_tensors(tmp_path / name / "unet.safetensors")[0] for name in ("whole", "parts"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    checkpoint = load_tensors(tmp_path / "whole" / "checkpoint.safetensors")[0]
    assert not torch.equal(checkpoint["averaged.outc.conv.weight"], checkpoint["net.outc.conv.weight"])
    assert torch.equal(checkpoint["averaged.outc.conv.weight"].half(), whole["outc.conv.weight"])


def test_gradients_are_cut_only_when_asked_to() -> None:
    free, cut, wide = begun(), begun(clip=1e-3), begun(clip=1e6)
    for training in (free, cut, wide):
        with Ahead(training.feed, CPU, 0, 1, False) as samples:
            figures = training.advance(samples)
        assert ("gradient" in figures) == (training is not free)

    def length(training: Training) -> float:
        return float(torch.stack([p.grad.norm() for p in training.parameters if p.grad is not None]).norm())

    assert length(cut) == pytest.approx(1e-3, rel=1e-3)
    assert length(wide) == pytest.approx(length(free), rel=1e-6) and length(free) > 0.01


def test_biases_that_a_normalisation_takes_away_are_left_alone() -> None:
    training = begun(learning_rate=0.1)
    before = [bias.clone() for bias in training.net.cancelled()]
    assert len(before) == 18
    with Ahead(training.feed, CPU, 0, 1, False) as samples:
        training.advance(samples)
    assert all(torch.equal(a, b) for a, b in zip(before, training.net.cancelled(), strict=True))


@pytest.mark.parametrize(
    "values",
    [
        {"steps": 0},
        {"learning_rate": -1.0},
        {"precision": "int8"},
        {"batch_size": 1},
        {"seed": -1},
        {"streams": 0},
        {"average": 1.0},
        {"clip": -1.0},
        {"checkpoint_every": 0},
    ],
)
def test_bad_schedules_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(LanternError):
        configuration(**values)


def test_the_configuration_survives_json() -> None:
    assert TrainingConfig.from_json(configuration(seed=3).to_json()) == configuration(seed=3)

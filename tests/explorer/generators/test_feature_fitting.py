from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from explorer.generators.feature_fitting import FeatureConfig, FeatureFitting, fit_features, instance_loss, views
from explorer.generators.features import load_features
from segmentation.errors import LanternError
from segmentation.progress import Unwatched
from segmentation.tensors import load_tensors

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty pictures of coarse noise, each unlike the others, in two folders of ten."""
    folder, random = tmp_path_factory.mktemp("photographs"), np.random.default_rng(0)
    for number in range(20):
        (folder / f"{number % 2}").mkdir(exist_ok=True)
        coarse = random.integers(0, 255, (3, 3, 3), np.uint8)
        Image.fromarray(coarse).resize((40, 40), Image.Resampling.BICUBIC).save(folder / f"{number % 2}" / f"{number}.png")
    return folder


def configuration(**values: Any) -> FeatureConfig:
    sizes: dict[str, Any] = {"resolution": 32, "batch_size": 8, "steps": 6, "warm_up": 2, "checkpoint_every": 100}
    return FeatureConfig(**{**sizes, **values})


class Losses(Unwatched):
    """Remembers the figures of every step; asks to stop after ``stop_at`` of them."""

    def __init__(self, stop_at: int = 0) -> None:
        self.figures: dict[int, dict[str, float]] = {}
        self.stop_at = stop_at

    def advance(self, step: int, steps: int, figures: dict[str, float]) -> None:
        self.figures[step] = figures

    def stop_requested(self) -> bool:
        return len(self.figures) + 1 == self.stop_at


def test_fitting_learns_to_tell_photographs_apart(photographs: Path, tmp_path: Path) -> None:
    losses = Losses()
    fit_features([photographs], tmp_path, configuration(steps=60, batch_size=16, warm_up=10), losses, CPU)
    early, late = ([losses.figures[step] for step in steps] for steps in (range(1, 6), range(51, 61)))
    assert np.mean([f["instance"] for f in late]) < np.mean([f["instance"] for f in early]) - 0.5
    assert np.mean([f["matched"] for f in late]) > np.mean([f["matched"] for f in early]) + 0.2


@pytest.mark.parametrize("stops", [(2, 3), (5,)])
def test_an_interrupted_fit_goes_on_with_the_same_losses_and_weights(
    photographs: Path, tmp_path: Path, stops: tuple[int, ...]
) -> None:
    whole, found = Losses(), {}
    fit_features([photographs], tmp_path / "whole", configuration(), whole, CPU)
    for stop in (*stops, 0):
        part = Losses(stop)
        made = fit_features([photographs], tmp_path / "parts", configuration(), part, CPU)
        assert (made is None) == (stop > 0)
        found.update(part.figures)
    assert sorted(found) == sorted(whole.figures) == list(range(1, 7))
    for step, figures in whole.figures.items():
        for name in ("loss", "rotation", "learning_rate"):
            assert found[step][name] == pytest.approx(figures[name], abs=1e-5), (step, name)
    expected, resumed = (load_tensors(tmp_path / name / "checkpoint.safetensors")[0] for name in ("whole", "parts"))
    assert set(expected) == set(resumed)
    assert all(torch.allclose(expected[name].float(), resumed[name].float(), atol=1e-5) for name in expected)


def test_a_checkpoint_is_written_on_the_way(photographs: Path, tmp_path: Path) -> None:
    steps = []

    class Look(Unwatched):
        def advance(self, step: int, steps_: int, figures: dict[str, float]) -> None:
            path = tmp_path / "checkpoint.safetensors"
            steps.append(load_tensors(path)[1]["step"] if path.exists() else 0)

    fit_features([photographs], tmp_path, configuration(checkpoint_every=2), Look(), CPU)
    assert steps == [0, 0, 2, 2, 4, 4]


def test_the_weights_say_what_made_them(photographs: Path, tmp_path: Path) -> None:
    fit_features([photographs / "1", photographs / "0"], tmp_path, configuration(seed=5), Unwatched(), CPU)
    header = load_tensors(tmp_path / "features.safetensors")[1]
    assert (header["kind"], header["resolution"]) == ("feature network", 32)
    made = header["provenance"]
    assert (made["labels"], made["photographs"]["count"], made["features"]["seed"]) == ("none", 20, 5)
    assert load_features(tmp_path / "features.safetensors").resolution == 32


@pytest.mark.parametrize(
    ("change", "message"), [({"seed": 9}, "another configuration"), ({"batch_size": 64}, "20 photographs")]
)
def test_another_fit_and_too_few_photographs_are_refused(
    photographs: Path, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    fit_features([photographs], tmp_path, configuration(), Losses(1), CPU)
    with pytest.raises(LanternError, match=message):
        fit_features([photographs], tmp_path, configuration(**change), Unwatched(), CPU)


def test_a_foreign_checkpoint_is_named(photographs: Path, tmp_path: Path, small_generator: Path) -> None:
    shutil.copy(small_generator, tmp_path / "checkpoint.safetensors")
    with pytest.raises(LanternError, match="is no checkpoint of features"):
        fit_features([photographs], tmp_path, configuration(), Unwatched(), CPU)


def test_a_loss_that_is_no_number_stops_the_fit() -> None:
    fitting = FeatureFitting(configuration(), torch.zeros(8, 3, 32, 32, dtype=torch.uint8), CPU)
    with torch.no_grad():
        fitting.network.stem.weight.fill_(torch.nan)
    with pytest.raises(LanternError, match="not a number at step 1"):
        fitting.advance()


def test_the_instance_loss_is_that_of_a_plain_computation() -> None:
    rows = np.random.default_rng(0).standard_normal((8, 5))
    losses, matched = [], []
    for i in range(8):
        partner = (i + 4) % 8
        cosines = [rows[i] @ rows[j] / np.linalg.norm(rows[i]) / np.linalg.norm(rows[j]) for j in range(8)]
        others = [j for j in range(8) if j != i]
        losses.append(-math.log(math.exp(cosines[partner] / 0.3) / sum(math.exp(cosines[j] / 0.3) for j in others)))
        matched.append(max(others, key=lambda j: cosines[j]) == partner)
    loss, share = instance_loss(torch.from_numpy(rows), 0.3)
    assert loss.item() == pytest.approx(np.mean(losses), rel=1e-6)
    assert share.item() == pytest.approx(np.mean(matched))


def test_the_rate_rises_and_falls() -> None:
    config = FeatureConfig(steps=1000, warm_up=100, learning_rate=1.0)
    assert config.rate(0) == pytest.approx(0.01)
    assert config.rate(500) == pytest.approx(0.5)
    assert config.rate(250) == pytest.approx((1 + 2**-0.5) / 2)
    assert config.rate(999) < 1e-4


def test_views_follow_their_source() -> None:
    images = torch.rand(4, 3, 32, 32) * 2 - 1
    first, again, other = (views(images, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert first.shape == images.shape
    assert (first - other).abs().amax((1, 2, 3)).min() > 0.1


def test_views_are_crops_of_which_every_other_is_mirrored() -> None:
    ramp = torch.linspace(-1, 1, 32)[None, None, None, :].expand(600, 3, 32, 32)
    slopes = (views(ramp, torch.Generator().manual_seed(0)).diff(dim=3)[:, 0] / ramp.diff(dim=3)[0, 0, 0, 0]).median(1).values
    slope = slopes.median(1).values
    assert 0.42 < (slope < 0).float().mean() < 0.58
    assert 0.6 * 0.45**0.5 * math.exp(-0.2) - 1e-3 < slope.abs().min() < 0.5
    assert 1 < slope.abs().max() < 1.4 * math.exp(0.2) + 1e-3


def test_a_plain_image_stays_plain_and_a_fifth_turn_grey() -> None:
    red = torch.tensor([1.0, -1, -1])[None, :, None, None].expand(2000, 3, 32, 32)
    seen = views(red, torch.Generator().manual_seed(0))
    assert seen.std((2, 3)).max() < 1e-5
    # The colour cast that every view gets has a standard deviation of 0.12 a channel.
    distance = seen[:, 0, 0, 0] - seen[:, 1, 0, 0]
    assert 0.15 < (distance < 0.3).float().mean() < 0.35


def test_the_configuration_survives_json_and_is_checked() -> None:
    config = configuration(seed=4)
    assert FeatureConfig.from_json(json.loads(json.dumps(config.to_json()))) == config
    for name, value in (("resolution", 16), ("batch_size", 2), ("temperature", 0), ("steps", 0)):
        with pytest.raises(LanternError, match=name):
            configuration(**{name: value})

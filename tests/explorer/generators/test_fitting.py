from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from explorer.generators.fitting import fit_generator
from explorer.generators.photographs import describe_photographs, load_collections
from explorer.generators.pocket import PocketConfig, load_pocket
from explorer.generators.projected import Features, augment
from explorer.generators.recipe import FitConfig
from explorer.generators.seeds import Draws, source_for
from explorer.generators.stages import Fitting
from segmentation.errors import LanternError
from segmentation.progress import Unwatched
from segmentation.tensors import load_tensors

CPU = torch.device("cpu")
SMALL = PocketConfig(latent_dim=8, appearance_dim=3, map_channels=4, width=16)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty discs of many colours on plain grounds."""
    folder, random = tmp_path_factory.mktemp("photographs"), np.random.default_rng(0)
    rows, columns = np.mgrid[:64, :64]
    for number in range(40):
        pixels = np.full((64, 64, 3), random.integers(0, 255, 3), np.uint8)
        centre, radius = random.integers(20, 44, 2), random.integers(8, 18)
        inside = (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 < radius**2
        pixels[inside] = random.integers(0, 255, 3)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def configuration(**values: Any) -> FitConfig:
    sizes: dict[str, Any] = {"batch_size": 8, "adversarial_batch_size": 4, "checkpoint_every": 100, "adversarial_steps": 0}
    sizes["perceptual_weight"] = 0
    return FitConfig(pocket=SMALL, **{**sizes, "autoencoder_steps": 6, "variational_steps": 6, **values})


class StopAt(Unwatched):
    def __init__(self, step: int) -> None:
        self.left = step

    def stop_requested(self) -> bool:
        self.left -= 1
        return self.left <= 0


def test_fitting_learns_to_reconstruct(photographs: Path, tmp_path: Path) -> None:
    figures: list[dict[str, float]] = []

    class Keep(Unwatched):
        def advance(self, step: int, steps: int, values: dict[str, float]) -> None:
            figures.append(values)

    fit_generator([photographs], tmp_path, configuration(autoencoder_steps=120), Keep(), CPU)
    assert figures[119]["squared_error"] < 0.6 * figures[0]["squared_error"]
    assert load_pocket(tmp_path / "generator.safetensors").latent_dim == 8


class RandomFeatures(Features):
    """Colours at four scales, randomly mixed: enough for the heads to have something to look at."""

    def __init__(self, photographs: torch.Tensor, seed: int) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.mixers = nn.ModuleList([nn.Conv2d(3, width, 1) for width in (48, 48, 64, 96)])
        self.requires_grad_(False)

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        pooled = [F.adaptive_avg_pool2d(images, side) for side in (24, 12, 6, 3)]
        return [mixer(image) for mixer, image in zip(self.mixers, pooled, strict=True)]


class Losses(Unwatched):
    """Remembers the figures of every step; asks to stop after ``stop_at`` of them."""

    def __init__(self, stop_at: int = 0) -> None:
        self.figures: dict[int, dict[str, float]] = {}
        self.stop_at = stop_at

    def advance(self, step: int, steps: int, figures: dict[str, float]) -> None:
        self.figures[step] = {name: value for name, value in figures.items() if name != "milliseconds"}

    def stop_requested(self) -> bool:
        return len(self.figures) + 1 == self.stop_at


@pytest.mark.parametrize("stops", [(3, 9), (7, 5), (11, 3), (14, 3)])
def test_an_interrupted_fit_goes_on_with_the_same_losses_and_weights(
    photographs: Path, tmp_path: Path, stops: tuple[int, ...]
) -> None:
    config = configuration(autoencoder_steps=5, variational_steps=5, adversarial_steps=6)
    whole, found = Losses(), {}
    fit_generator([photographs], tmp_path / "whole", config, whole, CPU, RandomFeatures)
    for stop in (*stops, 0):
        part = Losses(stop)
        fit_generator([photographs], tmp_path / "parts", config, part, CPU, RandomFeatures)
        found.update(part.figures)
    assert sorted(found) == list(range(1, 17))
    for step, figures in whole.figures.items():
        for name in {"loss", "map_error", "divergence", "discriminator", "generator"} & set(figures):
            assert found[step][name] == pytest.approx(figures[name], abs=1e-5), (step, name)
    names = [tmp_path / folder / "checkpoint.safetensors" for folder in ("whole", "parts")]
    expected, resumed = (load_tensors(name)[0] for name in names)
    assert set(expected) == set(resumed)
    assert all(torch.allclose(expected[name].float(), resumed[name].float(), atol=1e-6) for name in expected)


def test_the_last_stage_moves_the_average_and_teaches_the_heads(photographs: Path, tmp_path: Path) -> None:
    config = configuration(autoencoder_steps=1, variational_steps=1, adversarial_steps=30, adversarial_learning_rate=0.005)
    losses = Losses()
    fit_generator([photographs], tmp_path, config, losses, CPU, RandomFeatures)
    tensors = load_tensors(tmp_path / "checkpoint.safetensors")[0]
    name = "latent.first.weight"
    moved = (tensors[f"generator.{name}"] - tensors[f"averaged.{name}"]).abs().max()
    assert 0 < moved < 0.5
    early, late = ([losses.figures[s]["discriminator"] for s in steps] for steps in (range(3, 7), range(25, 33)))
    assert np.mean(late) < 0.9 * np.mean(early)


def test_a_stop_at_the_very_last_step_is_the_end(photographs: Path, tmp_path: Path) -> None:
    assert fit_generator([photographs], tmp_path, configuration(), StopAt(12), CPU) is not None


def test_other_photographs_are_refused_for_a_resume(photographs: Path, tmp_path: Path) -> None:
    fit_generator([photographs], tmp_path / "fit", configuration(), StopAt(2), CPU)
    others = tmp_path / "others"
    others.mkdir()
    for path in photographs.iterdir():
        with Image.open(path) as image:
            image.transpose(Image.Transpose.FLIP_TOP_BOTTOM).save(others / path.name)
    with pytest.raises(LanternError, match="another configuration"):
        fit_generator([others], tmp_path / "fit", configuration(), Unwatched(), CPU)


def test_the_generator_says_what_made_it(photographs: Path, tmp_path: Path) -> None:
    fit_generator([photographs], tmp_path, configuration(seed=7), Unwatched(), CPU)
    provenance = load_tensors(tmp_path / "generator.safetensors")[1]["provenance"]
    assert provenance["fit"]["seed"] == 7
    assert provenance["photographs"]["count"] == 40


def test_a_folder_of_another_fit_is_refused(photographs: Path, tmp_path: Path) -> None:
    fit_generator([photographs], tmp_path, configuration(), StopAt(1), CPU)
    with pytest.raises(LanternError, match="another configuration"):
        fit_generator([photographs], tmp_path, configuration(seed=9), Unwatched(), CPU)


def test_too_few_photographs_are_refused(photographs: Path, tmp_path: Path) -> None:
    with pytest.raises(LanternError, match="40 photographs"):
        fit_generator([photographs], tmp_path, configuration(batch_size=64), Unwatched(), CPU)


def test_a_damaged_checkpoint_is_named(photographs: Path, tmp_path: Path) -> None:
    fit_generator([photographs], tmp_path, configuration(), StopAt(1), CPU)
    checkpoint = tmp_path / "checkpoint.safetensors"
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    with pytest.raises(LanternError, match=r"checkpoint\.safetensors"):
        fit_generator([photographs], tmp_path, configuration(), Unwatched(), CPU)


def test_the_configuration_survives_json() -> None:
    config = configuration(seed=4)
    assert FitConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


def test_the_held_out_photographs_are_not_fitted_to(photographs: Path) -> None:
    pixels = torch.arange(40, dtype=torch.uint8).view(40, 1, 1, 1).expand(40, 3, 64, 64)
    fitting = Fitting(configuration(), pixels, CPU)
    held, used = (set(part[:, 0, 0, 0].tolist()) for part in (fitting.held_out, fitting.photographs))
    assert len(held) == 2
    assert held | used == set(range(40))
    assert not held & used


def test_augmentation_passes_gradients_and_follows_its_source() -> None:
    images = torch.rand(4, 3, 64, 64).mul(2).sub(1).requires_grad_()
    first, again = (augment(images, Draws(source_for(seed))) for seed in (1, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, augment(images, Draws(source_for(2))))
    first.sum().backward()
    assert images.grad is not None
    assert (images.grad.abs().sum((1, 2, 3)) > 0).all()


def test_photographs_of_several_folders_are_fitted_to(photographs: Path, tmp_path: Path) -> None:
    more = tmp_path / "more"
    more.mkdir()
    for number in range(3):
        Image.new("RGB", (70, 90), (80 * number, 20, 90)).save(more / f"{number}.png")
    fit_generator([photographs, more], tmp_path / "fit", configuration(), StopAt(1), CPU)
    described = json.loads((tmp_path / "fit" / "config.json").read_text())["photographs"]
    assert described == describe_photographs(load_collections([photographs, more], 64)[0])
    assert described["count"] == 43


def test_a_fit_at_128_pixels_goes_through_all_stages(photographs: Path, tmp_path: Path) -> None:
    pocket = dataclasses.replace(SMALL, resolution=128)
    sizes = {"batch_size": 2, "adversarial_batch_size": 2, "perceptual_weight": 0.15}
    config = dataclasses.replace(
        configuration(autoencoder_steps=2, variational_steps=1, adversarial_steps=2, **sizes), pocket=pocket
    )
    losses = Losses()
    generator = fit_generator([photographs], tmp_path, config, losses, CPU)
    assert generator is not None
    with torch.no_grad():
        images = generator.generate(torch.randn(2, 8))
        assert generator.encode(images).shape == (2, 8)
    assert images.shape == (2, 3, 128, 128) and float(images.std()) > 0
    assert losses.figures[2]["perceptual"] > 0 and losses.figures[5]["frechet"] > 0

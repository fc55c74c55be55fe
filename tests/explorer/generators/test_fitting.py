from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from explorer.generators.fitting import FitConfig, Fitting, fit_generator, refuse_collapse
from explorer.generators.pocket import PocketConfig, load_pocket
from explorer.generators.projected import augment
from segmentation.errors import LanternError
from segmentation.progress import Unwatched
from segmentation.tensors import load_tensors

CPU = torch.device("cpu")
SMALL = PocketConfig(latent_dim=8, map_channels=4, width=16)


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


def configuration(**values: int) -> FitConfig:
    sizes = {"batch_size": 8, "adversarial_batch_size": 4, "checkpoint_every": 100, "adversarial_steps": 0}
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

    fit_generator(photographs, tmp_path, configuration(autoencoder_steps=80), Keep(), CPU)
    assert figures[79]["squared_error"] < 0.4 * figures[0]["squared_error"]
    assert load_pocket(tmp_path / "generator.safetensors").latent_dim == 8


def test_an_interrupted_fit_goes_on_as_if_it_had_not_been(photographs: Path, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    fit_generator(photographs, whole, configuration(), Unwatched(), CPU)
    assert fit_generator(photographs, parts, configuration(), StopAt(4), CPU) is None
    assert fit_generator(photographs, parts, configuration(), StopAt(5), CPU) is None
    fit_generator(photographs, parts, configuration(), Unwatched(), CPU)
    expected, found = (load_tensors(folder / "generator.safetensors")[0] for folder in (whole, parts))
    for name, tensor in expected.items():
        assert torch.allclose(tensor.float(), found[name].float(), atol=2e-3), name


def test_a_folder_of_another_fit_is_refused(photographs: Path, tmp_path: Path) -> None:
    fit_generator(photographs, tmp_path, configuration(), StopAt(1), CPU)
    with pytest.raises(LanternError, match="another configuration"):
        fit_generator(photographs, tmp_path, configuration(seed=9), Unwatched(), CPU)


def test_too_few_photographs_are_refused(photographs: Path, tmp_path: Path) -> None:
    with pytest.raises(LanternError, match="40 photographs"):
        fit_generator(photographs, tmp_path, configuration(batch_size=64), Unwatched(), CPU)


def test_a_damaged_checkpoint_is_named(photographs: Path, tmp_path: Path) -> None:
    fit_generator(photographs, tmp_path, configuration(), StopAt(1), CPU)
    checkpoint = tmp_path / "checkpoint.safetensors"
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    with pytest.raises(LanternError, match=r"checkpoint\.safetensors"):
        fit_generator(photographs, tmp_path, configuration(), Unwatched(), CPU)


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
    first, again = (augment(images, torch.Generator().manual_seed(seed)) for seed in (1, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, augment(images, torch.Generator().manual_seed(2)))
    first.sum().backward()
    assert images.grad is not None
    assert (images.grad.abs().sum((1, 2, 3)) > 0).all()


def test_the_adversarial_stage_asks_for_its_packages_or_runs(photographs: Path, tmp_path: Path) -> None:
    config = configuration(adversarial_steps=2, autoencoder_steps=1, variational_steps=1)
    if importlib.util.find_spec("efficientnet_lite_pytorch") is None:
        with pytest.raises(LanternError, match=r"requirements-fit\.txt"):
            fit_generator(photographs, tmp_path, config, Unwatched(), CPU)
    else:
        assert fit_generator(photographs, tmp_path, config, Unwatched(), CPU) is not None


def test_the_rates_of_the_last_stage_settle() -> None:
    config = FitConfig(adversarial_steps=4000)
    factors = [config.settling(step) for step in (0, 2250, 3125, 4000)]
    assert factors == pytest.approx([1, 1, 0.5, 0])


def test_collapsed_samples_stop_the_fit_with_a_remedy() -> None:
    refuse_collapse({"diversity": 0.5})
    with pytest.raises(LanternError, match=r"have collapsed.*--anchor-weight"):
        refuse_collapse({"diversity": 0.05})

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from explorer.generators.fitting import fit_generator
from explorer.generators.photographs import describe_photographs, load_collections
from explorer.generators.pocket import PocketGenerator, load_pocket, save_pocket
from explorer.generators.projected import augment
from explorer.generators.recipe import FitConfig, MaterialConfig
from explorer.generators.seeds import Draws, source_for
from segmentation.errors import LanternError
from segmentation.progress import Unwatched
from segmentation.tensors import load_tensors
from segmentation.unet import load_unet
from tests.explorer.generators.discs import BRIEF, SMALL, RandomFeatures, draw_discs

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photographs")
    draw_discs(folder, 40)
    return folder


def configuration(**values: Any) -> FitConfig:
    sizes: dict[str, Any] = {"batch_size": 8, "adversarial_batch_size": 4, "checkpoint_every": 100, "adversarial_steps": 0}
    sizes |= {"perceptual_weight": 0, "joint_steps": 0, "material": MaterialConfig(rounds=0)}
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

    fit_generator([photographs], tmp_path, configuration(autoencoder_steps=80, learning_rate=0.03), Keep(), CPU)
    first, last = ([own["squared_error"] for own in part] for part in (figures[:8], figures[72:80]))
    assert np.mean(last) < 0.6 * np.mean(first)
    assert load_pocket(tmp_path / "generator.safetensors").latent_dim == 8


class Losses(Unwatched):
    """Remembers the figures of every step; asks to stop after ``stop_at`` of them."""

    def __init__(self, stop_at: int = 0) -> None:
        self.figures: dict[int, dict[str, float]] = {}
        self.stop_at = stop_at

    def advance(self, step: int, steps: int, figures: dict[str, float]) -> None:
        self.figures[step] = {name: value for name, value in figures.items() if name != "milliseconds"}

    def stop_requested(self) -> bool:
        return len(self.figures) + 1 == self.stop_at


@pytest.mark.parametrize("stops", [(3, 3, 4), (6, 5, 4)])
def test_an_interrupted_fit_goes_on_with_the_same_losses_and_weights(
    photographs: Path, tmp_path: Path, stops: tuple[int, ...]
) -> None:
    favoured = tmp_path / "favoured"
    draw_discs(favoured, 3)
    config = configuration(autoencoder_steps=5, variational_steps=4, joint_steps=4, adversarial_steps=4)
    options: dict[str, Any] = {"make_features": RandomFeatures, "favoured": [favoured]}
    whole, found = Losses(), {}
    fit_generator([photographs], tmp_path / "whole", config, whole, CPU, **options)
    for stop in (*stops, 0):
        part = Losses(stop)
        fit_generator([photographs], tmp_path / "parts", config, part, CPU, **options)
        found.update(part.figures)
    assert sorted(found) == list(range(1, 18))
    for step, figures in whole.figures.items():
        for name in {"loss", "map_error", "divergence", "discriminator", "generator"} & set(figures):
            assert found[step][name] == pytest.approx(figures[name], abs=1e-5), (step, name)
    names = [tmp_path / folder / "checkpoint.safetensors" for folder in ("whole", "parts")]
    expected, resumed = (load_tensors(name)[0] for name in names)
    assert set(expected) == set(resumed)
    assert all(torch.allclose(expected[name].float(), resumed[name].float(), atol=1e-6) for name in expected)


def test_the_last_stage_moves_the_average_and_teaches_the_heads(photographs: Path, tmp_path: Path) -> None:
    config = configuration(autoencoder_steps=1, variational_steps=1, adversarial_steps=50, adversarial_learning_rate=0.005)
    config = dataclasses.replace(config, adversarial_batch_size=16)
    losses = Losses()
    fit_generator([photographs], tmp_path, config, losses, CPU, RandomFeatures)
    tensors = load_tensors(tmp_path / "checkpoint.safetensors")[0]
    name = "latent.first.weight"
    moved = (tensors[f"generator.{name}"] - tensors[f"averaged.{name}"]).abs().max()
    assert 0 < moved < 0.5
    early, late = ([losses.figures[s]["discriminator"] for s in steps] for steps in (range(3, 7), range(45, 53)))
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
    assert described == {**describe_photographs(load_collections([photographs, more], 64)[0]), "favoured": 0}
    assert described["count"] == 43


def test_a_fit_at_128_pixels_goes_through_all_stages(photographs: Path, tmp_path: Path) -> None:
    pocket = dataclasses.replace(SMALL, resolution=128)
    sizes = {"batch_size": 2, "adversarial_batch_size": 2, "perceptual_weight": 0.15}
    config = dataclasses.replace(
        configuration(autoencoder_steps=2, variational_steps=1, joint_steps=1, adversarial_steps=2, **sizes), pocket=pocket
    )
    losses = Losses()
    generator = fit_generator([photographs], tmp_path, config, losses, CPU)
    assert generator is not None
    with torch.no_grad():
        images = generator.generate(torch.randn(2, 8))
        assert generator.encode(images).shape == (2, 8)
    assert images.shape == (2, 3, 128, 128) and float(images.std()) > 0
    assert losses.figures[2]["perceptual"] > 0 and losses.figures[6]["frechet"] > 0


def started(path: Path) -> PocketGenerator:
    torch.manual_seed(8)
    save_pocket(PocketGenerator(SMALL, "first"), path)
    return load_pocket(path)


def test_a_fit_goes_on_from_another_generator(photographs: Path, tmp_path: Path) -> None:
    first, losses = started(tmp_path / "first.safetensors"), Losses()
    config = configuration(joint_steps=3, joint_learning_rate=1e-8)
    made = fit_generator([photographs], tmp_path / "fit", config, losses, CPU, start=first)
    assert made is not None and sorted(losses.figures) == [1, 2, 3]
    assert {figures["stage"] for figures in losses.figures.values()} == {3}
    # At such a rate it stays what it was.
    codes = torch.randn(3, 8)
    assert torch.allclose(made.generate(codes), first.generate(codes), atol=1e-3)
    provenance = load_tensors(tmp_path / "fit" / "generator.safetensors")[1]["provenance"]
    assert provenance["start"] == {"name": "first", "fingerprint": first.fingerprint}


def test_a_fit_that_goes_on_from_another_generator_resumes(photographs: Path, tmp_path: Path) -> None:
    first, config = started(tmp_path / "first.safetensors"), configuration(joint_steps=3)
    whole, part, rest = Losses(), Losses(2), Losses()
    fit_generator([photographs], tmp_path / "whole", config, whole, CPU, start=first)
    assert fit_generator([photographs], tmp_path / "parts", config, part, CPU, start=first) is None
    assert fit_generator([photographs], tmp_path / "parts", config, rest, CPU, start=first) is not None
    assert {**part.figures, **rest.figures}[3]["loss"] == pytest.approx(whole.figures[3]["loss"], abs=1e-5)
    with pytest.raises(LanternError, match="another configuration"):
        fit_generator([photographs], tmp_path / "parts", config, Losses(), CPU)


def test_a_generator_of_another_shape_is_no_start(photographs: Path, tmp_path: Path) -> None:
    first = started(tmp_path / "first.safetensors")
    config = dataclasses.replace(configuration(joint_steps=1), pocket=dataclasses.replace(SMALL, width=24, map_channels=8))
    said = r"map_channels 4 instead of 8, width 16 instead of 24.*--pocket.map-channels 4 --pocket.width 16"
    with pytest.raises(LanternError, match=said):
        fit_generator([photographs], tmp_path / "fit", config, Unwatched(), CPU, start=first)
    with pytest.raises(LanternError, match="has no steps"):
        fit_generator([photographs], tmp_path / "fit", configuration(), Unwatched(), CPU, start=first)
    assert not (tmp_path / "fit").exists()


def test_objects_are_found_once_for_all_resumes(photographs: Path, tmp_path: Path) -> None:
    config = configuration(material=BRIEF)
    fit_generator([photographs], tmp_path, config, StopAt(5), CPU)
    path = tmp_path / "objects.safetensors"
    before = path.stat().st_mtime_ns
    assert load_tensors(path)[0]["masks"].shape == (38, 64, 64)
    fit_generator([photographs], tmp_path, config, Unwatched(), CPU)
    assert path.stat().st_mtime_ns == before
    # The network that finds them is a segmenter like any other.
    assert load_unet(tmp_path / "objects-unet.safetensors").size == 64


def test_a_stop_while_objects_are_looked_for_leaves_nothing_half_done(photographs: Path, tmp_path: Path) -> None:
    config = configuration(material=BRIEF)
    assert fit_generator([photographs], tmp_path, config, StopAt(1), CPU) is None
    assert not (tmp_path / "objects.safetensors").exists()
    assert fit_generator([photographs], tmp_path, config, Unwatched(), CPU) is not None


def test_the_joint_stage_brings_the_error_of_reconstructions_down(photographs: Path, tmp_path: Path) -> None:
    losses = Losses()
    config = configuration(autoencoder_steps=30, variational_steps=10, joint_steps=60, joint_learning_rate=3e-3)
    fit_generator([photographs], tmp_path, config, losses, CPU)
    early, late = ([losses.figures[s]["squared_error"] for s in steps] for steps in (range(41, 46), range(96, 101)))
    assert np.mean(late) < 0.8 * np.mean(early)

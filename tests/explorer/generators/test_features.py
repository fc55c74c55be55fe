from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from explorer.generators.feature_fitting import views
from explorer.generators.features import FeatureNetwork, feature_distance, load_features, pooled_features, save_features
from explorer.generators.pocket import PocketGenerator
from explorer.generators.registry import load_generator
from segmentation.errors import LanternError


def network(seed: int = 0) -> FeatureNetwork:
    """An unfitted network whose normalisations are not the identity."""
    torch.manual_seed(seed)
    made = FeatureNetwork()
    with torch.no_grad():
        for name, tensor in made.state_dict().items():
            if "norm" in name and tensor.is_floating_point():
                tensor.copy_(torch.rand(tensor.shape) + 0.5)
    return made.eval().requires_grad_(False)


NETWORK = network()


def noise(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@settings(max_examples=12)
@given(height=st.integers(32, 75), width=st.integers(32, 75))
def test_four_maps_of_any_side(height: int, width: int) -> None:
    maps = NETWORK(noise(2, 3, height, width))
    expected = [(2, 32 * 2**i, -(-height // 2 ** (i + 1)), -(-width // 2 ** (i + 1))) for i in range(4)]
    assert [tuple(features.shape) for features in maps] == expected
    assert all((features >= 0).all() and features.std() > 0 for features in maps)


@pytest.mark.parametrize("shape", [(1, 3, 31, 64), (1, 1, 64, 64), (3, 64, 64)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(LanternError, match="at least 32"):
        NETWORK(torch.zeros(shape))


Array = NDArray[np.float64]


def convolve(image: Array, kernel: Array, stride: int) -> Array:
    """(C, H, W) with kernels (O, C, k, k), the sides padded with zeros to keep them."""
    reach = kernel.shape[2] // 2
    padded = np.pad(image, ((0, 0), (reach, reach), (reach, reach)))
    rows, columns = range(0, image.shape[1], stride), range(0, image.shape[2], stride)
    size = kernel.shape[2]
    values = [[np.tensordot(kernel, padded[:, r : r + size, c : c + size], 3) for c in columns] for r in rows]
    return np.moveaxis(np.array(values), 2, 0)


def test_the_maps_are_those_of_a_plain_computation() -> None:
    weights = {name: tensor.double().numpy() for name, tensor in NETWORK.state_dict().items()}

    def normalise(features: Array, name: str) -> Array:
        mean, variance, gain, bias = (
            weights[f"{name}.{part}"][:, None, None] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (features - mean) / np.sqrt(variance + 1e-5) * gain + bias

    image = noise(1, 3, 32, 33)
    features = normalise(convolve(image[0].double().numpy(), weights["stem.weight"], 2), "stem_norm").clip(0)
    for index, found in enumerate(NETWORK(image)):
        name, stride = f"blocks.{index}", 2 if index else 1
        inner = normalise(convolve(features, weights[f"{name}.first.weight"], stride), f"{name}.first_norm").clip(0)
        inner = normalise(convolve(inner, weights[f"{name}.second.weight"], 1), f"{name}.second_norm")
        rows, columns = (range(0, side, stride) for side in features.shape[1:])
        near = np.array([[features[:, r : r + stride, c : c + stride].mean((1, 2)) for c in columns] for r in rows])
        features = (inner + convolve(np.moveaxis(near, 2, 0), weights[f"{name}.shortcut.weight"], 1)).clip(0)
        assert np.allclose(found[0].numpy(), features, rtol=1e-4, atol=1e-4)


def test_saving_keeps_the_features_and_says_what_made_them(tmp_path: Path) -> None:
    save_features(NETWORK, tmp_path / "f.safetensors", {"photographs": {"count": 3}})
    loaded = load_features(tmp_path / "f.safetensors")
    assert not loaded.training and not any(p.requires_grad for p in loaded.parameters())
    images = noise(2, 3, 64, 64)
    for before, after in zip(NETWORK(images), loaded(images), strict=True):
        assert (before - after).abs().max() < 0.01 * before.abs().max()


def test_the_fingerprint_follows_the_weights(tmp_path: Path) -> None:
    names = []
    for seed in (0, 0, 1):
        save_features(network(seed), tmp_path / "f.safetensors")
        names.append(load_features(tmp_path / "f.safetensors").fingerprint)
    assert names[0] == names[1] != names[2]


def test_another_file_is_refused(small_generator: Path) -> None:
    with pytest.raises(LanternError, match="holds pocket generator, not a feature network"):
        load_features(small_generator)


def test_pooled_features_are_the_means_of_the_two_deepest_maps() -> None:
    images = noise(5, 3, 64, 64)
    *_, third, fourth = NETWORK(images)
    expected = np.concatenate([third.numpy().mean((2, 3)), fourth.numpy().mean((2, 3))], 1)
    found = pooled_features(NETWORK, images.split(2))
    assert found.shape == (5, 384)
    assert np.allclose(found.numpy(), expected, rtol=1e-4, atol=1e-5)


def test_pooled_features_do_not_depend_on_the_side_of_a_smooth_image() -> None:
    axis = torch.linspace(-1, 1, 129)
    fine = (axis[:-1] + axis[1:])[None, None, None, :] / 2
    large = fine.expand(1, 3, 128, 128)
    small = torch.nn.functional.avg_pool2d(large, 2)
    near, far = pooled_features(NETWORK, [large]), pooled_features(NETWORK, [-large])
    own = pooled_features(NETWORK, [small])
    assert (near - own).norm() < 0.02 * (far - own).norm()


def test_the_feature_distance_is_that_of_a_plain_computation() -> None:
    images, others = noise(2, 3, 40, 40), noise(2, 3, 40, 40, seed=2)
    expected = np.zeros(2)
    for first, second in zip(NETWORK(images), NETWORK(others), strict=True):
        a, b = (m.numpy() / np.sqrt((m.numpy() ** 2).sum(1, keepdims=True)) for m in (first, second))
        expected += ((a - b) ** 2).sum(1).mean((1, 2)) / 4
    assert np.allclose(feature_distance(NETWORK, images, others).numpy(), expected, rtol=1e-4)
    assert feature_distance(NETWORK, images, images).tolist() == [0, 0]


def test_the_feature_distance_leads_an_image_towards_another() -> None:
    aim, image = noise(1, 3, 32, 32), noise(1, 3, 32, 32, seed=2).requires_grad_()
    before = feature_distance(NETWORK, image, aim)
    before.sum().backward()
    assert image.grad is not None
    with torch.no_grad():
        assert feature_distance(NETWORK, image - 0.5 * image.grad / image.grad.norm(), aim) < before


def test_the_shipped_features_know_an_image_in_another_crop_and_other_colours() -> None:
    generator, shipped = load_generator("pocket"), load_features()
    assert isinstance(generator, PocketGenerator)
    with torch.no_grad():
        images = generator.generate(torch.randn(48, generator.latent_dim, generator=torch.Generator().manual_seed(0)))
    source = torch.Generator().manual_seed(1)
    first, second = views(images, source), views(images, source)

    def matched(a: torch.Tensor, b: torch.Tensor) -> float:
        a, b = (torch.nn.functional.normalize(x.flatten(1) - x.flatten(1).mean(0)) for x in (a, b))
        return ((a @ b.T).argmax(1) == torch.arange(len(a))).float().mean().item()

    by_features = matched(*(pooled_features(shipped, [part]) for part in (first, second)))
    assert by_features > 0.6
    assert by_features > matched(first, second) + 0.3

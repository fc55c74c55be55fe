from __future__ import annotations

import numpy as np
import pytest
import torch

from explorer.generators.features import FeatureNetwork
from explorer.generators.photographs import to_signed
from explorer.generators.projected import Heads, ProjectedFeatures, _translated, augment
from explorer.generators.seeds import Draws, source_for


@pytest.fixture(scope="module")
def photographs() -> torch.Tensor:
    """Smooth coloured noise."""
    coarse = torch.rand(12, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    return (torch.nn.functional.interpolate(coarse, size=(64, 64), mode="bicubic").clamp(0, 1) * 255).to(torch.uint8)


def test_taps_are_of_unit_strength_on_the_photographs(photographs: torch.Tensor) -> None:
    features = ProjectedFeatures(photographs, 0)
    taps = features.taps(to_signed(photographs))
    assert [tuple(tap.shape[1:]) for tap in taps] == [(32, 32, 32), (64, 16, 16), (128, 8, 8), (256, 4, 4)]
    assert [float(tap.pow(2).mean().sqrt()) for tap in taps] == pytest.approx([1, 1, 1, 1], abs=1e-4)
    # Darker or weaker photographs have another scale.
    assert not torch.allclose(ProjectedFeatures(photographs // 4, 0).scales, features.scales, rtol=0.05)


def test_the_projection_keeps_the_strength_and_passes_gradients(photographs: torch.Tensor) -> None:
    images = to_signed(photographs).requires_grad_()
    maps = ProjectedFeatures(photographs, 3)(images)
    assert [tuple(each.shape[1:]) for each in maps] == [(48, 32, 32), (48, 16, 16), (64, 8, 8), (96, 4, 4)]
    assert all(0.5 < float(each.detach().pow(2).mean().sqrt()) < 2 for each in maps)
    assert all(logits.shape[1] == 1 for logits in Heads()(maps))
    sum(each.pow(2).mean() for each in maps).backward()
    assert images.grad is not None and (images.grad.abs().sum((1, 2, 3)) > 0).all()


def test_the_projection_follows_from_the_seed_alone(photographs: torch.Tensor) -> None:
    torch.manual_seed(1)
    first = ProjectedFeatures(photographs, 4).state_dict()
    torch.manual_seed(2)
    again, other = (ProjectedFeatures(photographs, seed).state_dict() for seed in (4, 5))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["lateral.0.weight"], other["lateral.0.weight"])
    assert torch.equal(first["scales"], other["scales"])


def test_nothing_of_the_features_is_fitted_or_changed_by_looking(photographs: torch.Tensor) -> None:
    features = ProjectedFeatures(photographs, 0, FeatureNetwork().eval())
    before = {name: tensor.clone() for name, tensor in features.state_dict().items()}
    features(to_signed(photographs))
    assert not any(parameter.requires_grad for parameter in features.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in features.state_dict().items())


def test_images_are_moved_and_mirrored_at_the_edges() -> None:
    images = torch.rand(5, 3, 20, 20, generator=torch.Generator().manual_seed(0))
    offsets = torch.tensor([[0, 0], [3, 0], [0, -2], [-3, 3], [2, 1]])
    moved = _translated(images, offsets)
    for image, (down, right), found in zip(images, offsets.tolist(), moved, strict=True):
        padded = np.pad(image.numpy(), ((0, 0), (3, 3), (3, 3)), mode="reflect")
        assert np.array_equal(found.numpy(), padded[:, 3 + down : 23 + down, 3 + right : 23 + right])


def test_a_square_of_a_quarter_of_the_side_is_cut_out_of_every_image() -> None:
    changed = augment(torch.full((30, 3, 64, 64), 0.7), Draws(source_for("cuts")))
    cut = (changed == 0).all(1)
    for rows, columns in zip(cut.any(2), cut.any(1), strict=True):
        sides = [int(part.sum()) for part in (rows, columns)]
        # Near an edge a part of the square is outside.
        assert all(8 <= side <= 17 for side in sides)
    assert torch.equal(cut, cut.any(2)[:, :, None] & cut.any(1)[:, None, :])

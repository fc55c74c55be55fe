"""Finding the objects in photographs without anybody's masks."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from explorer.generators.batches import Batches
from explorer.generators.material import find_objects
from explorer.generators.photographs import hold_out, to_signed
from explorer.generators.recipe import FitConfig, MaterialConfig
from segmentation.baselines.standing_out import standing_out
from segmentation.errors import LanternError

CPU = torch.device("cpu")


def batches(photographs: torch.Tensor, favoured: int = 0, **values: int) -> Batches:
    material = MaterialConfig(**{"rounds": 2, "steps": 60, "batch_size": 8, "width": 4, **values})
    return Batches(FitConfig(material=material, held_out=0, precision="float32"), photographs, CPU, favoured)


def discs(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Green discs on grey grounds, 32 px, uint8; and their masks."""
    random, (rows, columns) = np.random.default_rng(0), np.mgrid[:32, :32]
    images, masks = [], []
    for _ in range(count):
        centre, radius = random.integers(12, 20, 2), random.integers(7, 10)
        inside = (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 < radius**2
        pixels = random.normal(90, 6, (32, 32, 3))
        pixels[inside] = (40, 200, 60)
        images.append(pixels.clip(0, 255).astype(np.uint8))
        masks.append(inside)
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous(), torch.from_numpy(np.stack(masks))


def ragged(images: torch.Tensor) -> torch.Tensor:
    """A saliency of green that is wrong in two squares of every image, always others."""
    saliency = (images[:, 1] > 0.3).float()
    corners = torch.randint(4, 22, (len(images), 2, 2), generator=torch.Generator().manual_seed(5))
    for image, pair in zip(saliency, corners.tolist(), strict=True):
        for row, column in pair:
            image[row : row + 6, column : column + 6] = 1 - image[row : row + 6, column : column + 6]
    return saliency


def overlap(found: torch.Tensor, true: torch.Tensor) -> float:
    return ((found & true).sum((1, 2)) / (found | true).sum((1, 2))).mean().item()


def test_without_rounds_the_objects_are_what_stands_out() -> None:
    own = batches(discs(6)[0], rounds=0)
    found = find_objects(own)
    assert found is not None and torch.equal(found.masks, standing_out(to_signed(own.photographs)))


def test_what_photographs_have_in_common_mends_what_is_wrong_in_each(monkeypatch: pytest.MonkeyPatch) -> None:
    images, true = discs(60)
    own, true = batches(images, steps=80, width=6), hold_out(true, 0, 0)[1]
    monkeypatch.setattr("explorer.generators.material.colour_saliency", ragged)
    taught_by = ragged(to_signed(own.photographs)) > 0.5
    found = find_objects(own)
    assert found is not None and found.masks.dtype == torch.bool and found.masks.shape == true.shape
    assert overlap(taught_by, true) < 0.8 < 0.9 < overlap(found.masks, true)
    again = find_objects(own)
    assert again is not None and torch.equal(found.masks, again.masks)
    assert found.network is not None and found.network.config.width == 6


def test_photographs_in_which_nothing_stands_out_teach_nothing() -> None:
    flat = torch.full((4, 3, 32, 32), 90, dtype=torch.uint8)
    found = find_objects(batches(flat, steps=2))
    assert found is not None and torch.equal(found.masks, standing_out(to_signed(flat)))


def test_it_stops_when_it_is_asked_to() -> None:
    asked = iter((False, False, True))
    assert find_objects(batches(discs(8)[0]), lambda: next(asked)) is None


@pytest.mark.parametrize("values", [{"rounds": -1}, {"steps": 0}, {"batch_size": 1}, {"width": 0}])
def test_bad_values_are_refused(values: dict[str, int]) -> None:
    with pytest.raises(LanternError):
        MaterialConfig(**values)

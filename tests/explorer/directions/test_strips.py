from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from explorer.directions.samples import find_samples
from explorer.directions.strips import render, spread, starting_codes, strip, walks
from explorer.engine import Engine, EngineConfig
from segmentation.errors import LanternError
from segmentation.filters import FilterConfig, filter_pairs
from segmentation.progress import Unwatched
from tests.analytic import DiscGenerator, lighting


class Counting(DiscGenerator):
    """Counts the images that it makes."""

    def __init__(self) -> None:
        super().__init__(8, 16)
        self.made = 0

    def generate(self, codes: Tensor) -> Tensor:
        self.made += len(codes)
        return super().generate(codes)


class Impatient(Unwatched):
    """Asks to stop after the first report."""

    def __init__(self) -> None:
        self.steps: list[int] = []

    def advance(self, step: int, steps: int, figures: dict[str, float]) -> None:
        self.steps.append(step)

    def stop_requested(self) -> bool:
        return True


def bytes_of(images: Tensor) -> NDArray[np.uint8]:
    return np.rint((images.numpy().clip(-1, 1) + 1) * 127.5).astype(np.uint8).transpose(0, 2, 3, 1)


def test_a_strip_is_the_images_from_minus_to_plus_with_its_sign() -> None:
    generator = DiscGenerator(8, 16)
    engine = Engine(generator)
    codes = engine.codes(3, 5)
    picture = strip(engine, lighting(), 3.0, -1, codes, 4)
    assert picture.shape == (48, 64, 3) and picture.dtype == np.uint8
    for row in range(3):
        for column, length in enumerate((3.0, 1.0, -1.0, -3.0)):
            expected = bytes_of(generator.generate(codes[row][None] + length * lighting()))[0]
            found = picture[16 * row : 16 * row + 16, 16 * column : 16 * column + 16]
            assert np.abs(found.astype(int) - expected).max() <= 1


def test_directions_share_the_batches_and_the_middle() -> None:
    generator = Counting()
    engine = Engine(generator, EngineConfig(batch_size=20))
    codes = engine.codes(2, 1)
    lengths = spread([1.0, 2.0, 3.0, 4.0, 5.0], 7)
    pictures = walks(engine, torch.eye(8)[:5], lengths, codes)
    assert pictures.shape == (5, 2, 7, 16, 16, 3)
    assert generator.made == 5 * 2 * 6 + 2
    assert generator.largest_batch == 20
    for direction in range(5):
        for code in range(2):
            shifted = codes[code] + torch.from_numpy(lengths[direction])[:, None] * torch.eye(8)[direction]
            assert np.abs(pictures[direction, code].astype(int) - bytes_of(generator.generate(shifted))).max() <= 1


def test_a_walk_of_no_length_is_one_image() -> None:
    generator = Counting()
    engine = Engine(generator)
    codes = engine.codes(2, 1)
    pictures = walks(engine, torch.eye(8)[:2], np.zeros((2, 3), np.float32), codes)
    assert generator.made == 2
    assert (pictures == bytes_of(generator.generate(codes))[None, :, None]).all()


def test_directions_of_another_length_are_refused() -> None:
    engine = Engine(DiscGenerator(8, 16))
    with pytest.raises(LanternError, match=r"shape \(2, 9\)"):
        walks(engine, torch.eye(9)[:2], spread([1.0, 1.0], 3), engine.codes(1, 0))
    with pytest.raises(LanternError, match="columns is 1"):
        strip(engine, lighting(), 1.0, 1, engine.codes(1, 0), 1)


def test_rendering_reports_and_stops() -> None:
    engine, watcher = Engine(DiscGenerator(8, 16), EngineConfig(batch_size=4)), Impatient()
    with pytest.raises(KeyboardInterrupt):
        render(engine, engine.codes(10, 0), watcher)
    assert watcher.steps == [4]


def test_a_start_from_a_code_begins_with_it() -> None:
    engine = Engine(DiscGenerator(8, 16))
    origin = tuple(float(number) for number in range(8))
    codes = starting_codes(engine, 3, 2, origin=origin, alpha=0.5)
    assert codes[0].tolist() == list(origin)
    assert torch.allclose(codes[1:], torch.tensor(origin) + 0.5 * engine.codes(3, 2)[1:])
    assert torch.equal(starting_codes(engine, 3, 2), engine.codes(3, 2))


@pytest.mark.parametrize("filters", [FilterConfig(), FilterConfig.reference(), FilterConfig(size=False, histogram=False)])
def test_samples_are_the_first_accepted_ones(filters: FilterConfig) -> None:
    engine = Engine(DiscGenerator(8, 16))
    codes = engine.codes(60, 4)
    images, shifted = engine.pairs(codes, lighting(), 1.5)
    verdicts = filter_pairs(images, shifted, filters)
    expected = [number for number in range(60) if verdicts.accepted[number]][:7]
    found = find_samples(engine, lighting(), 1.5, codes, filters, 7)
    assert found.rejected_by == [""] * len(expected)
    assert found.looked_at == (expected[-1] + 1 if len(expected) == 7 else 60)
    assert np.array_equal(found.images, bytes_of(images)[expected])
    assert np.array_equal(found.shifted, bytes_of(shifted)[expected])
    assert np.array_equal(found.masks, verdicts.mask[expected].numpy())


def test_samples_as_they_come_say_what_rejects_them() -> None:
    engine = Engine(DiscGenerator(8, 16))
    codes, filters = engine.codes(20, 4), FilterConfig(max_area=0.1)
    verdicts = filter_pairs(*engine.pairs(codes, lighting(), 1.5), filters)
    found = find_samples(engine, lighting(), 1.5, codes, filters, 18, accepted_only=False)
    assert found.rejected_by == verdicts.rejected_by[:18]
    assert found.looked_at == 18
    assert "size" in found.rejected_by


def test_no_sample_is_found_where_all_are_rejected() -> None:
    engine = Engine(DiscGenerator(8, 16))
    found = find_samples(engine, lighting(), 1.5, engine.codes(20, 4), FilterConfig(max_area=0.0), 5)
    assert (found.rejected_by, found.looked_at, found.images.shape) == ([], 20, (0, 16, 16, 3))

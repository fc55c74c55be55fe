"""The filters of both presets against the published numbers and against rules written out bin by bin."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from segmentation.errors import LanternError
from segmentation.filters import (
    PRESETS,
    REASONS,
    FilterConfig,
    Verdicts,
    count_levels,
    filter_pairs,
    inner_maxima,
    level_maxima,
    smooth,
)

FIXTURE = Path(__file__).parents[1] / "fixtures" / "masks.npz"
presets = pytest.mark.parametrize("preset", PRESETS)


@pytest.fixture(scope="module")
def stored() -> dict[str, NDArray[Any]]:
    with np.load(FIXTURE) as pairs:
        return dict(pairs)


def judge(stored: dict[str, NDArray[Any]], config: FilterConfig) -> Verdicts:
    return filter_pairs(torch.from_numpy(stored["image"]), torch.from_numpy(stored["shifted"]), config)


def test_paper_preset_gives_the_published_numbers(stored: dict[str, NDArray[Any]]) -> None:
    verdicts = judge(stored, FilterConfig.paper())
    np.testing.assert_array_equal(verdicts.raw_mask.numpy(), stored["raw_mask"].astype(bool))
    np.testing.assert_array_equal(verdicts.mask.numpy(), stored["components_mask_4"].astype(bool))
    np.testing.assert_array_equal(verdicts.area.numpy(), stored["area"])
    np.testing.assert_array_equal(verdicts.size_ok.numpy(), stored["area_keep"])
    np.testing.assert_array_equal(verdicts.histogram_ok.numpy(), stored["histogram_keep_paper"])
    np.testing.assert_array_equal(verdicts.accepted.numpy(), stored["area_keep"] & stored["histogram_keep_paper"])


def test_reference_preset_gives_the_published_numbers(stored: dict[str, NDArray[Any]]) -> None:
    verdicts = judge(stored, FilterConfig.reference())
    cleaned = stored["components_mask_8"].astype(bool)
    np.testing.assert_array_equal(verdicts.mask.numpy(), cleaned)
    np.testing.assert_array_equal(verdicts.area.numpy(), cleaned.mean((1, 2)))
    np.testing.assert_array_equal(verdicts.histogram_ok.numpy(), stored["histogram_keep_reference"])
    np.testing.assert_array_equal(verdicts.accepted.numpy(), (cleaned.mean((1, 2)) < 0.5) & stored["histogram_keep_reference"])
    without = judge(stored, dataclasses.replace(FilterConfig.reference(), components=False))
    np.testing.assert_array_equal(without.size_ok.numpy(), stored["area_keep"])
    assert (verdicts.area < without.area).any()


def numpy_counts(levels: NDArray[np.float32], bins: int) -> list[list[int]]:
    return [np.histogram(image, bins, (-1, 1))[0].tolist() for image in levels]


@pytest.mark.parametrize("bins", [3, 12, 32, 256])
def test_levels_are_counted_as_numpy_counts_them(bins: int) -> None:
    levels = torch.rand(4, 9, 13, generator=torch.Generator().manual_seed(bins)) * 2 - 1
    levels[0, 0, :5] = torch.tensor([-1.0, 1.0, 0.0, -0.5, 0.5])
    assert count_levels(levels, bins).tolist() == numpy_counts(levels.numpy(), bins)


def test_levels_beyond_the_range_stay_in_their_image() -> None:
    levels = torch.tensor([[[-1.01, -5.0]], [[1.01, 5.0]], [[0.1, 0.9]]])
    assert count_levels(levels, 4).tolist() == [[2, 0, 0, 0], [0, 0, 0, 2], [0, 0, 1, 1]]


histograms = arrays.arrays(np.int64, st.tuples(st.integers(1, 4), st.integers(3, 14)), elements=st.integers(0, 6))


@settings(max_examples=50, deadline=None)
@given(counts=histograms, half=st.integers(0, 1))
def test_averages_are_taken_as_written(counts: NDArray[np.int64], half: int) -> None:
    window, bins = 2 * half + 1, counts.shape[1]
    padded = smooth(torch.from_numpy(counts), window, zero_padded=True)
    existing = smooth(torch.from_numpy(counts), window, zero_padded=False)
    for row, own in enumerate(counts):
        near = [own[max(0, i - half) : i + half + 1] for i in range(bins)]
        assert existing[row].tolist() == pytest.approx([bin_.mean() for bin_ in near])
        assert padded[row].tolist() == pytest.approx([bin_.sum() / window for bin_ in near])


def plateaus(values: list[float]) -> list[int]:
    """First bins of the plateaus that touch no end and fall on both sides, by walking along."""
    found, start = [], 0
    while start < len(values):
        stop = start
        while stop + 1 < len(values) and values[stop + 1] == values[start]:
            stop += 1
        if start > 0 and stop + 1 < len(values) and values[start - 1] < values[start] > values[stop + 1]:
            found.append(start)
        start = stop + 1
    return found


@settings(max_examples=150, deadline=None)
@given(values=histograms)
def test_maxima_are_those_found_by_walking_along(values: NDArray[np.int64]) -> None:
    inner, level = inner_maxima(torch.from_numpy(values).double()), level_maxima(torch.from_numpy(values).double())
    for row, own in enumerate(values.tolist()):
        assert inner[row].nonzero().view(-1).tolist() == plateaus(own)
        fenced = [-1, *own, -1]
        expected = [i for i in range(len(own)) if fenced[i] <= fenced[i + 1] >= fenced[i + 2]]
        assert level[row].nonzero().view(-1).tolist() == expected


def test_a_plateau_counts_once() -> None:
    values = torch.tensor([[9.0, 1, 4, 4, 4, 2, 3, 0, 5, 5], [5, 5, 3, 1, 0, 0, 2, 2, 2, 2]])
    assert inner_maxima(values).nonzero().tolist() == [[0, 2], [0, 6]]


def test_averages_that_tie_across_a_border_stay_tied() -> None:
    """Divided by two at the border and by three inside, equal averages must compare equal."""
    counts = torch.tensor([[49_999_999, 1, 25_000_000, 0, 0]])
    smoothed = smooth(counts, 3, zero_padded=False)
    assert smoothed[0, 0] == smoothed[0, 1] == 25_000_000
    assert not inner_maxima(smoothed).any()


def painted(*grey_levels: list[float], side: int = 8) -> Tensor:
    """Grey images (B, 3, side, side) whose pixels are the given levels, the last one repeated."""
    images = torch.empty(len(grey_levels), 3, side, side)
    for image, levels in zip(images, grey_levels, strict=True):
        filled = levels + [levels[-1]] * (side * side - len(levels))
        image[:] = torch.tensor(filled).view(side, side)
    return images


def one_of_each() -> tuple[Tensor, Tensor]:
    """Pairs that are accepted, too large, badly lit, empty, and too large as well as badly lit."""
    shifted = painted([0.95] * 20 + [-0.95], [0.95] * 40 + [-0.95], [-0.25] * 20 + [-0.95], [0.95] * 20 + [-0.95], [-0.25])
    images = shifted + 0.01
    for index, count in enumerate((20, 40, 20, 0, 64)):
        images[index].view(3, -1)[:, :count] -= 0.02
    return images.clamp(-1, 1), shifted


def test_the_first_step_that_rejects_is_named() -> None:
    verdicts = filter_pairs(*one_of_each(), FilterConfig())
    assert verdicts.rejected_by == ["", "size", "histogram", "empty", "size"]
    assert verdicts.accepted.tolist() == [True, False, False, False, False]
    assert verdicts.size_ok.tolist() == [True, False, True, True, False]
    assert verdicts.histogram_ok.tolist() == [True, True, False, True, False]
    assert verdicts.acceptance_rate == pytest.approx(0.2)
    assert verdicts.funnel() == {"generated": 5, "size": 2, "histogram": 1, "empty": 1, "kept": 1}


def test_a_disabled_filter_rejects_nothing_and_still_shows_its_numbers() -> None:
    everything = filter_pairs(*one_of_each(), FilterConfig())
    for names, expected in (
        (["size"], ["", "", "histogram", "empty", "histogram"]),
        (["histogram"], ["", "size", "", "empty", "size"]),
        (["size", "histogram", "components"], ["", "", "", "empty", ""]),
    ):
        verdicts = filter_pairs(*one_of_each(), FilterConfig.from_json(dict.fromkeys(names, False)))
        assert verdicts.rejected_by == expected
        assert torch.equal(verdicts.size_ok, everything.size_ok)
        assert torch.equal(verdicts.histogram_ok, everything.histogram_ok)
        assert torch.equal(verdicts.maxima, everything.maxima)


def bars(side: int, *lengths: int) -> tuple[Tensor, Tensor]:
    """A pair whose mask is one bar of each of ``lengths`` pixels, lit so that the histogram is good."""
    shifted = torch.full((1, 3, side, side), -0.95)
    for row, length in enumerate(lengths):
        shifted[0, :, 2 * row, :length] = 0.95
    return (shifted - 0.04 * shifted.sign()).clamp(-1, 1), shifted


def test_components_are_cleaned_of_rejected_samples_too() -> None:
    images, shifted = bars(12, 10, 1, 2, 12)
    verdicts = filter_pairs(images, shifted, FilterConfig(max_area=0.1))
    assert verdicts.rejected_by == ["size"]
    assert verdicts.mask.sum() == 22
    assert verdicts.raw_mask.sum() == 25
    assert verdicts.components.areas_of(0) == [10, 1, 2, 12]
    assert verdicts.component_kept.tolist() == [True, False, False, True]
    kept = filter_pairs(images, shifted, FilterConfig(components=False))
    assert torch.equal(kept.mask, kept.raw_mask)
    assert kept.component_kept.all()


def test_the_limits_belong_to_the_paper_and_not_to_the_reference() -> None:
    images, shifted = bars(10, 10, 2)
    paper, reference = (filter_pairs(images, shifted, FilterConfig(preset=preset, max_area=0.12)) for preset in PRESETS)
    assert (paper.component_kept.tolist(), reference.component_kept.tolist()) == ([True, True], [True, False])
    assert paper.area.item() == 0.12
    assert paper.size_ok.item()
    assert reference.area.item() == 0.10
    assert not filter_pairs(images, shifted, FilterConfig(preset="reference", max_area=0.10)).size_ok.item()


def test_the_size_filter_looks_before_the_components_in_the_paper_and_after_them_in_the_reference() -> None:
    images, shifted = bars(10, 10, 1, 1, 1)
    paper, reference = (filter_pairs(images, shifted, FilterConfig(preset=preset, max_area=0.11)) for preset in PRESETS)
    assert (paper.area.item(), reference.area.item()) == (0.13, 0.10)
    assert (paper.rejected_by, reference.rejected_by) == (["size"], [""])


def test_a_full_limit_of_the_reference_allows_full_masks() -> None:
    images = torch.full((1, 3, 4, 4), -0.5)
    verdicts = filter_pairs(images, images + 0.2, FilterConfig(preset="reference", max_area=1.0))
    assert verdicts.area.item() == 1
    assert verdicts.size_ok.item()


@presets
def test_the_histogram_is_that_of_the_shifted_images(preset: str) -> None:
    source = torch.Generator().manual_seed(3)
    images, shifted = (torch.rand(5, 3, 11, 7, generator=source) * 2 - 1 for _ in range(2))
    verdicts = filter_pairs(images, shifted, FilterConfig(preset=preset, histogram_window=1))
    weights = torch.tensor([0.2989, 0.5870, 0.1140])[:, None, None]
    seen = (shifted * weights).sum(1) if preset == "paper" else shifted
    expected = np.array(numpy_counts(seen.numpy(), 12)) / seen[0].numel()
    np.testing.assert_allclose(verdicts.histogram.numpy(), expected, rtol=1e-12)


def test_the_reference_pools_the_channels() -> None:
    """Red bright and the rest dark: one grey level, yet two peaks."""
    shifted = torch.full((2, 3, 8, 8), -0.9)
    shifted[0, 0] = 0.9
    shifted[1] = 0.1
    verdicts = filter_pairs(shifted - 0.05, shifted, FilterConfig.reference())
    assert verdicts.maxima[0].nonzero().view(-1).tolist() == [0, 1, 3, 4, 5, 6, 7, 8, 10, 11]
    assert verdicts.histogram_ok.tolist() == [True, True]


@presets
def test_batches_judge_as_their_samples_do(stored: dict[str, NDArray[Any]], preset: str) -> None:
    images, shifted = torch.from_numpy(stored["image"][:6]), torch.from_numpy(stored["shifted"][:6])
    together = filter_pairs(images, shifted, FilterConfig(preset=preset))
    for index in range(6):
        alone = filter_pairs(images[index : index + 1], shifted[index : index + 1], FilterConfig(preset=preset))
        assert alone.explain(0) == together.explain(index)
        assert torch.equal(alone.mask[0], together.mask[index])
        assert torch.equal(alone.histogram[0], together.histogram[index])


@presets
def test_an_empty_batch_is_judged(preset: str) -> None:
    verdicts = filter_pairs(torch.zeros(0, 3, 8, 8), torch.zeros(0, 3, 8, 8), FilterConfig(preset=preset))
    assert verdicts.rejected_by == []
    assert verdicts.mask.shape == (0, 8, 8)
    assert verdicts.funnel() == {"generated": 0, "size": 0, "histogram": 0, "empty": 0, "kept": 0}
    assert math.isnan(verdicts.acceptance_rate)


def test_explanations_give_the_numbers() -> None:
    verdicts = filter_pairs(*one_of_each(), FilterConfig())
    assert [verdicts.explain(index) for index in range(5)] == [
        "accepted: area 0.31, 1 of 1 component kept",
        "rejected by size: the mask covers 0.62 of the image, the limit is 0.50",
        "rejected by histogram: bin 4 of 12 (grey -0.42) is a local maximum",
        "rejected as empty: the mask has no foreground pixel",
        "rejected by size: the mask covers 1.00 of the image, the limit is 0.50",
    ]


@presets
def test_explanations_agree_with_the_verdicts(stored: dict[str, NDArray[Any]], preset: str) -> None:
    verdicts = judge(stored, FilterConfig(preset=preset))
    assert set(verdicts.rejected_by) <= set(REASONS)
    assert sum(verdicts.funnel().values()) == 2 * 64
    for index, reason in enumerate(verdicts.rejected_by):
        sentence = verdicts.explain(index)
        assert sentence.startswith(f"rejected by {reason}: " if reason else "accepted: ")
        if reason == "":
            own = verdicts.components.image == index
            assert f"{int(verdicts.component_kept[own].sum())} of {int(own.sum())} component" in sentence


def test_a_near_miss_shows_enough_digits() -> None:
    images, shifted = bars(100, *[100] * 50)
    images[0, :, 1, 0], shifted[0, :, 1, 0] = 0.9, 0.95
    assert "covers 0.50010 of the image, the limit is 0.50000" in filter_pairs(images, shifted, FilterConfig()).explain(0)


@presets
def test_unfit_pairs_are_refused(preset: str) -> None:
    config = FilterConfig(preset=preset)
    with pytest.raises(LanternError, match="same shape"):
        filter_pairs(torch.zeros(2, 3, 8, 8), torch.zeros(1, 3, 8, 8), config)
    for value in (float("nan"), float("inf")):
        broken = torch.zeros(2, 3, 8, 8)
        broken[1, 2, 3, 4] = value
        for images, shifted in ((broken, torch.zeros_like(broken)), (torch.zeros_like(broken), broken)):
            with pytest.raises(LanternError, match="not numbers"):
                filter_pairs(images, shifted, config)
    with pytest.raises(LanternError, match="no sample 2"):
        filter_pairs(torch.zeros(2, 3, 8, 8), torch.zeros(2, 3, 8, 8), config).explain(2)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("preset", "strict"),
        ("size", 1),
        ("histogram", "yes"),
        ("max_area", 1.5),
        ("min_component", -0.1),
        ("histogram_bins", 2),
        ("histogram_bins", 12.0),
        ("histogram_window", 4),
        ("histogram_window", 13),
        ("histogram_window", True),
    ],
)
def test_settings_out_of_range_are_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(LanternError, match=name):
        FilterConfig.from_json({name: value})


@presets
def test_settings_survive_json(preset: str) -> None:
    config = FilterConfig(preset=preset, size=False, histogram_bins=16, histogram_window=5)
    assert FilterConfig.from_json(config.to_json()) == config
    assert FilterConfig.from_json({}) == FilterConfig.paper() != FilterConfig.reference()

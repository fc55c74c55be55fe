from __future__ import annotations

import dataclasses

import pytest
import torch

from segmentation.errors import LanternError
from segmentation.filters import FilterConfig, filter_pairs
from segmentation.synthesis import AcceptedStream, Position, SynthesisConfig
from tests.analytic import DiscGenerator
from tests.segmentation.sources import Darkness, disc_source

CONFIG = SynthesisConfig(candidates=8)


def stream(name: str = "train", seed: int = 0, start: Position | None = None) -> AcceptedStream:
    return AcceptedStream(disc_source(), CONFIG, seed, name, start)


def test_it_is_the_accepted_candidates_in_order() -> None:
    source = disc_source()
    images, masks = [], []
    for batch in range(6):
        pair = source.pairs(8, (0, "train", batch))
        verdicts = filter_pairs(*pair, FilterConfig())
        images.append(pair[0][verdicts.accepted])
        masks.append(verdicts.mask[verdicts.accepted])
    expected_images, expected_masks = torch.cat(images), torch.cat(masks)
    assert 0 < len(expected_images) < 48, "the test must see both verdicts"
    found_images, found_masks = stream().take(len(expected_images))
    assert torch.equal(found_images, expected_images)
    assert torch.equal(found_masks, expected_masks)


def test_how_it_is_cut_into_batches_does_not_matter() -> None:
    whole, parts = stream(), stream()
    images = whole.take(19)[0]
    assert torch.equal(torch.cat([parts.take(n)[0] for n in (1, 7, 3, 8)]), images)
    assert parts.funnel == whole.funnel


@pytest.mark.parametrize("taken", [1, 5, 8, 13])
def test_it_goes_on_from_a_position_with_its_counts(taken: int) -> None:
    whole, first = stream(), stream()
    expected = whole.take(taken + 10)[0][taken:]
    first.take(taken)
    resumed = stream(start=Position.from_json(first.position.to_json()))
    assert torch.equal(resumed.take(10)[0], expected)
    assert resumed.funnel == whole.funnel


def test_the_funnel_adds_up() -> None:
    made = stream()
    made.take(30)
    funnel = made.funnel
    assert funnel["generated"] % 8 == 0
    assert funnel["generated"] == sum(count for name, count in funnel.items() if name != "generated")
    assert made.acceptance_rate == funnel["kept"] / funnel["generated"]


def test_seeds_and_names_give_other_samples() -> None:
    samples = [stream(name, seed).take(4)[0] for name, seed in (("train", 0), ("train", 1), ("held-out", 0))]
    assert not torch.equal(samples[0], samples[1])
    assert not torch.equal(samples[0], samples[2])


def test_masks_are_the_discs() -> None:
    source = disc_source()
    _, masks = AcceptedStream(source, CONFIG, 0, "train").take(20)
    codes = torch.cat([source.codes(8, (0, "train", batch)) for batch in range(12)])
    discs = DiscGenerator().disc(codes) > 0.5
    overlaps = [(discs & mask).sum((1, 2)) / (discs | mask).sum((1, 2)) for mask in masks]
    assert torch.stack([overlap.max() for overlap in overlaps]).mean() > 0.9


def test_a_hopeless_source_is_given_up_with_the_reasons() -> None:
    with pytest.raises(LanternError, match=r"none of the last \d+ samples was accepted \(rejected: \d+ by \w+"):
        AcceptedStream(Darkness(), SynthesisConfig(candidates=512), 0, "train").take(1)


def test_bad_configuration_is_refused() -> None:
    with pytest.raises(LanternError):
        SynthesisConfig(candidates=0)
    with pytest.raises(LanternError):
        stream().take(0)


def test_the_configuration_survives_json() -> None:
    config = SynthesisConfig(FilterConfig(preset="reference", max_area=0.4), 7)
    assert SynthesisConfig.from_json(config.to_json()) == config
    assert dataclasses.replace(config, candidates=8) != config

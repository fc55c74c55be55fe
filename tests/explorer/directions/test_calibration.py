from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from explorer.directions.bases import random_orthogonal
from explorer.directions.calibration import CalibrationConfig, calibrate_catalogue, mean_changes, visible_magnitudes
from explorer.directions.catalogue import MAX_MAGNITUDE, POCKET_DIRECTIONS, Catalogue, Entry, load_catalogue
from explorer.engine import Engine, EngineConfig
from explorer.generators.registry import load_generator
from segmentation.errors import LanternError
from segmentation.progress import Unwatched
from tests.analytic import ACROSS, GROUND, OBJECT, DiscGenerator
from tests.explorer.directions.layered import Linear


def linear(strengths: tuple[float, ...]) -> Engine:
    """A generator whose images change by ``strengths`` a unit of each coordinate, on average, without bound."""
    source = torch.Generator().manual_seed(0)
    columns = torch.randn(192, len(strengths), generator=source)
    columns *= torch.tensor(strengths) / columns.abs().mean(0)
    return Engine(Linear(columns), EngineConfig(device="cpu"))


def test_magnitudes_of_a_linear_generator_follow_from_its_weights() -> None:
    strengths = (0.5, 0.15, 0.05, 0.011, 0.0076, 0.003, 0.0)
    magnitudes, reaches = visible_magnitudes(linear(strengths), torch.eye(7), CalibrationConfig(target=0.15), Unwatched())
    for strength, magnitude, reach in zip(strengths[:5], magnitudes.tolist(), reaches.tolist(), strict=False):
        assert 0.15 / strength <= magnitude * 1.00001 <= max(1.06 * 0.15 / strength, 0.15 / strength + 0.011)
        assert reach == 1
    assert magnitudes[5:].tolist() == [MAX_MAGNITUDE, MAX_MAGNITUDE]
    assert reaches[5:].tolist() == pytest.approx([0.003 * 20 / 0.15, 0], abs=1e-5)


def test_the_magnitude_is_the_smallest_that_a_scan_finds() -> None:
    engine = Engine(DiscGenerator(), EngineConfig(device="cpu"))
    config = CalibrationConfig(target=0.12, codes=6, seed=3)
    directions = random_orthogonal(8, 1)
    magnitudes, reaches = visible_magnitudes(engine, directions, config, Unwatched())
    codes = engine.codes(6, 3)
    images = DiscGenerator().generate(codes)
    signs = torch.tensor([1.0, -1.0] * 3)[:, None]
    for direction, magnitude, reach in zip(directions, magnitudes.tolist(), reaches.tolist(), strict=True):
        lengths = torch.arange(0.05, 12, 0.05)
        changes = torch.stack(
            [(DiscGenerator().generate(codes + signs * m * direction) - images).abs().mean() for m in lengths]
        )
        assert changes.max() > 0.12
        smallest = float(lengths[int((changes >= 0.12).nonzero()[0])])
        assert reach == 1
        assert smallest - 0.06 <= magnitude <= 1.12 * smallest


def test_changes_are_those_of_each_direction_at_its_own_magnitude() -> None:
    engine = Engine(DiscGenerator(), EngineConfig(device="cpu", batch_size=5))
    codes = engine.codes(3, 0)
    directions, magnitudes = torch.eye(8)[[OBJECT, GROUND, ACROSS]], torch.tensor([1.0, 4.0, 9.0])
    expected = []
    for direction, magnitude in zip(directions, magnitudes, strict=True):
        signs = torch.tensor([[1.0], [-1.0], [1.0]])
        expected.append((DiscGenerator().generate(codes + signs * magnitude * direction) - engine.images(codes)).abs().mean())
    found = mean_changes(engine, codes, engine.images(codes), directions, magnitudes)
    assert torch.allclose(found, torch.stack(expected), atol=1e-6)


def test_few_images_are_made_of_many_directions() -> None:
    made = 0

    class Counting(DiscGenerator):
        def generate(self, codes: Tensor) -> Tensor:
            nonlocal made
            made += len(codes)
            return super().generate(codes)

    engine = Engine(Counting(24), EngineConfig(device="cpu"))
    directions = random_orthogonal(24, 0)
    magnitudes, _ = visible_magnitudes(engine, directions, CalibrationConfig(), Unwatched())
    assert magnitudes.std() > 0
    assert made <= 8 + 24 * 8 * 5


def catalogue(statuses: tuple[str, ...]) -> Catalogue:
    entries = tuple(Entry(label="mine", status=status, magnitude=14.5, scores={"total": 0.5}) for status in statuses)
    return Catalogue(torch.eye(len(statuses)), entries, "a test", "linear-1", {"kept": 1})


def test_a_catalogue_is_calibrated_but_for_the_lighting_direction() -> None:
    before = catalogue(("new", "saliency lighting", "other", "new"))
    after = calibrate_catalogue(linear((0.15, 0.15, 0.05, 0.001)), before, CalibrationConfig(target=0.15), Unwatched())
    assert [entry.magnitude for entry in after.entries] == pytest.approx([1, 14.5, 3, 20], rel=0.06)
    assert after.entries[1] == before.entries[1]
    assert [entry.scores.get("reach") for entry in after.entries] == [1, None, 1, pytest.approx(0.1333, abs=1e-4)]
    assert all(entry.scores["total"] == 0.5 and entry.label == "mine" for entry in after.entries)
    assert [entry.status for entry in after.entries] == [entry.status for entry in before.entries]
    assert after.provenance["kept"] == 1
    assert CalibrationConfig.from_json(after.provenance["calibration"]).target == 0.15


def test_nothing_but_lighting_stays_as_it_is() -> None:
    before = catalogue(("saliency lighting",))
    assert calibrate_catalogue(linear((1.0,)), before, CalibrationConfig(), Unwatched()).entries == before.entries


def test_it_can_be_stopped_and_counts_up() -> None:
    steps: list[tuple[int, int]] = []

    class Keep(Unwatched):
        def advance(self, step: int, steps_: int, figures: dict[str, float]) -> None:
            steps.append((step, steps_))

        def stop_requested(self) -> bool:
            return len(steps) == 2

    with pytest.raises(KeyboardInterrupt):
        visible_magnitudes(linear((0.1, 0.2)), torch.eye(2), CalibrationConfig(rounds=7), Keep())
    assert steps == [(1, 7), (2, 7)]


def test_directions_of_another_length_are_refused() -> None:
    with pytest.raises(LanternError, match="directions of shape"):
        visible_magnitudes(linear((0.1, 0.2)), torch.eye(3), CalibrationConfig(), Unwatched())


@pytest.mark.parametrize("values", [{"target": 0}, {"target": 2}, {"codes": 0}, {"rounds": 5}, {"seed": -1}])
def test_a_senseless_calibration_is_refused(values: dict[str, float]) -> None:
    with pytest.raises(LanternError, match=next(iter(values))):
        dataclasses.replace(CalibrationConfig(), **values)  # type: ignore[arg-type]


def test_every_shipped_direction_would_do_something() -> None:
    engine = Engine(load_generator("pocket"), EngineConfig(device="cpu"))
    shipped = load_catalogue(POCKET_DIRECTIONS).directions
    codes = engine.codes(2, 7)
    changes = mean_changes(engine, codes, engine.images(codes), shipped, torch.full((len(shipped),), MAX_MAGNITUDE))
    assert changes.min() > 0.1

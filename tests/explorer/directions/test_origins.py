from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from explorer.directions.bases import random_orthogonal
from explorer.directions.calibration import CalibrationConfig
from explorer.directions.catalogue import Catalogue
from explorer.directions.optimised import OptimiseConfig
from explorer.directions.origins import DARKER, LIGHTER, DirectionsConfig, directions_from
from explorer.directions.picks import Picks
from explorer.directions.refining import RefineConfig
from explorer.engine import Engine, EngineConfig
from explorer.generators.base import Generator
from segmentation.errors import LanternError
from segmentation.progress import Unwatched, Watcher
from tests.analytic import GROUND, OBJECT, DiscGenerator, lighting
from tests.explorer.directions.layered import Layered, Linear

QUICK: dict[str, Any] = {
    "codes": 12,
    "optimise": OptimiseConfig(steps=3, batch_size=8),
    "search": RefineConfig(rounds=1, codes=12),
    "calibration": CalibrationConfig(codes=4),
}


def found(
    source: str,
    generator: Generator | None = None,
    watcher: Watcher | None = None,
    picks: Picks | None = None,
    **more: Any,
) -> Catalogue:
    if source == "pca":
        more = {"samples": 64, **more}
    engine = Engine(DiscGenerator() if generator is None else generator, EngineConfig(device="cpu"))
    return directions_from(engine, DirectionsConfig(source=source, **{**QUICK, **more}), watcher or Unwatched(), picks)


def test_axes_are_the_coordinates() -> None:
    assert torch.equal(found("axes").directions, torch.eye(8))
    assert torch.equal(found("axes", count=3).directions, torch.eye(8)[:3])


def test_random_directions_are_orthogonal_and_follow_from_the_seed() -> None:
    first = found("random", seed=3)
    assert torch.allclose(first.directions @ first.directions.T, torch.eye(8), atol=1e-5)
    assert torch.equal(first.directions, found("random", seed=3).directions)
    assert (first.directions - found("random", seed=4).directions).abs().max() > 0.1


def test_random_directions_are_spread_evenly() -> None:
    # For a uniform rotation every entry has mean 0 and variance 1/d, and so do those of the diagonal.
    many = torch.stack([random_orthogonal(6, seed) for seed in range(800)])
    assert many.mean(0).abs().max() < 4.5 * (1 / 6 / 800) ** 0.5
    assert torch.allclose(many.square().mean(0), torch.full((6, 6), 1 / 6), atol=0.03)


def test_both_decompositions_of_a_linear_generator_agree_with_numpy() -> None:
    weight = torch.randn(192, 5, generator=torch.Generator().manual_seed(0)) * torch.tensor([5.0, 4, 3, 2, 1]) / 20
    rows = np.linalg.svd(weight.double().numpy())[2]
    for source, figures in (("pca", {"share", "linear"}), ("sefa", {"strength"})):
        catalogue = found(source, Linear(weight), count=4)
        assert (np.abs((catalogue.directions.double().numpy() * rows[:4]).sum(1)) > 1 - 1e-5).all()
        assert all(set(entry.scores) == figures | {"reach"} for entry in catalogue.entries)
        assert catalogue.lighting is None
    assert "first" in found("pca", Linear(weight)).source


def test_a_layer_can_be_named_and_is_remembered() -> None:
    catalogue = found("pca", Layered(), layer="last")
    assert catalogue.provenance["layer"] == "last"
    assert (catalogue.directions - found("pca", Layered()).directions).abs().max() > 0.01
    assert found("pca", Layered()).provenance["layer"] == "second"


# Two descents are three seconds of a core, but minutes of the clock where many programs share it.
@pytest.mark.timeout(900)
def test_both_polarities_are_optimised() -> None:
    catalogue = found("optimised", DiscGenerator(resolution=16), optimise=OptimiseConfig(steps=100, batch_size=16))
    lighter, darker = catalogue.directions
    assert lighter @ lighting() > 0.9
    assert darker @ lighting() < -0.9
    assert lighter @ darker < -0.9
    assert [entry.label for entry in catalogue.entries] == [LIGHTER, DARKER]
    assert catalogue.lighting == 0
    assert catalogue.entries[0].magnitude in range(2, 21)
    assert "reach" not in catalogue.entries[0].scores
    assert catalogue.entries[1].scores["reach"] == 1


def test_picks_give_their_direction_with_their_label() -> None:
    codes = torch.randn(400, 8, generator=torch.Generator().manual_seed(0))
    light = codes[:, OBJECT] - codes[:, GROUND]
    catalogue = found("picks", picks=Picks(codes[light > 1], codes[light < -1]), label="light objects")
    assert catalogue.directions[0] @ lighting() > 0.98
    assert catalogue.entries[0].label == "light objects"
    assert catalogue.entries[0].scores["certainty"] > 0.97


def test_seeds_are_picks_too() -> None:
    made = Engine(DiscGenerator(), EngineConfig(device="cpu"))
    catalogue = found("picks", high_seeds="1,2,0:3", low_seeds="4,5")
    high = torch.stack([made.codes(1, 1)[0], made.codes(1, 2)[0], made.codes(4, 0)[3]]).mean(0)
    low = torch.stack([made.codes(1, 4)[0], made.codes(1, 5)[0]]).mean(0)
    assert torch.allclose(catalogue.directions[0], (high - low) / (high - low).norm(), atol=1e-6)


def test_the_closed_form_is_the_default_and_keeps_its_magnitude() -> None:
    assert DirectionsConfig().source == "closed-form"
    thorough: dict[str, Any] = {"codes": 24, "optimise": OptimiseConfig(steps=60, batch_size=16, split_rounds=0)}
    catalogue, plain = found("closed-form", **thorough), found("closed-form", calibrate=False, **thorough)
    assert torch.equal(catalogue.directions, plain.directions)
    assert catalogue.lighting is not None
    assert catalogue.lighting == plain.lighting
    assert catalogue.entries[catalogue.lighting] == plain.entries[catalogue.lighting]
    assert len({entry.magnitude for entry in plain.entries}) == 1
    assert len({entry.magnitude for entry in catalogue.entries}) > 2
    assert all("reach" not in entry.scores for entry in plain.entries)
    useless = [entry for entry in catalogue.entries if entry.scores.get("reach", 1) < 0.5]
    assert useless
    assert all(entry.magnitude == 20 for entry in useless)


@pytest.mark.parametrize("source", ["closed-form", "pca", "optimised", "axes"])
def test_progress_counts_up_to_the_end(source: str) -> None:
    steps: list[tuple[int, int]] = []

    class Keep(Unwatched):
        def advance(self, step: int, of: int, figures: dict[str, float]) -> None:
            steps.append((step, of))

    found(source, watcher=Keep())
    assert [step for step, _ in steps] == sorted(step for step, _ in steps)
    assert steps[-1][0] == steps[-1][1]
    assert len({of for _, of in steps}) == 1


def test_the_configuration_is_kept_and_can_be_read_back() -> None:
    for source in ("axes", "closed-form"):
        kept = found(source).provenance["directions"]
        assert DirectionsConfig.from_json(kept) == DirectionsConfig(source=source, **QUICK)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"source": "pcs"}, "Choose one of: closed-form, axes"),
        ({"source": "axes", "layer": "first"}, "layer says nothing of the source axes"),
        ({"source": "closed-form", "count": 3}, "count says nothing of the source closed-form"),
        ({"source": "pca", "unit_rows": True}, "It is for: sefa"),
        ({"source": "picks", "high_seeds": "1,2"}, "one side only"),
        ({"source": "picks"}, "nothing to go by"),
        ({"source": "picks", "high_seeds": "1", "low_seeds": "one"}, "'one' is no seed"),
        ({"source": "picks", "high_seeds": "1", "low_seeds": "2", "label": "x\n"}, "control character"),
        ({"source": "axes", "count": 9}, "Choose at most 8"),
        ({"source": "sefa"}, "Choose --source pca"),
        ({"source": "pca", "samples": 8}, "more samples"),
        ({"source": "pca", "layer": "first"}, "has no layer 'first'"),
        ({"source": "optimised", "optimise": OptimiseConfig(steps=0)}, "at least 1"),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_remedy(values: dict[str, Any], said: str) -> None:
    values = {**QUICK, **values}
    engine = Engine(DiscGenerator(), EngineConfig(device="cpu"))
    with pytest.raises(LanternError, match=said):
        directions_from(engine, DirectionsConfig(**values), Unwatched())


def test_picks_are_for_the_source_picks_and_of_the_generators_length() -> None:
    picks = Picks(torch.ones(2, 8), torch.zeros(2, 8))
    with pytest.raises(LanternError, match="--source picks"):
        found("axes", picks=picks)
    with pytest.raises(LanternError, match="both"):
        found("picks", picks=picks, high_seeds="1", low_seeds="2")
    with pytest.raises(LanternError, match="disc takes"):
        found("picks", picks=Picks(torch.ones(2, 5), torch.zeros(2, 5)))

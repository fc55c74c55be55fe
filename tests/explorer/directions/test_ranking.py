from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from explorer.directions.catalogue import Catalogue, Entry, load_catalogue, update
from explorer.directions.ranking import (
    FIGURES,
    FORMULA,
    RankConfig,
    Score,
    order,
    rank,
    rank_catalogue,
    score_catalogue,
    score_pairs,
    with_ranking,
    write_ranking,
)
from explorer.engine import Engine, EngineConfig
from explorer.generators.pocket import load_pocket
from segmentation.errors import LanternError
from segmentation.filters import FilterConfig
from segmentation.progress import Unwatched
from tests.analytic import GROUND, OBJECT, DiscGenerator, lighting
from tests.explorer.directions.decoys import DECOYS, DecoyGenerator, Turned, axis_direction, rotation

ROOT = Path(__file__).parents[3]
TRUE = axis_direction((OBJECT, 1), (GROUND, -1))
FEW = RankConfig(codes=16, sets=2)


def engine_of(generator: DiscGenerator | Turned) -> Engine:
    return Engine(generator, EngineConfig(device="cpu"))


def catalogue_of(engine: Engine, directions: Tensor, *entries: Entry) -> Catalogue:
    return Catalogue(directions, entries or tuple(Entry() for _ in directions), "a test", engine.fingerprint)


def random_directions(count: int, dimensions: int, seed: int) -> Tensor:
    return F.normalize(torch.randn(count, dimensions, generator=torch.Generator().manual_seed(seed)), dim=1)


def ranked(engine: Engine, directions: Tensor, seed: int = 0) -> Catalogue:
    return rank_catalogue(engine, catalogue_of(engine, directions), RankConfig(seed=seed), Unwatched())


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("seed", range(10))
def test_the_true_direction_comes_first_from_every_seed(seed: int, turned: bool) -> None:
    for generator, true in ((DiscGenerator(), lighting()), (DecoyGenerator(), TRUE)):
        size = generator.latent_dim
        others = torch.cat([torch.eye(size), random_directions(6, size, 50 + seed)])
        if isinstance(generator, DecoyGenerator):
            others = torch.cat([others, torch.stack([way for way in DECOYS.values() if (way != 0).sum() > 1])])
        # The true one comes last, and the wrong way round.
        directions, place = torch.cat([others, -true[None]]), len(others)
        turn = rotation(size, seed) if turned else torch.eye(size)
        engine = engine_of(Turned(generator, turn) if turned else generator)
        found = ranked(engine, directions @ turn.T, seed)
        assert order(found)[0] == place == found.lighting
        assert found.entries[place].sign == -1


@pytest.fixture(scope="module")
def measured() -> dict[str, dict[int, Score]]:
    """The scores of the true direction and of all decoys."""
    engine, named = engine_of(DecoyGenerator()), {"true": TRUE, **DECOYS}
    scores = score_catalogue(engine, catalogue_of(engine, torch.stack(list(named.values()))), RankConfig(), Unwatched())
    return dict(zip(named, scores, strict=True))


@pytest.mark.parametrize("name", DECOYS)
def test_what_is_no_lighting_scores_less_than_half_either_way(measured: dict[str, dict[int, Score]], name: str) -> None:
    assert max(score.total for score in measured[name].values()) < 0.5 * measured["true"][1].total


def test_the_figures_say_why(measured: dict[str, dict[int, Score]]) -> None:
    true = measured["true"][1]
    assert measured["true"][-1].total == measured["true"][-1].acceptance == 0
    for blob in (measured["lightens the middle"][1], measured["paints a blob"][1]):
        assert blob.following < 0.05 < 0.15 < true.following
        assert blob.sameness > 0.65 > true.sameness
        assert blob.centre > 0.6
    for way in measured["brightens everything"].values():
        assert way.acceptance == 0
        assert abs(way.separation) < 0.1 < 1 < true.separation
    assert measured["darkens the ground"][1].balance < 0.01 < 0.8 < true.balance
    assert measured["moves the object"][1].symmetry == pytest.approx(0.38, abs=0.1)
    assert true.symmetry is not None and true.symmetry > 0.8
    assert measured["makes another pattern"][1].residual > 0.2 > 0.1 > true.residual
    assert true.stability is not None and 0.2 < true.stability <= 1


shares, signed = st.floats(0, 1), st.floats(-1, 1)


@given(shares, shares, signed, signed, st.floats(0, 4), shares, signed, shares, shares, st.none() | shares)
def test_the_total_is_the_formula(
    acceptance: float,
    agreement: float,
    following: float,
    edges: float,
    contrast: float,
    balance: float,
    centre: float,
    residual: float,
    area: float,
    symmetry: float | None,
) -> None:
    score = Score(
        acceptance, area, centre, edges, 0.1, contrast, agreement, following, 0.4, balance, residual, symmetry=symmetry
    )
    figures = {**dataclasses.asdict(score), "symmetry": 1 if symmetry is None else symmetry}
    known = {"sqrt": math.sqrt, "min": min, "max": max}
    assert score.total == pytest.approx(eval(FORMULA, {"__builtins__": {}}, {**known, **figures}), abs=1e-12)
    assert 0 <= score.total <= 1


def test_every_figure_is_described_and_the_formulas_come_first() -> None:
    assert set(FIGURES) == {"total", *(field.name for field in dataclasses.fields(Score))}
    used = [name in FORMULA for name in FIGURES if name not in ("total", "stability")]
    assert used == sorted(used, reverse=True)
    section = (ROOT / "docs/directions.md").read_text("utf-8").split("## Ranking", 1)[1].split("\n## ", 1)[0]
    assert FORMULA in " ".join(section.split())
    for name in FIGURES:
        assert f"*{name}*" in section


def test_a_score_is_that_of_its_pairs_with_what_both_ways_tell() -> None:
    engine = engine_of(DiscGenerator())
    codes, config = engine.codes(16, 0), FilterConfig()
    (pair,) = rank(engine, catalogue_of(engine, lighting()[None]), codes, 5.0, config, Unwatched())
    for sign in (1, -1):
        alone = score_pairs(*engine.pairs(codes, sign * lighting(), 5.0), config)
        assert alone.symmetry is None and alone.stability is None
        assert dataclasses.replace(pair[sign], symmetry=None).to_json() == pytest.approx(
            {**alone.to_json(), "total": dataclasses.replace(pair[sign], symmetry=None).total}, abs=1e-4
        )


def test_stability_is_the_least_total_of_independent_sets_beside_the_greatest() -> None:
    engine = engine_of(DiscGenerator())
    catalogue, config = catalogue_of(engine, lighting()[None]), RankConfig(codes=24, sets=3)
    (whole,) = score_catalogue(engine, catalogue, config, Unwatched())
    codes = engine.codes(24, 0)
    parts = [rank(engine, catalogue, part, 5.0, config.filters, Unwatched())[0][1].total for part in codes.split(8)]
    assert len(set(parts)) == 3
    assert whole[1].stability == pytest.approx(min(parts) / max(parts), rel=1e-4)


def test_each_is_measured_at_its_own_magnitude_unless_another_is_asked_for() -> None:
    engine = engine_of(DiscGenerator())
    entries = Entry(magnitude=2.0), Entry(magnitude=7.0)
    catalogue = catalogue_of(engine, lighting().expand(2, -1), *entries)

    def at(magnitude: float) -> float:
        return rank(engine, catalogue, engine.codes(16, 0), magnitude, FilterConfig(), Unwatched())[0][1].contrast

    own, asked = (
        rank_catalogue(engine, catalogue, config, Unwatched()) for config in (FEW, dataclasses.replace(FEW, magnitude=4))
    )
    assert [entry.magnitude for entry in own.entries] == [2, 7]
    assert [entry.scores["contrast"] for entry in own.entries] == pytest.approx([at(2.0), at(7.0)], abs=1e-3)
    assert [entry.magnitude for entry in asked.entries] == [4, 4]
    assert [entry.scores["contrast"] for entry in asked.entries] == pytest.approx([at(4.0), at(4.0)], abs=1e-3)
    assert asked.provenance["ranking"]["magnitude"] == 4


def pairs_of_scores(*totals: tuple[float, float]) -> list[dict[int, Score]]:
    """Scores whose totals are as given for the signs 1 and -1."""
    return [{s: Score(1, 0.2, 0, 1, 0, 1, t, 1, balance=1) for s, t in zip((1, -1), pair, strict=True)} for pair in totals]


def test_what_a_person_has_judged_stays_and_the_rest_is_turned_and_chosen() -> None:
    engine = engine_of(DiscGenerator())
    entries = (Entry(), Entry(label="sunset"), Entry(status="rejected"), Entry(scores={"length": 2.5, "stability": 0.9}))
    catalogue = catalogue_of(engine, torch.eye(8)[:4], *entries)
    scores = pairs_of_scores((0.1, 0.2), (0.1, 0.3), (0.8, 0.9), (0.4, 0.1))
    found = with_ranking(catalogue, scores, FEW)
    assert [entry.sign for entry in found.entries] == [-1, 1, 1, 1]
    assert [entry.scores["total"] for entry in found.entries] == pytest.approx([0.2, 0.1, 0.8, 0.4])
    # What was not measured this time is not left over from another.
    assert found.entries[3].scores["length"] == 2.5 and "stability" not in found.entries[3].scores
    assert (found.lighting, order(found)) == (3, [2, 3, 0, 1])
    kept = with_ranking(found.with_lighting(0), scores, FEW)
    assert kept.lighting == 0
    turned = with_ranking(found.with_lighting(0), scores, dataclasses.replace(FEW, choose=True))
    assert turned.lighting == 3
    assert [entry.sign for entry in turned.entries] == [-1, -1, -1, 1]
    assert turned.entries[2].status == "rejected"


def test_none_is_chosen_where_nothing_scores() -> None:
    engine = engine_of(DiscGenerator())
    catalogue = catalogue_of(engine, torch.eye(8)[:2])
    assert with_ranking(catalogue, pairs_of_scores((0, 0), (0, 0)), FEW).lighting is None
    with pytest.raises(LanternError, match="1 scores for 2 directions"):
        with_ranking(catalogue, pairs_of_scores((0, 0)), FEW)


def test_the_leaders_are_measured_again_in_the_engines_precision(small_generator: Path) -> None:
    engine = Engine(load_pocket(small_generator), EngineConfig(device="cpu"))
    catalogue = catalogue_of(engine, torch.eye(12)[:6])
    # Whether masks cover more than half the image is by the way here.
    quick = RankConfig(codes=4, sets=2, precision="bfloat16", filters=FilterConfig(size=False, histogram=False))
    fast, exact, mixed = (
        score_catalogue(engine, catalogue, dataclasses.replace(quick, **change), Unwatched())
        for change in ({"leaders": 0}, {"precision": "float32"}, {"leaders": 2})
    )
    leaders = sorted(range(6), key=lambda i: -max(score.total for score in fast[i].values()))[:2]
    assert all(fast[i] != exact[i] for i in range(6))
    assert [mixed[i] == exact[i] for i in range(6)] == [i in leaders for i in range(6)]
    assert [mixed[i] == fast[i] for i in range(6)] == [i not in leaders for i in range(6)]


def test_it_tells_how_far_it_is_and_stops_when_asked() -> None:
    engine, steps = engine_of(DiscGenerator()), list[tuple[int, int]]()

    class Keep(Unwatched):
        def advance(self, step: int, of: int, figures: dict[str, float]) -> None:
            steps.append((step, of))

        def stop_requested(self) -> bool:
            return len(steps) == 9

    config = dataclasses.replace(FEW, precision="bfloat16", leaders=4)
    with pytest.raises(KeyboardInterrupt):
        score_catalogue(engine, catalogue_of(engine, torch.eye(8)), config, Keep())
    assert steps == [(step, 12) for step in range(1, 10)]


def test_writing_keeps_what_was_labelled_meanwhile(tmp_path: Path) -> None:
    engine = engine_of(DiscGenerator())
    catalogue = catalogue_of(engine, torch.eye(8)[:2])
    catalogue.save(tmp_path)
    update(tmp_path, lambda there: there.edited(0, label="sunset"))
    written = write_ranking(tmp_path, catalogue, pairs_of_scores((0.1, 0.2), (0.3, 0.4)), FEW, "a test")
    read = load_catalogue(tmp_path)
    assert read.entries == written.entries
    assert [(entry.label, entry.sign) for entry in read.entries] == [("sunset", 1), ("saliency lighting", -1)]
    assert [entry.scores["total"] for entry in read.entries] == pytest.approx([0.1, 0.4])
    catalogue_of(engine, torch.eye(8)[2:4]).save(tmp_path)
    with pytest.raises(LanternError, match="have changed since"):
        write_ranking(tmp_path, catalogue, pairs_of_scores((0.1, 0.2), (0.3, 0.4)), FEW, "a test")


@pytest.mark.parametrize(
    "values", [{"codes": 1}, {"sets": 0}, {"codes": 8, "sets": 5}, {"seed": -1}, {"magnitude": 21}, {"precision": "half"}]
)
def test_settings_out_of_range_are_refused(values: dict[str, int]) -> None:
    with pytest.raises(LanternError, match=list(values)[-1]):
        RankConfig.from_json(values)
    assert RankConfig.from_json(FEW.to_json()) == FEW

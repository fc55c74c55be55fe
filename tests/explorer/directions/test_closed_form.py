from __future__ import annotations

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from explorer.directions.bases import complete, effect_basis, lighting_candidate, mean_effect
from explorer.directions.closed_form import ClosedFormConfig, closed_form_catalogue, closed_form_steps
from explorer.directions.optimised import OptimiseConfig, lighting_loss, optimise_direction, split_direction
from explorer.directions.ranking import score_pairs
from explorer.directions.refining import RefineConfig, best_magnitude, near, refine
from explorer.engine import Engine, EngineConfig
from segmentation.filters import FilterConfig, filter_pairs
from segmentation.progress import Unwatched
from tests.analytic import DiscGenerator, lighting

FEW = OptimiseConfig(steps=5, batch_size=8, split_steps=4)


def engine() -> Engine:
    return Engine(DiscGenerator(), EngineConfig(device="cpu"))


def test_the_mean_effect_is_the_mean_jacobian_for_a_linear_generator() -> None:
    torch.manual_seed(0)
    weight = torch.randn(8, 3 * 32 * 32) * 0.01

    class Linear(DiscGenerator):
        def generate(self, codes: Tensor) -> Tensor:
            return (codes @ weight).view(-1, 3, 32, 32)

    effect = mean_effect(Engine(Linear(), EngineConfig(device="cpu")), torch.randn(5, 8), 2.0)
    expected = F.adaptive_avg_pool2d(weight.view(8, 3, 32, 32), 16).flatten(1)
    assert torch.allclose(effect, expected, atol=1e-5)


def test_the_basis_is_orthonormal_with_orthogonal_effects_in_order() -> None:
    effect = torch.randn(8, 768, generator=torch.Generator().manual_seed(0))
    basis = effect_basis(effect)
    assert torch.allclose(basis @ basis.T, torch.eye(8), atol=1e-5)
    images = basis @ effect
    gram = images @ images.T
    assert torch.allclose(gram, gram.diagonal().diag(), atol=1e-2)
    assert (gram.diagonal().diff() <= 0).all()


def test_completing_keeps_the_first_and_stays_orthonormal() -> None:
    first = F.normalize(torch.randn(8, generator=torch.Generator().manual_seed(1)), dim=0)
    basis = complete(first, torch.eye(8))
    assert torch.allclose(basis[0], first, atol=1e-6)
    assert torch.allclose(basis @ basis.T, torch.eye(8), atol=1e-5)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_it_finds_the_true_lighting_direction(seed: int) -> None:
    made = engine()
    effect = mean_effect(made, made.codes(32, seed), 2.0)
    assert lighting_candidate(effect) @ lighting() > 0.9


def test_the_true_direction_scores_higher_than_any_axis_and_its_opposite() -> None:
    made = engine()
    codes = made.codes(64, 3)
    candidates = {"true": lighting(), "opposite": -lighting(), **{str(i): torch.eye(8)[i] for i in range(8)}}
    totals = {}
    for name, direction in candidates.items():
        totals[name] = score_pairs(*made.pairs(codes, direction, 5.0), FilterConfig()).total
    assert max(totals, key=lambda name: totals[name]) == "true"
    assert totals["true"] > 0.1


def test_the_catalogue_names_the_lighting_direction_with_its_sign() -> None:
    catalogue = closed_form_catalogue(
        engine(),
        ClosedFormConfig(codes=32, optimise=OptimiseConfig(steps=60, batch_size=24), search=RefineConfig(rounds=3, codes=32)),
        Unwatched(),
    )
    assert len(catalogue) == 8
    assert catalogue.lighting is not None
    assert catalogue.direction(catalogue.lighting) @ lighting() > 0.9
    assert sum(entry.status == "saliency lighting" for entry in catalogue.entries) == 1


def test_refining_improves_a_poor_start_and_never_worsens_it() -> None:
    made = engine()
    start = F.normalize(lighting() + 1.2 * torch.eye(8)[3] + 0.8 * torch.eye(8)[1], dim=0)
    config = RefineConfig(rounds=12, children=4, codes=32, span=8)
    totals: list[float] = []

    class Keep(Unwatched):
        def advance(self, step: int, steps: int, figures: dict[str, float]) -> None:
            totals.append(figures["total"])

    found = refine(made, (start, 4.0), torch.eye(8), FilterConfig(), config, 5, Keep())
    assert totals == sorted(totals)
    assert found.direction.norm().item() == pytest.approx(1, abs=1e-5)
    assert 2.0 <= found.magnitude <= 6.0
    assert found.direction @ lighting() > start @ lighting()


@pytest.mark.parametrize("nearness", [0.98, 0.8])
def test_refining_stays_near_the_direction_it_starts_from(nearness: float) -> None:
    start = F.normalize(lighting() + 1.2 * torch.eye(8)[3] + 0.8 * torch.eye(8)[1], dim=0)
    config = RefineConfig(rounds=12, children=4, codes=32, span=8, nearness=nearness)
    found = refine(engine(), (start, 4.0), torch.eye(8), FilterConfig(), config, 5, Unwatched())
    assert nearness - 1e-5 <= found.direction @ start < 0.999
    assert found.direction.norm().item() == pytest.approx(1, abs=1e-5)


def test_what_is_pulled_back_into_the_cone_is_the_nearest_there() -> None:
    first, far = torch.eye(3)[0], F.normalize(torch.tensor([0.1, 0.6, 0.8]), dim=0)
    torch.testing.assert_close(near(far, first, 0.8), torch.tensor([0.8, 0.36, 0.48]))
    assert near(far, first, 0.05) is far


def test_no_rounds_leave_the_direction_as_it_is() -> None:
    found = refine(engine(), (lighting(), 4.0), torch.eye(8), FilterConfig(), RefineConfig(rounds=0), 0, Unwatched())
    assert torch.equal(found.direction, lighting())
    assert found.magnitude == 4.0


def test_without_any_lighting_none_is_chosen() -> None:
    class Grey(DiscGenerator):
        def generate(self, codes: Tensor) -> Tensor:
            return codes[:, :1, None, None].expand(-1, 3, 32, 32) * 0.01

    config = ClosedFormConfig(codes=8, optimise=FEW, search=RefineConfig(rounds=1, codes=8))
    catalogue = closed_form_catalogue(Engine(Grey(), EngineConfig(device="cpu")), config, Unwatched())
    assert catalogue.lighting is None


def test_progress_counts_up_to_the_end_and_a_stop_ends_it() -> None:
    steps: list[tuple[int, int]] = []

    class Keep(Unwatched):
        def advance(self, step: int, of: int, figures: dict[str, float]) -> None:
            steps.append((step, of))

        def stop_requested(self) -> bool:
            return len(steps) == 15

    config = ClosedFormConfig(codes=8, optimise=FEW, search=RefineConfig(rounds=3, codes=8))
    with pytest.raises(KeyboardInterrupt):
        closed_form_catalogue(engine(), config, Keep())
    assert steps == [(step, 8 + 5 + 19 + 3 + 2 * (4 + 19) + 8) for step in range(1, 16)]
    without = dataclasses.replace(config, optimise=dataclasses.replace(FEW, split_rounds=0))
    assert sum(closed_form_steps(engine(), without)) == 8 + 5 + 19 + 3 + 8


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_optimising_finds_the_true_lighting_direction_from_every_seed(seed: int) -> None:
    config = OptimiseConfig(steps=60, batch_size=24)
    found = optimise_direction(engine(), config, Unwatched(), seed)
    assert found.norm().item() == pytest.approx(1, abs=1e-5)
    assert found @ lighting() > 0.9


class FaintGenerator(DiscGenerator):
    """Disc and ground of any lightness; coordinate 0 makes the one lighter and the other darker, faintly, 1 strongly."""

    def generate(self, codes: Tensor) -> Tensor:
        disc = self.disc(codes)
        light = (0.1 * codes[:, 0] + 0.4 * codes[:, 1])[:, None, None]
        first, second = (torch.tanh(codes[:, column])[:, None, None] for column in (5, 6))
        grey = disc * (first + light) + (1 - disc) * (second - light)
        return grey.clamp(-1, 1)[:, None].expand(-1, 3, -1, -1)


def share(images: Tensor, disc: Tensor) -> float:
    """Of ``images`` (B, 3, R, R), the share whose ``disc`` (B, R, R) is lighter than their ground."""
    inside, outside = ((images[:, 0] * part).sum((1, 2)) / part.sum((1, 2)) for part in (disc, 1 - disc))
    return (inside > outside).float().mean().item()


def test_the_second_descent_splits_what_the_first_direction_only_lightens() -> None:
    made, start = Engine(FaintGenerator(), EngineConfig(device="cpu")), torch.eye(8)[0]
    config = OptimiseConfig(split_steps=60, batch_size=24, split_share=1.0)
    found = split_direction(made, config, Unwatched(), 0, (start, 4.0))
    assert found.norm().item() == pytest.approx(1, abs=1e-5)
    assert found[1] > 0.5
    codes = made.codes(64, 9)
    disc = FaintGenerator().disc(codes)
    before, after = (filter_pairs(*made.pairs(codes, way, 4.0), FilterConfig()) for way in (start, found))
    split = [share(made.images(codes + 4.0 * way), disc) for way in (start, found)]
    assert split[1] > max(0.9, split[0] + 0.2)
    same = (before.mask == after.mask).float().mean()
    assert same > 0.9, "the masks are still those of the first direction"
    assert torch.equal(split_direction(made, config, Unwatched(), 0, (start, 4.0)), found)


def test_the_weight_on_the_split_turns_the_second_descent() -> None:
    made, start = Engine(FaintGenerator(), EngineConfig(device="cpu")), torch.eye(8)[0]
    config = OptimiseConfig(split_steps=60, batch_size=24, split_share=1.0)
    configs = [dataclasses.replace(config, split_weight=weight) for weight in (0.0, 1.0, 8.0)]
    found = [split_direction(made, own, Unwatched(), 0, (start, 4.0))[1].item() for own in configs]
    assert found == sorted(found)
    assert found[2] > found[0] + 0.1


def test_a_direction_of_no_effect_is_not_taken_for_one_that_varies() -> None:
    images = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    wanted = torch.zeros(4, 32, 32)
    wanted[torch.arange(4), 4:12, 4:12] = 1
    wanted[2:, 16:28, 16:28] = 1
    right = images + 0.5 * (2 * wanted - 1)[:, None]
    same_everywhere = images + 0.5 * (2 * wanted.mean(0) - 1)[None, None]
    losses = [lighting_loss(images, shifted, wanted, OptimiseConfig()) for shifted in (right, same_everywhere, images)]
    assert losses[0][1] > 0.95
    assert abs(losses[1][1]) < 0.05
    assert losses[2][1] == pytest.approx(0, abs=1e-5)
    assert losses[0][0] < min(losses[1][0], losses[2][0])


def test_the_best_magnitude_is_the_one_that_scores_highest() -> None:
    made = engine()
    codes = made.codes(32, 4)
    found = best_magnitude(made, lighting(), FilterConfig(), codes, Unwatched())
    scores = {m: score_pairs(*made.pairs(codes, lighting(), m), FilterConfig()).total for m in (2.0, 5.0, 12.0, 20.0)}
    assert found.score.total >= max(scores.values()) - 1e-6
    assert score_pairs(*made.pairs(codes, lighting(), found.magnitude), FilterConfig()).total == pytest.approx(
        found.score.total
    )

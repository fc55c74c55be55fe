from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import scipy.linalg
import scipy.spatial
import torch
from hypothesis import given
from hypothesis import strategies as st

from explorer.generators.features import FeatureNetwork
from explorer.generators.photographs import hold_out, to_signed
from explorer.generators.quality import (
    Measured,
    QualityConfig,
    frechet_distance,
    measure_quality,
    near_duplicates,
    neighbour_distances,
    sample_count,
    share_within,
)
from segmentation.errors import LanternError
from segmentation.progress import Unwatched

CONFIG = QualityConfig(samples=60, held_out=0.25, neighbours=2)


def rows(count: int, width: int, seed: int) -> torch.Tensor:
    random = np.random.default_rng(seed)
    return torch.from_numpy(random.standard_normal((count, width)) @ random.standard_normal((width, width)))


@pytest.mark.parametrize(("count", "other"), [(300, 200), (12, 200)])
def test_the_frechet_distance_is_scipys(count: int, other: int) -> None:
    first, second = rows(count, 20, 0) + 0.3, rows(other, 20, 1)
    a, b = first.numpy(), second.numpy()
    covariances = np.cov(a.T), np.cov(b.T)
    # A little on the diagonal: SciPy's root of a singular product is not to be relied on.
    root = scipy.linalg.sqrtm((covariances[0] + 1e-10 * np.eye(20)) @ (covariances[1] + 1e-10 * np.eye(20))).real
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(covariances[0] + covariances[1] - 2 * root)
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-4)


def test_the_frechet_distance_of_one_dimension_has_a_closed_form() -> None:
    first, second = rows(50, 1, 0), rows(70, 1, 1) * 3 + 2
    expected = (first.mean() - second.mean()) ** 2 + (first.std() - second.std()) ** 2
    assert frechet_distance(first, second) == pytest.approx(expected.item())


@given(seed=st.integers(0, 1000), shift=st.floats(-5, 5), width=st.integers(1, 8), count=st.integers(3, 30))
def test_the_frechet_distance_of_a_shift_is_its_square(seed: int, shift: float, width: int, count: int) -> None:
    first = rows(count, width, seed)
    assert frechet_distance(first, first + shift) == pytest.approx(width * shift**2, abs=1e-4)
    other = rows(count + 3, width, seed + 1)
    assert frechet_distance(first, other) == pytest.approx(frechet_distance(other, first), rel=1e-4, abs=1e-4)


def test_fewer_images_make_the_frechet_distance_larger() -> None:
    random = np.random.default_rng(0)
    distances = []
    for count in (100, 400, 1600):
        first, second = (torch.from_numpy(random.standard_normal((count, 40))) for _ in range(2))
        distances.append(frechet_distance(first, second) * count)
    # It falls like 1 / N.
    assert max(distances) < 1.3 * min(distances)


def test_neighbours_are_those_of_a_tree() -> None:
    points = rows(1100, 4, 0).float()
    points[7] = points[3]
    expected, _ = scipy.spatial.cKDTree(points.numpy()).query(points.numpy(), 4)
    assert np.allclose(neighbour_distances(points, 3).numpy(), expected[:, 1:], atol=1e-4)
    with pytest.raises(LanternError, match="no 3 neighbours"):
        neighbour_distances(points[:3], 3)


def test_the_share_within_balls_is_that_of_loops() -> None:
    points, centres = rows(1030, 3, 0).float(), rows(60, 3, 0).float()
    radii = torch.rand(60, generator=torch.Generator().manual_seed(0))
    inside = [
        any(np.linalg.norm(p - c) <= r for c, r in zip(centres.numpy(), radii.numpy(), strict=True)) for p in points.numpy()
    ]
    assert 0.1 < np.mean(inside) < 0.9
    assert share_within(points, centres, radii) == pytest.approx(np.mean(inside), abs=1e-6)


def test_near_duplicates_are_nearer_than_photographs() -> None:
    photographs = torch.arange(1, 102).float()
    assert near_duplicates(torch.tensor([0.5, 1.9, 2.1, 50]), photographs) == 0.5


class Colours(FeatureNetwork):
    """A network whose pooled features are the mean colours alone, so that the test knows what they should be."""

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        pooled = torch.nn.functional.avg_pool2d(images, 16) + 2
        return [pooled, pooled, torch.cat([pooled] * 43, 1)[:, :128], torch.cat([pooled] * 86, 1)[:, :256]]


def pictures(count: int, seed: int) -> torch.Tensor:
    """Plain pictures (N, 3, 32, 32) uint8 in random colours, with a little texture."""
    random = np.random.default_rng(seed)
    plain = random.integers(20, 230, (count, 3, 1, 1))
    return torch.from_numpy((plain + random.integers(0, 4, (count, 3, 32, 32))).astype(np.uint8))


PHOTOGRAPHS = pictures(160, 0)


def measure(
    samples: torch.Tensor, encoder: bool = True, config: QualityConfig = CONFIG, watcher: Unwatched | None = None
) -> Measured:
    def batches(first: int) -> Iterator[torch.Tensor]:
        yield from to_signed(samples)[first:].split(25)

    reconstruct = (lambda images: images / 2) if encoder else None
    return measure_quality(batches, PHOTOGRAPHS, reconstruct, Colours(32), config, watcher or Unwatched())


def test_fresh_pictures_of_the_same_kind_score_like_photographs() -> None:
    quality = measure(pictures(60, 1)).quality
    assert (quality.samples, quality.photographs, quality.held_out) == (60, 160, 40)
    assert quality.frechet < 3 * quality.frechet_floor + 0.1
    assert quality.precision == pytest.approx(quality.ceiling, abs=0.2)
    assert quality.recall == pytest.approx(quality.ceiling, abs=0.2)
    assert quality.near_duplicates < 0.3


def test_collapsed_samples_are_precise_but_recall_nothing() -> None:
    one = PHOTOGRAPHS[:1].expand(60, -1, -1, -1).clone()
    quality = measure(one).quality
    assert quality.recall <= 0.05
    assert quality.near_duplicates == 1
    assert quality.frechet > 5 * quality.frechet_floor


def test_samples_from_elsewhere_have_no_precision() -> None:
    quality = measure((pictures(60, 2).float() / 20).byte()).quality
    assert quality.precision == 0
    assert quality.frechet_all > 10 * quality.frechet_halves


def test_the_figures_are_those_of_scipy_and_numpy() -> None:
    samples = pictures(60, 1)
    quality = measure(samples).quality
    held, fitted = (to_signed(part) for part in hold_out(PHOTOGRAPHS, 0.25, 0))
    own, of_held, of_matched = (
        np.tile(part.double().numpy().mean((2, 3)), 128)[:, :128] for part in (to_signed(samples), held, fitted[:60])
    )
    # All 384 features: the same colours, over and over.
    own, of_held, of_matched = (np.concatenate([p, np.tile(p[:, :3], 86)[:, :256]], 1) for p in (own, of_held, of_matched))

    def reach(points: np.ndarray) -> np.ndarray:
        return np.sort(scipy.spatial.distance.cdist(points, points), 1)[:, 2]

    def share(points: np.ndarray, centres: np.ndarray) -> float:
        return float((scipy.spatial.distance.cdist(points, centres) <= reach(centres)).any(1).mean())

    assert quality.precision == pytest.approx(share(own, of_matched), abs=0.02)
    assert quality.recall == pytest.approx(share(of_held, own), abs=0.03)
    assert quality.ceiling == pytest.approx(share(of_held, of_matched), abs=0.03)
    assert quality.frechet == pytest.approx(frechet_distance(torch.from_numpy(own), torch.from_numpy(of_held)), rel=1e-3)
    images = held.double().numpy()
    assert quality.reconstruction_error == pytest.approx((images**2).mean() / 4, rel=1e-5)
    assert quality.unrelated_error == pytest.approx(((images - np.roll(images, 1, 0)) ** 2).mean(), rel=1e-5)
    assert 0 < quality.reconstruction_distance < quality.unrelated_distance


def test_without_an_encoder_there_is_no_reconstruction() -> None:
    measured = measure(pictures(60, 1), encoder=False)
    values = measured.quality.to_json()
    assert values["reconstruction_error"] is None and values["reconstruction_distance"] is None
    assert values["unrelated_error"] > 0
    assert len(measured.images) == 60


def test_the_picture_shows_held_out_photographs_reconstructions_and_samples() -> None:
    samples = pictures(60, 1)
    images = measure(samples).images
    held, _ = hold_out(PHOTOGRAPHS, 0.25, 0)
    assert torch.equal(images[:12], to_signed(held[:12]))
    assert torch.allclose(images[12:24], images[:12] / 2)
    assert torch.equal(images[24:], to_signed(samples[:48]))


def test_the_same_seed_gives_the_same_figures_and_another_other_photographs() -> None:
    samples = pictures(60, 1)
    first, again = measure(samples).quality, measure(samples).quality
    assert first == again
    other = measure(samples, config=QualityConfig(samples=60, held_out=0.25, neighbours=2, seed=1)).quality
    assert other.unrelated_error != first.unrelated_error


def test_no_more_samples_than_there_are_photographs_to_compare_with() -> None:
    assert sample_count(QualityConfig(), 7810) == 4096
    assert sample_count(QualityConfig(held_out=0.25), 160) == 120
    with pytest.raises(LanternError, match="50 samples were made instead of 60"):
        measure(pictures(50, 1))


def test_too_few_photographs_are_said() -> None:
    with pytest.raises(LanternError, match="of 160 photographs 1 are held out"):
        measure(pictures(60, 1), config=QualityConfig(samples=60, held_out=0.01))


def test_progress_ends_at_the_total_and_a_stop_is_heeded() -> None:
    seen = []

    class Keep(Unwatched):
        def advance(self, step: int, steps: int, figures: dict[str, float]) -> None:
            seen.append((step, steps))

    measure(pictures(60, 1), watcher=Keep())
    assert seen[-1] == (260, 260) and seen == sorted(seen)

    class Stop(Unwatched):
        def stop_requested(self) -> bool:
            return True

    with pytest.raises(KeyboardInterrupt):
        measure(pictures(60, 1), watcher=Stop())

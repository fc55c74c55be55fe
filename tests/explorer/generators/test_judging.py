from __future__ import annotations

from itertools import cycle
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
import torch

from explorer.generators.features import load_features, pooled_features
from explorer.generators.fitting import fit_generator
from explorer.generators.judging import Judge
from explorer.generators.photographs import load_photographs, to_signed
from explorer.generators.pocket import PocketGenerator
from explorer.generators.seeds import source_for
from segmentation.tensors import load_tensors
from tests.explorer.generators.discs import SMALL, Figures, brief_fit, draw_discs

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("judging") / "photographs"
    draw_discs(folder, 24)
    return folder


def frechet(first: np.ndarray, second: np.ndarray) -> float:
    """The formula as it is written, with scipy's root of a matrix; of fewer rows than columns only its trace is exact."""
    ridge = 1e-9 * np.eye(first.shape[1])
    covariances = [np.cov(part.T) + ridge for part in (first, second)]
    root = scipy.linalg.sqrtm(covariances[0] @ covariances[1])
    apart = np.square(first.mean(0) - second.mean(0)).sum()
    return float(apart + np.trace(covariances[0] + covariances[1] - 2 * np.real(root)))


def test_samples_are_judged_by_as_many_photographs(photographs: Path) -> None:
    images = load_photographs(photographs, 64)[0]
    torch.manual_seed(0)
    generator = PocketGenerator(SMALL)
    judge = Judge(images, 5, CPU)
    judged = judge.judge(generator)
    assert judge.judge(generator) == judged
    with torch.no_grad():
        samples = generator.generate(torch.randn(24, 8, generator=source_for(5, "judged")))
    own, others = (pooled_features(load_features(), [part]).double().numpy() for part in (samples, to_signed(images)))
    assert judged["frechet"] == pytest.approx(frechet(own, others), rel=1e-3)

    def nearest(rows: np.ndarray) -> np.ndarray:
        apart = np.linalg.norm(rows[:, None] - rows[None], axis=2)
        return np.where(np.eye(len(rows), dtype=bool), np.inf, apart).min(1)

    share = (nearest(own) < np.quantile(nearest(others), 0.01)).mean()
    assert judged["near_duplicates"] == pytest.approx(share)


def test_better_samples_are_closer(photographs: Path) -> None:
    images = load_photographs(photographs, 64)[0]

    class Copies(PocketGenerator):
        """Makes the photographs, in a light that is ``off`` by so much."""

        off = 0.0

        def generate(self, codes: torch.Tensor) -> torch.Tensor:
            return to_signed(images[: len(codes)]) + self.off

    copies, judge = Copies(SMALL), Judge(images, 0, CPU)
    distances = []
    for off in (0.0, 0.1, 0.4):
        copies.off = off
        distances.append(judge.judge(copies)["frechet"])
    assert distances[0] < 1e-3 < distances[1] < distances[2]


def test_the_state_closest_to_the_photographs_is_kept_however_often_the_fit_is_stopped(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So short a fit only gets better, or not, as the processor rounds; the distances are given, the rest is as it is.
    distances, real = cycle([3.0, 1.0, 2.0]), Judge.judge

    def judge(self: Judge, generator: PocketGenerator) -> dict[str, float]:
        return {**real(self, generator), "frechet": next(distances)}

    monkeypatch.setattr(Judge, "judge", judge)
    config = brief_fit(adversarial_steps=6, adversarial_learning_rate=0.002)
    whole = Figures()
    fit_generator([photographs], tmp_path / "whole", config, whole, CPU)
    for stop in (9, 11, 0):
        fit_generator([photographs], tmp_path / "parts", config, Figures(stop), CPU)
    judged = {step - 6: figures["frechet"] for step, figures in whole.figures.items() if "frechet" in figures}
    assert judged == {2: 3.0, 4: 1.0, 6: 2.0}
    best = 4
    kept = []
    for name in ("whole", "parts"):
        tensors, header = load_tensors(tmp_path / name / "generator.safetensors")
        assert header["provenance"]["state"]["step"] == best
        assert header["provenance"]["state"]["frechet"] == pytest.approx(judged[best], abs=1e-3)
        assert load_tensors(tmp_path / name / "checkpoint.safetensors")[1]["remembered"]["best"] == pytest.approx(judged[best])
        newest, header = load_tensors(tmp_path / name / "newest.safetensors")
        assert header["provenance"]["state"]["step"] == 6
        averaged = load_tensors(tmp_path / name / "checkpoint.safetensors")[0]
        assert all(torch.equal(tensor, averaged[f"averaged.{key}"].half()) for key, tensor in newest.items())
        kept.append(tensors)
    assert all(torch.allclose(kept[0][name].float(), kept[1][name].float(), atol=1e-3) for name in kept[0])

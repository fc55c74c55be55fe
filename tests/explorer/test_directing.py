from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from explorer.__main__ import main
from explorer.commands.directing import calibrate, directions
from explorer.commands.options import GeneratorOptions
from explorer.directions.calibration import CalibrationConfig
from explorer.directions.catalogue import load_catalogue
from explorer.directions.origins import DirectionsConfig
from explorer.engine import Engine, EngineConfig
from explorer.generators.pocket import load_pocket

CPU = EngineConfig(device="cpu")


def run(*arguments: object) -> int:
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as stop:
        return int(stop.code or 0)


@pytest.mark.parametrize(
    ("source", "more", "count"),
    [
        ("axes", ("--count", 5), 5),
        ("random", ("--seed", 4), 12),
        ("pca", ("--samples", 40, "--layer", "latent"), 12),
        ("sefa", ("--unit-rows", "--no-calibrate"), 12),
        ("optimised", ("--optimise.steps", 2, "--optimise.batch-size", 4, "--codes", 4), 2),
        ("picks", ("--high-seeds", "1,2", "--low-seeds", "0:4,5", "--label", "red ones"), 1),
    ],
)
def test_every_source_makes_a_catalogue(
    small_generator: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    source: str,
    more: tuple[object, ...],
    count: int,
) -> None:
    out = tmp_path / "catalogue"
    arguments = ("--generator", small_generator, "--calibration.codes", 2, "--out", out)
    assert run("directions", "--source", source, *arguments, *more) == 0
    catalogue = load_catalogue(out)
    assert len(catalogue) == count
    assert catalogue.fingerprint == load_pocket(small_generator).fingerprint
    assert catalogue.provenance["directions"]["source"] == source
    assert f"{count} direction" in capsys.readouterr().out
    calibrated = [entry for entry in catalogue.entries if entry.status != "saliency lighting"]
    assert all(("reach" in entry.scores) == (source != "sefa") for entry in calibrated)


def test_picks_can_be_files(small_generator: Path, tmp_path: Path) -> None:
    high, low = np.random.default_rng(0).standard_normal((2, 6, 12)).astype(np.float32)
    np.save(tmp_path / "high.npy", high)
    np.save(tmp_path / "low.npy", low)
    files = (tmp_path / "high.npy", tmp_path / "low.npy")
    arguments = ("--generator", small_generator, "--no-calibrate", "--label", "bright", "--out", tmp_path / "catalogue")
    assert run("directions", "--source", "picks", "--picks", *files, *arguments) == 0
    catalogue = load_catalogue(tmp_path / "catalogue")
    expected = torch.from_numpy(high.mean(0) - low.mean(0))
    assert torch.allclose(catalogue.directions[0], F.normalize(expected, dim=0), atol=1e-6)
    assert catalogue.title(0) == "0 bright"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--source", "picks"), "--high-seeds 3,8,12"),
        (("--source", "gan"), "Choose one of: closed-form"),
        (("--source", "pca", "--layer", "nothing"), "no layer 'nothing'"),
        (("--source", "axes", "--picks", "none.npy", "none.npy"), "none.npy does not exist"),
    ],
)
def test_what_cannot_be_is_said(
    small_generator: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str
) -> None:
    assert run("directions", "--generator", small_generator, "--out", tmp_path / "catalogue", *arguments) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "catalogue").exists()


def test_a_catalogue_can_be_calibrated_later(small_generator: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options, folder = GeneratorOptions(str(small_generator), CPU), tmp_path / "catalogue"
    directions(options, DirectionsConfig(source="random", calibrate=False), folder)
    plain = load_catalogue(folder)
    dataclasses.replace(plain).with_lighting(3, magnitude=7.5).save(folder)
    calibrate(options, CalibrationConfig(target=0.02, codes=4), folder)
    after = load_catalogue(folder)
    engine = Engine(load_pocket(small_generator), CPU)
    codes = engine.codes(4, CalibrationConfig().seed) * 1.0
    signs = torch.tensor([1.0, -1.0, 1.0, -1.0])[:, None]
    for entry, direction in zip(after.entries, after.directions, strict=True):
        if entry.status == "saliency lighting":
            assert entry.magnitude == 7.5
            continue
        change = (engine.images(codes + signs * entry.magnitude * direction) - engine.images(codes)).abs().mean()
        assert entry.scores["reach"] == 1
        assert 0.0199 <= change <= 0.022
    assert "magnitudes from" in capsys.readouterr().out
    assert any(change.field == "magnitude" and change.by == "calibrate" for change in after.entries[0].history)

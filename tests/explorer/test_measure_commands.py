from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from explorer.generators.features import load_features
from tests.analytic import disc_photograph
from tests.explorer.test_commands import run

ENCODERS = Path(__file__).with_name("encoders.py")
FIT = ("--resolution", 32, "--batch-size", 8, "--steps", 2)
MEASURE = ("--samples", 12, "--held-out", 0.3, "--seed", 2)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two folders of fifteen coarse pictures each."""
    folder, random = tmp_path_factory.mktemp("photographs"), np.random.default_rng(0)
    for number in range(30):
        (folder / f"{number % 2}").mkdir(exist_ok=True)
        coarse = Image.fromarray(random.integers(0, 255, (4, 4, 3), np.uint8))
        coarse.resize((70, 64), Image.Resampling.BICUBIC).save(folder / f"{number % 2}" / f"{number}.png")
    return folder


def test_features_are_fitted_and_used_to_measure(small_generator: Path, photographs: Path, tmp_path: Path) -> None:
    images = ("--images", photographs / "0", photographs / "1")
    assert run("fit-features", *images, *FIT, "--out", tmp_path / "fit") == 0
    fitted = tmp_path / "fit" / "features.safetensors"
    found = []
    for name, features in (("shipped", ()), ("own", ("--features", fitted)), ("again", ("--features", fitted))):
        out = (tmp_path / f"{name}.json", tmp_path / f"{name}.png")
        options = ("--generator", small_generator, *images, *MEASURE, *features, "--json", out[0], "--picture", out[1])
        assert run("measure-generator", *options) == 0
        found.append(json.loads(out[0].read_text()))
        # Nine photographs held out and their reconstructions, then twelve samples.
        assert Image.open(out[1]).size == (12 * 64, 3 * 64)
    shipped, own, again = found
    assert own == again
    assert (shipped["features"], own["features"]) == (load_features().fingerprint, load_features(fitted).fingerprint)
    assert (own["samples"], own["photographs"], own["held_out"]) == (12, 30, 9)
    assert own["provenance"]["config"]["seed"] == 2
    assert own["provenance"]["generator"]["name"] == "small"
    assert 0 < shipped["frechet_floor"] < shipped["frechet"]


@pytest.mark.parametrize(
    ("name", "side", "said"),
    [
        ("PlainGenerator", None, "reconstruction: none, the generator has no encoder"),
        ("WideEncoder", 48, "the encoder takes 48 px, and got the photographs scaled from 32 px"),
    ],
)
def test_generators_are_measured_whatever_their_encoder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, side: int | None, said: str
) -> None:
    out, random = tmp_path / "quality.json", np.random.default_rng(1)
    (tmp_path / "discs").mkdir()
    for number, (light, ground) in enumerate(random.normal(size=(30, 2))):
        Image.fromarray(disc_photograph(light, ground)).save(tmp_path / "discs" / f"{number}.png")
    options = ("--generator", f"{ENCODERS}:{name}", "--images", tmp_path / "discs", *MEASURE)
    assert run("measure-generator", *options, "--json", out, "--picture", tmp_path / "p.png") == 0
    found = json.loads(out.read_text())
    assert found["provenance"]["generator"]["encoder_resolution"] == side
    assert said in capsys.readouterr().out
    # Two held-out rows and the samples, or without reconstructions one and the samples.
    assert Image.open(tmp_path / "p.png").size == (12 * 32, (3 if side else 2) * 32)
    figures = [found["reconstruction_error"], found["reconstruction_distance"]]
    assert figures == [None, None] if side is None else found["reconstruction_error"] < 0.05 * found["unrelated_error"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--images",), "no photographs are named"),
        (("--images", "nowhere"), "nowhere does not exist"),
        (("--images", "nowhere", "--picture", "grid.txt"), "ends in .txt"),
        (("--images", "nowhere", "--json", "."), "is a folder"),
        (("--images", "nowhere", "--held-out", 0.0), "held_out is 0.0"),
    ],
)
def test_what_cannot_be_measured_is_said(
    small_generator: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[object, ...], message: str
) -> None:
    assert run("measure-generator", "--generator", small_generator, *arguments) == 2
    assert message in " ".join(capsys.readouterr().err.split())

"""Files of embeddings: their records, their statistics, and a look at them before a run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from explorer.encoded import Statistics, measure, read_record, spread_rows, write_record
from explorer.engine import Engine, EngineConfig
from explorer.generators.pocket import load_pocket
from explorer.generators.registry import load_generator
from segmentation.errors import LanternError
from tests.explorer.test_commands import run

RNG = np.random.default_rng(6)


def test_a_record_comes_back_and_has_a_line_for_every_name(tmp_path: Path) -> None:
    names = ['a "quoted" name.png', "ümlaut/ю.jpg", "back\\slash\nand line.png"]
    write_record(tmp_path / "z.npy", {"rows": 3, "run": {"deep": [1, {"er": None}]}}, iter(names))
    assert read_record(tmp_path / "z.npy") == {
        "kind": "embeddings",
        "rows": 3,
        "run": {"deep": [1, {"er": None}]},
        "names": names,
    }
    assert sum(line.startswith("    ") for line in (tmp_path / "z.json").read_text().split('"names"')[1].splitlines()) == 3
    write_record(tmp_path / "none.npy", {}, [])
    assert read_record(tmp_path / "none.npy") == {"kind": "embeddings", "names": []}


def test_what_is_no_record_is_passed_over_unless_it_is_cut_short(tmp_path: Path) -> None:
    assert read_record(tmp_path / "z.npy") is None
    for text in ("[1, 2]", '{"kind": "catalogue"}', "3"):
        (tmp_path / "z.json").write_text(text)
        assert read_record(tmp_path / "z.npy") is None
    (tmp_path / "z.json").write_text('{"kind": "embed')
    with pytest.raises(LanternError, match=r"z\.json is not valid JSON"):
        read_record(tmp_path / "z.npy")


def test_statistics_are_those_of_the_finite_rows() -> None:
    codes = RNG.normal(0.3, 1.7, (70_001, 6)).astype(np.float32)
    codes[66_000, 2], codes[12, 0] = np.nan, np.inf
    codes[100] = codes[101]
    found = measure(codes)
    good = np.delete(codes, (66_000, 12), 0).astype(np.float64)
    assert (found.rows, found.length, found.not_finite) == (70_001, 6, 2)
    assert found.mean == pytest.approx(good.mean(), abs=1e-9)
    assert found.std == pytest.approx(good.std(), rel=1e-9)
    assert found.norm == pytest.approx(np.median(np.linalg.norm(good, axis=1)) / 6**0.5, rel=1e-9)
    assert found.repeated == 0


def test_repetitions_are_counted() -> None:
    assert measure(np.tile(RNG.normal(size=(1, 8)), (10, 1))).repeated == pytest.approx(0.9)
    assert measure(np.full((3, 4), np.nan)).describe().startswith("3 x 4: mean 0.000")


GOOD = RNG.normal(size=(300, 120)).astype(np.float32)
WRONG = [
    (np.abs(GOOD), "the mean of the embeddings is 0.80, about 0 is expected"),
    (GOOD / 127.5, "standard deviation is 0.01"),
    (GOOD * 5, "median norm is 4.9"),
    (RNG.random((300, 120)), "the mean of the embeddings is 0.50"),
    (RNG.integers(0, 256, (300, 120)), "the mean of the embeddings is 127"),
    (GOOD / np.linalg.norm(GOOD, axis=1, keepdims=True), r"median norm is 0.09 sqrt(120)"),
    (np.tile(GOOD[:1], (300, 1)), "100% of them are repetitions"),
    (np.where(np.arange(300)[:, None] == 7, np.nan, GOOD), "1 of 300 embeddings hold NaN or infinity"),
]


@pytest.mark.parametrize(("codes", "said"), WRONG, ids=[said for _, said in WRONG])
def test_numbers_that_are_no_latent_codes_are_doubted(codes: NDArray[np.float32], said: str) -> None:
    assert any(said in doubt for doubt in measure(codes).doubts())


@pytest.mark.parametrize("codes", [GOOD, GOOD[:1], 0.8 * GOOD + 0.05, GOOD[:, :12], GOOD * 1.3])
def test_latent_codes_are_not_doubted(codes: NDArray[np.float32]) -> None:
    assert measure(codes).doubts() == []


def test_the_pockets_own_codes_are_not_doubted() -> None:
    # Of photographs the encoder gives means, which vary less than N(0, I).
    engine = Engine(load_generator("pocket"), EngineConfig(device="cpu"))
    found: Statistics = measure(engine.encode(engine.images(engine.codes(24, 3))).cpu().numpy())
    assert found.doubts() == []


@pytest.mark.parametrize(("rows", "count", "expected"), [(10, 3, [0, 4, 9]), (3, 9, [0, 1, 2]), (1, 5, [0]), (7, 1, [0])])
def test_rows_are_spread_over_the_file(rows: int, count: int, expected: list[int]) -> None:
    assert spread_rows(rows, count).tolist() == expected


def test_preview_draws_embeddings_and_the_same_with_noise(
    small_generator: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, codes = tmp_path / "z.npy", RNG.normal(size=(9, 12)).astype(np.float32)
    np.save(path, codes)
    generator = load_pocket(small_generator)
    names = [f"{number}.jpg" for number in range(9)]
    write_record(path, {"rows": 9, "generator": "small", "fingerprint": generator.fingerprint}, names)
    options = ("--generator", small_generator, "--embeddings", path, "--count", 4, "--columns", 2, "--alpha", 0.5, "--seed", 3)
    assert run("preview", *options, "--out", tmp_path / "p.png") == 0
    drawn = np.asarray(Image.open(tmp_path / "p.png")).reshape(2, 64, 4, 64, 3).transpose(0, 2, 1, 3, 4).reshape(8, 64, 64, 3)
    rows = codes[[0, 3, 5, 8]]
    engine = Engine(generator, EngineConfig(device="cpu"))
    noisy = rows + 0.5 * engine.codes(4, 3).numpy()
    for own, latent in ((drawn[0::2], rows), (drawn[1::2], noisy)):
        images = (generator.generate(torch.from_numpy(latent)).permute(0, 2, 3, 1).numpy() + 1) * 127.5
        assert np.abs(own - images).max() <= 1
    said = capsys.readouterr().out
    assert f"9 x 12: mean {codes.mean():.3f}, standard deviation {codes.std():.3f}" in said
    assert "warning" not in said
    assert [line for line in said.splitlines() if line.startswith("row")] == [f"row {row}: {row}.jpg" for row in (0, 3, 5, 8)]
    assert run("preview", *options[:6], "--alpha", 0, "--out", tmp_path / "plain.png") == 0
    assert Image.open(tmp_path / "plain.png").size == (256, 64)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("another dimension", "shape (9, 13)"),
        ("not finite", "hold NaN or infinity, 2 of 9"),
        ("words", "holds <U1"),
        ("another generator", "made with the generator other (fingerprint 123), not with"),
        ("another file", "speaks of 8 embeddings"),
        ("alpha", "alpha is -1"),
        ("count", "count is 0"),
    ],
)
def test_a_wrong_file_is_refused(
    small_generator: Path, tmp_path: Path, kind: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path, codes = tmp_path / "z.npy", RNG.normal(size=(9, 13 if kind == "another dimension" else 12))
    if kind == "not finite":
        codes[2:4, 5] = np.inf
    np.save(path, codes.astype(str).astype("<U1") if kind == "words" else codes)
    fingerprint = load_pocket(small_generator).fingerprint
    if kind.startswith("another g"):
        write_record(path, {"rows": 9, "generator": "other", "fingerprint": "123"}, [])
    if kind == "another file":
        write_record(path, {"rows": 8, "generator": "small", "fingerprint": fingerprint}, [])
    extra = {"alpha": ("--alpha", "-1"), "count": ("--count", 0)}.get(kind, ())
    options = ("--generator", small_generator, "--embeddings", path)
    assert run("preview", *options, *extra, "--out", tmp_path / "p.png") == 2
    captured = capsys.readouterr()
    assert said in " ".join(captured.err.split())
    if kind == "not finite":
        assert "9 x 12: mean" in captured.out
    assert not (tmp_path / "p.png").exists()
    if kind.startswith("another"):
        # What a preview refuses, a run refuses before it makes anything; its folder says why.
        assert run("generate", *options, "--count", 2, "--out", tmp_path / "set") == 2
        assert said in " ".join(capsys.readouterr().err.split())
        told = json.loads((tmp_path / "set" / "status.json").read_text())
        assert told["state"] == "failed" and said in told["error"]
        assert not list((tmp_path / "set").glob("*.npy"))


@pytest.mark.parametrize(("command", "name"), [("generate", "good"), ("generate", "wrong"), ("train", "wrong")])
def test_a_run_warns_of_embeddings_that_look_wrong(
    small_generator: Path, tmp_path: Path, command: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    filters = ("--synthesis.filters.no-histogram", "--synthesis.filters.no-size")
    train = ("--steps", 1, "--batch-size", 2, "--unet.width", 4, "--held-out", 2)
    np.save(tmp_path / "z.npy", RNG.normal(size=(40, 12)) if name == "good" else RNG.random((40, 12)) + 2)
    brief = train if command == "train" else ("--count", 2)
    options = ("--generator", small_generator, "--embeddings", tmp_path / "z.npy", *filters, *brief)
    assert run(command, *options, "--out", tmp_path / "run") == 0
    warned = " ".join(capsys.readouterr().err.split())
    assert ("warning: the mean of the embeddings is 2." in warned) == (name == "wrong")
    assert ("python -m explorer preview --embeddings" in warned) == (name == "wrong")

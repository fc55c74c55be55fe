"""Photographs as latent codes, on the page's floor and on the command line."""

from __future__ import annotations

import re
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from explorer.directions.catalogue import Catalogue, Entry
from explorer.embedding import load_square, load_squares, reconstruct_squares
from explorer.engine import Engine, EngineConfig
from explorer.generators.pocket import load_pocket
from explorer.generators.registry import load_generator
from explorer.views import Workbench
from segmentation.errors import LanternError
from tests.analytic import DiscEncoder, DiscGenerator, disc_photograph
from tests.explorer.test_commands import run

RNG = np.random.default_rng(5)
WIDE = RNG.integers(0, 256, (32, 48, 3), dtype=np.uint8)
"""Its middle square is columns 8 to 40."""


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine(DiscEncoder(), EngineConfig(device="cpu"))


def test_errors_are_mean_squares_over_all_pixels(engine: Engine) -> None:
    squares = RNG.integers(0, 256, (2, 3, 32, 32), dtype=np.uint8)
    made = reconstruct_squares(engine, torch.from_numpy(squares))
    images = DiscGenerator().generate(torch.from_numpy(made.codes)).numpy().astype(float)
    for index in range(2):
        total = 0.0
        for here, there in zip(squares[index].ravel().tolist(), images[index].ravel().tolist(), strict=True):
            total += (here / 127.5 - 1 - there) ** 2
        assert made.errors[index] == pytest.approx(total / squares[index].size, rel=1e-4)
    assert np.array_equal(made.squares, squares.transpose(0, 2, 3, 1))
    assert np.abs(made.images - (images.transpose(0, 2, 3, 1) + 1) * 127.5).max() <= 0.51


def test_an_image_of_the_generator_comes_back(engine: Engine) -> None:
    square = torch.from_numpy(disc_photograph(0.8, -1.2)).permute(2, 0, 1)[None]
    made = reconstruct_squares(engine, square)
    assert made.codes[0, :2] == pytest.approx([0.8, -1.2], abs=0.02)
    assert made.errors[0] < 1e-4


@pytest.mark.parametrize("side", [48, 96])
def test_an_encoder_of_another_size_sees_its_own_squares(side: int) -> None:
    class Middle(DiscEncoder):
        """Reads light and ground from a larger image."""

        encoder_resolution = 48

        def encode(self, images: torch.Tensor) -> torch.Tensor:
            assert images.shape[1:] == (3, 48, 48)
            return super().encode(images[..., 8:40, 8:40])

    photograph = Image.fromarray(disc_photograph(0.8, -1.2)).resize((side, side), Image.Resampling.NEAREST)
    square = torch.from_numpy(np.array(photograph)).permute(2, 0, 1)[None]
    made = reconstruct_squares(Engine(Middle(), EngineConfig(device="cpu")), square)
    assert made.codes[0, :2] == pytest.approx([0.8, -1.2], abs=0.1)
    assert made.squares.shape == made.images.shape == (1, 32, 32, 3)
    scaled = np.asarray(photograph.resize((32, 32), Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(made.squares[0].astype(int) - scaled).max() <= 1
    assert made.errors[0] < 0.02


def test_neighbours_are_the_code_and_the_code_with_noise(engine: Engine) -> None:
    code = [0.5] * 8
    around = engine.around(code, 5, 0.3, seed=9, truncation=1.0)
    assert torch.equal(around[0], torch.full((8,), 0.5))
    assert torch.allclose((around[1:] - 0.5) / 0.3, engine.codes(5, 9, 1.0)[1:], atol=1e-6)
    with pytest.raises(LanternError, match="the latent code has 7 numbers"):
        engine.around(code[:7], 5, 0.3, seed=9)


@pytest.mark.parametrize("kind", ["upright", "turned", "palette", "cmyk", "sixteen bits", "transparent"])
def test_the_square_is_upright_and_in_colour_whatever_the_file(tmp_path: Path, kind: str, engine: Engine) -> None:
    path, expected, image = tmp_path / "a.png", WIDE[:, 8:40], Image.fromarray(WIDE)
    if kind == "turned":
        path, image = tmp_path / "a.jpg", Image.fromarray(np.rot90(WIDE))
        exif = Image.Exif()
        exif[0x0112] = 6
        image.save(path, quality=100, subsampling=0, exif=exif)
    elif kind == "palette":
        path, expected = tmp_path / "a.gif", np.full((32, 32, 3), (10, 200, 90), np.uint8)
        Image.new("RGB", (48, 32), (10, 200, 90)).save(path)
    elif kind == "cmyk":
        path, expected = tmp_path / "a.jpg", np.full((32, 32, 3), (255, 0, 0), np.uint8)
        Image.new("CMYK", (48, 32), (0, 255, 255, 0)).save(path, quality=100)
    elif kind == "sixteen bits":
        expected = np.full((32, 32, 3), 64, np.uint8)
        Image.fromarray(np.full((32, 48), 64 * 257, np.uint16)).save(path)
    elif kind == "transparent":
        expected = np.full((32, 32, 3), 255, np.uint8)
        Image.new("RGBA", (48, 32), (9, 9, 9, 0)).save(path)
    else:
        image.save(path)
    square = load_square(engine, path)[0].permute(1, 2, 0).numpy().astype(int)
    assert square.shape == (32, 32, 3)
    assert np.abs(square - expected).mean() < (6 if path.suffix == ".jpg" else 1)


def test_a_file_a_folder_and_a_tar_give_the_same_squares(tmp_path: Path, engine: Engine) -> None:
    path = tmp_path / "photographs" / "a.png"
    path.parent.mkdir()
    Image.fromarray(WIDE).save(path)
    with tarfile.open(tmp_path / "photographs.tar", "w") as archive:
        archive.add(path, "a.png")
    alone, names, unreadable = load_squares(engine, path)
    assert alone.shape == (1, 3, 32, 32) and (names, unreadable) == (["a.png"], [])
    for place in (path.parent, tmp_path / "photographs.tar"):
        squares, names, _ = load_squares(engine, place)
        assert torch.equal(squares, alone) and names == ["a.png"]


def test_reconstruct_draws_pairs_and_says_each_error(
    small_generator: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    photographs = RNG.integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    for number, pixels in enumerate(photographs):
        Image.fromarray(pixels).save(tmp_path / "in" / f"{number}.png")
    (tmp_path / "in" / "note.png").write_text("no image")
    options = ("--generator", small_generator, "--images", tmp_path / "in", "--columns", 2)
    assert run("reconstruct", *options, "--out", tmp_path / "r.png", "--codes", tmp_path / "z.npy") == 0
    said = capsys.readouterr().out
    drawn = np.asarray(Image.open(tmp_path / "r.png")).reshape(2, 64, 4, 64, 3).transpose(0, 2, 1, 3, 4).reshape(8, 64, 64, 3)
    assert np.array_equal(drawn[0:6:2], photographs) and not drawn[6:].any()
    codes = np.load(tmp_path / "z.npy", allow_pickle=False)
    images = load_pocket(small_generator).generate(torch.from_numpy(codes)).permute(0, 2, 3, 1).numpy()
    errors = ((images - (photographs / 127.5 - 1)) ** 2).mean((1, 2, 3))
    assert np.abs(drawn[1:6:2] - (images + 1) * 127.5).max() <= 1
    figures = [float(found) for found in re.findall(r"\d\.png: mean squared error ([\d.]+)", said)]
    assert figures == pytest.approx(errors, abs=1e-4)
    assert "passed over, no image: note.png" in said


def test_walk_starts_from_a_photograph(small_generator: Path, tmp_path: Path) -> None:
    photograph = tmp_path / "a.png"
    Image.fromarray(WIDE).resize((96, 64)).save(photograph)
    options = ("--generator", small_generator, "--direction", 2, "--steps", 3, "--count", 2)
    image = ("--image", photograph, "--alpha", 0)
    assert run("walk", *options, *image, "--out", tmp_path / "walk.png") == 0
    assert run("encode", "--generator", small_generator, "--images", photograph, "--out", tmp_path / "z.npy") == 0
    code = torch.from_numpy(np.load(tmp_path / "z.npy"))
    middle = (load_pocket(small_generator).generate(code)[0].permute(1, 2, 0).numpy() + 1) * 127.5
    strip = np.asarray(Image.open(tmp_path / "walk.png")).astype(int)
    assert strip.shape == (128, 192, 3)
    assert np.abs(strip[:64, 64:128] - middle).max() <= 1
    assert np.abs(strip[:64] - strip[64:]).max() <= 1 and np.abs(strip[:, :64] - strip[:, 128:]).max() > 5


def test_the_page_sees_and_codes_a_photograph_as_encode_does(tmp_path: Path) -> None:
    """An encoder of its own size, which gives a distribution."""
    photograph = tmp_path / "a.png"
    Image.fromarray(RNG.integers(0, 256, (70, 160, 3), dtype=np.uint8)).save(photograph)
    name = f"{Path(__file__).with_name('encoders.py')}:DrawingEncoder"
    bench = Workbench(
        Engine(load_generator(name), EngineConfig(device="cpu")), Catalogue(torch.eye(8), (Entry(),) * 8, "", "drawing-1")
    )
    made = bench.reconstruct(photograph)
    assert run("encode", "--generator", name, "--images", photograph, "--no-sample", "--out", tmp_path / "z.npy") == 0
    assert np.array_equal(made.codes, np.load(tmp_path / "z.npy"))
    assert made.squares.shape == made.images.shape == (1, 32, 32, 3)
    assert np.array_equal(bench.reconstruct(photograph).codes, made.codes)
    pairs = ("--images", photograph, "--out", tmp_path / "r.png", "--codes", tmp_path / "r.npy")
    assert run("reconstruct", "--generator", name, *pairs) == 0
    assert np.array_equal(np.load(tmp_path / "r.npy"), made.codes)


def test_a_generator_without_an_encoder_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    plain = Engine(DiscGenerator(), EngineConfig(device="cpu"))
    with pytest.raises(LanternError, match="the generator disc has no encoder"):
        reconstruct_squares(plain, torch.zeros(1, 3, 32, 32, dtype=torch.uint8))

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from explorer.__main__ import main
from explorer.directions.catalogue import load_catalogue
from explorer.engine import Engine
from explorer.generators.pocket import load_pocket
from explorer.picture_files import read_stamp


def run(*arguments: object) -> int:
    words = [str(argument) for argument in arguments]
    try:
        return main(words)
    except SystemExit as stop:
        return int(stop.code or 0)


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def photograph(tmp_path: Path) -> Path:
    pixels = np.full((50, 70, 3), 40, np.uint8)
    pixels[10:35, 20:50] = (200, 150, 90)
    Image.fromarray(pixels).save(tmp_path / "photograph.png")
    return tmp_path / "photograph.png"


def test_an_atlas_of_all_directions_says_what_made_it(small_generator: Path) -> None:
    assert run("atlas", "--generator", small_generator, "--columns", 3, "--seed", 4, "--out", "atlas.png") == 0
    catalogue = load_catalogue(small_generator.parent / "directions")
    said = read_stamp(Path("atlas.png"))
    assert said["fingerprint"] == catalogue.fingerprint == load_pocket(small_generator).fingerprint
    assert said["direction"] == " ".join(map(str, range(12)))
    assert said["magnitude"] == "3"
    assert said["seed"] == "4"
    assert said["command"] == "python -m explorer atlas --generator generator.safetensors --seed 4 --columns 3 --out atlas.png"


def test_thumbnails_stand_beside_the_catalogue_and_go_when_the_magnitude_changes(small_generator: Path) -> None:
    folder = small_generator.parent / "directions"
    assert run("thumbnails", "--generator", small_generator, "--directions", folder, "--seed", 2) == 0
    entries = load_catalogue(folder).entries
    stamps = [read_stamp(folder / entry.thumbnail) for entry in entries]
    assert [stamp["direction"] for stamp in stamps] == [str(index) for index in range(12)]
    assert all(stamp["seed"] == "2" for stamp in stamps)
    with Image.open(folder / entries[3].thumbnail) as image:
        assert image.width > image.height
    assert run("catalogue", "label", folder, "--direction", 3, "--magnitude", 4.5) == 0
    assert [bool(entry.thumbnail) for entry in load_catalogue(folder).entries] == [index != 3 for index in range(12)]


def test_pages_of_an_atlas(small_generator: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--generator", small_generator, "--status", "new", "--columns", 2, "--rows", 6, "--out", "atlas.png")
    assert run("atlas", *arguments) == 0
    assert sorted(path.name for path in Path().iterdir()) == ["atlas-1.png", "atlas-2.png"]
    shown = [read_stamp(Path(f"atlas-{page}.png"))["direction"] for page in (1, 2)]
    assert shown == ["0 1 2 3 5 6", "7 8 9 10 11"]
    assert "5 directions in atlas-2.png" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        "atlas --only 3 5 --columns 3 --magnitude 2.5 --engine.batch-size 3 --out one.png",
        "movie --direction 2 --codes 2 --frames 6 --seconds 0.5 --side 32 --out one.webp",
        "movie --frames 4 --side 32 --magnitude 1.5 --truncation 0.7 --out one.gif",
        "figure --which directions --only 1 4 --columns 2 --across 1 --out one.png",
        "figure --which lighting --direction 1 --samples 3 --rejected --no-histogram --max-area 0.9 --side 32 --out one.png",
    ],
)
def test_the_command_in_a_picture_makes_it_again(
    small_generator: Path, arguments: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    command, *options = shlex.split(arguments)
    assert run(command, "--generator", small_generator, *options) == 0
    made = tmp_path / options[-1]
    first = made.read_bytes()
    said = shlex.split(read_stamp(made)["command"])
    assert said[:4] == ["python", "-m", "explorer", command]
    made.unlink()
    monkeypatch.chdir(small_generator.parent)
    assert run(*said[3:-1], made) == 0
    assert made.read_bytes() == first


def test_a_movie_starts_from_a_photograph(small_generator: Path, photograph: Path) -> None:
    arguments = ("--generator", small_generator, "--image", photograph, "--codes", 2, "--magnitude", 0, "--frames", 2)
    assert run("movie", *arguments, "--side", 64, "--alpha", 1, "--out", "walk.webp") == 0
    with Image.open("walk.webp") as movie:
        frame = np.asarray(movie.convert("RGB")).astype(float)
    assert frame.shape == (64, 128, 3)
    engine = Engine(load_pocket(small_generator))
    square = Image.open(photograph).crop((10, 0, 60, 50)).resize((64, 64), Image.Resampling.BICUBIC)
    code = engine.encode(torch.from_numpy(np.array(square)).permute(2, 0, 1)[None] / 127.5 - 1)
    expected = ((engine.images(code)[0].numpy() + 1) * 127.5).transpose(1, 2, 0)
    assert np.abs(frame[:, :64] - expected).mean() < 12
    assert np.abs(frame[:, 64:] - expected).mean() > 2 * np.abs(frame[:, :64] - expected).mean()


BAD: list[tuple[list[str], str]] = [
    (["atlas", "--out", "o.jpg"], "o.jpg ends in .jpg. End it with .png"),
    (["atlas", "--sort", "beauty", "--out", "o.png"], "no score 'beauty'"),
    (["atlas", "--status", "good", "--out", "o.png"], "status is 'good'"),
    (["atlas", "--only", "12", "--out", "o.png"], "there is no direction 12"),
    (["atlas", "--rows", "0", "--out", "o.png"], "rows is 0"),
    (["atlas", "--codes", "0", "--out", "o.png"], "codes is 0"),
    (["atlas", "--codes", "4000", "--out", "o.png"], "is too large"),
    (["atlas", "--directions", "none", "--out", "o.png"], "none does not exist"),
    (["movie", "--out", "o.avi"], "o.avi ends in .avi. End it with .gif or .webp or .mp4"),
    (["movie", "--direction", "12", "--out", "o.gif"], "there is no direction 12"),
    (["movie", "--direction", "-1", "--out", "o.gif"], "there is no direction -1"),
    (["movie", "--frames", "100", "--seconds", "1", "--out", "o.gif"], "too fast"),
    (["movie", "--magnitude", "-2", "--out", "o.gif"], "magnitude is -2"),
    (["movie", "--image", "none.jpg", "--out", "o.gif"], "none.jpg does not exist"),
    (["figure", "--which", "directions", "--out", "o.gif"], "End it with .png"),
    (["figure", "--which", "directions", "--direction", "3", "--out", "o.png"], "--direction is for the figure of lighting"),
    (["figure", "--which", "directions", "--only", "40", "--out", "o.png"], "there is no direction 40"),
    (["figure", "--which", "lighting", "--max-area", "0", "--tries", "20", "--out", "o.png"], "reject all of 20 samples"),
    (["figure", "--which", "lighting", "--magnitude", "99", "--out", "o.png"], "magnitude is 99"),
    (["figure", "--which", "nothing", "--out", "o.png"], "nothing"),
]


@pytest.mark.parametrize(("arguments", "said"), BAD, ids=[" ".join(words[:-2]) for words, _ in BAD])
def test_bad_input_ends_with_2_names_the_thing_and_writes_nothing(
    small_generator: Path, arguments: list[str], said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments[0], "--generator", small_generator, *arguments[1:]) == 2
    assert said in " ".join(capfd.readouterr().err.split())
    assert not list(Path().iterdir())

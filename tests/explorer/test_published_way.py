"""The way of docs/generators.md from the published weights to a segmenter and the page, with small weights of the same form."""

from __future__ import annotations

import os
import re
import shlex
import socket
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from gradio_client import Client
from numpy.typing import NDArray
from PIL import Image

import app
from explorer.directions.catalogue import load_catalogue
from explorer.generators.bigbigan import load_bigbigan
from explorer.generators.registry import REGISTER, load_generator
from explorer.ui.shell import AppConfig, open_app
from explorer.views import open_workbench
from segmentation.datasets import list_images
from segmentation.errors import LanternError
from segmentation.unet import load_unet
from tests.explorer.conftest import BIGBIGAN
from tests.explorer.generators.tfhub_module import encoder_arrays, module_arrays, with_averages, write_module
from tests.explorer.published_files import seeded
from tests.explorer.test_commands import run

DOCUMENT = Path(__file__).parents[2] / "docs" / "generators.md"
CONVERTED = "bigbigan/bigbigan.safetensors"
OPEN = ["--synthesis.filters.no-histogram", "--synthesis.filters.no-size"]
BRIEF = {
    "generate": [*OPEN, "--count", "5"],
    "train": [*OPEN, "--steps", "2", "--batch-size", "4", "--unet.width", "4", "--held-out", "4"],
}


def documented() -> list[list[str]]:
    """The commands of the way, as lists of words after ``python``."""
    block = re.search(r"<!-- the whole way -->\n```sh\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    assert block is not None
    return [shlex.split(line, comments=True)[1:] for line in block[1].splitlines() if line.startswith("python")]


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of what was published, and of photographs."""
    folder = tmp_path_factory.mktemp("published")
    state = {key: tensor.numpy() for key, tensor in torch.load(BIGBIGAN, weights_only=True).items() if "sv0" not in key}
    module = write_module(folder / "module", {**with_averages(module_arrays(state)), **encoder_arrays()})
    with tarfile.open(folder / "bigbigan-resnet50_1.tar.gz", "w:gz") as archive:
        archive.add(module, ".")
    torch.save(seeded(120) / seeded(120).norm(), folder / "bg_direction.pth")
    (folder / "photographs").mkdir()
    for number in range(4):
        pixels = np.random.default_rng(number).integers(0, 256, (9, 7, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((280, 360)).save(folder / "photographs" / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def walked(published: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder after every command but the page, each run as it is written, with less to make."""
    before = Path.cwd()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LANTERN_HOME", str(tmp_path_factory.mktemp("installed")))
        os.chdir(published)
        try:
            for _, _, command, *options in documented()[:-1]:
                assert run(command, *options, *BRIEF.get(command, [])) == 0, command
            yield published
        finally:
            os.chdir(before)


def pictures_of(path: Path) -> NDArray[np.uint8]:
    """The images of 128 pixels that a picture is tiled from."""
    tiled = np.asarray(Image.open(path))
    rows, columns = tiled.shape[0] // 128, tiled.shape[1] // 128
    return tiled.reshape(rows, 128, columns, 128, 3).transpose(0, 2, 1, 3, 4).reshape(-1, 128, 128, 3)


def drawn(codes: NDArray[np.float32]) -> NDArray[np.float32]:
    """The ported checkpoint's images of ``codes``, as pixels."""
    images = load_bigbigan(BIGBIGAN).generate(torch.from_numpy(codes))
    pixels: NDArray[np.float32] = ((images + 1) * 127.5).permute(0, 2, 3, 1).numpy()
    return pixels


def test_every_command_of_the_way_is_known() -> None:
    commands = [words[2] for words in documented()[:-1]]
    assert set(commands) == {
        "weights",
        "convert",
        "import",
        "walk",
        "encode",
        "preview",
        "masks",
        "generate",
        "train",
        "predict",
    }
    assert documented()[-1] == ["app.py", "--generator", CONVERTED]


def test_the_pictures_show_what_the_ported_checkpoint_makes(walked: Path) -> None:
    codes = np.load(walked / "z.npy")
    assert codes.shape == (4, 120)
    assert np.abs(pictures_of(walked / "preview.png")[::2] - drawn(codes)).max() <= 1
    shift = 5 * (seeded(120) / seeded(120).norm()).numpy()
    first = pictures_of(walked / "walk.png")[:5]
    code = torch.special.ndtri(torch.rand((1, 120), generator=torch.Generator().manual_seed(0), dtype=torch.float64)).numpy()
    steps = np.linspace(-1, 1, 5)[:, None] * shift + code
    assert np.abs(first - drawn(steps.astype(np.float32))).max() <= 1


def test_a_data_set_and_a_segmenter_come_of_it(walked: Path) -> None:
    assert np.load(walked / "runs" / "data" / "images-00000.npy").shape == (5, 128, 128, 3)
    assert load_unet(walked / "runs" / "segmenter" / "unet.safetensors").size == 128
    assert [path.name for path in list_images(walked / "saliency")] == [f"{number}.png" for number in range(4)]
    assert Image.open(walked / "masks.png").size == (4 * 128, 24 * 128)


def test_codes_and_directions_of_the_module_are_accepted_by_what_was_converted_from_it_alone(
    walked: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    module, converted = load_generator(str(walked / "module")), load_generator(CONVERTED)
    assert module.fingerprint != converted.fingerprint
    assert run("import", "bg_direction.pth", "--generator", "module", "--out", tmp_path / "directions") == 0
    assert load_catalogue(tmp_path / "directions").fingerprint == module.fingerprint
    assert open_workbench(CONVERTED, tmp_path / "directions").catalogue.lighting == 0
    with pytest.raises(LanternError, match=f"made for the generator {module.fingerprint}, not for "):
        open_workbench(str(BIGBIGAN), tmp_path / "directions")
    out = ("--out", tmp_path / "preview.png")
    assert run("preview", "--embeddings", "z.npy", "--generator", BIGBIGAN, *out) == 2
    assert f"fingerprint {module.fingerprint}" in " ".join(capsys.readouterr().err.split())
    # Published ones come without a record of what made them.
    np.save(tmp_path / "z.npy", np.load("z.npy"))
    assert run("preview", "--embeddings", tmp_path / "z.npy", "--generator", BIGBIGAN, *out) == 0


def test_the_page_opens_on_a_checkpoint_with_directions_beside_it(walked: Path, tmp_path: Path) -> None:
    checkpoint = tmp_path / "BigBiGAN_x1.pth"
    checkpoint.write_bytes(BIGBIGAN.read_bytes())
    assert run("import", "bg_direction.pth", "--generator", checkpoint, "--out", tmp_path / "directions") == 0
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    page, url = open_app(AppConfig(generator=str(checkpoint), port=port, device="cpu"))
    client = Client(url, verbose=False, analytics_enabled=False)
    try:
        strip = client.predict(direction=0, magnitude=5, seed=0, api_name="/walk")
        assert np.asarray(Image.open(strip)).std() > 5
        assert "saliency lighting" in str(client.predict(direction=0, magnitude=5, seed=0, api_name="/about"))
        assert len(re.findall(r"<button[^>]* data-index=", client.predict(api_name="/atlas"))) == 1
    finally:
        client.close()
        page.close()


def test_without_directions_the_page_says_how_to_get_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = tmp_path / "BigBiGAN_x1.pth"
    checkpoint.write_bytes(BIGBIGAN.read_bytes())
    monkeypatch.setattr("sys.argv", ["app.py", "--generator", str(checkpoint)])
    assert app.main() == 2
    said = " ".join(capsys.readouterr().err.split())
    assert f"there is no catalogue of directions for {checkpoint}: {tmp_path / 'directions'} does not exist" in said
    there = f"--generator {checkpoint} --out {tmp_path / 'directions'}"
    assert f"python -m explorer directions {there}" in said and f"python -m explorer import FILE {there}" in said


@pytest.mark.parametrize(
    "arguments",
    [
        ("import", "bg-direction"),
        ("preview", "--embeddings", "embeddings-cub", "--out", "p.png"),
        ("generate", "--embeddings", "embeddings-cub", "--out", "data"),
        ("predict", "--weights", "unet-imagenet", "--images", "i", "--out", "o"),
        ("convert", "--module", "bigbigan-resnet50", "--out", "b.safetensors"),
    ],
)
def test_what_is_not_installed_is_named_with_the_command(
    arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(*arguments) == 2
    name = next(word for word in arguments if "-" in word[1:] and not word.startswith("--"))
    assert f"python -m explorer weights --install {name}" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("command", ["sample", "app"])
def test_the_help_names_every_generator(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(command, "--help") == 0
    said = " ".join(re.sub("[│╭╮╰╯─]", " ", capsys.readouterr().out).split())
    for name in (*REGISTER, ".safetensors", ".pth", "TF-Hub", "https://", "module:Class", "file.py:Class"):
        assert name in said


def test_what_is_installed_is_called_by_its_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(seeded(120), tmp_path / "d.pth")
    assert run("weights", "--install", "bg-direction", "--from", tmp_path / "d.pth") == 0
    codes = np.random.default_rng(0).standard_normal((6, 120)).astype(np.float32)
    np.save(tmp_path / "z.npy", codes)
    assert run("weights", "--install", "embeddings-cub", "--from", tmp_path / "z.npy") == 0
    directions = tmp_path / "directions"
    assert run("import", "bg-direction", "--generator", BIGBIGAN, "--out", directions) == 0
    assert load_catalogue(directions).lighting == 0
    options = ("--embeddings", "embeddings-cub", "--generator", BIGBIGAN)
    assert run("preview", *options, "--count", 2, "--out", tmp_path / "p.png") == 0
    assert np.abs(pictures_of(tmp_path / "p.png")[::2] - drawn(codes[[0, 5]])).max() <= 1
    assert run("generate", *options, "--directions", directions, *BRIEF["generate"], "--out", tmp_path / "data") == 0
    assert "warning" not in capsys.readouterr().err


def test_the_installed_bigbigan_has_its_directions_in_the_home_of_weights(
    installed_bigbigan: Path, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ("--count", 1, "--out", tmp_path / "walk.png")
    assert run("walk", "--generator", "bigbigan", *out) == 2
    place = home / "bigbigan" / "directions"
    assert f"--generator bigbigan --out {place}" in " ".join(capsys.readouterr().err.split())
    torch.save(seeded(120), tmp_path / "d.pth")
    assert run("import", tmp_path / "d.pth", "--generator", "bigbigan", "--out", place) == 0
    assert run("walk", "--generator", "bigbigan", *out) == 0
    assert run("weights", "--install", "bigbigan", "--from", BIGBIGAN) == 0
    assert run("weights", "--remove", "bigbigan") == 0
    assert place.is_dir()

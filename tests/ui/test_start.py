"""Starting from a photograph, over a generator whose encoder is known: every picture can be predicted."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path

import gradio as gr
import httpx
import numpy as np
import pytest
import torch
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from numpy.typing import NDArray
from PIL import Image

from explorer.segmenting import PhotographSegmenter
from explorer.ui import render
from explorer.ui.shell import build_page, serve
from explorer.views import WalkView, Workbench
from tests.analytic import GROUND, OBJECT, DiscGenerator, disc_photograph
from tests.ui.conftest import LIGHTING
from tests.ui.test_page import free_port

LIGHT, DARK = 1.5, -1.0
WALK = (LIGHTING, 4.0, 7, 2.0)


@pytest.fixture(scope="module")
def url(encoding_bench: Workbench, segmenter: PhotographSegmenter) -> Iterator[str]:
    page = build_page(encoding_bench, segmenter)
    yield serve(page, "127.0.0.1", free_port())
    page.close()


@pytest.fixture
def client(url: str) -> Iterator[Client]:
    """A visitor of its own for each test."""
    client = Client(url, verbose=False, analytics_enabled=False)
    yield client
    client.close()


@pytest.fixture
def photograph(tmp_path: Path) -> Path:
    path = tmp_path / "disc.png"
    Image.fromarray(disc_photograph(LIGHT, DARK)).save(path)
    return path


def pixels(path: str | io.BytesIO) -> NDArray[np.int_]:
    with Image.open(path) as opened:
        return np.asarray(opened.convert("RGB")).astype(int)


def first_row() -> NDArray[np.int_]:
    """The strip of the photograph's code, made without the program: lighting moves disc and ground apart."""
    codes = torch.zeros(5, 8)
    for step, length in enumerate((-4, -2, 0, 2, 4)):
        codes[step, OBJECT], codes[step, GROUND] = LIGHT + length * 0.5**0.5, DARK - length * 0.5**0.5
    images = ((DiscGenerator().generate(codes) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    return render.strip(images[None], (-4, -2, 0, 2, 4)).astype(int)


def test_a_photograph_is_reconstructed_and_its_error_said(client: Client, photograph: Path) -> None:
    picture, words = client.predict("photograph", handle_file(str(photograph)), api_name="/start")
    shown = pixels(picture)
    side = render.RECONSTRUCTION_CELL
    expected = render.enlarge(disc_photograph(LIGHT, DARK)[None], side)[0].astype(int)
    assert shown.shape == (side, 2 * side + 2, 3)
    assert np.abs(shown[:, :side] - expected).max() == 0
    assert np.abs(shown[:, -side:] - expected).max() <= 3
    assert "**0.000**" in words and "0 of 255" in words


def test_the_walk_starts_from_the_photograph_until_the_seed_is_chosen_again(
    client: Client, url: str, encoding_bench: Workbench, photograph: Path
) -> None:
    client.predict("photograph", handle_file(str(photograph)), api_name="/start")
    picture, about = (client.predict(*WALK, api_name=name) for name in ("/walk", "/about"))
    expected = first_row()
    walked = pixels(picture)
    assert np.abs(walked[: len(expected)] - expected).mean() < 4
    assert "photograph" in about
    pitch = render.STRIP_CELL + render.GAP
    assert len(walked) == len(expected) + 5 * pitch
    alone = client.predict(*WALK, 0.0, api_name="/walk")
    assert pixels(alone).shape == expected.shape
    view = WalkView(*WALK)
    seeded = render.strip(encoding_bench.walk(view), view.magnitudes).astype(int)
    other = Client(url, verbose=False, analytics_enabled=False)
    assert np.abs(pixels(other.predict(*WALK, api_name="/walk")) - seeded).mean() < 4
    other.close()
    assert client.predict("seed", handle_file(str(photograph)), api_name="/start")[0] is None
    picture, about = (client.predict(*WALK, api_name=name) for name in ("/walk", "/about"))
    assert np.abs(pixels(picture) - seeded).mean() < 4
    assert np.abs(walked - seeded).mean() > 8 and "photograph" not in about


def test_noise_moves_the_rows_below_the_first(client: Client, photograph: Path) -> None:
    client.predict("photograph", handle_file(str(photograph)), api_name="/start")
    pitch = render.STRIP_CELL + render.GAP
    spread = []
    for alpha in (0.1, 1.0):
        strip = pixels(client.predict(*WALK, alpha, api_name="/walk"))[-6 * pitch :]
        rows = strip.reshape(6, pitch, *strip.shape[1:])
        spread.append(np.abs(rows[1:] - rows[0]).mean())
    assert spread[1] > 3 * spread[0] > 0


def test_the_atlas_is_drawn_from_the_photograph(client: Client, encoding_bench: Workbench, photograph: Path) -> None:
    client.predict("photograph", handle_file(str(photograph)), api_name="/start")
    cards = client.predict(api_name="/redraw_atlas")
    drawn = re.findall(r'data-index="(\d+)".*?src="([^"]+)"', cards)
    assert [int(index) for index, _ in drawn] == list(range(len(encoding_bench.catalogue)))
    shown = pixels(io.BytesIO(httpx.get(f"{client.src}{drawn[1][1]}").content))
    middle = shown[::2, 128:192:2]
    assert shown.shape == (64, 320, 3)
    assert np.abs(middle - disc_photograph(LIGHT, DARK)).mean() < 6
    assert np.abs(middle - encoding_bench.atlas(3, 5.0)[1, 1]).mean() > 12


def test_what_cannot_be_started_from_is_refused(client: Client, tmp_path: Path) -> None:
    _, words = client.predict("photograph", None, api_name="/start")
    assert "Give a photograph" in words
    with pytest.raises(AppError, match="not in the list of choices"):
        client.predict("film", None, api_name="/start")
    broken = tmp_path / "photo.png"
    broken.write_text("this is no image")
    with pytest.raises(AppError, match="wrong kind.*JPEG or PNG"):
        client.predict("photograph", handle_file(str(broken)), api_name="/start")
    huge = tmp_path / "huge.png"
    Image.new("1", (9000, 9000)).save(huge)
    with pytest.raises(AppError, match=r"the image huge\.png has 9000x9000 pixels\. Make it smaller") as caught:
        client.predict("photograph", handle_file(str(huge)), api_name="/start")
    assert "/" not in str(caught.value)


def test_without_an_encoder_the_choice_says_so(bench: Workbench, segmenter: PhotographSegmenter, photograph: Path) -> None:
    page = build_page(bench, segmenter)
    choice = next(block for block in page.blocks.values() if isinstance(block, gr.Radio) and block.elem_id == "start")
    assert choice.interactive is False and "disc has no encoder" in str(choice.info)
    start = next(fn.fn for fn in page.fns.values() if fn.api_name == "start")
    assert start is not None
    with pytest.raises(gr.Error, match="the generator disc has no encoder"):
        start("photograph", str(photograph))

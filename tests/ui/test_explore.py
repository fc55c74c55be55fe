"""The tab Explore through its callbacks: atlas, pins, a second direction, films; every picture can be predicted."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import httpx
import numpy as np
import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError
from numpy.typing import NDArray
from PIL import Image, ImageSequence

from explorer.directions.catalogue import Catalogue, Entry
from explorer.picture_files import read_stamp
from explorer.segmenting import PhotographSegmenter
from explorer.ui import cards as cards_module
from explorer.ui import render
from explorer.ui.cards import Chosen, cards
from explorer.ui.explore_walk import toggled
from explorer.ui.shell import build_page, serve
from explorer.views import WalkView, Workbench
from segmentation.errors import LanternError
from tests.explorer.directions.catalogues import seeded_catalogue, with_thumbnails
from tests.ui.conftest import LIGHTING
from tests.ui.test_page import free_port

WALK: dict[str, Any] = {"direction": LIGHTING, "magnitude": 4.0, "seed": 7, "truncation": 2.0}


@pytest.fixture(scope="module")
def client(bench: Workbench, segmenter: PhotographSegmenter) -> Iterator[Client]:
    page = build_page(bench, segmenter)
    client = Client(serve(page, "127.0.0.1", free_port()), verbose=False, analytics_enabled=False)
    yield client
    client.close()
    page.close()


def pixels(path: str) -> NDArray[np.int_]:
    with Image.open(path) as opened:
        return np.asarray(opened.convert("RGB")).astype(int)


def strip(client: Client, **changes: Any) -> NDArray[np.int_]:
    return pixels(client.predict(**{**WALK, **changes}, api_name="/walk"))


def expected(bench: Workbench, **changes: Any) -> NDArray[np.int_]:
    view = WalkView(**{**WALK, **changes})
    return render.strip(bench.walk(view), view.magnitudes).astype(int)


def shown(html: str) -> list[int]:
    return [int(index) for index in re.findall(r'data-index="(\d+)"', html)]


def test_a_second_direction_shifts_every_image_besides(client: Client, bench: Workbench) -> None:
    moved = strip(client, second=2, second_magnitude=-6.0)
    assert np.abs(moved - expected(bench, second=2, second_magnitude=-6.0)).mean() < 4
    assert np.abs(moved - expected(bench)).mean() > 8
    codes = bench.engine.codes(6, 7, 2.0)
    shifted = bench.start(WalkView(**WALK, second=2, second_magnitude=-6.0)).drawn
    assert np.allclose(shifted - codes, -6.0 * bench.catalogue.direction(2), atol=1e-5)
    still = strip(client, second=2, second_magnitude=0.0)
    assert np.abs(still - expected(bench)).mean() < 4


def test_pinned_codes_come_first_whatever_the_seed_and_none_comes_twice(client: Client, bench: Workbench) -> None:
    pitch, own = render.STRIP_CELL + render.GAP, expected(bench, count=8)
    row = own[32 + 3 * pitch : 32 + 4 * pitch]
    for seed in (7, 8):
        pinned = strip(client, seed=seed, pins="7:3", rows=2)
        assert np.abs(pinned[32 : 32 + pitch] - row).mean() < 4 and len(pinned) == 32 + 3 * pitch
    first = strip(client, pins="7:0", rows=2)
    assert np.abs(first[32:] - own[32 : 32 + 3 * pitch]).mean() < 4


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"pins": "seven"}, "'seven' is no seed"),
        ({"pins": ",".join(["1:1"] * 65)}, "65 codes are pinned"),
        ({"second": 1, "second_magnitude": -20.5}, "-20.5 is less than"),
        ({"rows": 99}, "99 is greater than"),
        ({"catalogue": "../secrets"}, "catalogue is '../secrets'"),
    ],
)
def test_bad_values_are_refused_by_name(client: Client, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(AppError) as caught:
        client.predict(**{**WALK, **changes}, api_name="/walk")
    assert words in str(caught.value)


def test_a_click_on_a_row_pins_its_code_and_another_lets_it_go() -> None:
    assert toggled("", 11, 3, photograph=False) == "11:3"
    # Row 0 is the pin now, so the fourth row shows the code of index 2.
    assert toggled("11:3", 11, 3, photograph=False) == "11:3, 11:2"
    assert toggled("11:3, 11:2", 11, 5, photograph=False) == "11:3, 11:2, 11:5"
    assert toggled("11:3, 11:2", 12, 0, photograph=False) == "11:2"
    assert toggled("11:3", 11, 0, photograph=True) == ""
    with pytest.raises(LanternError, match="photograph"):
        toggled("", 11, 0, photograph=True)
    with pytest.raises(LanternError, match="8 codes are pinned"):
        toggled(", ".join(f"1:{i}" for i in range(8)), 2, 8, photograph=False)
    heights = [0, 31, 32, 159, 160, 32 + 5 * 128 + 64]
    assert [render.strip_row(height) for height in heights] == [0, 0, 0, 0, 1, 5]


def test_the_words_name_the_command_that_draws_the_strip(client: Client, tmp_path: Path) -> None:
    told = client.predict(**WALK, second=1, second_magnitude=-2.5, pins="3:1, 3:2", rows=2, api_name="/about")
    command = re.findall(r"```sh\n(.*)\n```", told)[0]
    assert command.startswith(f"python -m explorer walk --generator disc --directions None --direction {LIGHTING}") is False
    for part in ("--magnitude 4.0", "--seed 7", "--truncation 2.0", "--count 2", "--second 1", "--pins 3:1,3:2"):
        assert part in command
    assert "--second-magnitude -2.5" in command and "shifted by -2.5 along **direction 1 coordinate 1**" in told
    assert "lamp" in told and "<b>" not in told


@pytest.mark.parametrize("kind", ["webp", "gif", "mp4"])
def test_a_walk_is_exported_as_a_film(client: Client, bench: Workbench, kind: str) -> None:
    player, path = client.predict(**WALK, rows=2, kind=kind, api_name="/export")
    address = re.findall(r'src="([^"]+)"', player)[0]
    content = httpx.get(f"{client.src}{address}").content
    assert content == Path(path).read_bytes()
    if kind == "mp4":
        with av.open(io.BytesIO(content), "r") as opened:
            assert json.loads(opened.metadata["comment"])["direction"] == str(LIGHTING)
            frames = [frame.to_ndarray(format="rgb24") for frame in opened.decode(video=0)]
    else:
        assert read_stamp(Path(path))["command"].startswith("python -m explorer movie ")
        with Image.open(path) as opened_image:
            frames = [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(opened_image)]
    # WebP and GIF show frames that are all the same as one.
    assert 40 <= len(frames) <= 48 and frames[0].shape == (128, 256, 3)
    walked = bench.walk(WalkView(**WALK, count=2, steps=3))
    for frame, step in ((frames[0], 0), (frames[len(frames) // 2], 2)):
        wanted = np.concatenate(list(render.enlarge(walked[:, step], 128)), axis=1).astype(int)
        assert np.abs(frame.astype(int) - wanted).mean() < 8


def test_the_strip_is_exported_without_loss(client: Client, bench: Workbench) -> None:
    player, path = client.predict(**WALK, kind="png", api_name="/export")
    assert (pixels(path) == expected(bench)).all() and "<img" in player
    with pytest.raises(AppError, match="avi"):
        client.predict(**WALK, kind="avi", api_name="/export")


def test_without_an_encoder_an_mp4_says_what_to_install(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    from explorer.movies import MovieConfig

    with pytest.raises(LanternError, match=r"no encoder for MP4 here.*pip install -r requirements-mp4\.txt"):
        bench.write_film(WalkView(**WALK), MovieConfig(), tmp_path / "walk.mp4", {})
    assert not list(tmp_path.iterdir())


def test_the_atlas_is_sorted_and_filtered(client: Client, bench: Workbench) -> None:
    count = len(bench.catalogue)
    assert shown(client.predict(api_name="/atlas")) == list(range(count))
    assert shown(client.predict(sort="iou", api_name="/atlas"))[0] == LIGHTING
    assert shown(client.predict(status="saliency lighting", api_name="/atlas")) == [LIGHTING]
    assert shown(client.predict(label="COORD 3", api_name="/atlas")) == [3]
    none = client.predict(label="nowhere", api_name="/atlas")
    assert shown(none) == [] and "No direction" in none
    pressed = re.findall(r'data-index="(\d+)" aria-pressed="true"', client.predict(direction=2, api_name="/atlas"))
    assert pressed == ["2"]
    with pytest.raises(AppError, match="choices"):
        client.predict(sort="beauty", api_name="/atlas")


def test_cards_say_status_without_colour_and_words_of_a_catalogue_do_nothing(tmp_path: Path) -> None:
    catalogue = seeded_catalogue()
    entries = [Entry(label="<script>x</script>", status=status) for status in ("new", "other", "rejected", "saliency lighting")]
    catalogue = Catalogue(catalogue.directions[:4], tuple(entries), "", "abc")
    html = cards(catalogue, None, range(4), "index")
    assert "<script>" not in html and html.count("no strip yet") == 4
    for status in ("other", "rejected", "saliency lighting"):
        assert f"{cards_module.SIGNS[status]} {status}" in html


def test_a_strip_is_shown_from_the_exports_folder_alone(tmp_path: Path, client: Client) -> None:
    folder = tmp_path / "catalogue"
    seeded_catalogue().save(folder)
    catalogue = with_thumbnails(folder, 1)
    html = cards(catalogue, folder, [1], "total")
    address = re.findall(r'src="([^"]+)"', html)[0]
    assert str(folder) not in html
    assert httpx.get(f"{client.src}{address}").content == (folder / catalogue.entries[1].thumbnail).read_bytes()
    assert httpx.get(f"{client.src}gradio_api/file={folder / 'catalogue.json'}").status_code == 403


def test_directions_without_the_score_come_last_and_the_order_is_known() -> None:
    catalogue = seeded_catalogue()
    entries = (Entry(), *catalogue.entries[1:])
    assert Chosen("total").of(Catalogue(catalogue.directions, entries, "", "abc")) == [5, 4, 3, 2, 1, 0]
    with pytest.raises(LanternError, match="no score 'beauty'"):
        Chosen("beauty").of(catalogue)
    with pytest.raises(LanternError, match="status is 'good'"):
        Chosen(status="good").of(catalogue)


def test_other_programs_are_told_of_the_interface(client: Client) -> None:
    told = client.view_api(return_format="dict", print_info=False)
    assert isinstance(told, dict)
    walk = told["named_endpoints"]["/walk"]
    names = [parameter["parameter_name"] for parameter in walk["parameters"]]
    assert names[:4] == ["direction", "magnitude", "seed", "truncation"] and names[-1] == "catalogue"
    assert walk["returns"][0]["component"] == "Image"

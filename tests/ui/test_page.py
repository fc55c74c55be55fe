from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import numpy as np
import pytest
import torch
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from explorer.segmenting import HOW_TO_TRAIN, LONGEST_SIDE, PhotographSegmenter
from explorer.ui import render, shell
from explorer.ui.guard import by_label, guarded, real, whole
from explorer.ui.shell import AppConfig, build_page, check_address, open_app, serve
from explorer.views import MaskView, WalkView, Workbench
from segmentation.errors import LanternError
from segmentation.filters import FilterConfig
from tests.ui.conftest import LIGHTING

ROOT = Path(__file__).resolve().parents[2]
OPEN: dict[str, Any] = {"size": False, "histogram": False, "components": False}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def page(bench: Workbench, segmenter: PhotographSegmenter) -> gr.Blocks:
    return build_page(bench, segmenter)


@pytest.fixture(scope="module")
def client(page: gr.Blocks) -> Iterator[Client]:
    url = serve(page, "127.0.0.1", free_port())
    client = Client(url, verbose=False, analytics_enabled=False, httpx_kwargs={"timeout": 60})
    yield client
    client.close()
    page.close()


def ask_masks(client: Client, view: dict[str, Any] | None = None, **thresholds: Any) -> dict[str, Any]:
    values = {"direction": LIGHTING, "magnitude": MaskView.magnitude, **(view or {})}
    answer: dict[str, Any] = client.predict(**values, filters=thresholds, api_name="/masks")
    return answer


def test_the_page_opens_with_little_and_names_every_action(page: gr.Blocks) -> None:
    config = page.get_config_file()
    assert len(json.dumps(config, default=str, separators=(",", ":"))) < 150_000
    public = {entry["api_name"] for entry in config["dependencies"] if entry["api_visibility"] == "public"}
    explore = {"walk", "about", "atlas", "redraw_atlas", "start", "export"}
    directions = {
        "judge_direction",
        "save_direction",
        "start_directions_run",
        "compare",
        "merge",
        "import_catalogue",
        "export_catalogue",
    }
    later = {"masks", "generate", "train", "segment", "segment_several", "benchmark"}
    assert public == explore | directions | later | {"runs", "stop", "resume", "delete"}


def test_a_listener_without_progress_tells_no_component_of_it(page: gr.Blocks) -> None:
    listeners = page.get_config_file()["dependencies"]
    silent = [entry for entry in listeners if entry["show_progress"] == "hidden"]
    assert len(silent) > 40 and all(entry["show_progress_on"] == [] for entry in silent)
    assert all("show_progress_on" not in entry or entry["show_progress_on"] for entry in listeners if entry not in silent)


def test_runs_are_looked_at_only_where_they_are_shown(page: gr.Blocks) -> None:
    timers = [block for block in page.blocks.values() if isinstance(block, gr.Timer)]
    assert len(timers) == 5 and not any(timer.active for timer in timers)
    ticking = {timer._id: [entry for entry in page.fns.values() if (timer._id, "tick") in entry.targets] for timer in timers}
    assert all(len(entries) == 1 for entries in ticking.values())
    opening = [entry for entry in page.fns.values() if entry.js and "lanternBegan ??=" in str(entry.js)]
    switched = [re.findall(r"\[[^]]*\]", str(entry.js))[-1] for entry in opening]
    assert len(opening) == 8 and sorted(switched)[-5:] == [
        "[0, 0, 0, 0, 1]",
        "[0, 0, 0, 1, 0]",
        "[0, 0, 1, 0, 0]",
        "[0, 1, 0, 0, 0]",
        "[1, 0, 0, 0, 0]",
    ]
    assert switched.count("[0, 0, 0, 0, 0]") == 3


def test_what_is_done_with_a_run_waits_until_one_is_in_view(page: gr.Blocks) -> None:
    named = {block.elem_id: block for block in page.blocks.values() if isinstance(block, gr.Button)}
    chosen = {block.elem_id: block._id for block in page.blocks.values() if isinstance(block, gr.Textbox)}
    for tab, actions in (("generate", ("look", "pack")), ("train", ("pack",)), ("runs", ("delete",)), ("benchmark", ())):
        for action in ("stop", "resume", *actions):
            button = named[f"{tab}-{action}"]
            assert not button.interactive, button.elem_id
            if action in actions:
                asked = (chosen[f"{tab}-chosen"], "change")
                [listener] = [one for one in page.fns.values() if asked in one.targets and button in one.outputs]
                assert listener.fn is not None
                assert [listener.fn(name)[button].interactive for name in ("first", "", None)] == [True, False, False]


def test_every_control_has_a_name_and_explains_itself(page: gr.Blocks) -> None:
    controls = [block for block in page.blocks.values() if isinstance(block, gr.Slider | gr.Number | gr.Checkbox | gr.Radio)]
    assert len(controls) > 40
    for control in controls:
        assert control.elem_id and (control.info or control.label), control.label
    assert len({control.elem_id for control in controls}) == len(controls)


def test_defaults_are_those_of_the_configurations(page: gr.Blocks) -> None:
    values = {block.elem_id: block.value for block in page.blocks.values() if isinstance(block, gr.components.Component)}
    default = FilterConfig()
    assert values["direction"] == values["mask-direction"] == LIGHTING
    assert values["magnitude"] == 6.0
    assert (values["max-area"], values["min-component"], values["bins"], values["window"]) == (
        default.max_area,
        default.min_component,
        default.histogram_bins,
        default.histogram_window,
    )


def test_only_a_slider_whose_own_value_stays_can_be_set_back_to_it(page: gr.Blocks) -> None:
    # Gradio goes back to what the page was made with, which is another direction's magnitude when another one is in view.
    sliders = [one["props"] for one in page.get_config_file()["components"] if one["type"] == "slider"]
    without = {one["elem_id"] for one in sliders if one.get("buttons") == []}
    assert without == {"direction", "magnitude", "judged", "judged-magnitude", "mask-direction", "mask-magnitude"}
    assert all("buttons" not in one for one in sliders if one["elem_id"] not in without) and len(sliders) > len(without)


def test_every_call_of_the_engine_shares_one_queue(page: gr.Blocks) -> None:
    shared = {fn.api_name for fn in page.fns.values() if fn.concurrency_id == "engine"}
    assert {"walk", "start", "export", "judge_direction", "save_direction", "compare", "masks", "judge", "segment"} <= shared


def test_walk_gives_the_strip_that_the_workbench_makes(client: Client, bench: Workbench) -> None:
    picture, about = (client.predict(LIGHTING, 4.0, 7, 2.0, api_name=name) for name in ("/walk", "/about"))
    view = WalkView(LIGHTING, 4.0, 7, 2.0)
    expected = render.strip(bench.walk(view), view.magnitudes).astype(int)
    with Image.open(picture) as opened:
        assert opened.format == "JPEG"
        got = np.asarray(opened).astype(int)
    assert got.shape == expected.shape and np.abs(got - expected).mean() < 4
    assert "lamp" in about and "saliency lighting" in about and "iou 0.625" in about and "<b>" not in about


def test_masks_says_of_every_sample_what_the_filters_say(client: Client, bench: Workbench) -> None:
    got = ask_masks(client, {"seed": 2})
    sheet = bench.masks(MaskView(direction=LIGHTING, seed=2), FilterConfig())
    assert [sample["verdict"] for sample in got["samples"]] == sheet.explanations
    assert got["funnel"] == sheet.funnel and got["acceptance_rate"] == sheet.acceptance_rate


def test_a_tighter_area_rejects_exactly_the_samples_above_it(client: Client, bench: Workbench) -> None:
    areas = [float(sample.mean()) for sample in bench.masks(MaskView(direction=LIGHTING), FilterConfig(**OPEN)).raw_mask]
    limit = round(sorted(areas)[len(areas) // 2], 2)
    got = ask_masks(client, **{**OPEN, "size": True, "max_area": limit})
    too_large = [area > limit for area in areas]
    assert [sample["rejected_by"] == "size" for sample in got["samples"]] == too_large
    assert [sample["area"] for sample in got["samples"]] == pytest.approx(areas)
    assert any(too_large) and not all(too_large)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ((LIGHTING, 5.0, -1, 4.0), "seed is -1"),
        ((LIGHTING, 5.0, 1e30, 4.0), "seed is 1"),
        ((LIGHTING, 5.0, 0.5, 4.0), "seed is 0.5"),
        ((LIGHTING, 5.0, "ten", 4.0), "seed is 'ten'"),
        ((LIGHTING, 5.0, "<b>x</b>", 4.0), "seed is '&lt;b&gt;x&lt;/b&gt;'"),
        ((LIGHTING, 5.0, None, 4.0), "seed is empty"),
        ((99, 5.0, 0, 4.0), "99 is greater than"),
        ((LIGHTING, -3.0, 0, 4.0), "-3.0 is less than"),
        ((LIGHTING, None, 0, 4.0), "wrong kind"),
        ((LIGHTING, "long", 0, 4.0), "wrong kind"),
    ],
)
def test_bad_values_are_refused_with_a_message(client: Client, values: tuple[Any, ...], words: str) -> None:
    with pytest.raises(AppError) as caught:
        client.predict(*values, api_name="/walk")
    assert words in str(caught.value) and "Traceback" not in str(caught.value)


def test_bad_thresholds_are_refused_with_the_remedy(client: Client) -> None:
    with pytest.raises(AppError, match=r"histogram_window is 5.*between 1 and 3"):
        ask_masks(client, histogram_bins=3, histogram_window=5)
    with pytest.raises(AppError, match="size is 'yes'"):
        ask_masks(client, size="yes")
    with pytest.raises(AppError, match="FilterConfig has no colour"):
        ask_masks(client, colour=True)
    with pytest.raises(AppError, match="count is 0"):
        ask_masks(client, {"count": 0})


def test_a_photograph_is_segmented(client: Client, segmenter: PhotographSegmenter, tmp_path: Path) -> None:
    photograph = tmp_path / "photo.png"
    pixels = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(photograph)
    overlay, saliency, cut_out, words, archive, _ = client.predict(handle_file(str(photograph)), api_name="/segment")
    expected = segmenter.segment(photograph)
    assert Image.open(overlay).size == (80, 60)
    assert (np.asarray(Image.open(saliency).convert("L")) == expected.saliency).all()
    shown = np.asarray(Image.open(cut_out))
    assert shown.shape == (60, 80, 4) and (shown == expected.cut_out).all()
    assert f"{100 * expected.area:.0f}%" in words
    with zipfile.ZipFile(archive) as packed:
        assert sorted(packed.namelist()) == ["photo-cut-out.png", "photo-overlay.jpg", "photo-saliency.png"]


def test_photographs_are_segmented_on_the_device_of_the_engine(
    monkeypatch: pytest.MonkeyPatch, bench: Workbench, segmenter: PhotographSegmenter, tmp_path: Path
) -> None:
    made: list[PhotographSegmenter] = []
    elsewhere = SimpleNamespace(engine=SimpleNamespace(device=torch.device("meta")))
    monkeypatch.setattr(shell, "open_workbench", lambda *options: elsewhere)
    monkeypatch.setattr(shell, "build_page", lambda bench, segmenter: made.append(segmenter))
    monkeypatch.setattr(shell, "serve", lambda *page, browser: "")
    open_app(AppConfig(segmenter=segmenter.weights, port=free_port()))
    Image.new("RGB", (40, 40)).save(tmp_path / "photo.png")
    # The device meta holds no values: that it is used shows in what it cannot do.
    with pytest.raises(NotImplementedError, match="meta"):
        made[0].segment(tmp_path / "photo.png")


def test_what_is_no_photograph_is_refused(client: Client, tmp_path: Path) -> None:
    broken = tmp_path / "photo.png"
    broken.write_text("this is no image")
    with pytest.raises(AppError, match="wrong kind.*JPEG or PNG"):
        client.predict(handle_file(str(broken)), api_name="/segment")
    with pytest.raises(AppError, match="no photograph"):
        client.predict(None, api_name="/segment")
    cut_short = tmp_path / "cut-short.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)).save(cut_short)
    cut_short.write_bytes(cut_short.read_bytes()[:4000])
    with pytest.raises(AppError) as caught:
        client.predict(handle_file(str(cut_short)), api_name="/segment")
    assert "cut-short.jpg" in str(caught.value) and "/" not in str(caught.value).split("cut-short.jpg")[0]


def test_too_many_pixels_are_refused_before_they_are_decoded(segmenter: PhotographSegmenter, tmp_path: Path) -> None:
    huge = tmp_path / "huge.png"
    Image.new("1", (9000, 9000)).save(huge)
    with pytest.raises(LanternError, match=r"the image huge.png has 9000x9000 pixels\. Make it smaller"):
        segmenter.segment(huge)


def test_a_large_photograph_is_shrunk_with_its_aspect_kept(segmenter: PhotographSegmenter, tmp_path: Path) -> None:
    large = tmp_path / "large.png"
    Image.new("RGB", (3000, 1500), (200, 30, 30)).save(large)
    assert segmenter.segment(large).overlay.shape == (LONGEST_SIDE // 2, LONGEST_SIDE, 3)


def test_without_weights_the_tab_says_how_to_train(bench: Workbench, no_network: PhotographSegmenter, tmp_path: Path) -> None:
    texts = [str(block.value) for block in build_page(bench, no_network).blocks.values() if isinstance(block, gr.Markdown)]
    assert any("no trained network" in text and "python -m explorer train --out runs/first" in text for text in texts)
    # What the words say to start the page with is where training puts the network, and an option that there is.
    assert "`--segmenter runs/first/unet.safetensors`" in HOW_TO_TRAIN and "segmenter" in AppConfig().to_json()
    with pytest.raises(LanternError, match="unet.safetensors is missing"):
        no_network.segment(tmp_path / "photo.png")


def test_an_error_names_an_option_by_its_label_too() -> None:
    labels = {"max_area": "Largest area", "width": "unet.width", "batch_size": "batch-size"}
    told = {
        "max_area is 2": "Largest area (max_area) is 2",
        "width is 0": "unet.width is 0",
        "batch_size is 0": "batch-size is 0",
        "the max_area is 2": "the max_area is 2",
        "seed is -1": "seed is -1",
        "max_area": "Largest area (max_area)",
    }
    assert {problem: by_label(problem, labels) for problem in told} == told


def test_an_unexpected_error_shows_no_traceback_but_logs_it(caplog: pytest.LogCaptureFixture) -> None:
    @guarded
    def broken() -> None:
        raise ZeroDivisionError("secret detail")

    with pytest.raises(gr.Error) as caught:
        broken()
    assert "secret" not in str(caught.value) and "log" in str(caught.value)
    assert "ZeroDivisionError: secret detail" in caplog.text


@pytest.mark.parametrize(("value", "expected"), [(3, 3), (3.0, 3), (-2.0, -2)])
def test_whole_numbers_pass(value: float, expected: int) -> None:
    got = whole("seed", value)
    assert got == expected and isinstance(got, int)


@pytest.mark.parametrize("value", [True, None, "3", 2.5, float("nan"), float("inf"), [1]])
def test_other_values_are_no_whole_numbers(value: Any) -> None:
    with pytest.raises(LanternError, match="the seed is"):
        whole("seed", value)


def test_a_switch_is_no_number() -> None:
    with pytest.raises(LanternError, match="magnitude is True"):
        real("magnitude", True)


def test_a_taken_port_ends_with_a_remedy_and_no_traceback() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(LanternError, match=f"port {port} .*--port"):
            check_address("127.0.0.1", port)
        command = [sys.executable, "app.py", "--port", str(port)]
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110)
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"error: port {port}") and "Traceback" not in ended.stderr


def test_a_missing_generator_is_named(tmp_path: Path) -> None:
    with pytest.raises(LanternError, match="none.safetensors does not exist"):
        open_app(AppConfig(generator=str(tmp_path / "none.safetensors"), port=free_port()))


@pytest.mark.parametrize(
    ("environment", "given", "expected"),
    [
        ({}, {}, ("127.0.0.1", 7860)),
        ({"PORT": "8001"}, {}, ("127.0.0.1", 8001)),
        ({"PORT": "8001", "GRADIO_SERVER_PORT": "8002"}, {}, ("127.0.0.1", 8002)),
        ({"PORT": "8001", "SPACE_ID": "a/b"}, {"port": 9000}, ("0.0.0.0", 9000)),
        ({"SPACE_ID": "a/b"}, {"host": "127.0.0.1"}, ("127.0.0.1", 7860)),
    ],
)
def test_the_address_comes_from_options_then_environment(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], given: dict[str, Any], expected: tuple[str, int]
) -> None:
    for name in ("PORT", "GRADIO_SERVER_PORT", "SPACE_ID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert AppConfig(**given).address == expected


def test_a_port_that_is_no_number_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADIO_SERVER_PORT", "eighty")
    with pytest.raises(LanternError, match="'eighty'"):
        _ = AppConfig().address
    with pytest.raises(LanternError, match="port is 70000"):
        AppConfig(port=70000)

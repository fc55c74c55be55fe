"""Saliency against a pipeline written out by hand, prediction of folders, overlays and cut-outs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from segmentation.errors import LanternError
from segmentation.inference import InferenceConfig, Segmenter, cut_out, load_segmenter, overlay, predict_folder
from segmentation.progress import Unwatched
from segmentation.unet import UNet, saliency_logits, save_unet
from tests.segmentation.test_unet import small_net

RNG = np.random.default_rng(4)


def noise(height: int, width: int) -> NDArray[np.uint8]:
    """An image with structure at several scales."""
    coarse = RNG.integers(0, 256, (-(-height // 8), -(-width // 8), 3)).repeat(8, 0).repeat(8, 1)[:height, :width]
    return (0.7 * coarse + 0.3 * RNG.integers(0, 256, (height, width, 3))).astype(np.uint8)


def lively_net(seed: int = 7, width: int = 4) -> UNet:
    """A network whose saliency of :func:`noise` spreads over (0, 1)."""
    net = small_net(seed, width)
    state = net.state_dict()
    with torch.inference_mode():
        logits = saliency_logits(net(torch.from_numpy(noise(64, 64)).permute(2, 0, 1)[None].float() / 127.5 - 1))
    scale = 1.5 / logits.std()
    state["outc.conv.weight"] *= scale
    state["outc.conv.bias"] *= scale
    state["outc.conv.bias"][1] -= logits.mean() * scale
    return net


def triangle(source: int, target: int) -> NDArray[np.float64]:
    """(target, source): bilinear weights, widened by the factor when shrinking."""
    scale = source / target
    reach = max(scale, 1.0)
    centres = (np.arange(target) + 0.5) * scale
    distance = np.abs((np.arange(source) + 0.5)[None] - centres[:, None]) / reach
    weights: NDArray[np.float64] = np.clip(1 - distance, 0, None)
    weights /= weights.sum(1, keepdims=True)
    return weights


def by_hand(net: UNet, image: NDArray[np.uint8], size: int) -> NDArray[np.float64]:
    height, width = image.shape[:2]
    scale = size / min(height, width)
    small = (size, round(width * scale)) if height <= width else (round(height * scale), size)
    rows, columns = triangle(height, small[0]), triangle(width, small[1])
    resized = np.stack([rows @ image[..., channel] @ columns.T for channel in range(3)])
    with torch.inference_mode():
        logits = net(torch.from_numpy(resized / 127.5 - 1).float()[None])[0].double().numpy()
    saliency = np.exp(logits[1]) / np.exp(logits).sum(0)
    result: NDArray[np.float64] = triangle(small[0], height) @ saliency @ triangle(small[1], width).T
    return result


@pytest.mark.parametrize(("height", "width"), [(90, 140), (140, 90), (20, 33), (48, 48), (32, 100), (17, 200)])
@pytest.mark.parametrize("size", [32, 48])
def test_saliency_is_the_pipeline_by_hand(height: int, width: int, size: int) -> None:
    net, image = lively_net(), noise(height, width)
    saliency = Segmenter(net, size).saliency(image)
    assert saliency.shape == (height, width) and saliency.dtype == np.float32
    expected = by_hand(net, image, size)
    assert expected.std() > 0.08, "a flat map would prove nothing"
    # The image shown to the network is rounded to 8 bits.
    assert np.abs(saliency - expected).max() < 0.04
    assert np.abs(saliency - expected).mean() < 0.004


def test_reference_preset_rounds_down_and_cuts_to_eight_bits() -> None:
    net, image = lively_net(), noise(61, 101)
    segmenter = Segmenter(net, 32, config=InferenceConfig(preset="reference"))
    assert segmenter.prepare(image).pixels.shape == (32, 52, 3)
    assert Segmenter(net, 32).prepare(image).pixels.shape == (32, 53, 3)
    with torch.inference_mode():
        shown = torch.from_numpy(segmenter.prepare(image).pixels.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
        levels = (net(shown).softmax(1)[0, 1] * 255).floor().numpy()
    expected = triangle(32, 61) @ levels @ triangle(52, 101).T
    saliency = segmenter.saliency(image)
    assert np.abs(saliency * 255 - np.round(saliency * 255)).max() < 1e-4
    assert np.abs(saliency * 255 - expected).max() <= 1.01


def test_an_image_of_the_trained_size_is_not_resized() -> None:
    net, image = lively_net(2), noise(32, 40)
    with torch.inference_mode():
        expected = net(torch.from_numpy(image).permute(2, 0, 1)[None].float() / 127.5 - 1).softmax(1)[0, 1]
    for preset in ("paper", "reference"):
        saliency = Segmenter(net, 32, config=InferenceConfig(preset=preset)).saliency(image)
        np.testing.assert_allclose(saliency, expected.numpy(), atol=1e-5)


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return Segmenter(small_net(), 32)


@settings(max_examples=40, deadline=None)
@given(height=st.integers(1, 200), width=st.integers(1, 200))
def test_prepared_images_keep_their_aspect(segmenter: Segmenter, height: int, width: int) -> None:
    image = np.zeros((height, width, 3), np.uint8)
    if max(height, width) > 16 * min(height, width):
        with pytest.raises(LanternError, match=f"{width}x{height} pixels, over 16 times"):
            segmenter.prepare(image)
        return
    shown = segmenter.prepare(image).pixels.shape[:2]
    assert min(shown) == 32
    assert abs(shown[0] * width - shown[1] * height) <= 0.5 * min(height, width)


def test_a_stream_gives_what_single_images_give_in_order() -> None:
    segmenter = Segmenter(lively_net(1), 32, config=InferenceConfig(batch_size=3))
    images = [noise(height, width) for height, width in [(40, 60)] * 5 + [(60, 40), (40, 60), (80, 120), (33, 33)]]
    streamed = list(segmenter.stream((index, segmenter.prepare(image)) for index, image in enumerate(images)))
    assert [key for key, _ in streamed] == list(range(9))
    for (_, saliency), image in zip(streamed, images, strict=True):
        np.testing.assert_allclose(saliency, segmenter.saliency(image), atol=1e-5)


def test_batches_hold_neighbours_of_equal_shape() -> None:
    segmenter = Segmenter(lively_net(1), 32, config=InferenceConfig(batch_size=3))
    shapes: list[tuple[int, ...]] = []
    segmenter.net.register_forward_pre_hook(lambda _, inputs: shapes.append(tuple(inputs[0].shape)))
    images = [noise(height, width) for height, width in [(40, 60)] * 4 + [(80, 120), (60, 40)]]
    assert len(list(segmenter.stream((None, segmenter.prepare(image)) for image in images))) == 6
    assert shapes == [(3, 3, 32, 48), (2, 3, 32, 48), (1, 3, 48, 32)]


def test_bfloat16_stays_close() -> None:
    net, image = lively_net(3), noise(64, 64)
    exact = Segmenter(net, 32).saliency(image)
    rough = Segmenter(net, 32, config=InferenceConfig(precision="bfloat16")).saliency(image)
    difference = np.abs(exact - rough).max()
    assert 0 < difference < 0.05


def test_configured_size_overrides_the_trained_one() -> None:
    segmenter = Segmenter(small_net(), 64, config=InferenceConfig(size=32))
    assert (segmenter.size, min(segmenter.prepare(noise(80, 90)).pixels.shape[:2])) == (32, 32)


@pytest.mark.parametrize(
    ("values", "words"),
    [({"size": 8}, "size is 8"), ({"preset": "best"}, "paper, reference"), ({"batch_size": 0}, "batch_size is 0")],
)
def test_configuration_is_checked(values: dict[str, object], words: str) -> None:
    with pytest.raises(LanternError, match=words):
        InferenceConfig.from_json(values)


def test_configuration_survives_json() -> None:
    config = InferenceConfig(size=64, preset="reference", batch_size=2)
    assert InferenceConfig.from_json(config.to_json()) == config
    assert InferenceConfig.from_json({"size": None}) == InferenceConfig()


@pytest.mark.parametrize(
    "image",
    [np.zeros((30, 30), np.uint8), np.zeros((30, 30, 4), np.uint8), np.zeros((30, 30, 3)), np.zeros((0, 9, 3), np.uint8)],
)
def test_what_is_no_rgb_image_is_refused(image: NDArray[np.uint8]) -> None:
    with pytest.raises(LanternError, match="uint8"):
        Segmenter(small_net(), 32).saliency(image)


def test_a_broken_network_is_named() -> None:
    net = small_net()
    net.state_dict()["outc.conv.bias"].fill_(float("nan"))
    with pytest.raises(LanternError, match=r"bad\.pth gives values that are no numbers"):
        Segmenter(net, 32, name="bad.pth").saliency(noise(40, 40))


def test_a_loaded_segmenter_knows_its_origin(tmp_path: Path) -> None:
    net = lively_net(6)
    save_unet(net, tmp_path / "horses.safetensors", 48, {"steps": 3})
    segmenter = load_segmenter(tmp_path / "horses.safetensors", config=InferenceConfig(preset="reference"))
    origin = segmenter.provenance()
    assert (origin["weights"], origin["size"], origin["preset"]) == ("horses.safetensors", 48, "reference")
    assert (origin["torch"], origin["device"], len(origin["fingerprint"])) == (torch.__version__, "cpu", 16)
    image = noise(50, 70)
    expected = Segmenter(net, 48, config=InferenceConfig(preset="reference")).saliency(image)
    assert np.array_equal(segmenter.saliency(image), expected)


def write(path: Path, image: NDArray[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


class Listener(Unwatched):
    """Remembers what it is told; asks to stop after ``stop_after`` steps."""

    def __init__(self, stop_after: int = 1_000_000) -> None:
        self.steps: list[tuple[int, int]] = []
        self.notes: list[str] = []
        self.stop_after = stop_after

    def advance(self, step: int, steps: int, figures: dict[str, float]) -> None:
        self.steps.append((step, steps))

    def note(self, text: str) -> None:
        self.notes.append(text)

    def stop_requested(self) -> bool:
        return len(self.steps) >= self.stop_after


def test_a_folder_is_predicted_and_broken_images_are_reported(tmp_path: Path) -> None:
    images = {"birds/1": noise(40, 50), "birds/2": noise(50, 40), "z": noise(33, 36)}
    for name, image in images.items():
        write(tmp_path / "in" / f"{name}.png", image)
    (tmp_path / "in" / "broken.jpg").write_bytes(b"no image")
    write(tmp_path / "in" / "long.png", np.zeros((10, 400, 3), np.uint8))
    segmenter, listener = Segmenter(lively_net(2), 32), Listener()
    report = predict_folder(segmenter, tmp_path / "in", tmp_path / "out", listener)
    assert report.written == ("birds/1", "birds/2", "z") and not report.stopped
    assert len(report.skipped) == 2 and len(listener.notes) == 2
    assert "broken.jpg is no image" in report.skipped[0]
    assert "long.png" in report.skipped[1] and "400x10" in report.skipped[1]
    assert listener.steps == [(1, 5), (2, 5), (3, 5)]
    written = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert written == {f"{name}.png" for name in images}
    for name, image in images.items():
        with Image.open(tmp_path / "out" / f"{name}.png") as saved:
            assert saved.mode == "L"
            assert np.abs(np.asarray(saved) / 255 - segmenter.saliency(image)).max() <= 0.5 / 255 + 1e-6


def test_a_single_file_is_predicted(tmp_path: Path) -> None:
    write(tmp_path / "cat.png", noise(40, 50))
    report = predict_folder(Segmenter(lively_net(2), 32), tmp_path / "cat.png", tmp_path / "out")
    assert report.written == ("cat",) and (tmp_path / "out" / "cat.png").is_file()


def test_a_stop_is_honoured_after_the_image_at_hand(tmp_path: Path) -> None:
    for index in range(5):
        write(tmp_path / "in" / f"{index}.png", noise(40, 40))
    config = InferenceConfig(batch_size=1)
    report = predict_folder(Segmenter(small_net(), 32, config=config), tmp_path / "in", tmp_path / "out", Listener(2))
    assert report.stopped and report.written == ("0", "1")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["0.png", "1.png"]


def test_maps_never_lie_among_the_images(tmp_path: Path, segmenter: Segmenter) -> None:
    write(tmp_path / "in" / "a.png", noise(40, 40))
    before = (tmp_path / "in" / "a.png").read_bytes()
    for images, out in (("in", "in"), ("in", "in/maps"), ("in/a.png", "in")):
        with pytest.raises(LanternError, match="among the images"):
            predict_folder(segmenter, tmp_path / images, tmp_path / out)
    assert (tmp_path / "in" / "a.png").read_bytes() == before


def test_nothing_readable_is_an_error(tmp_path: Path, segmenter: Segmenter) -> None:
    for name in ("a.png", "b.jpg"):
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(LanternError, match=r"none of the images.*a\.png is no image.*and 1 more"):
        predict_folder(segmenter, tmp_path, tmp_path.parent / f"{tmp_path.name}-out")
    with pytest.raises(LanternError, match="nowhere does not exist"):
        predict_folder(segmenter, tmp_path / "nowhere", tmp_path / "out")


def disc() -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    rows, columns = np.mgrid[:60, :80]
    saliency = np.clip(1 - np.hypot(rows - 30, columns - 40) / 30, 0, 1).astype(np.float32)
    return np.full((60, 80, 3), 128, np.uint8), saliency


def test_overlay_outlines_the_object_in_light_and_dark() -> None:
    image, saliency = disc()
    mask = saliency >= 0.5
    drawn = overlay(image, saliency)
    assert drawn.shape == image.shape and drawn.dtype == np.uint8
    padded = np.pad(mask, 1, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3))
    white, black = (drawn == 255).all(2), (drawn == 0).all(2)
    assert np.array_equal(white, mask & ~windows.all((2, 3)))
    assert np.array_equal(black, ~mask & windows.any((2, 3)))
    inside, outside = mask & ~white, ~mask & ~black
    assert np.array_equal(drawn[outside], image[outside])
    assert inside.sum() > 500 and (drawn[inside] != image[inside]).any(1).all()


def test_overlay_without_an_object_is_the_image() -> None:
    image = noise(40, 50)
    assert np.array_equal(overlay(image, np.full((40, 50), 0.4, np.float32)), image)
    assert not np.array_equal(overlay(image, np.full((40, 50), 0.4, np.float32), threshold=0.4), image)


def test_cut_out_has_saliency_as_alpha() -> None:
    image, saliency = disc()
    cut = cut_out(image, saliency)
    assert cut.shape == (60, 80, 4) and np.array_equal(cut[..., :3], image)
    assert np.abs(cut[..., 3] / 255 - saliency).max() <= 0.5 / 255 + 1e-6


@pytest.mark.parametrize("function", [overlay, cut_out])
def test_saliency_of_another_image_is_refused(function: object) -> None:
    assert callable(function)
    with pytest.raises(LanternError, match="80x60"):
        function(disc()[0], np.zeros((80, 60), np.float32))

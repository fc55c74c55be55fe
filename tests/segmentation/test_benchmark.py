"""Scores of miniature benchmarks against brute force."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from segmentation.benchmark import score_predictions, score_segmenter
from segmentation.errors import LanternError
from segmentation.inference import InferenceConfig, Segmenter, predict_folder
from segmentation.kept import Kept
from tests.segmentation.test_inference import Listener, lively_net, noise, write
from tests.segmentation.test_unet import small_net

RNG = np.random.default_rng(8)
Folders = tuple[Path, Path, dict[str, NDArray[np.uint8]], dict[str, NDArray[np.bool_]]]


def brute_force(maps: list[NDArray[Any]], truths: list[NDArray[np.bool_]]) -> tuple[float, float, float]:
    """Max F (beta squared 0.3, thresholds 0, 1/255, ..., strict), IoU and accuracy at 0.5; nothing may be empty."""
    curve = np.zeros(255)
    ious, accuracies = [], []
    for saliency, truth in zip(maps, truths, strict=True):
        for level in range(255):
            predicted = saliency > np.float32(level / 255)
            hits = (predicted & truth).sum()
            precision = hits / predicted.sum() if predicted.any() else 1.0
            recall = hits / truth.sum()
            curve[level] += 1.3 * precision * recall / (0.3 * precision + recall) if hits else 0.0
        predicted = saliency >= 0.5
        ious.append((predicted & truth).sum() / (predicted | truth).sum())
        accuracies.append((predicted == truth).mean())
    return curve.max() / len(maps), float(np.mean(ious)), float(np.mean(accuracies))


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    images = {f"set/{index}": noise(40 + 3 * index, 61) for index in range(4)}
    truths = {name: image[..., 1] > 120 for name, image in images.items()}
    for name, image in images.items():
        write(tmp_path / "images" / f"{name}.png", image)
        write(tmp_path / "masks" / f"{name}.png", truths[name].astype(np.uint8) * 255)
    return tmp_path / "images", tmp_path / "masks", images, truths


@pytest.fixture
def opened_files() -> Iterator[list[str]]:
    """The paths of the files that are opened, as often as they are."""
    opened: list[str] = []
    listening = True

    def hear(event: str, arguments: tuple[Any, ...]) -> None:
        if listening and event == "open" and isinstance(arguments[0], str):
            opened.append(arguments[0])

    # It stays until the process ends, and says nothing from the end of the test on.
    sys.addaudithook(hear)
    yield opened
    listening = False


def test_a_segmenter_is_scored_as_by_brute_force(folders: Folders) -> None:
    images_folder, masks_folder, images, truths = folders
    segmenter, listener = Segmenter(lively_net(11), 32, name="net.pth"), Listener()
    result = score_segmenter(segmenter, images_folder, masks_folder, listener)
    expected = brute_force([segmenter.saliency(image) for image in images.values()], list(truths.values()))
    assert (result.scores.max_f, result.scores.iou, result.scores.accuracy) == pytest.approx(expected, abs=1e-6)
    assert not result.stopped and listener.steps == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_the_result_says_what_it_is_of(folders: Folders) -> None:
    segmenter = Segmenter(lively_net(11), 32, name="net.pth", mark="0123456789abcdef")
    values = json.loads(json.dumps(score_segmenter(segmenter, folders[0], folders[1]).to_json()))
    assert (values["images"], values["protocol"]) == (4, "voynov")
    assert all(0 < values[name] < 1 for name in ("max_f", "iou", "accuracy"))
    origin = values["provenance"]
    assert (origin["images"], origin["of_images"]) == (4, 4)
    assert origin["images_folder"].endswith("/images") and not origin["images_folder"].startswith("/")
    told = origin["segmenter"]
    assert (told["weights"], told["fingerprint"], told["size"], told["preset"], told["torch"]) == (
        "net.pth",
        "0123456789abcdef",
        32,
        "paper",
        torch.__version__,
    )


def test_predictions_on_disk_score_as_by_brute_force(folders: Folders, tmp_path: Path) -> None:
    images_folder, masks_folder, images, truths = folders
    predict_folder(Segmenter(lively_net(11), 32), images_folder, tmp_path / "maps")
    maps = [np.asarray(Image.open(tmp_path / "maps" / f"{name}.png")) / np.float32(255) for name in images]
    listener = Listener()
    result = score_predictions(tmp_path / "maps", masks_folder, listener)
    scores = (result.scores.max_f, result.scores.iou, result.scores.accuracy)
    assert scores == pytest.approx(brute_force(maps, list(truths.values())), abs=1e-6)
    assert listener.steps[-1] == (4, 4) and result.to_json()["provenance"]["images"] == 4


def file_fingerprint(paths: list[Path]) -> str:
    """SHA-256 of the SHA-256 of every file."""
    return hashlib.sha256(b"".join(hashlib.sha256(path.read_bytes()).digest() for path in paths)).hexdigest()[:16]


def test_files_are_marked_by_what_is_in_them_and_read_once(folders: Folders, tmp_path: Path, opened_files: list[str]) -> None:
    predict_folder(Segmenter(lively_net(11), 32), folders[0], tmp_path / "maps")
    for scored in (folders[0], tmp_path / "maps"):
        files = [*sorted(scored.rglob("*.png")), *sorted(folders[1].rglob("*.png"))]
        expected = file_fingerprint(files)
        opened_files.clear()
        if scored == folders[0]:
            result = score_segmenter(Segmenter(lively_net(11), 32), scored, folders[1])
        else:
            result = score_predictions(scored, folders[1])
        assert sorted(path for path in opened_files if path.endswith(".png")) == sorted(map(str, files))
        assert result.provenance["data"] == {"fingerprint": expected}


@pytest.mark.parametrize("deep", [False, True])
def test_perfect_predictions_score_one(folders: Folders, tmp_path: Path, deep: bool) -> None:
    for name, truth in folders[3].items():
        write(tmp_path / "maps" / f"{name}.png", truth.astype(np.uint16) * 65535 if deep else truth.astype(np.uint8) * 255)
    scores = score_predictions(tmp_path / "maps", folders[1]).scores
    assert (scores.max_f, scores.iou, scores.accuracy) == pytest.approx((1, 1, 1))


def test_sixteen_bit_predictions_keep_their_scale(folders: Folders, tmp_path: Path) -> None:
    maps = []
    for name, truth in folders[3].items():
        levels = RNG.integers(0, 65536, truth.shape).astype(np.uint16)
        write(tmp_path / "maps" / f"{name}.png", levels)
        maps.append((levels / 65535).astype(np.float32))
    scores = score_predictions(tmp_path / "maps", folders[1]).scores
    expected = brute_force(maps, list(folders[3].values()))
    assert (scores.max_f, scores.iou, scores.accuracy) == pytest.approx(expected, abs=1e-6)


def test_a_stop_scores_the_images_before_it(folders: Folders) -> None:
    segmenter = Segmenter(lively_net(11), 32)
    result = score_segmenter(segmenter, folders[0], folders[1], Listener(stop_after=2))
    assert result.stopped and result.to_json()["stopped"] is True
    assert (result.scores.images, result.provenance["images"], result.provenance["of_images"]) == (2, 2, 4)
    firsts = [segmenter.saliency(image) for image in folders[2].values()][:2]
    assert result.scores.iou == pytest.approx(brute_force(firsts, list(folders[3].values())[:2])[1], abs=1e-6)
    assert not score_segmenter(segmenter, folders[0], folders[1], Listener(stop_after=4)).stopped


@pytest.mark.parametrize(("every", "batch"), [(1, 1), (3, 1), (1, 2), (1, 8)])
def test_scoring_goes_on_where_it_stopped(folders: Folders, tmp_path: Path, every: int, batch: int) -> None:
    segmenter, folder = Segmenter(lively_net(11), 32, config=InferenceConfig(batch_size=batch)), tmp_path / "kept"
    for number in range(4):
        write(folders[0] / f"set/{number}.png", noise(40, 61))
        write(folders[1] / f"set/{number}.png", (noise(40, 61)[..., 1] > 120).astype(np.uint8) * 255)
    whole = score_segmenter(segmenter, folders[0], folders[1])
    steps: list[int] = []
    for stop in (1, 1, 9):
        listener = Listener(stop_after=stop)
        result = score_segmenter(segmenter, folders[0], folders[1], listener, kept=Kept(folder, every))
        steps += [step for step, _ in listener.steps]
    # A stop waits for those that were taken together, since others would round them differently.
    assert steps == [1, 2, 3, 4] and len(listener.steps) == (2 if batch == 1 else 0)
    assert (result.scores, result.stopped, result.provenance) == (whole.scores, False, whole.provenance)
    again = Listener()
    repeated = score_segmenter(segmenter, folders[0], folders[1], again, kept=Kept(folder, every))
    assert (again.steps, repeated.scores, repeated.provenance) == ([], result.scores, whole.provenance)
    with pytest.raises(LanternError, match="another configuration"):
        score_segmenter(Segmenter(lively_net(12), 16), folders[0], folders[1], kept=Kept(folder))


def test_maps_on_disk_are_scored_on_where_it_stopped(folders: Folders, tmp_path: Path) -> None:
    predict_folder(Segmenter(lively_net(11), 32), folders[0], tmp_path / "maps")
    whole = score_predictions(tmp_path / "maps", folders[1]).scores
    score_predictions(tmp_path / "maps", folders[1], Listener(stop_after=3), kept=Kept(tmp_path / "kept"))
    assert score_predictions(tmp_path / "maps", folders[1], kept=Kept(tmp_path / "kept")).scores == whole


def test_missing_predictions_are_named_and_spare_ones_noted(folders: Folders, tmp_path: Path) -> None:
    for name, truth in list(folders[3].items())[1:]:
        write(tmp_path / "maps" / f"{name}.png", truth.astype(np.uint8) * 255)
    with pytest.raises(LanternError, match=r"lacks 1 of 4 predictions \(set/0\)"):
        score_predictions(tmp_path / "maps", folders[1])
    for name in ("set/0", "set/spare"):
        write(tmp_path / "maps" / f"{name}.png", folders[3]["set/0"].astype(np.uint8) * 255)
    listener = Listener()
    assert score_predictions(tmp_path / "maps", folders[1], listener).scores.images == 4
    assert listener.notes == ["passed over: 1 saliency maps without a mask (set/spare)"]


def test_a_prediction_of_another_size_is_named(folders: Folders, tmp_path: Path) -> None:
    for name, truth in folders[3].items():
        write(tmp_path / "maps" / f"{name}.png", truth.T.astype(np.uint8).copy() * 255)
    with pytest.raises(LanternError, match=r"maps/set/0\.png is 40x61 pixels, its mask 61x40"):
        score_predictions(tmp_path / "maps", folders[1])


def test_an_image_too_long_is_named(folders: Folders) -> None:
    write(folders[0] / "set" / "9.png", np.zeros((10, 400, 3), np.uint8))
    write(folders[1] / "set" / "9.png", np.zeros((10, 400), np.uint8))
    with pytest.raises(LanternError, match=r"set/9: the image is 400x10"):
        score_segmenter(Segmenter(small_net(), 32), folders[0], folders[1])


def test_unknown_protocols_are_refused(folders: Folders) -> None:
    with pytest.raises(LanternError, match="voynov"):
        score_predictions(folders[1], folders[1], protocol="best")

"""One pass over miniature data sets: scores against the metrics themselves, bad data left out by name and counted."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from segmentation.errors import LanternError
from segmentation.inference import InferenceConfig, Segmenter
from segmentation.kept import Kept
from segmentation.layouts import Dataset, folder_pair, locate
from segmentation.localisation import LocalisationMetrics
from segmentation.methods import CLASSICAL, Classical, Method, Network, classical
from segmentation.metrics import SaliencyMetrics
from segmentation.refinement import RefinementConfig, refine
from segmentation.scoring import ScoreSheet, ScoringConfig, score
from segmentation.structure import StructureMetrics
from tests.segmentation.miniatures import BOX, BUILDERS, picture, save, truth
from tests.segmentation.test_inference import Listener, lively_net


def luma(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """A method whose answer is plain to see."""
    return (image.mean(2) / 255).astype(np.float32)


BRIGHT = Classical("brightness", "this test", luma)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    for number in range(6):
        image = np.roll(picture(number), 2 * number, 1)
        save(tmp_path / f"images/{number}.png", image)
        save(tmp_path / f"masks/{number}.png", truth())
    return folder_pair(tmp_path / "images", tmp_path / "masks", "mine")


def test_the_scores_are_those_of_the_metrics(dataset: Dataset) -> None:
    plain, structure = SaliencyMetrics("pysod"), StructureMetrics()
    for sample in dataset:
        assert sample.mask is not None
        plain.step(luma(sample.image), sample.mask)
        structure.step(luma(sample.image), sample.mask)
    listener = Listener()
    sheet = score(BRIGHT, dataset, ScoringConfig("pysod", structure=True), listener)
    assert (sheet.saliency, sheet.structure, sheet.localisation) == (plain.results(), structure.results(), None)
    assert sheet.curve == plain.curve()
    assert (sheet.images, sheet.of_images, sheet.refused, sheet.stopped) == (6, 6, (), False)
    assert listener.steps[-1] == (6, 6)
    assert sheet.figures()["max_f"] == plain.results().max_f and sheet.figures()["s_measure"] == structure.results().s_measure


def test_a_network_scores_as_its_segmenter_does(dataset: Dataset) -> None:
    segmenter = Segmenter(lively_net(5), 16, name="net.pth", mark="0123456789abcdef")
    expected = SaliencyMetrics()
    for sample in dataset:
        assert sample.mask is not None
        expected.step(segmenter.saliency(sample.image), sample.mask)
    sheet = score(Network(segmenter), dataset, ScoringConfig())
    assert sheet.saliency is not None
    assert sheet.saliency.max_f == pytest.approx(expected.results().max_f, abs=1e-6)
    assert sheet.method == "U-Net net.pth (01234567)"


@pytest.mark.parametrize("name", ["CUB-200-2011 boxes", "ImageNet", "OpenImages"])
def test_boxes_and_regions_are_scored_as_localisation(tmp_path: Path, name: str) -> None:
    BUILDERS[name][0](tmp_path)
    found = locate(tmp_path, name)
    sheet = score(BRIGHT, found, ScoringConfig())
    expected = LocalisationMetrics()
    for sample in found:
        expected.step(luma(sample.image), sample.boxes, sample.mask, sample.ignored)
    assert sheet.localisation is not None and sheet.saliency is None
    assert sheet.localisation.to_json() == expected.results().to_json()
    assert set(sheet.figures()) == ({"px_ap"} if name == "OpenImages" else {"max_box_acc", "max_box_acc_v2"})
    assert sheet.figures().get("max_box_acc", 1) == 1 and BOX[0] > 0


def test_best_and_worst_images_are_kept_as_pictures(dataset: Dataset) -> None:
    sheet = score(BRIGHT, dataset, ScoringConfig(examples=2))
    overlaps = {}
    for sample in dataset:
        chosen = luma(sample.image) >= 0.5
        assert sample.mask is not None
        overlaps[sample.name] = float((chosen & sample.mask).sum() / (chosen | sample.mask).sum())
    ranked = sorted(overlaps, key=lambda name: -overlaps[name])
    assert [example.name for example in sheet.best] == ranked[:2]
    assert [example.name for example in sheet.worst] == ranked[:-3:-1]
    assert sheet.best[0].score == pytest.approx(overlaps[ranked[0]])
    assert sheet.best[0].picture.shape == (128, 3 * 171, 3)
    assert score(BRIGHT, dataset, ScoringConfig(examples=0)).best == ()


def grey(path: Path) -> None:
    Image.fromarray(picture()[..., 0]).save(path)


def cmyk(path: Path) -> None:
    Image.fromarray(picture()).convert("CMYK").save(path.with_suffix(".jpg"))
    path.unlink()


def turned(path: Path) -> None:
    """As a camera that was held upright stores it."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.ascontiguousarray(np.rot90(picture(), 1))).save(path, exif=exif)


def sixteen_bits(path: Path) -> None:
    Image.fromarray(picture()[..., 0].astype(np.uint16) * 257).save(path)


@pytest.mark.parametrize("make", [grey, cmyk, turned, sixteen_bits])
def test_unusual_images_are_handled(dataset: Dataset, tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "images/0.png")
    found = folder_pair(tmp_path / "images", tmp_path / "masks")
    sheet = score(BRIGHT, found, ScoringConfig())
    assert (sheet.images, sheet.refused) == (6, ())
    overlap = next(example.score for example in sheet.best if example.name == "0")
    assert overlap > 0.9


def palette_mask(path: Path) -> None:
    image = Image.fromarray(truth().astype(np.uint8)).convert("P")
    image.putpalette([0, 0, 0, 255, 255, 255])
    image.save(path)


def deep_mask(path: Path) -> None:
    Image.fromarray(truth().astype(np.uint16) * 65535).save(path)


@pytest.mark.parametrize("make", [palette_mask, deep_mask])
def test_unusual_masks_are_handled(dataset: Dataset, tmp_path: Path, make: Callable[[Path], None]) -> None:
    before = score(BRIGHT, dataset, ScoringConfig())
    make(tmp_path / "masks/1.png")
    assert score(BRIGHT, dataset, ScoringConfig()).figures() == before.figures()


def dark_palette(path: Path) -> None:
    image = Image.fromarray(truth().astype(np.uint8)).convert("P")
    image.putpalette([0, 0, 0, 128, 0, 0])
    image.save(path)


BAD: list[tuple[str, Callable[[Path], Any], str]] = [
    ("masks/2.png", lambda path: save(path, truth()[:-1]), "is 32x23 pixels, its image 32x24"),
    ("masks/2.png", dark_palette, "palette of dark colours"),
    ("masks/2.png", lambda path: save(path, truth().astype(np.uint8)), "holds only 0 and 1"),
    ("masks/2.png", lambda path: path.write_bytes(b"no mask"), "is no image"),
    ("images/2.png", lambda path: path.write_bytes(path.read_bytes()[:60]), "is no image, or it is cut short"),
    ("images/2.png", lambda path: (save(path, picture()[:6]), save(path.parents[1] / "masks/2.png", truth()[:6])), "6, 32, 3"),
]


@pytest.mark.parametrize(("file", "spoil", "told"), BAD)
def test_bad_data_is_left_out_by_name_and_counted(
    dataset: Dataset, tmp_path: Path, file: str, spoil: Callable[[Path], Any], told: str
) -> None:
    spoil(tmp_path / file)
    listener = Listener()
    sheet = score(BRIGHT, dataset, ScoringConfig(), listener)
    assert (sheet.images, sheet.of_images, len(sheet.refused)) == (5, 6, 1)
    assert sheet.refused[0].startswith("2: ") and told in sheet.refused[0]
    assert listener.notes == [f"left out: {sheet.refused[0]}"]
    assert sheet.to_json()["refused"] == list(sheet.refused)


def test_an_empty_truth_counts_and_is_counted(dataset: Dataset, tmp_path: Path) -> None:
    save(tmp_path / "masks/3.png", np.zeros_like(truth()))
    sheet = score(BRIGHT, dataset, ScoringConfig())
    assert (sheet.images, sheet.empty, sheet.to_json()["empty_truths"]) == (6, 1, 1)


def test_nothing_left_to_score_is_an_error(tmp_path: Path) -> None:
    save(tmp_path / "images/a.png", picture())
    save(tmp_path / "masks/a.png", truth()[:-1])
    with pytest.raises(LanternError, match=r"no image of mine could be scored \(a: the mask"):
        score(BRIGHT, folder_pair(tmp_path / "images", tmp_path / "masks", "mine"), ScoringConfig())


def test_a_stop_scores_the_images_before_it_and_a_limit_spreads_them(dataset: Dataset) -> None:
    stopped = score(BRIGHT, dataset, ScoringConfig(), Listener(stop_after=2))
    assert stopped.stopped and stopped.images == 2
    few = score(BRIGHT, dataset, ScoringConfig(limit=3))
    assert not few.stopped and (few.images, few.of_images) == (3, 6)
    assert {example.name for example in (*few.best, *few.worst)} == {"0", "2", "4"}


class Breaking(Listener):
    """Breaks off, as a kill does, after step ``at``."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.at = at

    def advance(self, step: int, steps: int, figures: dict[str, float]) -> None:
        super().advance(step, steps, figures)
        if step >= self.at:
            raise InterruptedError


def broken_off(method: Method, dataset: Dataset, config: ScoringConfig, folder: Path, at: int, every: int) -> list[int]:
    """Score until step ``at``, then go on; the two must be what a single pass gives. The steps of the second."""

    def scored(watcher: Listener, kept: Kept) -> ScoreSheet:
        kept.restore({"what": method.title}, len(dataset.names), watcher)
        return score(method, dataset, config, watcher, kept=kept.part("score"))

    with pytest.raises(InterruptedError):
        scored(Breaking(at), Kept(folder, every))
    listener = Listener()
    found, whole = scored(listener, Kept(folder, every)), score(method, dataset, config)
    assert {**found.to_json(), "seconds": 0} == {**whole.to_json(), "seconds": 0}
    assert found.seconds > 0 and len(whole.best) > 0
    for one, other in zip((*found.best, *found.worst), (*whole.best, *whole.worst), strict=True):
        assert one.name == other.name and np.array_equal(one.picture, other.picture)
    return [step for step, _ in listener.steps]


@pytest.mark.parametrize("at", [1, 2, 4, 5])
def test_a_pass_that_was_broken_off_goes_on_to_the_same_scores(dataset: Dataset, tmp_path: Path, at: int) -> None:
    (tmp_path / "images/2.png").write_bytes(b"no image")
    steps = broken_off(BRIGHT, dataset, ScoringConfig(structure=True, examples=1), tmp_path / "kept", at, 1)
    # What was reported last before the break was not saved yet; the third image is passed over and counts with the next.
    assert steps == [step for step in (1, 2, 4, 5, 6) if step >= at]


@pytest.mark.parametrize("name", ["CUB-200-2011 boxes", "OpenImages", "ECSSD"])
def test_every_kind_of_truth_goes_on(tmp_path: Path, name: str) -> None:
    BUILDERS[name][0](tmp_path)
    dataset = locate(tmp_path, name)
    assert len(dataset) >= 2
    broken_off(BRIGHT, dataset, ScoringConfig(), tmp_path / "kept", 2, 1)


@pytest.mark.parametrize("at", [2, 5, 6])
def test_a_network_goes_on_in_the_same_batches(dataset: Dataset, tmp_path: Path, at: int) -> None:
    network = Network(Segmenter(lively_net(1), 16, "cpu", InferenceConfig(batch_size=3)))
    seen: list[int] = []
    run = network.segmenter._run

    def counted(pixels: NDArray[np.uint8]) -> torch.Tensor:
        seen.append(len(pixels))
        return run(pixels)

    network.segmenter._run = counted  # type: ignore[method-assign]
    broken_off(network, dataset, ScoringConfig(), tmp_path / "kept", at, 1)
    # The first pass, the second, which begins where a batch does, and the whole one.
    assert seen == [3] * 5


def test_a_refined_row_is_named_and_scored_so(dataset: Dataset) -> None:
    config = RefinementConfig("bilateral", space=0.1)
    expected = SaliencyMetrics()
    for sample in dataset:
        assert sample.mask is not None
        expected.step(refine(sample.image, luma(sample.image), config), sample.mask)
    sheet = score(BRIGHT, dataset, ScoringConfig(refinement=config))
    assert sheet.method == "brightness, bilateral refinement" and sheet.saliency == expected.results()


def test_the_json_says_what_the_score_depends_on(dataset: Dataset, tmp_path: Path) -> None:
    told = json.loads(json.dumps(score(BRIGHT, dataset, ScoringConfig()).to_json()))
    origin = told["provenance"]
    assert origin["method"] == {"kind": "classical", "method": "brightness", "source": "this test"}
    assert origin["config"]["protocol"] == told["saliency"]["protocol"] == "voynov"
    assert {"processor", "cores", "gpu", "python", "torch", "numpy"} <= set(origin["surroundings"])
    assert len(told["curve"]["precision"]) == len(told["curve"]["recall"]) == 255
    mark = origin["data"]["fingerprint"]
    assert score(BRIGHT, dataset, ScoringConfig(examples=0)).provenance["data"]["fingerprint"] == mark
    save(tmp_path / "masks/5.png", ~truth())
    assert score(BRIGHT, dataset, ScoringConfig()).provenance["data"]["fingerprint"] != mark


def test_every_classical_method_gives_a_map(dataset: Dataset) -> None:
    for name, method in CLASSICAL.items():
        assert classical(name) is method
        [(key, saliency)] = list(method.stream([("a", method.prepare(picture()))]))
        assert key == "a" and saliency.shape == truth().shape and 0 <= saliency.min() <= saliency.max() <= 1
    with pytest.raises(LanternError, match="centre, border"):
        classical("best")
    assert dataclasses.is_dataclass(BRIGHT)

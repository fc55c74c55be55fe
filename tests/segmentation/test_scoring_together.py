"""Two real processes that share the images of a data set, over gloo: the same scores as one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from segmentation.benchmark import score_segmenter
from segmentation.files import write_json
from segmentation.inference import Segmenter
from segmentation.kept import Kept
from segmentation.layouts import Dataset, folder_pair, locate
from segmentation.methods import Method, Network
from segmentation.processes import Alone, Several, join, shares
from segmentation.scoring import ScoringConfig, score
from tests.segmentation.forked import ended, together
from tests.segmentation.miniatures import BUILDERS, picture, save, truth
from tests.segmentation.test_inference import Listener, lively_net
from tests.segmentation.test_scoring import BRIGHT

pytestmark = pytest.mark.timeout(300)

CPU = torch.device("cpu")
COUNT = 75
"""More than one round of two processes, and the last one is not full."""


def network() -> Segmenter:
    return Segmenter(lively_net(5), 16, name="net.pth", mark="0123456789abcdef")


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    for number in range(COUNT):
        save(tmp_path / f"images/{number:02}.png", np.roll(picture(number), number % 20, 1))
        save(tmp_path / f"masks/{number:02}.png", truth())
    (tmp_path / "images/03.png").write_bytes(b"no image")
    save(tmp_path / "masks/40.png", truth()[:-1])
    save(tmp_path / "masks/70.png", np.zeros_like(truth()))
    return folder_pair(tmp_path / "images", tmp_path / "masks", "mine")


def in_two(method: Method, dataset: Dataset, config: ScoringConfig, folder: Path, stop_after: int = 99) -> list[Any]:
    """What each of two processes finds, with what it was told and told others."""

    def work(index: int) -> None:
        processes, _ = join(CPU)
        listener = Listener(stop_after)
        sheet = score(method, dataset, config, listener, processes)
        pictures = [example.picture.tolist() for example in (*sheet.best, *sheet.worst)]
        told = {**sheet.to_json(), "figures": sheet.figures(), "pictures": pictures}
        write_json(folder / f"found-{index}.json", {"sheet": told, "steps": listener.steps, "notes": listener.notes})

    assert ended(together(work)) == [0, 0]
    return [json.loads((folder / f"found-{index}.json").read_text()) for index in range(2)]


@pytest.mark.parametrize("kind", ["brightness", "network"])
def test_two_processes_score_masks_as_one_does(dataset: Dataset, tmp_path: Path, kind: str) -> None:
    method: Method = BRIGHT if kind == "brightness" else Network(network())
    config = ScoringConfig(structure=True, examples=2)
    alone = Listener()
    whole = score(method, dataset, config, alone)
    expected = json.loads(json.dumps({**whole.to_json(), "figures": whole.figures()}))
    found = in_two(method, dataset, config, tmp_path)
    for part in (found[0]["sheet"], found[1]["sheet"]):
        assert part["figures"] == pytest.approx(expected["figures"], abs=1e-6)
        assert part["saliency"]["max_f_of"] == pytest.approx(expected["saliency"]["max_f_of"], abs=1e-6)
        assert part["curve"]["recall"] == pytest.approx(expected["curve"]["recall"], abs=1e-5)
        for name in ("images", "of_images", "refused", "empty_truths", "stopped", "kind", "method"):
            assert part[name] == expected[name], name
        assert part["provenance"]["data"] == expected["provenance"]["data"]
    assert (whole.images, len(whole.refused), whole.empty) == (COUNT - 2, 2, 1)
    assert [example.score for example in whole.best] == pytest.approx([one for _, one in found[0]["sheet"]["best"]], abs=1e-5)
    assert found[0]["sheet"]["pictures"] == found[1]["sheet"]["pictures"]
    assert np.array(found[0]["sheet"]["pictures"][0]).shape == whole.best[0].picture.shape
    assert found[0]["steps"][-1] == [COUNT, COUNT] and len(found[0]["steps"]) == 2
    assert sorted(found[0]["notes"]) == sorted(alone.notes)


@pytest.mark.parametrize("name", ["CUB-200-2011 boxes", "OpenImages"])
def test_two_processes_score_boxes_and_regions_as_one_does(tmp_path: Path, name: str) -> None:
    BUILDERS[name][0](tmp_path)
    found = locate(tmp_path, name)
    whole = score(BRIGHT, found, ScoringConfig())
    for part in in_two(BRIGHT, found, ScoringConfig(), tmp_path):
        assert part["sheet"]["figures"] == pytest.approx(whole.figures(), abs=1e-12)
        assert part["sheet"]["images"] == whole.images


def test_if_the_first_is_asked_to_stop_both_do(dataset: Dataset, tmp_path: Path) -> None:
    for part in in_two(BRIGHT, dataset, ScoringConfig(), tmp_path, stop_after=1):
        assert part["sheet"]["stopped"] and part["sheet"]["images"] + len(part["sheet"]["refused"]) == 64


def test_two_evaluate_as_one_does_and_one_goes_on_where_two_have_stopped(tmp_path: Path) -> None:
    for number in range(COUNT):
        save(tmp_path / f"images/{number:02}.png", np.roll(picture(number), number % 20, 1))
        save(tmp_path / f"masks/{number:02}.png", truth())
    folders = tmp_path / "images", tmp_path / "masks"
    segmenter = network()
    whole = score_segmenter(segmenter, *folders)

    def work(index: int, stop_after: int, folder: Path) -> None:
        processes, _ = join(CPU)
        kept = Kept(folder, 10)
        result = score_segmenter(segmenter, *folders, Listener(stop_after), kept=kept, processes=processes)
        write_json(tmp_path / f"found-{index}.json", result.to_json())

    assert ended(together(lambda index: work(index, 99, tmp_path / "all"))) == [0, 0]
    for index in range(2):
        told = json.loads((tmp_path / f"found-{index}.json").read_text())
        for name in ("max_f", "iou", "accuracy", "mae"):
            assert told[name] == pytest.approx(getattr(whole.scores, name), abs=1e-6)
        assert told["images"] == COUNT and told["provenance"] == json.loads(json.dumps(whole.provenance))
    assert ended(together(lambda index: work(index, 1, tmp_path / "part"))) == [0, 0]
    assert json.loads((tmp_path / "found-0.json").read_text())["images"] == 64
    rest = Listener()
    result = score_segmenter(segmenter, *folders, rest, kept=Kept(tmp_path / "part"))
    assert rest.steps[0] == (65, COUNT)
    assert result.scores.max_f == pytest.approx(whole.scores.max_f, abs=1e-6)
    assert result.provenance["data"] == whole.provenance["data"]


@pytest.mark.parametrize("count", [1, 2, 3, 7])
@pytest.mark.parametrize("items", [0, 1, 31, 64, 65, 200])
def test_shares_are_everything_once_and_rounds_are_the_same_for_all(count: int, items: int) -> None:
    everything = list(range(items))
    parts = [list(shares(everything, Several(index, count, CPU), 8)) for index in range(count)]
    assert len({len(part) for part in parts}) == 1
    rounds = [[item for share in together for item in share] for together in zip(*parts, strict=True)]
    assert [item for done in rounds for item in done] == everything
    assert [item for share in shares(everything, Alone()) for item in share] == everything

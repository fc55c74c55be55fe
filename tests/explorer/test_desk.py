"""What the page does with directions, over a generator whose factors are known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from explorer.desk import compare_directions, fields_of, judged, save_direction, task
from explorer.directions.catalogue import Catalogue, Entry, load_catalogue
from explorer.directions.discovery import DiscoveryConfig
from explorer.engine import Engine, EngineConfig
from explorer.views import MaskView, Workbench
from segmentation.errors import LanternError
from tests.analytic import GROUND, OBJECT, DiscGenerator


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workbench:
    monkeypatch.setenv("LANTERN_RUNS", str(tmp_path / "runs"))
    engine = Engine(DiscGenerator(), EngineConfig(device="cpu"))
    directions = torch.eye(8)
    directions[5] = 0
    directions[5, OBJECT], directions[5, GROUND] = 0.6, -0.8
    entries = tuple(Entry(magnitude=float(index)) for index in range(8))
    return Workbench(engine, Catalogue(directions, entries, "by hand", engine.fingerprint))


def test_a_direction_is_saved_with_its_history_and_a_strip(bench: Workbench, tmp_path: Path) -> None:
    said = {"label": "lamp", "status": "saliency lighting", "sign": -1, "magnitude": 4.5, "notes": "brighter\ndarker"}
    saved = save_direction(bench, None, 5, said)
    folder = tmp_path / "runs" / "catalogues" / "disc-disc-1"
    there = load_catalogue(folder)
    assert fields_of(there, 5) == fields_of(saved, 5) == said and there.lighting == 5
    assert {change.field for change in there.entries[5].history} == {"label", "status", "sign", "magnitude", "notes"}
    strip = folder / there.entries[5].thumbnail
    assert strip.is_file()
    again = save_direction(bench, None, 5, {**said, "magnitude": 2.0})
    assert again.entries[5].thumbnail != there.entries[5].thumbnail and not strip.exists()


def test_what_was_not_touched_stays_as_somebody_else_left_it(bench: Workbench) -> None:
    seen = fields_of(bench.catalogue, 3)
    save_direction(bench, None, 3, {**seen, "label": "fur"}, seen)
    save_direction(bench, None, 3, {**seen, "notes": "soft"}, seen)
    entry = bench.shelf.catalogue().entries[3]
    assert (entry.label, entry.notes) == ("fur", "soft")


def test_two_who_say_different_things_of_the_same_are_told(bench: Workbench) -> None:
    seen = fields_of(bench.catalogue, 3)
    save_direction(bench, None, 3, {**seen, "label": "fur"}, seen)
    with pytest.raises(LanternError, match=r"somebody else changed direction 3 meanwhile: the label is 'fur' now"):
        save_direction(bench, None, 3, {**seen, "label": "grass"}, seen)
    assert bench.shelf.catalogue().entries[3].label == "fur"
    save_direction(bench, None, 3, {**seen, "label": "fur"}, seen)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"magnitude": 99}, "magnitude is 99"),
        ({"status": "good"}, "status is 'good'"),
        ({"label": "x" * 201}, "201 characters"),
    ],
)
def test_bad_words_are_refused_and_nothing_changes(bench: Workbench, fields: dict[str, Any], words: str) -> None:
    with pytest.raises(LanternError, match=words):
        save_direction(bench, None, 3, fields)
    assert fields_of(bench.shelf.catalogue(), 3) == fields_of(bench.catalogue, 3)


def test_a_direction_is_judged_at_a_sign_that_is_not_saved(bench: Workbench) -> None:
    view = MaskView(direction=5, magnitude=6.0, count=4)
    forth, back = judged(bench, view, 1), judged(bench, view, -1)
    assert (forth.images == back.images).all() and (forth.shifted != back.shifted).any()
    # What gets lighter one way gets darker the other, as far as it changes at all.
    assert (forth.raw_mask & back.raw_mask).mean() < 0.01
    assert bench.shelf.catalogue().entries[5].sign == 1


def test_two_directions_are_compared_as_they_are_walked(bench: Workbench) -> None:
    save_direction(bench, None, 5, {"sign": -1})
    found = compare_directions(bench, (None, 5), ("disc", OBJECT), seed=1)
    assert found.cosine == pytest.approx(-0.6, abs=1e-5)
    assert [index for index, _ in found.closest[:3]] == [5, GROUND, OBJECT]
    assert found.strips[0].shape == found.strips[1].shape == (96, 7 * 96, 3)
    assert len(found.shared.matches) == 8
    with pytest.raises(LanternError, match="there is no direction 9"):
        compare_directions(bench, (None, 9), (None, 0), seed=1)


def test_runs_are_commands_about_a_copy_that_may_be_written(bench: Workbench, tmp_path: Path) -> None:
    found, ranked, calibrated = (task(bench, None, what) for what in ("find", "rank", "calibrate"))
    copy = str(tmp_path / "runs" / "catalogues" / "disc-disc-1")
    assert found.arguments[0] == ranked.arguments[0] == "rank" and calibrated.arguments[0] == "calibrate"
    assert found.arguments[-1] == "--choose" and "--choose" not in ranked.arguments
    for one in (found, ranked, calibrated):
        options = dict(zip(one.arguments[1:-1:2], one.arguments[2::2], strict=False))
        assert (options["--directions"], options["--run"], options["--generator"]) == (copy, str(one.folder), "disc")
        assert one.folder.parent == tmp_path / "runs"
    config = DiscoveryConfig(directions_count=6, steps=50, deformator="proj")
    discover = task(bench, None, "discover", config).arguments
    assert discover[0] == "discover" and discover[-6:] == ("--directions-count", "6", "--deformator", "proj", "--steps", "50")
    with pytest.raises(LanternError, match="task is 'dance'"):
        task(bench, None, "dance")

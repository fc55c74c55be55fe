"""The command lines of the page's runs, read back by the command line itself."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import pytest

from explorer import jobs
from explorer.__main__ import check
from explorer.commands import making
from explorer.engine import EngineConfig
from explorer.jobs import Origin
from explorer.views import SampleView
from segmentation.errors import LanternError
from segmentation.filters import FilterConfig
from segmentation.shards import ShardConfig
from segmentation.synthesis import SynthesisConfig
from tests.explorer.test_knobs import parsed

FILTERS = FilterConfig("reference", max_area=0.3)


def test_a_data_set_is_made_of_what_the_page_shows(tmp_path: Path) -> None:
    origin = Origin("mine.py:Mine", tmp_path / "directions", EngineConfig("cpu", "bfloat16", 7))
    config = ShardConfig(count=30, seed=4, synthesis=SynthesisConfig(FILTERS))
    words = jobs.generate_words(origin, SampleView(3, 6.75, 9, 1.5), config, tmp_path / "out")
    check(words)
    given = parsed(making.generate, words[1:])
    assert words[0] == "generate" and given["config"] == config and given["out"] == tmp_path / "out"
    options = given["options"]
    assert (options.generator, options.directions, options.engine) == (origin.generator, origin.directions, origin.engine)
    assert (options.direction, options.magnitude, options.truncation) == (3, 6.75, 1.5)


def test_a_training_is_of_what_the_page_shows(tmp_path: Path) -> None:
    config = dataclasses.replace(jobs.QUICK, synthesis=SynthesisConfig(FILTERS))
    words = jobs.train_words(Origin(), SampleView(0, 5.0), config, tmp_path / "out")
    check(words)
    given = parsed(making.train, words[1:])
    assert given["config"] == config and given["options"].direction == 0 and given["options"].generator == "pocket"
    assert (config.steps, config.batch_size) == (400, 16)


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "-dash", "x" * 65, "name\n", "a b", "é"])
def test_what_is_no_name_for_a_folder_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(LanternError, match="is no name for a run"):
        jobs.folder_for(name, tmp_path)


def test_a_name_that_is_taken_is_refused_and_a_fresh_one_is_not(tmp_path: Path) -> None:
    name = jobs.fresh_name("train", tmp_path)
    folder = jobs.folder_for(name, tmp_path)
    assert folder == tmp_path / name and name.startswith("train-")
    folder.mkdir()
    with pytest.raises(LanternError, match=f"a run called {name} already"):
        jobs.folder_for(name, tmp_path)


def test_two_runs_of_one_second_get_different_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "strftime", lambda words: "20300101-000000")
    names = []
    for _ in range(3):
        names.append(jobs.fresh_name("data", tmp_path))
        (tmp_path / names[-1]).mkdir()
    assert names == ["data-20300101-000000", "data-20300101-000000_2", "data-20300101-000000_3"]

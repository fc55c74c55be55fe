from __future__ import annotations

from pathlib import Path

import pytest
import torch

from explorer.directions.catalogue import POCKET_DIRECTIONS, Catalogue, Entry, catalogue_for, directions_folder
from explorer.generators.registry import REGISTER
from segmentation.errors import LanternError
from tests.analytic import DiscGenerator


def test_names_and_handles_have_their_place_in_the_home_of_weights(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(REGISTER, "disc", DiscGenerator)
    assert directions_folder("pocket") == POCKET_DIRECTIONS
    for name in ("bigbigan", "bigbigan-resnet50", "disc"):
        assert directions_folder(name) == home / name / "directions"
    for handle in ("https://tfhub.dev/deepmind/bigbigan-resnet50/1", "http://host/bigbigan-resnet50?tf-hub-format=compressed"):
        assert directions_folder(handle) == home / "bigbigan-resnet50" / "directions"


@pytest.mark.parametrize("generator", ["a/b/w.pth", "a/b/w.safetensors", "a/b/module", "a/b/mine.py:Mine"])
def test_files_and_folders_have_theirs_beside_them(generator: str) -> None:
    assert directions_folder(generator) == Path("a/b/directions")


def test_a_catalogue_of_a_generator_with_the_same_codes_is_accepted(tmp_path: Path) -> None:
    Catalogue(torch.eye(4), (Entry(),) * 4, "", "abc").save(tmp_path)
    assert catalogue_for("x.pth", tmp_path, "own", "abc").fingerprint == "abc"
    with pytest.raises(LanternError, match="made for the generator abc, not for own"):
        catalogue_for("x.pth", tmp_path, "own", "other")

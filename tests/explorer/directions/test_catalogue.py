from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from explorer.directions.catalogue import Catalogue, Entry, catalogue_for, load_catalogue, load_direction
from segmentation.errors import LanternError


def catalogue(lighting: int | None = 2) -> Catalogue:
    entries = [Entry(label=f"d{i}", sign=-1 if i == 2 else 1, scores={"total": 0.5}) for i in range(4)]
    if lighting is not None:
        entries[lighting] = dataclasses.replace(entries[lighting], status="saliency lighting")
    return Catalogue(torch.eye(4), tuple(entries), "a test", "abc")


def test_a_catalogue_survives_its_folder(tmp_path: Path) -> None:
    catalogue().save(tmp_path)
    loaded = load_catalogue(tmp_path)
    assert torch.equal(loaded.directions, torch.eye(4))
    assert loaded.entries == catalogue().entries
    assert (loaded.source, loaded.fingerprint, loaded.lighting, len(loaded)) == ("a test", "abc", 2, 4)


def test_the_sign_is_part_of_the_direction(tmp_path: Path) -> None:
    catalogue().save(tmp_path)
    assert load_direction(tmp_path).tolist() == [0, 0, -1, 0]
    assert load_direction(tmp_path, 1).tolist() == [0, 1, 0, 0]


def test_without_a_chosen_direction_it_says_so(tmp_path: Path) -> None:
    catalogue(None).save(tmp_path)
    with pytest.raises(LanternError, match="no saliency-lighting direction"):
        load_direction(tmp_path)


@pytest.mark.parametrize("index", [-1, 4, 1000])
def test_there_is_no_direction_outside(index: int) -> None:
    with pytest.raises(LanternError, match=f"no direction {index}"):
        catalogue().direction(index)


def test_directions_must_be_of_unit_length() -> None:
    with pytest.raises(LanternError, match="unit length"):
        Catalogue(torch.eye(2) * 2, (Entry(), Entry()), "", "")


def test_another_generators_catalogue_is_refused(tmp_path: Path) -> None:
    catalogue().save(tmp_path)
    assert catalogue_for("x.safetensors", tmp_path, "abc").lighting == 2
    with pytest.raises(LanternError, match="was made for the generator abc"):
        catalogue_for("x.safetensors", tmp_path, "def")


def test_a_missing_catalogue_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(LanternError, match="python -m explorer directions"):
        catalogue_for(str(tmp_path / "g.safetensors"), None, "abc")


@pytest.mark.parametrize("damage", ["entries", "status", "json", "tensors"])
def test_a_damaged_catalogue_is_refused(tmp_path: Path, damage: str) -> None:
    catalogue().save(tmp_path)
    path = tmp_path / "catalogue.json"
    described = json.loads(path.read_text())
    if damage == "entries":
        del described["entries"]
    elif damage == "status":
        described["entries"][0]["status"] = "wonderful"
    elif damage == "tensors":
        (tmp_path / "directions.safetensors").write_bytes(b"short")
    path.write_text("{" if damage == "json" else json.dumps(described))
    with pytest.raises(LanternError):
        load_catalogue(tmp_path)


def test_another_direction_can_be_chosen_with_sign_and_magnitude() -> None:
    chosen = catalogue().with_lighting(1, sign=-1, magnitude=3.5)
    assert chosen.lighting == 1
    assert [entry.status for entry in chosen.entries].count("saliency lighting") == 1
    assert chosen.direction(1).tolist() == [0, -1, 0, 0]
    assert chosen.entries[1].magnitude == 3.5
    with pytest.raises(LanternError, match="no direction 7"):
        chosen.with_lighting(7)

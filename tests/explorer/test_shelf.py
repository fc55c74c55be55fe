"""The catalogues that the page offers: what is shipped stays as it is, and nobody's words are lost."""

from __future__ import annotations

import dataclasses
import os
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from explorer import shelf as shelf_module
from explorer.directions.catalogue import Catalogue, load_catalogue
from explorer.directions.comparing import CompareConfig
from explorer.directions.exchange import export_zip
from explorer.shelf import Shelf
from segmentation.errors import LanternError
from tests.explorer.directions.catalogues import seeded_catalogue, with_thumbnails

OWN = ("abc", "older")


@pytest.fixture(autouse=True)
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "runs"
    monkeypatch.setenv("LANTERN_RUNS", str(folder))
    return folder


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A shipped catalogue with a strip, beside one of another generator."""
    monkeypatch.setattr(shelf_module, "ASSETS", tmp_path / "assets")
    folder = tmp_path / "assets" / "pocket-directions"
    seeded_catalogue().save(folder)
    with_thumbnails(folder, 1)
    seeded_catalogue(fingerprint="other").save(tmp_path / "assets" / "strange")
    return folder


@pytest.fixture
def shelf(shipped: Path) -> Shelf:
    return Shelf("pocket", OWN, load_catalogue(shipped), shipped, by_default=True)


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_an_edit_of_what_is_shipped_goes_to_a_copy_that_is_read_from_then_on(shelf: Shelf, shipped: Path, runs: Path) -> None:
    before = files(shipped)
    assert shelf.names() == ["pocket-directions"] and shelf.is_plain("pocket-directions")
    shelf.update(None, lambda catalogue: catalogue.edited(3, label="ears"))
    copy = runs / "catalogues" / "pocket-directions-abc"
    assert files(shipped) == before
    assert load_catalogue(copy).entries[3].label == shelf.catalogue().entries[3].label == "ears"
    assert load_catalogue(copy).entries[3].history[0].by == "page"
    assert (copy / load_catalogue(copy).entries[1].thumbnail).read_bytes() == (
        shipped / load_catalogue(shipped).entries[1].thumbnail
    ).read_bytes()
    assert shelf.names() == ["pocket-directions"] and not shelf.is_plain(None)
    again = Shelf("pocket", OWN, load_catalogue(shipped), shipped)
    assert again.catalogue("pocket-directions").entries[3].label == "ears"


def test_a_catalogue_of_the_users_own_is_edited_where_it_lies(tmp_path: Path, runs: Path) -> None:
    folder = tmp_path / "mine"
    seeded_catalogue().save(folder)
    shelf = Shelf("pocket", OWN, load_catalogue(folder), folder)
    shelf.update("mine", lambda catalogue: catalogue.edited(0, notes="here"))
    assert load_catalogue(folder).entries[0].notes == "here" and not runs.exists()


def test_a_folder_that_cannot_be_written_is_copied(tmp_path: Path, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "mine"
    seeded_catalogue().save(folder)
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != folder)
    shelf = Shelf("pocket", OWN, load_catalogue(folder), folder)
    shelf.update("mine", lambda catalogue: catalogue.edited(0, notes="here"))
    assert load_catalogue(runs / "catalogues" / "mine-abc").entries[0].notes == "here"
    assert load_catalogue(folder).entries[0].notes == ""


def test_a_catalogue_in_memory_is_kept_once_it_is_edited(runs: Path) -> None:
    shelf = Shelf("disc", OWN, seeded_catalogue())
    assert shelf.catalogue() is shelf.opened and shelf.place(None).current is None
    shelf.update(None, lambda catalogue: catalogue.edited(0, label="kept"))
    assert (
        load_catalogue(runs / "catalogues" / "disc-abc").entries[0].label == shelf.catalogue("disc").entries[0].label == "kept"
    )


def test_two_who_edit_at_once_lose_nothing_of_each_other(shipped: Path) -> None:
    opened = load_catalogue(shipped)
    shelves = [Shelf("pocket", OWN, opened, shipped) for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda i: shelves[i].update(None, lambda c: c.edited(i, notes=f"by {i}")), range(6)))
    assert [entry.notes for entry in shelves[0].catalogue().entries] == [f"by {i}" for i in range(6)]


def test_what_another_process_writes_is_seen(shelf: Shelf) -> None:
    folder = shelf.writable()
    assert shelf.catalogue().entries[0].label == "label 0"
    catalogue = load_catalogue(folder)
    catalogue.edited(0, label="from elsewhere").save(folder)
    assert shelf.catalogue().entries[0].label == "from elsewhere"


def test_catalogues_of_runs_and_kept_ones_are_offered_if_they_fit(shelf: Shelf, runs: Path) -> None:
    seeded_catalogue(seed=1, fingerprint="older").save(runs / "discover-1" / "directions")
    seeded_catalogue(seed=2, fingerprint="strange").save(runs / "discover-2" / "directions")
    seeded_catalogue(seed=3).save(runs / "catalogues" / "mine")
    (runs / "catalogues" / "broken").mkdir()
    (runs / "catalogues" / "broken" / "catalogue.json").write_text("{")
    shelf.writable()
    assert shelf.names() == ["pocket-directions", "catalogues/mine", "run/discover-1"]
    assert shelf.catalogue("run/discover-1").source == "seed 1"


@pytest.mark.parametrize("name", ["catalogues/broken", "../../assets/pocket-directions", "strange", "/etc"])
def test_a_name_that_is_not_offered_is_refused(shelf: Shelf, name: str) -> None:
    with pytest.raises(LanternError, match=r"the catalogue is|catalogue is '.*Choose"):
        shelf.catalogue(name)


def test_a_zip_is_taken_in_under_a_name_of_its_own(shelf: Shelf, shipped: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    seeded_catalogue(seed=5).save(other)
    with_thumbnails(other, 0)
    export_zip(other, tmp_path / "a.zip")
    assert [shelf.take_in(tmp_path / "a.zip", "fur & ears/..") for _ in range(2)] == [
        "catalogues/fur-ears",
        "catalogues/fur-ears-2",
    ]
    taken = shelf.catalogue("catalogues/fur-ears")
    assert torch.equal(taken.directions, load_catalogue(other).directions)
    folder = shelf.place("catalogues/fur-ears").current
    assert folder is not None and (folder / taken.entries[0].thumbnail).is_file()
    shelf.export("catalogues/fur-ears", tmp_path / "b.zip")
    assert (tmp_path / "b.zip").read_bytes() == (tmp_path / "a.zip").read_bytes()


def test_a_zip_of_another_generator_or_a_hostile_one_leaves_nothing(shelf: Shelf, tmp_path: Path, runs: Path) -> None:
    other = tmp_path / "other"
    seeded_catalogue(fingerprint="strange").save(other)
    export_zip(other, tmp_path / "a.zip")
    with pytest.raises(LanternError, match="made for the generator strange, not for abc"):
        shelf.take_in(tmp_path / "a.zip", "a")
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr("../evil.txt", "x")
    with pytest.raises(LanternError, match="leads out of its folder"):
        shelf.take_in(tmp_path / "evil.zip", "evil")
    assert list((runs / "catalogues").iterdir()) == []


def test_two_catalogues_are_merged_into_a_new_one(shelf: Shelf, runs: Path) -> None:
    first = seeded_catalogue()
    turned = dataclasses.replace(first, directions=torch.cat([first.directions[:2], seeded_catalogue(4, seed=9).directions]))
    turned.save(runs / "catalogues" / "mine")
    name, merged = shelf.merge(["pocket-directions", "catalogues/mine"], "both", CompareConfig())
    assert name == "catalogues/both" and merged.folded == 2 and len(shelf.catalogue(name)) == len(first) + 4
    kept = shelf.place(name).current
    assert kept is not None and (kept / shelf.catalogue(name).entries[1].thumbnail).is_file()


def test_a_folder_of_runs_that_cannot_be_made_is_named(shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("LANTERN_RUNS", str(blocked))
    with pytest.raises(LanternError, match="cannot be written"):
        shelf.update(None, lambda catalogue: catalogue)
    with pytest.raises(LanternError, match="LANTERN_RUNS"):
        shelf.merge(["pocket-directions", "pocket-directions"], "x", CompareConfig())


def test_the_catalogue_that_was_opened_needs_no_look_at_the_others(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(self: Shelf) -> dict[str, object]:
        raise AssertionError("looked at the other folders")

    monkeypatch.setattr(Shelf, "places", refused)
    assert isinstance(shelf.catalogue("pocket-directions"), Catalogue)

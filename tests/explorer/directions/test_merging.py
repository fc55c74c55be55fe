from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from explorer.directions.catalogue import Catalogue, Entry, load_catalogue
from explorer.directions.comparing import CompareConfig
from explorer.directions.history import Change
from explorer.directions.merging import Merged, merge, merge_folders
from explorer.directions.words import MAX_NOTES
from segmentation.errors import LanternError
from tests.explorer.directions.catalogues import seeded_catalogue, with_thumbnails

DATE = "2026-01-31T12:00:00Z"


def one(entry: Entry, turn: int = 1, source: str = "s") -> Catalogue:
    """A catalogue of ``entry`` alone, on the same axis or its opposite."""
    return Catalogue(turn * torch.eye(4)[:1], (entry,), source, "abc")


def said(merged: Merged) -> list[tuple[str, object, object]]:
    return [(conflict.field, conflict.kept, conflict.dropped) for conflict in merged.conflicts]


@settings(max_examples=30)
@given(st.integers(0, 1000), st.floats(0.3, 0.99), st.integers(2, 4))
def test_near_duplicates_are_folded_and_nothing_else(seed: int, threshold: float, parts: int) -> None:
    catalogues = [seeded_catalogue(6, 3, seed + number) for number in range(parts)]
    catalogues = [dataclasses.replace(c, entries=tuple(Entry() for _ in c.entries)) for c in catalogues]
    kept: list[np.ndarray] = []
    for row in torch.cat([catalogue.directions for catalogue in catalogues]).numpy().astype(float):
        row = row / np.linalg.norm(row)
        if all(abs(other @ row) <= threshold for other in kept):
            kept.append(row)
    merged = merge(catalogues, CompareConfig(threshold))
    np.testing.assert_allclose(merged.catalogue.directions.numpy(), np.array(kept), atol=1e-6)
    assert merged.folded == 6 * parts - len(kept) and merged.conflicts == ()


def test_a_catalogue_merged_with_itself_is_itself() -> None:
    catalogue = seeded_catalogue()
    merged = merge([catalogue, catalogue])
    assert merged.conflicts == () and merged.folded == 6
    torch.testing.assert_close(merged.catalogue.directions, catalogue.directions, atol=1e-7, rtol=0)
    for before, after in zip(catalogue.entries, merged.catalogue.entries, strict=True):
        assert dataclasses.replace(after, history=(), source="") == before and after.source == "seed 0"
    assert merged.catalogue.fingerprint == "abc" and merged.catalogue.lighting == 2


def test_each_direction_says_where_it_comes_from() -> None:
    catalogue = merge([seeded_catalogue(3, seed=0), seeded_catalogue(4, seed=1)]).catalogue
    assert [catalogue.source_of(index) for index in range(7)] == ["seed 0"] * 3 + ["seed 1"] * 4
    assert catalogue.source == "seed 0 + seed 1"
    assert [part["source"] for part in catalogue.provenance["merged"]] == ["seed 0", "seed 1"]


def test_labels_are_kept_and_a_second_one_goes_into_the_notes() -> None:
    first, second = Entry(label="ears", notes="one"), Entry(label="fur", notes="two")
    merged = merge([one(first), one(second, source="other")])
    (entry,) = merged.catalogue.entries
    assert (entry.label, entry.notes) == ("ears", "one\ntwo\nalso called: fur")
    assert said(merged) == [("label", "ears", "fur")] and merged.conflicts[0].source == "other"
    (folding,) = entry.history
    assert (folding.field, folding.after) == ("folded in", "other, direction 0, cosine 1.0000")
    alone = merge([one(Entry()), one(second)]).catalogue.entries[0]
    assert (alone.label, alone.notes) == ("fur", "two")


def test_the_one_that_somebody_judged_counts() -> None:
    new = Entry(label="mine", magnitude=2.0, scores={"total": 0.1, "area": 0.2}, history=(Change(DATE, "label", "", "mine"),))
    judged = Entry(status="rejected", sign=-1, magnitude=7.0, scores={"total": 0.9}, thumbnail="a.png")
    for turn in (1, -1):
        merged = merge([one(new, source="first"), one(judged, turn, "second")])
        (entry,) = merged.catalogue.entries
        assert (entry.status, entry.sign, entry.magnitude, entry.scores) == ("rejected", -1, 7.0, {"total": 0.9})
        assert (entry.label, entry.thumbnail, entry.source) == ("mine", "a.png", "second") and not merged.conflicts
        assert merged.catalogue.direction(0).tolist() == [-turn, 0, 0, 0]
        assert [change.field for change in entry.history] == ["label", "folded in"]
        assert entry.history[-1].after == f"first, direction 0, cosine {turn}.0000"


def test_scores_and_thumbnail_of_the_same_shift_fill_in() -> None:
    first = Entry(status="other", sign=1, scores={"total": 0.5})
    turned = Entry(status="other", sign=-1, scores={"total": 0.6, "area": 0.2}, thumbnail="b.png")
    merged = merge([one(first), one(turned, -1)])
    entry = merged.catalogue.entries[0]
    assert (entry.scores, entry.thumbnail, said(merged)) == ({"total": 0.5, "area": 0.2}, "b.png", [])
    apart = merge([one(first), one(turned)])
    entry = apart.catalogue.entries[0]
    assert (entry.scores, entry.thumbnail, said(apart)) == ({"total": 0.5}, "", [("sign", 1, -1)])


def test_two_judgements_that_differ_are_conflicts() -> None:
    first, second = Entry(status="other", magnitude=3.0), Entry(status="rejected", magnitude=4.0)
    merged = merge([one(first), one(second)])
    assert said(merged) == [("status", "other", "rejected"), ("magnitude", 3.0, 4.0)]
    assert merged.catalogue.entries[0].status == "other"


def test_only_the_first_stays_saliency_lighting() -> None:
    merged = merge([seeded_catalogue(seed=0), seeded_catalogue(seed=1)])
    assert merged.catalogue.lighting == 2 and merged.catalogue.entries[8].status == "other"
    assert [entry.status for entry in merged.catalogue.entries].count("saliency lighting") == 1
    assert said(merged) == [("status", "other", "saliency lighting")] and merged.conflicts[0].direction == 8
    assert merged.catalogue.entries[8].history[-1].field == "status"


def test_notes_that_become_too_long_are_a_conflict() -> None:
    merged = merge([one(Entry(notes="a" * (MAX_NOTES - 1))), one(Entry(notes="bb"))])
    assert [field for field, *_ in said(merged)] == ["notes"] and len(merged.catalogue.entries[0].notes) == MAX_NOTES - 1


@pytest.mark.parametrize(
    ("catalogues", "words"),
    [
        ([], "no catalogues to merge"),
        ([seeded_catalogue(), seeded_catalogue(fingerprint="def")], "of different generators"),
        ([seeded_catalogue(fingerprint="")] * 2, "belongs to no generator yet"),
    ],
)
def test_what_cannot_be_merged_says_why(catalogues: list[Catalogue], words: str) -> None:
    with pytest.raises(LanternError, match=words):
        merge(catalogues)


def test_thumbnails_come_along(tmp_path: Path) -> None:
    folders = [tmp_path / "a", tmp_path / "b"]
    contents = {}
    for number, folder in enumerate(folders):
        seeded_catalogue(seed=number).save(folder)
        for entry in with_thumbnails(folder, number, 3 + number).entries:
            if entry.thumbnail:
                contents[number, entry.label] = (folder / entry.thumbnail).read_bytes()
    merge_folders(folders, tmp_path / "out")
    merged = load_catalogue(tmp_path / "out")
    shown = {}
    for index, entry in enumerate(merged.entries):
        if entry.thumbnail:
            shown[index // 6, entry.label] = (tmp_path / "out" / entry.thumbnail).read_bytes()
    assert shown == contents and len(shown) == 4
    with pytest.raises(LanternError, match="there is a catalogue in .* already"):
        merge_folders(folders, folders[0])

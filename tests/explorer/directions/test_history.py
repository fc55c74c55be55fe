from __future__ import annotations

import dataclasses
import json
import re
from datetime import datetime, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from explorer.directions.catalogue import Entry, load_catalogue, update
from explorer.directions.history import MAX_CHANGES, Change, changes, joined
from explorer.directions.words import MAX_LABEL, MAX_NOTES, check_words, plain
from segmentation.errors import LanternError
from tests.explorer.directions.catalogues import seeded_catalogue

TIME = "2026-01-31T12:00:00Z"
REFUSED = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028-\u202e\u2066-\u2069]")


def test_what_changed_is_kept_with_when_and_what_before_and_after(tmp_path: Path) -> None:
    seeded_catalogue().save(tmp_path)
    start = datetime.now(timezone.utc).replace(microsecond=0)
    update(tmp_path, lambda catalogue: catalogue.edited(1, label="ears", sign=-1, magnitude=2.5), "choose")
    update(tmp_path, lambda catalogue: catalogue.edited(1, label="ears", notes="two\nlines"), "page")
    update(tmp_path, lambda catalogue: catalogue.with_lighting(1))
    entries = load_catalogue(tmp_path).entries
    told = [(change.field, change.before, change.after, change.by) for change in entries[1].history]
    assert told == [
        ("label", "label 1", "ears", "choose"),
        ("sign", 1, -1, "choose"),
        ("magnitude", 5.0, 2.5, "choose"),
        ("notes", "", "two\nlines", "page"),
        ("status", "new", "saliency lighting", ""),
    ]
    assert [(change.field, change.after) for change in entries[2].history] == [("status", "other")]
    assert all(not entry.history for index, entry in enumerate(entries) if index not in (1, 2))
    for change in entries[1].history:
        assert start <= datetime.fromisoformat(change.time.replace("Z", "+00:00")) <= datetime.now(timezone.utc)
    written = json.loads((tmp_path / "catalogue.json").read_text())["entries"][1]["history"]
    assert {name for change in written for name in change} == {"time", "field", "before", "after", "by"}


def test_a_history_keeps_its_latest_changes(tmp_path: Path) -> None:
    seeded_catalogue().save(tmp_path)
    past = tuple(Change(TIME, "notes", str(number), str(number + 1)) for number in range(MAX_CHANGES))
    seeded_catalogue().edited(0, history=past).save(tmp_path)
    history = update(tmp_path, lambda catalogue: catalogue.edited(0, label="last")).entries[0].history
    assert len(history) == MAX_CHANGES and history[:-1] == past[1:] and history[-1].after == "last"


def test_histories_are_joined_in_time_without_doubles() -> None:
    early, late = Change(TIME, "label", "", "a"), Change("2026-02-01T00:00:00Z", "label", "a", "b")
    assert joined([late], [early, late]) == (early, late)


def test_scores_and_thumbnails_are_not_followed() -> None:
    entry = Entry(label="a")
    other = dataclasses.replace(entry, scores={"total": 1.0}, thumbnail="a.png", source="b")
    assert changes(entry, other) == () and len(changes(entry, dataclasses.replace(other, label="b"))) == 1


@pytest.mark.parametrize(
    "values",
    [
        {"time": "2026-01-31 12:00", "field": "label"},
        {"time": "2026-02-31T12:00:00Z", "field": "label"},
        {"time": 5, "field": "label"},
        {"time": TIME, "field": "l\x1b[2J"},
        {"time": TIME, "field": 5},
        {"time": TIME},
        {"time": TIME, "field": "label", "who": "somebody"},
        {"time": TIME, "field": "label", "after": ["a"]},
        {"time": TIME, "field": "label", "after": True},
        {"time": TIME, "field": "label", "before": "x" * (MAX_NOTES + 1)},
        "label",
    ],
)
def test_a_change_that_is_none_is_refused(values: object) -> None:
    with pytest.raises(LanternError):
        Change.from_json(values)
    with pytest.raises(LanternError):
        Entry.from_json({"history": [values]})


@given(st.text(max_size=30))
def test_control_characters_are_refused_and_shown_as_spaces(text: str) -> None:
    refused = REFUSED.search(text) is not None
    if refused:
        with pytest.raises(LanternError, match="control character"):
            check_words("the label", text, 100)
    else:
        check_words("the label", text, 100)
    assert plain(text) == REFUSED.sub(" ", text)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"label": "a\x1b[31m"}, r"label of direction 4 holds the control character '\\x1b'"),
        ({"label": "two\nlines"}, "label of direction 4 holds the control character"),
        ({"label": "\u202eevil"}, "label of direction 4 holds the control character"),
        ({"label": "\ud800"}, "label of direction 4 holds the control character"),
        ({"notes": "bell\x07"}, "notes on direction 4 holds the control character"),
        ({"label": "x" * (MAX_LABEL + 1)}, "label of direction 4 has 201 characters"),
        ({"notes": "x" * (MAX_NOTES + 1)}, "notes on direction 4 has 10,001 characters"),
        ({"label": 5}, "no text"),
        ({"status": "wonderful"}, "status is 'wonderful'"),
        ({"sign": 0}, "sign is 0"),
        ({"magnitude": 21}, "magnitude is 21"),
        ({"magnitude": float("nan")}, "magnitude is nan"),
        ({"scores": {"total": "high"}}, "scores is"),
        ({"thumbnail": "../a.png"}, "thumbnail is"),
        ({"thumbnail": "a.svg"}, "thumbnail is"),
    ],
)
def test_what_an_entry_cannot_hold_is_refused(tmp_path: Path, fields: dict[str, object], words: str) -> None:
    seeded_catalogue().save(tmp_path)
    before = (tmp_path / "catalogue.json").read_bytes()
    with pytest.raises(LanternError, match=words):
        update(tmp_path, lambda catalogue: catalogue.edited(4, **fields))
    assert (tmp_path / "catalogue.json").read_bytes() == before


def test_the_longest_words_are_kept(tmp_path: Path) -> None:
    seeded_catalogue().save(tmp_path)
    words = {"label": "ü" * MAX_LABEL, "notes": "\t\n" * (MAX_NOTES // 2)}
    update(tmp_path, lambda catalogue: catalogue.edited(4, **words))
    entry = load_catalogue(tmp_path).entries[4]
    assert (entry.label, entry.notes) == (words["label"], words["notes"])


def test_a_label_of_before_there_was_a_limit_can_be_read_and_put_right(tmp_path: Path) -> None:
    seeded_catalogue().save(tmp_path)
    text = (tmp_path / "catalogue.json").read_text().replace("label 4", "x" * 300)
    (tmp_path / "catalogue.json").write_text(text)
    assert len(load_catalogue(tmp_path).entries[4].label) == 300
    with pytest.raises(LanternError, match="label of direction 4 has 300 characters"):
        update(tmp_path, lambda catalogue: catalogue.edited(1, label="another"))
    assert update(tmp_path, lambda catalogue: catalogue.edited(4, label="short")).entries[4].label == "short"


def test_the_label_that_comes_with_being_chosen_goes_with_it() -> None:
    catalogue = seeded_catalogue().edited(5, label="").edited(5, status="saliency lighting")
    assert (catalogue.lighting, catalogue.entries[5].label) == (5, "saliency lighting")
    assert [entry.status for entry in catalogue.entries].count("saliency lighting") == 1
    rejected = catalogue.edited(5, status="rejected")
    assert (rejected.lighting, rejected.entries[5].label) == (None, "")
    assert catalogue.edited(5, status="other", label="kept").entries[5].label == "kept"

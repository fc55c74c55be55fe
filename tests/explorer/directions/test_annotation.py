from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from explorer.directions.annotation import annotated_share, annotation_text, lighting_labels, parse_annotation, with_labels
from explorer.directions.catalogue import Catalogue, Entry
from segmentation.errors import LanternError

WORDS = st.text(st.sampled_from("abcxyzäß,.-()9 "), min_size=1).map(lambda text: " ".join(text.split())).filter(bool)


def catalogue(*labels: str) -> Catalogue:
    return Catalogue(torch.eye(len(labels)), tuple(Entry(label=label) for label in labels), "", "")


@given(st.dictionaries(st.integers(0, 7), WORDS, min_size=1))
def test_labels_survive_their_text(labels: dict[int, str]) -> None:
    labelled = with_labels(catalogue(*[""] * 8), labels)
    assert parse_annotation(annotation_text(labelled), "x", 8) == labels
    assert annotated_share(annotation_text(labelled)) == 1


@given(st.lists(st.text(st.characters(exclude_categories=("C", "Z"))), max_size=5), st.integers(1, 9))
def test_any_text_is_labels_or_refused(lines: list[str], count: int) -> None:
    try:
        labels = parse_annotation("\n".join(lines), "x", count)
    except LanternError:
        return
    assert labels and all(0 <= index < count and label.strip() for index, label in labels.items())


def test_labels_replace_only_their_own() -> None:
    labelled = with_labels(catalogue("a", "b", "c"), {1: "new"})
    assert [entry.label for entry in labelled.entries] == ["a", "new", "c"]
    assert {entry.status for entry in labelled.entries} == {"new"}


@pytest.mark.parametrize(
    ("label", "speaks"),
    [
        ("background removal", True),
        ("Lighting", True),
        ("bg", True),
        ("lightning bolt", False),
        ("flight", False),
        ("ears", False),
        ("saliency", True),
    ],
)
def test_labels_that_speak_of_lighting(label: str, speaks: bool) -> None:
    assert lighting_labels(catalogue("x", label)) == ([f"1 {label}"] if speaks else [])

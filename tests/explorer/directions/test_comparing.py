from __future__ import annotations

import dataclasses
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from explorer.directions.catalogue import Catalogue, Entry
from explorer.directions.comparing import CompareConfig, compare, cosines
from segmentation.errors import LanternError
from tests.explorer.directions.catalogues import seeded_catalogue


def test_cosines_are_those_of_the_directions_without_signs() -> None:
    first, second = seeded_catalogue(4, 7, 0), seeded_catalogue(6, 7, 1)
    a, b = first.directions.numpy().astype(float), second.directions.numpy().astype(float)
    expected = [[x @ y / (np.linalg.norm(x) * np.linalg.norm(y)) for y in b] for x in a]
    np.testing.assert_allclose(cosines(first, second).numpy(), expected, atol=1e-12)
    found = compare(first, second)
    for index, row in enumerate(expected):
        best = max(range(6), key=lambda j: abs(row[j]))
        assert found.best(index)[0] == best and found.best(index)[1] == pytest.approx(row[best])


@settings(max_examples=30)
@given(st.permutations(range(7)), st.lists(st.sampled_from([1, -1]), min_size=7, max_size=7), st.integers(0, 99))
def test_shuffled_and_turned_directions_find_each_other(order: list[int], turns: list[int], seed: int) -> None:
    first = seeded_catalogue(7, 9, seed)
    entries = tuple(dataclasses.replace(first.entries[i], sign=first.entries[i].sign * turns[i]) for i in order)
    shuffled = torch.stack([turns[i] * first.directions[i] for i in order])
    found = compare(first, dataclasses.replace(first, directions=shuffled, entries=entries))
    assert {match.first: match.second for match in found.matches} == {i: order.index(i) for i in range(7)}
    assert all(match.cosine == pytest.approx(turns[match.first]) for match in found.matches)
    # Turned with its sign, each is walked as before: nothing is told differently.
    assert [match.changes for match in found.matches] == [()] * 7
    assert found.only_first == found.only_second == ()


def test_what_is_told_differently_is_listed() -> None:
    first = seeded_catalogue()
    second = first.with_lighting(4, sign=-1).edited(1, label="ears", notes="long").edited(5, sign=-1, status="rejected")
    changed = {match.first: match.changes for match in compare(first, second).matches if match.changes}
    told = {index: [(c.field, c.before, c.after) for c in changes] for index, changes in changed.items()}
    assert told == {
        1: [("label", "label 1", "ears"), ("notes", "", "long")],
        2: [("status", "saliency lighting", "other")],
        4: [("status", "new", "saliency lighting"), ("sign", 1, -1)],
        5: [("status", "new", "rejected"), ("sign", 1, -1)],
    }


def test_equal_directions_match_at_their_own_places() -> None:
    twice = seeded_catalogue(3).directions.repeat(2, 1)
    catalogue = Catalogue(twice, (Entry(),) * 6, "", "abc")
    assert [(match.first, match.second) for match in compare(catalogue, catalogue).matches] == [(i, i) for i in range(6)]


@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.8])
def test_pairs_are_one_to_one_and_the_closest_go_first(threshold: float) -> None:
    first, second = seeded_catalogue(8, 4, 2), seeded_catalogue(6, 4, 3)
    matrix = abs(first.directions.double() @ second.directions.double().T)
    free = list(product(range(8), range(6)))
    expected = set()
    while close := [pair for pair in free if matrix[pair] > threshold]:
        i, j = max(close, key=lambda pair: float(matrix[pair]))
        expected.add((i, j))
        free = [pair for pair in free if pair[0] != i and pair[1] != j]
    found = compare(first, second, CompareConfig(threshold))
    assert {(match.first, match.second) for match in found.matches} == expected
    assert set(found.only_first) == set(range(8)) - {i for i, _ in expected}
    assert set(found.only_second) == set(range(6)) - {j for _, j in expected}


@pytest.mark.parametrize(
    ("second", "words"),
    [
        (seeded_catalogue(fingerprint="def"), r"of different generators \(abc, def\)"),
        (seeded_catalogue(fingerprint=""), "belongs to no generator yet"),
        (seeded_catalogue(latent_dim=9), "directions of 8 and 9 numbers"),
    ],
)
def test_directions_of_another_generator_cannot_be_compared(second: Catalogue, words: str) -> None:
    with pytest.raises(LanternError, match=words):
        compare(seeded_catalogue(), second)


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan"), "high"])
def test_a_threshold_is_between_0_and_1(threshold: float) -> None:
    with pytest.raises(LanternError, match="threshold is"):
        CompareConfig(threshold)

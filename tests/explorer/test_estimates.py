from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from explorer.estimates import duration, estimate, interval
from segmentation.errors import LanternError


@given(st.integers(1, 2000), st.data())
def test_the_interval_is_wilsons(made: int, data: st.DataObject) -> None:
    kept = data.draw(st.integers(0, made))
    expected = binomtest(kept, made).proportion_ci(0.95, method="wilson")
    assert interval(kept, made) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_a_run_takes_as_many_pairs_as_the_rate_asks_for() -> None:
    found = estimate(kept=6, made=24, wanted=1000, seconds_per_pair=0.01)
    assert found.rate == 0.25 and found.candidates == 4000 and found.seconds == pytest.approx(40)
    assert found.low < 0.25 < found.high
    assert estimate(7, 24, 1000, 0.01).candidates == 3429


def test_where_nothing_is_kept_a_run_never_ends() -> None:
    found = estimate(0, 24, 1000, 0.01)
    assert found.candidates is None and found.seconds is None and found.low < 1e-9 < found.high


@pytest.mark.parametrize("wanted", [0, -3, 2_000_000_000])
def test_a_wrong_number_of_samples_is_named(wanted: int) -> None:
    with pytest.raises(LanternError, match=f"samples wanted is {wanted}"):
        estimate(1, 2, wanted, 0.01)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "less than a second"),
        (40.4, "40 s"),
        (119, "119 s"),
        (120, "2 min"),
        (3600 * 1.5, "90 min"),
        (3600 * 3.5, "3.5 h"),
        (3600 * 30, "30 h"),
        (86400 * 2.5, "2.5 days"),
    ],
)
def test_durations_are_as_coarse_as_one_says_them(seconds: float, words: str) -> None:
    assert duration(seconds) == words

"""Knobs of configurations, against dataclasses written out here and against the command line itself."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import pytest
import tyro

from explorer.commands import making
from explorer.knobs import changed, field_words, knobs, options
from segmentation.configuration import Config, check_range
from segmentation.errors import LanternError
from segmentation.filters import FilterConfig
from segmentation.training import TrainingConfig


@dataclasses.dataclass(frozen=True)
class Inner(Config):
    """A part."""

    many_words: tuple[str, ...] = ()
    """Some words,
    on two lines."""
    on: bool = True
    """Whether."""


@dataclasses.dataclass(frozen=True)
class Outer(Config):
    """A whole."""

    count: int = 3
    """How many."""
    share: float | None = None
    """How much; None: all."""
    name: str = "a"
    """What it is called."""
    inner: Inner = Inner()
    """The part."""

    def __post_init__(self) -> None:
        check_range("count", self.count, 1, 2**62)


def test_every_field_is_a_knob_with_its_default_type_and_words() -> None:
    found = {knob.name: (knob.default, knob.kind, knob.optional, knob.words) for knob in knobs(Outer())}
    assert found == {
        "count": (3, int, False, "How many."),
        "share": (None, float, True, "How much; None: all."),
        "name": ("a", str, False, "What it is called."),
        "inner.many-words": ((), tuple, False, "Some words, on two lines."),
        "inner.on": (True, bool, False, "Whether."),
    }
    assert [knob.name for knob in knobs(Outer(), without=("inner", "count"))] == ["share", "name"]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"count": 5.0}, Outer(count=5)),
        ({"count": "7"}, Outer(count=7)),
        ({"count": 2**60 + 1}, Outer(count=2**60 + 1)),
        ({"share": ""}, Outer()),
        ({"share": "0.5"}, Outer(share=0.5)),
        ({"share": None}, Outer()),
        ({"inner.on": False, "inner.many-words": " x  y"}, Outer(inner=Inner(("x", "y"), False))),
        ({"name": ""}, Outer(name="")),
    ],
)
def test_values_of_a_form_become_those_of_the_configuration(values: dict[str, Any], expected: Outer) -> None:
    assert changed(Outer(), values) == expected


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"count": 2.5}, "count is '2.5'. Give a whole number"),
        ({"count": "many"}, "count is 'many'. Give a whole number"),
        ({"count": None}, "count is empty. Its default is 3"),
        ({"count": True}, "count is 'True'"),
        ({"count": 0}, "count is 0"),
        ({"share": "x"}, "share is 'x'. Give a number"),
        ({"inner.on": 1}, "inner.on is '1'. Give true or false"),
        ({"colour": 1}, "no setting 'colour'. Known: count, share"),
    ],
)
def test_wrong_values_are_named(values: dict[str, Any], words: str) -> None:
    with pytest.raises(LanternError, match=words):
        changed(Outer(), values)


def test_only_what_differs_is_said_on_the_command_line() -> None:
    assert options(Outer()) == []
    assert options(Outer(4, 0.5, "b", Inner(("x", "y"), False))) == [
        *("--count", "4", "--share", "0.5", "--name", "b", "--inner.many-words", "x", "y", "--inner.no-on")
    ]


def parsed(command: Any, words: list[str]) -> dict[str, Any]:
    """What the command line makes of ``words`` for ``command``, which is not carried out."""
    given: dict[str, Any] = {}

    @functools.wraps(command)
    def instead(**named: Any) -> None:
        given.update(named)

    tyro.cli(instead, args=words)
    return given


def test_the_command_line_reads_back_the_very_configuration() -> None:
    filters = FilterConfig("reference", size=False, max_area=0.31, min_component=0.1, histogram_bins=20, histogram_window=5)
    wanted = changed(
        TrainingConfig(),
        {
            "steps": 77,
            "decay-at": 12,
            "learning-rate": 0.0003,
            "unet.width": 9,
            "precision": "bfloat16",
            "synthesis.candidates": 7,
        },
    )
    wanted = dataclasses.replace(wanted, synthesis=dataclasses.replace(wanted.synthesis, filters=filters))
    assert parsed(making.train, [*options(wanted), "--out", "x"])["config"] == wanted


def test_every_knob_of_a_training_says_what_it_is_for() -> None:
    assert [knob.name for knob in knobs(TrainingConfig()) if not knob.words] == []
    assert field_words(FilterConfig)["max_area"].startswith("Largest share of foreground")

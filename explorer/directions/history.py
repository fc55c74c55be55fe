"""What was changed in a catalogue, and when. No person is named: the program does not know who sits before it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from datetime import datetime, timezone
from typing import Any

from explorer.directions.words import MAX_NOTES, check_words
from segmentation.configuration import Config
from segmentation.errors import require

MAX_CHANGES = 100
"""Changes that are kept of one direction; the oldest go."""
FOLLOWED = ("label", "notes", "status", "sign", "magnitude")
"""The fields whose changes are kept. Scores and thumbnails can be made again, and are not."""
_TIME = "%Y-%m-%dT%H:%M:%SZ"
_NAME = 80


@dataclasses.dataclass(frozen=True)
class Change(Config):
    """One field of one direction took another value."""

    time: str
    """When, in UTC: 2026-01-31T12:00:00Z."""
    field: str
    """Which field, or what else happened to the direction."""
    before: str | float = ""
    """The value that it had."""
    after: str | float = ""
    """The value that it has since."""
    by: str = ""
    """What changed it: a command, or the page."""

    def __post_init__(self) -> None:
        check_words("the field of a change", self.field, _NAME)
        check_words("what made a change", self.by, _NAME)
        for value in (self.before, self.after):
            if isinstance(value, bool) or not isinstance(value, int | float):
                check_words(f"the {self.field} in a change", value, MAX_NOTES, lines=True)
        require(_is_time(self.time), f"the time of a change is {self.time!r}", "Give UTC as 2026-01-31T12:00:00Z.")


def _is_time(text: Any) -> bool:
    try:
        return datetime.strptime(text, _TIME).strftime(_TIME) == text
    except (TypeError, ValueError):
        return False


def now() -> str:
    """The time, in UTC, as a :class:`Change` has it."""
    return datetime.now(timezone.utc).strftime(_TIME)


def changes(before: Any, after: Any, by: str = "") -> tuple[Change, ...]:
    """What differs between two states of an entry, field by field, now."""
    time = now()
    values = ((name, getattr(before, name), getattr(after, name)) for name in FOLLOWED)
    return tuple(Change(time, name, old, new, by) for name, old, new in values if old != new)


def joined(*histories: Iterable[Change]) -> tuple[Change, ...]:
    """Several histories as one: in the order of time, each change once, the latest :data:`MAX_CHANGES` of them."""
    once = dict.fromkeys(change for history in histories for change in history)
    return tuple(sorted(once, key=lambda change: change.time))[-MAX_CHANGES:]

"""Words of a person in a catalogue: how long they may be, and that they hold nothing that moves a terminal's cursor."""

from __future__ import annotations

import unicodedata
from typing import Any

from segmentation.errors import require

MAX_LABEL = 200
"""Characters of a label."""
MAX_NOTES = 10_000
"""Characters of the notes on a direction."""
MAX_SOURCE = 1000
"""Characters of what found a direction."""
_LINES = "\n\t"
# Marks that turn the order of the text around them, so that a line shows something else than it holds.
_TURNS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
_UNSEEN = ("Cc", "Cs", "Zl", "Zp")


def _unseen(character: str) -> bool:
    return unicodedata.category(character) in _UNSEEN or character in _TURNS


def check_words(name: str, text: Any, limit: int, lines: bool = False) -> None:
    """Refuse ``text`` that is none, is longer than ``limit`` characters or holds control characters.

    With ``lines``, line feeds and tabs are allowed. ``name`` is what errors call the text.
    """
    require(isinstance(text, str), f"{name} is {text!r}", "Give text.")
    require(len(text) <= limit, f"{name} has {len(text):,} characters", f"Give at most {limit:,}.")
    found = next((character for character in text if _unseen(character) and not (lines and character in _LINES)), "")
    require(not found, f"{name} holds the control character {found!r}", "Leave it out.")


def plain(text: str) -> str:
    """``text`` in one line, with a space for everything that :func:`check_words` refuses."""
    return "".join(" " if _unseen(character) else character for character in text)

"""What a person is writing about directions: kept for each direction, saved or not, and held against what is saved."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import gradio as gr

from explorer.desk import EDITED, fields_of
from explorer.directions.catalogue import Catalogue
from explorer.ui.directions_facts import facts
from explorer.ui.guard import guarded, whole
from explorer.ui.render import plain
from explorer.views import Workbench
from segmentation.errors import require

FORWARDS, BACKWARDS = "as found", "reversed"
LABELS = {"label": "Label", "status": "Status", "sign": "Sign", "magnitude": "Magnitude", "notes": "Notes"}
"""What the form calls the fields of :data:`explorer.desk.EDITED`."""
_SHOWN = 60
"""Letters of what is saved, in a line about what is not."""
_STAY = "They stay in this page until it is closed or loaded anew."


@dataclasses.dataclass(frozen=True)
class Filled:
    """What the form was last filled with, and what was written of other directions meanwhile; JSON in the browser, so that it
    is never of another moment than the form.
    """

    catalogue: str | None = None
    direction: int = -1
    fields: dict[str, Any] = dataclasses.field(default_factory=dict)
    """By the names of :data:`explorer.desk.EDITED`, as the form shows them: what is saved."""
    drafts: list[list[Any]] = dataclasses.field(default_factory=list)
    """Catalogue, direction, and the fields of it that are written and not saved."""

    @classmethod
    def read(cls, text: str | None) -> Filled:
        """What :meth:`text` gave; of an empty form where there is none."""
        return cls(**json.loads(text)) if text else cls()

    def text(self) -> str:
        """As JSON."""
        return json.dumps(dataclasses.asdict(self))

    def of(self, catalogue: str, direction: int) -> dict[str, Any]:
        """What is written of a direction and not saved."""
        return next((dict(fields) for *place, fields in self.drafts if place == [catalogue, direction]), {})

    def without(self, catalogue: str | None, direction: int) -> list[list[Any]]:
        """The drafts of other directions."""
        return [draft for draft in self.drafts if draft[:2] != [catalogue, direction]]


def way(sign: int) -> str:
    """A sign in words."""
    return FORWARDS if sign > 0 else BACKWARDS


def sign_of(words: Any) -> int:
    """The sign that :func:`way` put into words; :class:`LanternError` if these are others."""
    require(words in (FORWARDS, BACKWARDS), f"the sign is {words!r}", f"Choose {FORWARDS!r} or {BACKWARDS!r}.")
    return 1 if words == FORWARDS else -1


def fill(bench: Workbench) -> Any:
    """The callback that fills the form with a direction: what is saved of it, and over that what is written and not saved."""

    @guarded
    def fill(catalogue: str, direction: float, *form: Any) -> tuple[Any, ...]:
        """The fields, what is known of the direction, what its writer saw, what the form is filled with, what is not saved."""
        known, index, (*written, text) = bench.shelf.catalogue(catalogue), whole("direction", direction), form
        before = Filled.read(text)
        stays = (before.catalogue, before.direction) == (catalogue, index)
        shown = _in_words(fields_of(known, index))
        after = dataclasses.replace(before, drafts=_not_saved(_drafts(before, written), catalogue, known))
        draft = after.of(catalogue, index)
        # What is being written is held against what its writer saw, so that a save does not undo what others saved meanwhile;
        # who comes back to it is told what is saved by now.
        base = {**shown, **{name: before.fields[name] for name in draft}} if stays else shown
        told = (gr.skip() if stays and name in draft else draft.get(name, shown[name]) for name in EDITED)
        after = dataclasses.replace(after, catalogue=catalogue, direction=index, fields=base)
        seen = {**base, "sign": sign_of(base["sign"])}
        return *told, facts(known, index), seen, after.text(), unsaved(after, shown)

    return fill


def drop(bench: Workbench) -> Any:
    """The callback that drops what is written and not saved of a direction, and fills the form with what is saved."""
    filling = fill(bench)

    @guarded
    def drop(catalogue: str, direction: float, text: str) -> tuple[Any, ...]:
        """As :func:`fill`, and forgets what is written of this direction."""
        before = Filled.read(text)
        kept = before.without(catalogue, whole("direction", direction))
        empty = dataclasses.replace(before, catalogue=None, direction=-1, fields={}, drafts=kept)
        filled: tuple[Any, ...] = filling(catalogue, direction, *(None for _ in EDITED), empty.text())
        return filled

    return drop


def unsaved(filled: Filled, saved: dict[str, Any]) -> str:
    """Markdown: what is written and not saved, of this direction with what is ``saved``, and of others; "" if nothing is."""
    own = filled.of(filled.catalogue or "", filled.direction)
    said = [f"{LABELS[name]} (saved is {_quoted(saved[name])})" for name in EDITED if name in own]
    lines = [f"Not saved yet: {', '.join(said)}."] if said else []
    others = [
        f"{index}{'' if catalogue == filled.catalogue else f' of {plain(catalogue)}'}"
        f" ({', '.join(LABELS[name] for name in EDITED if name in fields)})"
        for catalogue, index, fields in filled.without(filled.catalogue, filled.direction)
    ]
    if others:
        lines.append(f"Not saved of other directions: {', '.join(others)}. {_STAY}")
    return "\n\n".join(lines)


def _quoted(value: Any) -> str:
    text = " ".join(str(value).split())
    return f"“{plain(text if len(text) <= _SHOWN else f'{text[:_SHOWN]}…')}”" if text else "empty"


def _drafts(before: Filled, written: list[Any]) -> list[list[Any]]:
    """The drafts, with what is in the form and was not filled in, spaces around words aside."""
    pairs = zip(before.fields, written, strict=True) if before.fields else ()
    own = {name: value for name, value in pairs if _stripped(value) != _stripped(before.fields[name])}
    others = before.without(before.catalogue, before.direction)
    return [*others, [before.catalogue, before.direction, own]] if own else others


def _not_saved(drafts: list[list[Any]], name: str, known: Catalogue) -> list[list[Any]]:
    """``drafts`` without what is saved by now in the catalogue ``known``, called ``name``."""
    left: list[list[Any]] = []
    for catalogue, index, fields in drafts:
        if catalogue == name and index < len(known):
            saved = _in_words(fields_of(known, index))
            fields = {field: value for field, value in fields.items() if _stripped(value) != _stripped(saved[field])}
        left += [[catalogue, index, fields]] if fields else []
    return left


def _stripped(value: Any) -> Any:
    return value.strip() if isinstance(value, str) else value


def _in_words(values: dict[str, Any]) -> dict[str, Any]:
    return {**values, "sign": way(values["sign"])}

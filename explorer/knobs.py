"""The fields of a configuration as knobs: name, default, words and type, read from the dataclass, so that all is said once."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import itertools
import textwrap
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from segmentation.configuration import Config
from segmentation.errors import LanternError

ConfigT = TypeVar("ConfigT", bound=Config)


@dataclasses.dataclass(frozen=True)
class Knob:
    """One field of a configuration, or of one inside it."""

    path: tuple[str, ...]
    """The names that lead to it: ("unet", "width")."""
    default: Any
    """Its default."""
    kind: type
    """bool, int, float, str or tuple."""
    optional: bool
    """Whether None is a value."""
    words: str
    """Its docstring."""

    @property
    def name(self) -> str:
        """As on the command line, without the dashes: ``unet.width``."""
        return ".".join(part.replace("_", "-") for part in self.path)


def knobs(config: Config, without: Sequence[str] = ()) -> list[Knob]:
    """The knobs of ``config``, whose values are the defaults, in the order of the fields; not those below ``without``."""
    return [
        knob
        for knob in _knobs(config, ())
        if not any(knob.name == name or knob.name.startswith(f"{name}.") for name in without)
    ]


def _knobs(config: Config, above: tuple[str, ...]) -> list[Knob]:
    found: list[Knob] = []
    kind: type[Any] = type(config)
    words, hints = field_words(kind), typing.get_type_hints(kind)
    for field in dataclasses.fields(config):
        value, path = getattr(config, field.name), (*above, field.name)
        if isinstance(value, Config):
            found += _knobs(value, path)
            continue
        plain, optional = _kind(hints[field.name])
        found.append(Knob(path, value, plain, optional, words.get(field.name, "")))
    return found


def _kind(hint: Any) -> tuple[type, bool]:
    """The plain type of an annotation, and whether None is allowed beside it."""
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        others = [part for part in typing.get_args(hint) if part is not type(None)]
        return _kind(others[0])[0], len(others) < len(typing.get_args(hint))
    origin = typing.get_origin(hint) or hint
    return (origin if origin in (bool, int, float, str, tuple) else str), False


def field_words(kind: type[Any]) -> dict[str, str]:
    """The docstring under each field of the dataclass ``kind``, and of those it stands on, in one line each."""
    found: dict[str, str] = {}
    for one in reversed(kind.__mro__):
        if not dataclasses.is_dataclass(one):
            continue
        [definition] = ast.parse(textwrap.dedent(inspect.getsource(one))).body
        body = typing.cast(ast.ClassDef, definition).body
        for field, words in itertools.pairwise(body):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(words, ast.Expr):
                said = ast.literal_eval(words.value) if isinstance(words.value, ast.Constant) else ""
                found[field.target.id] = " ".join(str(said).split())
    return found


def changed(config: ConfigT, values: Mapping[str, Any]) -> ConfigT:
    """``config`` with the knobs named in ``values`` set; what comes from a form is turned into the knob's type.

    Errors: :class:`LanternError` names the knob whose value is of the wrong kind, is out of range, or is not there.
    """
    known = {knob.name: knob for knob in knobs(config)}
    tree = config.to_json()
    for name, value in values.items():
        if name not in known:
            raise LanternError(f"there is no setting {name!r}", f"Known: {', '.join(known)}.")
        inner = tree
        for part in known[name].path[:-1]:
            inner = inner[part]
        inner[known[name].path[-1]] = read(known[name], value)
    return type(config).from_json(tree)


def read(knob: Knob, value: Any) -> Any:
    """``value`` of a form, text or number, as ``knob`` wants it; :class:`LanternError` names the knob if it cannot be."""
    if isinstance(value, str):
        value = value.strip()
    if value is None or value == "":
        if knob.optional:
            return None
        if knob.kind is not str and knob.kind is not tuple:
            raise LanternError(f"{knob.name} is empty", f"Its default is {knob.default}.")
    try:
        return _as(knob.kind, value)
    except (TypeError, ValueError) as error:
        wanted = {int: "a whole number", float: "a number", bool: "true or false"}.get(knob.kind, "words")
        raise LanternError(f"{knob.name} is {str(value)[:40]!r}", f"Give {wanted}.") from error


def _as(kind: type, value: Any) -> Any:
    if kind is tuple:
        return tuple(value.split()) if isinstance(value, str) else tuple(value or ())
    if kind is bool:
        if not isinstance(value, bool):
            raise ValueError(value)
        return value
    if kind is str:
        return str(value or "")
    if isinstance(value, bool):
        raise ValueError(value)
    number = float(value)
    if kind is int and not number.is_integer():
        raise ValueError(value)
    # Through float only where it is exact: a large seed is a whole number as it was typed.
    return (int(value) if isinstance(value, int | str) and not _is_float(value) else int(number)) if kind is int else number


def _is_float(value: int | str) -> bool:
    return isinstance(value, str) and not value.lstrip("+-").isdigit()


def options(config: Config) -> list[str]:
    """The words of the command line that turn the defaults of ``config``'s class into ``config``."""
    defaults = {knob.name: knob.default for knob in knobs(type(config)())}
    words: list[str] = []
    for knob in knobs(config):
        if knob.default == defaults[knob.name]:
            continue
        *above, last = knob.name.split(".")
        if knob.kind is bool:
            words.append("--" + ".".join([*above, last if knob.default else f"no-{last}"]))
            continue
        words.append(f"--{knob.name}")
        words += [str(part) for part in knob.default] if knob.kind is tuple else [str(knob.default)]
    return words

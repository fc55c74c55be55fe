"""Configuration as frozen dataclasses: validated when made, JSON both ways."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar

from segmentation.errors import LanternError, require

ConfigT = TypeVar("ConfigT", bound="Config")


@dataclasses.dataclass(frozen=True)
class Config:
    """What every configuration can do; subclasses are frozen dataclasses of plain values and other configurations."""

    def to_json(self) -> dict[str, Any]:
        """The values as plain JSON types."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls: type[ConfigT], values: Any) -> ConfigT:
        """The configuration that ``to_json`` gave; :class:`LanternError` names a value that is unknown or out of range."""
        require(isinstance(values, dict), f"{cls.__name__} is not a JSON object", "Use a file that the program wrote.")
        fields = {field.name: field for field in dataclasses.fields(cls)}
        unknown = sorted(set(values) - set(fields))
        require(not unknown, f"{cls.__name__} has no {', '.join(unknown)}", f"Known: {', '.join(fields)}.")
        converted: dict[str, Any] = {}
        for name, value in values.items():
            factory = fields[name].default_factory
            default = fields[name].default if factory is dataclasses.MISSING else factory()
            if isinstance(default, Config):
                value = type(default).from_json(value)
            elif isinstance(default, tuple) and isinstance(value, list):
                value = tuple(value)
            converted[name] = value
        try:
            return cls(**converted)
        except TypeError as error:
            raise LanternError(f"{cls.__name__} cannot be read ({error})", "Use a file that the program wrote.") from error


def check_range(name: str, value: float, low: float, high: float, unit: str = "") -> None:
    """Refuse a ``value`` outside [``low``, ``high``], or not a number, by its ``name``."""
    inside = isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high
    span = f"of at least {low:g}" if high >= 2**63 - 1 else f"between {low:g} and {high:g}"
    require(inside, f"{name} is {value!r}", f"Choose a value {span}{' ' + unit if unit else ''}.")


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Refuse a ``value`` that is none of ``choices``, by its ``name``."""
    require(value in choices, f"{name} is {value!r}", f"Choose one of: {', '.join(choices)}.")

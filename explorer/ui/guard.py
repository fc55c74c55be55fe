"""What comes in from a browser is checked here, and what goes wrong becomes a message that the visitor can act on."""

from __future__ import annotations

import functools
import html
import logging
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import gradio as gr
from gradio.data_classes import BlocksConfigDict

from segmentation.errors import LanternError

log = logging.getLogger(__name__)
ENGINE = "engine"
"""The queue that all calls of the engine share: one at a time, in their order."""
Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")
_UNEXPECTED = "Something went wrong inside the program. Try other values; the server's log has the details."


def guarded(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """``function`` with every error turned into a message on the page, without a traceback."""

    @functools.wraps(function)
    def careful(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        try:
            return function(*args, **kwargs)
        except LanternError as error:
            raise shown(str(error)) from error
        except gr.Error:
            raise
        except Exception as error:
            log.exception("%s failed", function.__name__)
            raise shown(_UNEXPECTED) from error

    return careful


def shown(message: str) -> gr.Error:
    """``message`` as the page shows it."""
    return gr.Error(html.escape(message, quote=False), title="That did not work", print_exception=False)


def whole(name: str, value: Any) -> int:
    """``value`` as a whole number; :class:`LanternError` names it by ``name`` if it is none."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise LanternError(f"the {name} is {_described(value)}", "Type a whole number.")
    return value


def real(name: str, value: Any) -> float:
    """``value`` as a number; :class:`LanternError` names it by ``name`` if it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise LanternError(f"the {name} is {_described(value)}", "Type a number.")
    return float(value)


def _described(value: Any) -> str:
    return "empty" if value is None or value == "" else repr(value)[:40]


_FILE: dict[str, Any] = {
    "type": "object",
    "title": "a file",
    "properties": {"path": {"type": "string"}, "meta": {"type": "object", "default": {"_type": "gradio.FileData"}}},
    "additional_description": None,
}


def _briefly(schema: Any) -> Any:
    """A short schema in the place of the long ones that say of a picture or a file that it is one."""
    properties = schema.get("properties", {}) if isinstance(schema, dict) else {}
    return _FILE if {"path", "meta"} <= properties.keys() else schema


class Page(gr.Blocks):
    """Blocks whose components refuse what they cannot read with a message, like the callbacks do, and that say things once."""

    def get_config_file(self) -> BlocksConfigDict:
        """See :meth:`gradio.Blocks.get_config_file`; long schemas are short, and not given a second and third time.

        Whoever reads ``api_info_as_input`` or ``api_info_as_output`` takes ``api_info`` where they are missing.
        """
        config = super().get_config_file()
        for component in config["components"]:
            component.update({key: _briefly(value) for key, value in component.items() if key.startswith("api_info")})
            for name in ("api_info_as_input", "api_info_as_output"):
                if name in component and component[name] == component.get("api_info"):
                    del component[name]
        return config

    async def preprocess_data(self, *args: Any, **kwargs: Any) -> Any:
        """See :meth:`gradio.Blocks.preprocess_data`."""
        try:
            return await super().preprocess_data(*args, **kwargs)
        except gr.Error as error:
            error.print_exception = False
            raise
        except Exception as error:
            log.info("an input was refused: %s", error)
            message = "One of the values is of the wrong kind. Give numbers for numbers, and a JPEG or PNG for a photograph."
            raise shown(message) from error

"""What comes in from a browser is checked here, and what goes wrong becomes a message that the visitor can act on."""

from __future__ import annotations

import contextlib
import functools
import html
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ParamSpec, TypeVar

import gradio as gr

from explorer.ui.lean import lean
from segmentation.errors import LanternError

log = logging.getLogger(__name__)
ENGINE = "engine"
"""The queue that all calls of the engine share: one at a time, in their order."""
QUIET: dict[str, Any] = {"show_progress": "hidden", "queue": False, "api_visibility": "private"}
"""A listener that a visitor cannot make fail: of a call that is not queued a browser shows no message."""
ASKED: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
"""A listener that may refuse what a visitor asks for, and is heard."""
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


@contextlib.contextmanager
def answered() -> Iterator[None]:
    """Every :class:`LanternError` of the block as a message, for what programs call and gradio asks the signature of."""
    try:
        yield
    except LanternError as error:
        raise shown(str(error)) from error


@contextlib.contextmanager
def labelled(labels: Mapping[str, str]) -> Iterator[None]:
    """Has errors of the block that begin with the name of an option begin with its label on the page, the option beside it.

    ``labels`` are by the names of the options; other errors, and those of other options, stay as they are.
    """
    try:
        yield
    except LanternError as error:
        raise LanternError(by_label(error.problem, labels), error.remedy) from error


def by_label(problem: str, labels: Mapping[str, str]) -> str:
    """``problem`` ("histogram_window is 4") by the label of the option ("Window (histogram_window) is 4")."""
    name, verb, value = problem.partition(" is ")
    if name not in labels:
        return problem
    label, words = labels[name], _words(name)
    # "unet.width (width)" would say it twice.
    option = "" if _words(label)[-len(words) :] == words else f" ({name})"
    return f"{label}{option}{verb}{value}"


def _words(name: str) -> list[str]:
    return re.split(r"[-_. ]", name.casefold())


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


class Page(gr.Blocks):
    """Blocks whose components refuse what they cannot read with a message, like the callbacks do.

    What a browser does not need is not sent along with the page, of which it would be a half; programs get it where they ask.
    """

    def get_config_file(self) -> Any:
        """See :meth:`gradio.Blocks.get_config_file` and :mod:`explorer.ui.lean`."""
        return lean(super().get_config_file())

    def get_api_info(self, all_endpoints: bool = False, page: str | None = None) -> Any:
        """See :meth:`gradio.Blocks.get_api_info`."""
        sent, self.config = self.config, super().get_config_file()
        try:
            return super().get_api_info(all_endpoints, page)
        finally:
            self.config = sent

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

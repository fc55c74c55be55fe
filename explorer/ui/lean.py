"""The page's initial configuration without what says nothing: defaults, second copies, and what only programs ask for.

A listener that shows no progress names the components on which it shows it: none. Else a browser tells every component that any
listener ever set of each step of each call, which on this page costs as much time as half a picture.
"""

from __future__ import annotations

from typing import Any

from gradio_client.utils import SKIP_COMPONENTS

_OF_COMPONENTS = ("component_class_id", "example_inputs", "key", "api_info", "api_info_as_input", "api_info_as_output")
"""What gradio's own components are loaded without, and what only describes them to programs."""
_EMPTY: dict[str, Any] = {
    "scroll_to_output": False,
    "trigger_only_on_success": False,
    "trigger_only_on_failure": False,
    "collects_event_data": False,
    "batch": False,
    "max_batch_size": 4,
    "stream_every": 0.5,
    "component_prop_inputs": [],
    "event_specific_args": [],
}
"""What a listener is without the entry."""
_EMPTY_PRIVATE: dict[str, Any] = {"types": {"generator": False, "cancel": False}, "connection": "sse"}
"""Likewise, of one that no program calls."""
_PLAIN: dict[str, Any] = {
    "elem_classes": [],
    "_selectable": False,
    "_retryable": False,
    "_undoable": False,
    "likeable": False,
    "streamable": False,
}
"""What a property of a component is without the entry."""
_PLAIN_HTML: dict[str, Any] = {"html_template": "${value}", "css_template": "", "props": {}}
"""Likewise, of HTML."""
_KEPT = ("queue", "api_name")
"""Entries of a listener whose None is not the same as no entry."""


def lean(config: Any) -> Any:
    """``config``, as gradio makes it, changed in place: smaller, and the same to a browser."""
    for component in config["components"]:
        _thin(component)
    for listener in config["dependencies"]:
        if listener["show_progress"] == "hidden":
            listener["show_progress_on"] = []
        empty = _EMPTY | (_EMPTY_PRIVATE if listener["api_visibility"] == "private" else {})
        for name, value in list(listener.items()):
            if (value is None and name not in _KEPT) or (name in empty and value == empty[name]):
                del listener[name]
    return config


def _thin(component: dict[str, Any]) -> None:
    for name in _OF_COMPONENTS:
        component.pop(name, None)
    plain = _PLAIN | (_PLAIN_HTML if component["type"] == "html" else {})
    properties = component["props"].items()
    kept = {name: value for name, value in properties if name not in plain or value != plain[name]}
    component["props"] = {name: value for name, value in kept.items() if name not in ("name", "preserved_by_key")}
    # A client knows by the type whether a component is part of a call; the exceptions are said.
    if component.get("skip_api") == (component["type"] in SKIP_COMPONENTS):
        del component["skip_api"]

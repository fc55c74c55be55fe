"""The page's initial configuration without what says nothing: defaults, second copies, and what only programs ask for."""

from __future__ import annotations

from typing import Any

from gradio_client.utils import SKIP_COMPONENTS

_OF_COMPONENTS = ("component_class_id", "example_inputs", "key")
"""What gradio's own components are loaded without, and what no browser reads."""
_EMPTY: dict[str, Any] = {
    "scroll_to_output": False,
    "trigger_only_on_success": False,
    "trigger_only_on_failure": False,
    "collects_event_data": False,
    "batch": False,
    "max_batch_size": 4,
    "stream_every": 0.5,
    "component_prop_inputs": [],
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
_FILE: dict[str, Any] = {
    "type": "object",
    "title": "a file",
    "properties": {"path": {"type": "string"}, "meta": {"type": "object", "default": {"_type": "gradio.FileData"}}},
    "additional_description": None,
}


def lean(config: Any) -> Any:
    """``config``, as gradio makes it, changed in place: smaller, and the same to a browser and to a client.

    What a component takes and gives stays said for the components of public actions, once: whoever reads
    ``api_info_as_input`` or ``api_info_as_output`` takes ``api_info`` where they are missing.
    """
    public = {
        number
        for listener in config["dependencies"]
        if listener["api_visibility"] != "private"
        for number in (*listener["inputs"], *listener["outputs"])
    }
    for component in config["components"]:
        _thin(component, component["id"] in public)
    for listener in config["dependencies"]:
        empty = _EMPTY | (_EMPTY_PRIVATE if listener["api_visibility"] == "private" else {})
        for name, value in list(listener.items()):
            if (value is None and name not in _KEPT) or (name in empty and value == empty[name]):
                del listener[name]
    return config


def _thin(component: dict[str, Any], public: bool) -> None:
    for name in _OF_COMPONENTS:
        component.pop(name, None)
    properties, plain = component["props"], _PLAIN | (_PLAIN_HTML if component["type"] == "html" else {})
    component["props"] = {name: value for name, value in properties.items() if name not in plain or value != plain[name]}
    component["props"].pop("preserved_by_key", None)
    # A client knows by the type whether a component is part of a call; the exceptions are said.
    if component.get("skip_api") == (component["type"] in SKIP_COMPONENTS):
        del component["skip_api"]
    component.update({key: _briefly(value) for key, value in component.items() if key.startswith("api_info")})
    for name in ("api_info_as_input", "api_info_as_output"):
        if not public or component.get(name) == component.get("api_info"):
            component.pop(name, None)
    if not public:
        component.pop("api_info", None)
        component["props"].pop("name", None)


def _briefly(schema: Any) -> Any:
    """A short schema in the place of the long ones that say of a picture or a file that it is one."""
    properties = schema.get("properties", {}) if isinstance(schema, dict) else {}
    return _FILE if {"path", "meta"} <= properties.keys() else schema

"""What the browser does by itself when a tab is opened: runs are looked at only where they are shown, and a reload comes back.

A look at the runs costs the processor that a moved slider needs. So each tab that watches runs has a timer of its own, which
ticks while that tab is in view. The address ends with the tab's name (``#train``), so it can be kept or handed on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import gradio as gr

from explorer.ui.guard import QUIET

SECONDS = 1.0
"""Between two looks at the runs."""
# Gradio opens the first tab, and says so, before the page has loaded and the address is looked at: so that is kept.
# Short, since there is one for each tab in what every visitor loads first.
_OPENED = """() => {
window.lanternBegan ??= location.hash.slice(1)
history.replaceState(null, '', '#NAME')
return ACTIVE.map((on) => ({ __type__: 'update', active: !!on }))
}"""
_BEGIN = """() => {
  const wanted = window.lanternBegan ?? location.hash.slice(1);
  return NAMES.includes(wanted) ? { __type__: "update", selected: wanted } : { __type__: "update" };
}"""


def timer() -> gr.Timer:
    """A timer that stands still until its tab is opened."""
    return gr.Timer(SECONDS, active=False)


def wire(page: gr.Blocks, row: gr.Tabs, tabs: Mapping[str, gr.Tab], timers: Mapping[str, gr.Timer]) -> None:
    """Have the ``timers`` run while the tab of the same name is in view, and the page begin with the tab in its address."""
    for name, tab in tabs.items():
        active = json.dumps([int(watching == name) for watching in timers])
        tab.select(None, None, list(timers.values()), js=_OPENED.replace("NAME", name).replace("ACTIVE", active), **QUIET)
    page.load(None, None, row, js=_BEGIN.replace("NAMES", json.dumps(list(tabs))), **QUIET)

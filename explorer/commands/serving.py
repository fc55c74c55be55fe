"""The command that opens the page."""

from __future__ import annotations
def app()->None: ...

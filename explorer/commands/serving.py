"""The command that opens the page."""

from __future__ import annotations

from typing import Annotated

from explorer.commands.options import Flat
from explorer.ui.shell import AppConfig, launch_app


def app(config: Annotated[AppConfig, Flat]) -> None:
    """Open the page.

    Args:
        config: what the page shows, and where it answers.
    """
    launch_app(config)

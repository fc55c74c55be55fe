"""The command that opens the page."""

from __future__ import annotations

from typing import Annotated

import tyro

from explorer.ui.shell import AppConfig, launch_app


def app(config: Annotated[AppConfig, tyro.conf.arg(name="")]) -> None:
    """Open the page.

    Args:
        config: what the page shows, and where it answers.
    """
    launch_app(config)

"""The page in a window of its own, by pywebview and Qt, which are an extra: ``requirements-desktop.txt``."""

from __future__ import annotations

import importlib.util
import os
import sys

from segmentation.errors import LanternError, require

_INSTALL = "Install it: pip install -r requirements-desktop.txt. Without --window the page opens in a browser."


def has_screen() -> bool:
    """Whether there is a screen that a window or a browser could be shown on."""
    return sys.platform != "linux" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def check_window() -> None:
    """Refuse, before anything is loaded, to open a window that cannot be had.

    Errors: :class:`LanternError` says what to install, or that there is no screen.
    """
    require(importlib.util.find_spec("webview") is not None, "pywebview is not installed", _INSTALL)
    remedy = "Leave --window away, and open the address in a browser elsewhere."
    require(has_screen(), "there is no screen here for a window (DISPLAY is not set)", remedy)


def show_window(url: str) -> None:
    """Show ``url`` in a window; returns when that is closed. Must be called from the main thread.

    Errors: :class:`LanternError` if Qt is missing or does not start.
    """
    import webview

    webview.create_window("Lantern", url, width=1360, height=900, min_size=(420, 500), text_select=True)
    webview.settings["ALLOW_DOWNLOADS"] = True
    try:
        webview.start(gui="qt", private_mode=True)
    except Exception as error:
        # Whatever keeps Qt from starting ends here: what it raises differs from version to version.
        raise LanternError(f"no window could be opened ({str(error) or type(error).__name__})", _INSTALL) from error

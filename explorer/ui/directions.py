"""The tab that asks: which one is saliency lighting?"""

from __future__ import annotations

from typing import Any

import gradio as gr

from explorer.ui.explore import ExploreTab
from explorer.views import Workbench


def build(bench: Workbench, explored: ExploreTab, page: gr.Blocks, tab: gr.Tab) -> None:
    """Lay the tab out for ``bench``, inside ``tab`` of ``page``."""
    catalogue: Any = explored.catalogue
    catalogue.render()

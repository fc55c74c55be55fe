"""The atlas of the tab Explore: every direction of the catalogue as a card, sorted and filtered, and drawn anew on request."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from explorer.atlas import StripConfig, draw_strips
from explorer.directions.catalogue import Catalogue
from explorer.ui.cards import ALL, CHOOSE, MARK, SHOWN_STATUSES, Chosen, cards, sort_choices
from explorer.ui.explore_walk import WalkControls, WalkValues, spread, view_of
from explorer.ui.exports import exports
from explorer.ui.guard import ENGINE, guarded, whole
from explorer.views import Workbench

_COLUMNS, _SIDE = 5, 64


@dataclasses.dataclass(frozen=True)
class Atlas:
    """The controls of the atlas, and what makes its cards: a call of ``fn`` with ``inputs``."""

    sort: gr.Dropdown
    status: gr.Dropdown
    label: gr.Textbox
    redrawn: gr.State
    redraw: gr.Button
    shown: gr.HTML
    answer: dict[str, Any]


def build(bench: Workbench, walk: WalkControls) -> Atlas:
    """Lay the atlas out, inside a column; the shown direction is set by :func:`wire`."""
    catalogue = bench.shelf.catalogue()
    with gr.Row(elem_classes="tight"):
        sort = gr.Dropdown(sort_choices(catalogue), value="index", label="Sort by", elem_id="sort", min_width=120, scale=1)
        status = gr.Dropdown(list(SHOWN_STATUSES), value=ALL, label="Show", elem_id="show-status", min_width=120, scale=1)
        label = gr.Textbox("", label="With the words", placeholder="any", elem_id="show-label", min_width=100, scale=1)
    shown = gr.HTML(elem_id="atlas", js_on_load=CHOOSE, container=True)
    redraw = gr.Button("Redraw the strips from the first row", size="sm", elem_id="redraw-atlas")
    redrawn = gr.State("")
    answer: dict[str, Any] = {
        "fn": _atlas(bench),
        "inputs": [walk.catalogue, sort, status, label, walk.direction, redrawn],
        "outputs": shown,
        "show_progress": "hidden",
    }
    return Atlas(sort, status, label, redrawn, redraw, shown, answer)


def wire(bench: Workbench, atlas: Atlas, walk: WalkControls, tab: gr.Tab) -> None:
    """Have the cards answer to their controls, and a chosen card set the direction and its magnitude."""
    # A letter is typed while the answer to the one before is on its way.
    gr.on(
        [atlas.sort.input, atlas.status.input, atlas.label.input],
        **atlas.answer,
        trigger_mode="always_last",
        queue=False,
        api_name="atlas",
    )
    again: dict[str, Any] = {**atlas.answer, "queue": False, "api_visibility": "private"}
    tab.select(**again)
    atlas.shown.choose(
        _chosen(bench),
        walk.catalogue,
        [walk.direction, walk.magnitude],
        show_progress="hidden",
        queue=False,
        api_visibility="private",
    )
    walk.direction.change(None, walk.direction, None, js=MARK, api_visibility="private")
    atlas.redraw.click(
        _redraw(bench),
        [*walk.all()[:-1], atlas.sort, atlas.status, atlas.label, walk.origin],
        [atlas.redrawn, atlas.shown],
        show_progress="minimal",
        show_progress_on=atlas.shown,
        concurrency_id=ENGINE,
        concurrency_limit=1,
        api_name="redraw_atlas",
    )


def _atlas(bench: Workbench) -> Any:
    @guarded
    def atlas(catalogue: str, sort: str, status: str, label: str, direction: float, redrawn: str) -> str:
        """The directions of a catalogue as cards (HTML), each with its index in data-index."""
        return _shown(bench, catalogue, Chosen(sort, status, label or ""), direction, redrawn)

    return atlas


def _shown(bench: Workbench, catalogue: str, wanted: Chosen, direction: float, redrawn: str) -> str:
    known = bench.shelf.catalogue(catalogue)
    chosen = wanted.of(known)
    counted = f"{len(chosen)} of {len(known)}" if len(chosen) < len(known) else f"All {len(known)}"
    drawn = "Strips of the first row's code" if redrawn else "Strips of one code"
    head = f'<p class="count">{counted} directions. {drawn}, from minus to plus the magnitude.</p>'
    folder = Path(redrawn) if redrawn else bench.shelf.place(catalogue).current
    return head + cards(_redrawn_catalogue(known, redrawn), folder, chosen, wanted.sort, whole("direction", direction))


def _redrawn_catalogue(catalogue: Catalogue, redrawn: str) -> Catalogue:
    """``catalogue`` as it would be if its strips were those in the folder ``redrawn``."""
    if not redrawn:
        return catalogue
    entries = tuple(dataclasses.replace(entry, thumbnail=f"{i}.jpg") for i, entry in enumerate(catalogue.entries))
    return dataclasses.replace(catalogue, entries=entries)


def _redraw(bench: Workbench) -> Any:
    @guarded
    @spread
    def redraw(values: WalkValues, sort: str, status: str, label: str) -> tuple[str, str]:
        """Draw a strip of every direction from the first row's code; the cards (HTML) say where each lies."""
        view = view_of(values._replace(rows=1))
        known = bench.on(values.catalogue)
        first = known.start(view).first()
        indices = range(len(known.catalogue))
        config = StripConfig(columns=_COLUMNS, side=_SIDE)
        strips = draw_strips(bench.engine, known.catalogue, indices, first, config)
        folder = exports().place("strips").parent
        for index, strip in zip(indices, strips, strict=True):
            Image.fromarray(strip).save(folder / f"{index}.jpg", quality=85)
        wanted = Chosen(sort, status, label or "")
        return str(folder), _shown(bench, values.catalogue, wanted, values.direction, str(folder))

    return redraw


def _chosen(bench: Workbench) -> Any:
    @guarded
    def chosen(catalogue: str, event: gr.EventData) -> tuple[int, float]:
        """The direction of the card that was chosen, and its magnitude."""
        index, known = whole("direction", event.index), bench.shelf.catalogue(catalogue)
        known.direction(index)
        return index, known.entries[index].magnitude

    return chosen

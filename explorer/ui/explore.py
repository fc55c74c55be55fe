"""The tab that asks: what does each direction do?"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from explorer.directions.catalogue import MAX_MAGNITUDE
from explorer.engine import MAX_TRUNCATION
from explorer.ui import render
from explorer.ui.guard import ENGINE, guarded, real, whole
from explorer.ui.start import Start, start_controls
from explorer.views import WalkView, Workbench

_QUESTION = """## What does each direction do?
Every row is one latent code. The middle column is the image it makes; to the left and right it is shifted along the chosen
direction. Choose a direction from the atlas, which shows each one from minus to plus the magnitude, or move the sliders."""
_STARTED = " · the first row starts from the photograph"
SEEDS = 1_000_000
"""How many seeds the button chooses from; the box takes any."""


@dataclass(frozen=True)
class ExploreTab:
    """The controls that other tabs read, and what has to run when the page opens."""

    direction: gr.Slider
    magnitude: gr.Slider
    seed: gr.Number
    truncation: gr.Slider
    start: Start
    walk: Any
    atlas: Any


def direction_slider(bench: Workbench, elem_id: str, value: int, info: str) -> gr.Slider:
    """A slider over the directions of the catalogue."""
    last = max(len(bench.catalogue) - 1, 1)
    return gr.Slider(0, last, value, step=1, precision=0, label="Direction", info=info, elem_id=elem_id)


def magnitude_slider(elem_id: str, value: float) -> gr.Slider:
    """A slider over the lengths of a shift."""
    info = "Length of the shift. 0: nothing is shifted."
    return gr.Slider(0, MAX_MAGNITUDE, value, step=0.1, label="Magnitude", info=info, elem_id=elem_id)


def seed_box(elem_id: str, value: int) -> gr.Number:
    """A box for the seed; what is typed is checked by the callback, so that the message is ours."""
    info = "Which latent codes are drawn: a whole number, 0 or more."
    return gr.Number(value, step=1, label="Seed", info=info, elem_id=elem_id)


def truncation_slider(elem_id: str, value: float) -> gr.Slider:
    """A slider over the truncation of latent codes."""
    info = f"Lower: more typical images, less variety. {MAX_TRUNCATION:g}: none."
    return gr.Slider(0.1, MAX_TRUNCATION, value, step=0.1, label="Truncation", info=info, elem_id=elem_id)


def new_seed() -> int:
    """A seed drawn at random."""
    return secrets.randbelow(SEEDS)


def build(bench: Workbench, page: gr.Blocks) -> ExploreTab:
    """Lay the tab out for ``bench``, inside a ``gr.Tab`` of ``page``."""
    default = WalkView(direction=bench.catalogue.lighting or 0)
    gr.Markdown(_QUESTION, elem_classes="question")
    with gr.Row():
        with gr.Column(scale=4, min_width=280):
            direction = direction_slider(bench, "direction", default.direction, "Number in the catalogue.")
            lighting = gr.Button("Go to saliency lighting", variant="primary", size="md", elem_id="to-lighting")
            lighting.interactive = bench.catalogue.lighting is not None
            magnitude = magnitude_slider("magnitude", bench.catalogue.entries[default.direction].magnitude)
            begun = start_controls(bench)
            seed = seed_box("seed", default.seed)
            another = gr.Button("New seed", size="md", elem_id="new-seed")
            truncation = truncation_slider("truncation", default.truncation)
        with gr.Column(scale=6, min_width=320):
            about = gr.Markdown(elem_id="about-direction")
            picture = _picture(default)
        with gr.Column(scale=5, min_width=300):
            gallery = _gallery(bench)
            redraw = gr.Button("Redraw the atlas from here", size="md", elem_id="redraw-atlas")
    tab = ExploreTab(direction, magnitude, seed, truncation, begun, _walk(bench), _atlas(bench))
    _show_walk(page, tab, picture, about)
    _show_atlas(page, tab, gallery, redraw)
    chosen: dict[str, Any] = {"show_progress": "hidden", "queue": False, "api_visibility": "private"}
    another.click(new_seed, None, seed, **chosen)
    lighting.click(guarded(lambda: _lighting(bench)), None, [direction, magnitude], **chosen)
    gallery.select(_selected, None, direction, **chosen)
    return tab


def _picture(view: WalkView) -> gr.Image:
    return gr.Image(
        label=f"A latent code a row, {view.steps} magnitudes",
        format="jpeg",
        interactive=False,
        buttons=["fullscreen", "download"],
        elem_id="strip",
        elem_classes="picture",
        alt_text="Images of latent codes shifted along the direction: a code a row, the magnitude above each column.",
    )


def _gallery(bench: Workbench) -> gr.Gallery:
    return gr.Gallery(
        label=f"Atlas of all {len(bench.catalogue)} directions",
        format="jpeg",
        columns=2,
        height=640,
        object_fit="contain",
        allow_preview=False,
        interactive=False,
        buttons=[],
        elem_id="atlas",
    )


def _show_walk(page: gr.Blocks, tab: ExploreTab, picture: gr.Image, about: gr.Markdown) -> None:
    controls: list[Any] = [tab.direction, tab.magnitude, tab.seed, tab.truncation, tab.start.alpha, tab.start.origin]
    answer: dict[str, Any] = {"fn": tab.walk, "inputs": controls, "outputs": [picture, about], "concurrency_id": ENGINE}
    # change, not input: buttons and the atlas set these controls too, and nothing that this answers sets them back.
    gr.on(
        [control.change for control in controls],
        **answer,
        trigger_mode="always_last",
        show_progress="hidden",
        concurrency_limit=1,
        api_name="walk",
    )
    page.load(**answer, show_progress="hidden", api_visibility="private")


def _show_atlas(page: gr.Blocks, tab: ExploreTab, gallery: gr.Gallery, redraw: gr.Button) -> None:
    answer: dict[str, Any] = {
        "fn": tab.atlas,
        "inputs": [tab.seed, tab.magnitude, tab.start.origin],
        "outputs": gallery,
        "concurrency_id": ENGINE,
    }
    redraw.click(**answer, concurrency_limit=1, show_progress="minimal", api_name="atlas")
    page.load(**answer, show_progress="minimal", api_visibility="private")


def sample_values(direction: Any, magnitude: Any, seed: Any, truncation: Any) -> dict[str, Any]:
    """The values of the controls as fields of a view; :class:`LanternError` names the one that is no number."""
    return {
        "direction": whole("direction", direction),
        "magnitude": real("magnitude", magnitude),
        "seed": whole("seed", seed),
        "truncation": real("truncation", truncation),
    }


def about(bench: Workbench, index: int) -> str:
    """Markdown: what the catalogue says of direction ``index``."""
    entry = bench.catalogue.entries[index]
    return render.about_direction(_caption(bench, index), entry.notes, entry.scores)


def _walk(bench: Workbench) -> Any:
    @guarded
    def walk(
        direction: float, magnitude: float, seed: float, truncation: float, alpha: float, origin: Sequence[float]
    ) -> tuple[render.Pixels, str]:
        """The strip of a direction, and what is known about the direction."""
        values = {**sample_values(direction, magnitude, seed, truncation), "alpha": real("noise", alpha)}
        # Neighbours without noise would be the same row again and again.
        count = 1 if origin and not alpha else WalkView.count
        view = WalkView(**values, count=count, origin=tuple(origin))
        words = about(bench, view.direction) + (_STARTED if origin else "")
        return render.strip(bench.walk(view, "auto"), view.magnitudes), words

    return walk


def _atlas(bench: Workbench) -> Any:
    @guarded
    def atlas(seed: float, magnitude: float, origin: Sequence[float]) -> list[tuple[render.Pixels, str]]:
        """A picture and a caption for every direction."""
        pictures = bench.atlas(whole("seed", seed), real("magnitude", magnitude), tuple(origin))
        return [(render.triptych(picture), _caption(bench, index)) for index, picture in enumerate(pictures)]

    return atlas


def _caption(bench: Workbench, index: int) -> str:
    title, marked = bench.catalogue.title(index), index == bench.catalogue.lighting
    return f"{title} — saliency lighting" if marked and "saliency lighting" not in title else title


@guarded
def _selected(event: gr.SelectData) -> int:
    return whole("direction", event.index)


def _lighting(bench: Workbench) -> tuple[int, float]:
    index = bench.catalogue.lighting or 0
    return index, bench.catalogue.entries[index].magnitude

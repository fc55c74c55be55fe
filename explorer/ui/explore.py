"""The tab that asks: what does each direction do?"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

import gradio as gr

from explorer.directions.catalogue import MAX_MAGNITUDE
from explorer.engine import MAX_TRUNCATION
from explorer.ui import explore_atlas
from explorer.ui.cards import sort_choices
from explorer.ui.explore_walk import (
    MOST_ROWS,
    WalkControls,
    about_direction,
    film,
    format_choice,
    pin,
    sample_values,
    second_controls,
    walk,
    words,
)
from explorer.ui.guard import ASKED, ENGINE, QUIET, guarded
from explorer.ui.start import Start, start_controls
from explorer.views import WalkView, Workbench

__all__ = [
    "ExploreTab",
    "about_direction",
    "build",
    "direction_slider",
    "magnitude_slider",
    "new_seed",
    "sample_values",
    "seed_box",
    "truncation_slider",
]

_QUESTION = """## What does each direction do?
Every row is one latent code. The middle column is the image it makes; to the left and right it is shifted along the chosen
direction. Choose a direction from the atlas, which shows each one from minus to plus its magnitude, or move the sliders."""
SEEDS = 1_000_000
"""How many seeds the button chooses from; the box takes any."""
NO_RESET: list[Any] = []
"""No button that goes back to the value that the page was made with: that of a slider whose own value comes with the direction
or the catalogue in view would be another one's."""
_LATER = """() => new Promise((go) => {
  clearTimeout(window.lanternLater);
  window.lanternLater = setTimeout(go, 300);
})"""
"""Goes on once, when a slider has rested: while it moves, the processor is the picture's. What came before never gets there."""


@dataclass(frozen=True)
class ExploreTab:
    """The controls that other tabs read; ``catalogue`` is not laid out here, but in the tab Directions."""

    direction: gr.Slider
    magnitude: gr.Slider
    seed: gr.Number
    truncation: gr.Slider
    start: Start
    catalogue: gr.Dropdown


def direction_slider(bench: Workbench, elem_id: str, value: int, info: str) -> gr.Slider:
    """A slider over the directions of the catalogue."""
    return gr.Slider(
        0, _last(bench), value, step=1, precision=0, label="Direction", info=info, elem_id=elem_id, buttons=NO_RESET
    )


def magnitude_slider(elem_id: str, value: float) -> gr.Slider:
    """A slider over the lengths of a shift."""
    info = "Length of the shift. 0: nothing is shifted."
    return gr.Slider(0, MAX_MAGNITUDE, value, step=0.1, label="Magnitude", info=info, elem_id=elem_id, buttons=NO_RESET)


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


def build(bench: Workbench, page: gr.Blocks, tab: gr.Tab) -> ExploreTab:
    """Lay the tab out for ``bench``, inside ``tab`` of ``page``."""
    known = bench.on()
    gr.Markdown(_QUESTION, elem_classes="question")
    with gr.Row():
        with gr.Column(scale=4, min_width=280):
            controls, begun, lighting, another = _controls(known)
        with gr.Column(scale=6, min_width=320):
            picture = _picture()
            about = gr.Markdown(elem_id="about-direction", container=True, padding=True)
            with gr.Accordion("Play and save this walk", open=False):
                kind = format_choice()
                with gr.Row(elem_classes="tight"):
                    make = gr.Button("Make it", size="md", elem_id="make-film")
                    save = gr.DownloadButton("Save", size="md", interactive=False, elem_id="save-film")
                player = gr.HTML(elem_id="film")
        with gr.Column(scale=5, min_width=320):
            atlas = explore_atlas.build(bench, controls)
    explore_atlas.wire(bench, atlas, controls, tab)
    shown = _show_walk(bench, page, controls, picture, about)
    _open_catalogues(bench, page, controls, atlas, shown)
    picture.select(pin(bench), [controls.pins, controls.seed, controls.origin], controls.pins, **ASKED)
    another.click(new_seed, None, controls.seed, **QUIET)
    lighting.click(_lighting(bench), controls.catalogue, [controls.direction, controls.magnitude], **ASKED)
    make.click(
        film(bench),
        [*controls.all()[:-1], kind, controls.origin],
        [player, save],
        concurrency_id=ENGINE,
        concurrency_limit=1,
        show_progress="minimal",
        show_progress_on=player,
        api_name="export",
    ).success(lambda: gr.DownloadButton(interactive=True), None, save, **QUIET)
    return ExploreTab(controls.direction, controls.magnitude, controls.seed, controls.truncation, begun, controls.catalogue)


def _last(bench: Workbench) -> int:
    return max(len(bench.catalogue) - 1, 1)


def _controls(bench: Workbench) -> tuple[WalkControls, Start, gr.Button, gr.Button]:
    default = WalkView(direction=bench.catalogue.lighting or 0)
    direction = direction_slider(bench, "direction", default.direction, "Number in the catalogue.")
    lighting = gr.Button("Go to saliency lighting", variant="primary", size="md", elem_id="to-lighting")
    magnitude = magnitude_slider("magnitude", bench.catalogue.entries[default.direction].magnitude)
    begun = start_controls(bench)
    seed = seed_box("seed", default.seed)
    another = gr.Button("New seed", size="md", elem_id="new-seed")
    with gr.Accordion("A second direction", open=False):
        second, second_magnitude = second_controls(_last(bench))
    with gr.Accordion("Rows", open=False):
        info = "Latent codes, besides those that are pinned."
        rows = gr.Slider(1, MOST_ROWS, default.count, step=1, precision=0, label="Rows", info=info, elem_id="rows")
        info = (
            "seed:index of codes that stay whatever the seed. A click on a row of the picture pins it, another one lets it go."
        )
        pins = gr.Textbox("", label="Pinned", info=info, placeholder="none", elem_id="pins")
        truncation = truncation_slider("truncation", default.truncation)
    names = bench.shelf.names()
    info = "Yours are copies: what is shipped never changes."
    catalogue = gr.Dropdown(
        names, value=names[0], label="Catalogue", info=info, allow_custom_value=True, elem_id="catalogue", render=False
    )
    controls = WalkControls(
        direction,
        magnitude,
        seed,
        truncation,
        begun.alpha,
        rows,
        second,
        second_magnitude,
        pins,
        catalogue,
        begun.origin,
    )
    return controls, begun, lighting, another


def _picture() -> gr.Image:
    return gr.Image(
        label="A latent code a row; a click pins it",
        format="jpeg",
        interactive=False,
        buttons=["fullscreen", "download"],
        elem_id="strip",
        elem_classes="picture",
        alt_text="Images of latent codes shifted along the direction: a code a row, the magnitude above each column.",
    )


def _show_walk(
    bench: Workbench, page: gr.Blocks, controls: WalkControls, picture: gr.Image, about: gr.Markdown
) -> list[dict[str, Any]]:
    """Draw the strip whenever a control changes, and a little later say what it shows; returns both calls."""
    draw: dict[str, Any] = {"fn": walk(bench), "inputs": controls.all(), "outputs": picture, "concurrency_id": ENGINE}
    tell: dict[str, Any] = {"fn": words(bench), "inputs": controls.all(), "outputs": about, "queue": False}
    # change, not input: buttons and the atlas set these controls too, and nothing that this answers sets them back. Another
    # catalogue is not among them: it sets the direction first.
    moved = [control.change for control in controls.all() if control is not controls.catalogue]
    hidden: dict[str, Any] = {"show_progress": "hidden", "trigger_mode": "always_last"}
    # Not queued: the engine's thread has one call after the other anyway, and a queue costs a browser two more requests. What
    # goes wrong is asked for once more, queued, so that it is said.
    drawn = gr.on(moved, **draw, **hidden, concurrency_limit=1, queue=False, api_name="walk")
    drawn.failure(**draw, **ASKED)
    rested = gr.on(moved, None, None, None, js=_LATER, **QUIET)
    rested.then(**tell, **hidden, api_name="about")
    return [draw, tell]


def _open_catalogues(
    bench: Workbench, page: gr.Blocks, controls: WalkControls, atlas: explore_atlas.Atlas, shown: list[dict[str, Any]]
) -> None:
    """Have the page begin with the catalogue as it is then, and follow when another one is chosen."""

    @guarded
    def opened(catalogue: str) -> tuple[Any, ...]:
        known, names = bench.on(catalogue).catalogue, bench.shelf.names()
        index, last = known.lighting or 0, max(len(known) - 1, 1)
        return (
            gr.Dropdown(choices=names),
            gr.Slider(value=index, maximum=last),
            known.entries[index].magnitude,
            gr.Slider(value=0, maximum=last),
            0,
            gr.Dropdown(choices=sort_choices(known), value="index"),
            "",
        )

    outputs = [
        controls.catalogue,
        controls.direction,
        controls.magnitude,
        controls.second,
        controls.second_magnitude,
        atlas.sort,
        atlas.redrawn,
    ]
    for event in (page.load, controls.catalogue.change):
        step = event(opened, controls.catalogue, outputs, **QUIET)
        for call in (*shown, {**atlas.answer, "queue": False}):
            # Each after the first step, none after the other: the cards need not wait for the strip.
            step.then(**{"show_progress": "hidden", **call}, api_visibility="private")


def _lighting(bench: Workbench) -> Any:
    @guarded
    def lighting(catalogue: str) -> tuple[int, float]:
        known = bench.shelf.catalogue(catalogue)
        if known.lighting is None:
            gr.Info("No direction is marked as saliency lighting yet. The tab Directions finds and marks it.")
            return gr.skip(), gr.skip()
        return known.lighting, known.entries[known.lighting].magnitude

    return lighting

"""Where a walk starts: from a seed, or from the visitor's own photograph."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from explorer.ui import render
from explorer.ui.guard import ASKED, ENGINE, QUIET, guarded
from explorer.views import WalkView, Workbench
from segmentation.configuration import check_choice

SEED, PHOTOGRAPH = "seed", "photograph"
NOISE = "Noise"
_ASK = (
    "Give a photograph: what is in the square in its middle gets a latent code, and the rows start from that. "
    "Until then they start from the seed. The photograph stays on the computer that runs this page."
)
_NOTHING = (None, _ASK, ())


@dataclass(frozen=True)
class Start:
    """What a walk needs to know of the choice."""

    origin: gr.State
    """The latent code to start from, plain numbers, each visitor's own; () for what the seed draws."""
    alpha: gr.Slider


def start_controls(bench: Workbench) -> Start:
    """Lay the choice out for ``bench``, and under it the photograph and its reconstruction."""
    choice = _choice(bench)
    origin = gr.State(())
    with gr.Column(visible=False) as panel:
        photograph = photograph_box("Photograph to start from", "start-photograph", 220)
        words = gr.Markdown(_ASK, elem_id="reconstruction-words")
        with gr.Column(visible=False) as result:
            picture, alpha = _reconstruction(), _alpha()
    answer: list[Any] = [picture, words, origin]
    choice.change(lambda chosen: gr.Column(visible=chosen == PHOTOGRAPH), choice, panel, **QUIET)
    origin.change(lambda code: gr.Column(visible=bool(code)), origin, result, **QUIET)
    begun = gr.on(
        [choice.input, photograph.upload, photograph.clear],
        _begin(bench),
        [choice, photograph],
        answer,
        trigger_mode="always_last",
        show_progress="minimal",
        concurrency_id=ENGINE,
        concurrency_limit=1,
        api_name="start",
    )
    # A refused photograph must not leave the reconstruction and the code of the one before. Queued: only so the page hears
    # that the code has changed.
    begun.failure(lambda: _NOTHING, None, answer, **ASKED)
    return Start(origin, alpha)


def photograph_box(label: str, elem_id: str, height: int) -> gr.Image:
    """A place for a photograph; the callback gets its file, as it is, so that what reads it sees to size and rotation."""
    sources: list[Any] = ["upload", "clipboard"]
    return gr.Image(type="filepath", image_mode=None, sources=sources, label=label, height=height, elem_id=elem_id)


def _choice(bench: Workbench) -> gr.Radio:
    able = bench.engine.can_encode
    info = "seed: latent codes drawn at random. photograph: the latent code that the encoder gives yours."
    return gr.Radio(
        [SEED, PHOTOGRAPH],
        value=SEED,
        label="Start from",
        info=info if able else f"The generator {bench.engine.name} has no encoder, so photographs cannot be started from.",
        interactive=able,
        elem_id="start",
    )


def _reconstruction() -> gr.Image:
    return gr.Image(
        label="Seen and reconstructed",
        format="png",
        interactive=False,
        buttons=["fullscreen", "download"],
        elem_id="reconstruction",
        elem_classes="picture",
        alt_text="Left the square in the middle of the photograph, right what the generator makes of its latent code.",
    )


def _alpha() -> gr.Slider:
    info = "How far the other rows are from the first, the photograph's. 0: no other rows."
    return gr.Slider(0, 1, WalkView.alpha, step=0.05, label=NOISE, info=info, elem_id="alpha")


def _begin(bench: Workbench) -> Any:
    @guarded
    def start(choice: str, photograph: str | None) -> tuple[render.Pixels | None, str, tuple[float, ...]]:
        """A photograph's reconstruction and its error; the walk and the atlas of this session then start from it."""
        check_choice("start", choice, (SEED, PHOTOGRAPH))
        if choice == SEED or photograph is None:
            return _NOTHING
        made = bench.reconstruct(Path(photograph))
        picture = render.reconstruction(made.squares[0], made.images[0])
        return picture, render.about_error(made.errors[0]), tuple(made.codes[0].tolist())

    return start

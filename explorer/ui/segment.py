"""The tab that asks: what does the trained network see in my photograph?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from explorer.segmenting import HOW_TO_TRAIN, LONGEST_SIDE, PhotographSegmenter
from explorer.ui.guard import ENGINE, guarded
from explorer.ui.render import Pixels
from explorer.ui.start import photograph_box
from segmentation.errors import LanternError

_QUESTION = """## What does the trained network see in my photograph?
The U-Net never saw a hand-made mask: it learnt from the samples that the filters kept. Give it a photograph of anything; it
stays on the computer that runs this page."""


def build(segmenter: PhotographSegmenter, page: gr.Blocks) -> None:
    """Lay the tab out, inside a ``gr.Tab`` of ``page``."""
    gr.Markdown(_QUESTION, elem_classes="question")
    notice = gr.Markdown(_notice(segmenter), elem_id="segment-notice")
    # The weights may come while the app is open, and a reload then tells.
    page.load(lambda: _notice(segmenter), None, notice, queue=False, show_progress="hidden", api_visibility="private")
    with gr.Row():
        with gr.Column(min_width=260):
            photograph = photograph_box("Photograph", "photograph", 320)
            go = gr.Button("Segment", variant="primary", elem_id="segment")
            words = gr.Markdown(elem_id="segment-words")
        with gr.Column(min_width=260):
            overlay = _result("Overlay: the object outlined", "overlay", "jpeg")
        with gr.Column(min_width=260):
            saliency = _result("Saliency: the lighter, the surer", "saliency", "png")
        with gr.Column(min_width=260):
            cut_out = _result("Cut-out, the rest transparent", "cut-out", "png")
    answer: dict[str, Any] = {"inputs": photograph, "outputs": [overlay, saliency, cut_out, words], "concurrency_id": ENGINE}
    segment = _segment(segmenter)
    go.click(segment, **answer, concurrency_limit=1, api_name="segment")
    photograph.upload(segment, **answer, api_visibility="private")


def _result(label: str, elem_id: str, file_format: str) -> gr.Image:
    return gr.Image(
        label=label,
        format=file_format,
        interactive=False,
        buttons=["fullscreen", "download"],
        elem_id=elem_id,
        elem_classes="picture",
    )


def _notice(segmenter: PhotographSegmenter) -> str:
    if segmenter.available:
        return f"Photographs larger than {LONGEST_SIDE} pixels are shrunk to that before they are segmented."
    return f"**There is no trained network yet** (`{segmenter.weights.name}` is missing). {HOW_TO_TRAIN}"


def _segment(segmenter: PhotographSegmenter) -> Any:
    @guarded
    def segment(photograph: str | None) -> tuple[Pixels, Pixels, Pixels, str]:
        """The overlay, the saliency, the cut-out and the share of the photograph that is object."""
        if photograph is None:
            raise LanternError("there is no photograph", "Upload one, or paste one from the clipboard.")
        seen = segmenter.segment(Path(photograph))
        words = f"The network takes {100 * seen.area:.0f}% of the photograph for the object."
        return seen.overlay, seen.saliency, seen.cut_out, words

    return segment

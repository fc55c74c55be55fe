"""The tab that asks: what does the trained network see in my photograph?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from explorer.segmenting import HOW_TO_TRAIN, LONGEST_SIDE, MOST, Networks, Written, segment_files, write_zip
from explorer.ui import render
from explorer.ui.exports import exports
from explorer.ui.guard import ASKED, ENGINE, QUIET, guarded, whole
from explorer.ui.start import photograph_box
from segmentation.errors import require

_QUESTION = """## What does the trained network see in my photograph?
The U-Net never saw a hand-made mask: it learnt from the samples that the filters kept. Give it a photograph of anything, or
several at once; they stay on the computer that runs this page."""
_SEVERAL_HELP = f"Up to {MOST} at once. The archive has the overlay, the saliency and the cut-out of each."
_PROGRESS = gr.Progress()
Shown = list[dict[str, str]]
"""What a visitor's session remembers of the last photographs: names, files, and the network that they are from."""


@dataclass(frozen=True)
class _Results:
    overlay: gr.Image
    saliency: gr.Image
    cut_out: gr.Image
    words: gr.Markdown
    archive: gr.DownloadButton
    gallery: gr.Gallery
    shown: gr.State

    def all(self) -> list[Any]:
        return [self.overlay, self.saliency, self.cut_out, self.words, self.archive, self.gallery, self.shown]


def build(networks: Networks, page: gr.Blocks, tab: gr.Tab) -> None:
    """Lay the tab out, inside ``tab`` of ``page``."""
    gr.Markdown(_QUESTION, elem_classes="question")
    notice = gr.Markdown(_notice(networks), elem_id="segment-notice")
    with gr.Row():
        with gr.Column(scale=4, min_width=280):
            network = _network_choice(networks)
            photograph = photograph_box("Photograph", "photograph", 260)
            go = gr.Button("Segment", variant="primary", elem_id="segment")
            several = gr.File(
                file_count="multiple", file_types=["image"], label="Several at once", height=140, elem_id="several"
            )
            gr.Markdown(_SEVERAL_HELP)
        with gr.Column(scale=11, min_width=320):
            results = _results()
    # Weights may come while the page is open: a run that has ended, a file that was laid there.
    gr.on([page.load, tab.select], lambda: (_notice(networks), _choices(networks)), None, [notice, network], **QUIET)
    work: dict[str, Any] = {"outputs": results.all(), "concurrency_id": ENGINE, "concurrency_limit": 1}
    one, all_of_them = _one(networks), _several(networks)
    for done in (
        go.click(_either(one, all_of_them), [photograph, several, network], **work, api_visibility="private"),
        photograph.upload(one, [photograph, network], **work, api_name="segment"),
        several.upload(all_of_them, [several, network], **work, api_name="segment_several"),
    ):
        done.success(_revealed, results.shown, [results.archive, results.gallery], **QUIET)
    pictures = [results.overlay, results.saliency, results.cut_out, results.words]
    results.gallery.select(_chosen, results.shown, pictures, **ASKED)


def _network_choice(networks: Networks) -> gr.Dropdown:
    return gr.Dropdown(
        networks.names,
        value=networks.first_name,
        label="Network",
        info="The one this page was opened with, or that of a finished training.",
        interactive=True,
        elem_id="network",
    )


def _results() -> _Results:
    with gr.Row():
        with gr.Column(min_width=190):
            overlay = _result("Overlay: the object outlined", "overlay")
        with gr.Column(min_width=190):
            saliency = _result("Saliency: the lighter, the surer", "saliency")
        with gr.Column(min_width=190):
            cut_out = _result("Cut-out, the rest transparent", "cut-out")
    words = gr.Markdown(elem_id="segment-words")
    archive = gr.DownloadButton("Download all of it (.zip)", visible=False, size="md", elem_id="segment-zip")
    gallery = gr.Gallery(
        label="Choose one to see it in large",
        columns=6,
        height=300,
        object_fit="contain",
        allow_preview=False,
        interactive=False,
        visible=False,
        buttons=[],
        elem_id="segmented",
    )
    return _Results(overlay, saliency, cut_out, words, archive, gallery, gr.State([]))


def _result(label: str, elem_id: str) -> gr.Image:
    return gr.Image(label=label, interactive=False, buttons=["fullscreen", "download"], elem_id=elem_id, elem_classes="picture")


def _choices(networks: Networks) -> gr.Dropdown:
    return gr.Dropdown(choices=[(name, name) for name in networks.names])


def _notice(networks: Networks) -> str:
    if networks.first.available:
        return f"Photographs larger than {LONGEST_SIDE} pixels are shrunk to that before they are segmented."
    return f"**There is no trained network yet** (`{networks.first.weights.name}` is missing). {HOW_TO_TRAIN}"


def _one(networks: Networks) -> Any:
    @guarded
    def segment(photograph: str | None, network: str) -> tuple[Any, ...]:
        """The overlay, the saliency, the cut-out, the share of the photograph that is object, and all of it as an archive."""
        return _segmented(networks, [] if photograph is None else [photograph], network)

    return segment


def _several(networks: Networks) -> Any:
    @guarded
    def segment_several(photographs: list[str] | None, network: str, progress: gr.Progress = _PROGRESS) -> tuple[Any, ...]:
        """As ``segment`` for each of several photographs; the pictures are those of the first."""
        files = photographs or []
        return _segmented(networks, files, network, lambda count: progress((count, len(files)), unit="photographs"))

    return segment_several


def _either(one: Any, all_of_them: Any) -> Any:
    """What the button does: the photograph, or, if there is none, the several."""

    def segment_given(
        photograph: str | None, photographs: list[str] | None, network: str, progress: gr.Progress = _PROGRESS
    ) -> tuple[Any, ...]:
        alone = photograph is not None or not photographs
        done: tuple[Any, ...] = one(photograph, network) if alone else all_of_them(photographs, network, progress)
        return done

    return segment_given


def _segmented(networks: Networks, photographs: Sequence[str], network: str, done: Any = lambda count: None) -> tuple[Any, ...]:
    folder = exports().new_folder()
    written, refused = segment_files(networks.get(network), [Path(file) for file in photographs], folder, done)
    archive = write_zip(written, folder / "segmented.zip")
    shown = [_remembered(one, network) for one in written]
    gallery = [(str(one.overlay), one.name) for one in written]
    pictures = (*(str(path) for path in written[0].files), _words(shown[0], refused))
    return (*pictures, str(archive), gallery, shown)


def _revealed(shown: Shown) -> tuple[gr.DownloadButton, gr.Gallery]:
    """What is of use only once there is something to download, or something to choose from."""
    return gr.DownloadButton(visible=bool(shown)), gr.Gallery(visible=len(shown) > 1)


def _remembered(one: Written, network: str) -> dict[str, str]:
    overlay, saliency, cut_out = (str(path) for path in one.files)
    files = {"overlay": overlay, "saliency": saliency, "cut_out": cut_out}
    return {"name": one.name, "network": network, **files, "area": f"{100 * one.area:.0f}"}


def _words(one: dict[str, str], refused: Sequence[str] = ()) -> str:
    name, network = render.plain(one["name"]), render.plain(one["network"])
    said = f"**{name}**: the network **{network}** takes {one['area']}% of the photograph for the object."
    return said + "".join(f"\n\nPassed over: {render.plain(problem)}." for problem in refused)


@guarded
def _chosen(shown: Shown, event: gr.SelectData) -> tuple[str, str, str, str]:
    index = whole("photograph", event.index)
    there = 0 <= index < len(shown) and Path(shown[index]["overlay"]).is_file()
    require(there, "these results are no longer kept", "Segment the photographs again.")
    one = shown[index]
    return one["overlay"], one["saliency"], one["cut_out"], _words(one)

"""Catalogues on the tab Directions: where one lies, import and export as a zip, two compared, several merged."""

from __future__ import annotations

import base64
import dataclasses
import html
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from PIL import Image

from explorer.desk import Compared, compare_directions
from explorer.directions.catalogue import Catalogue
from explorer.directions.comparing import CompareConfig
from explorer.directions.merging import Conflict
from explorer.runs.command import runs_root
from explorer.shelf import Place
from explorer.ui import render
from explorer.ui.exports import exports
from explorer.ui.guard import ENGINE, QUIET, guarded, labelled, real, whole
from explorer.views import Workbench
from segmentation.errors import LanternError

if TYPE_CHECKING:
    from explorer.ui.directions import Judge

_LABELS = {"threshold": "Same from"}
"""What the page calls the fields of :class:`CompareConfig`."""
_SHOWN_CONFLICTS = 20


@dataclasses.dataclass(frozen=True)
class ShelfControls:
    """What is done with whole catalogues."""

    other: gr.Dropdown
    other_direction: gr.Number
    compare: gr.Button
    threshold: gr.Slider
    title: gr.Textbox
    merge: gr.Button
    answer: gr.HTML
    take_in: gr.UploadButton
    export: gr.Button
    save: gr.DownloadButton


def where(catalogue: Catalogue, place: Place) -> str:
    """HTML: how many directions a catalogue has, where they come from, where it lies, and where edits go."""
    lies = shown_path(place.current) if place.current else "memory"
    edits = "" if place.current == place.target else f" What you save goes to a copy, <code>{shown_path(place.target)}</code>."
    lighting = "none yet" if catalogue.lighting is None else html.escape(catalogue.title(catalogue.lighting))
    return (
        f'<p class="count">{len(catalogue)} directions, {html.escape(catalogue.source)}; saliency lighting: <b>{lighting}</b>. '
        f"They lie in <code>{lies}</code>.{edits}</p>"
    )


def shown_path(path: Path) -> str:
    """A path as text of HTML, from the current folder on where it lies there, and of a run from the folder of runs on."""
    absolute, runs = path.absolute(), runs_root().absolute()
    if absolute.is_relative_to(Path.cwd()):
        return html.escape(str(absolute.relative_to(Path.cwd())))
    return html.escape(str(absolute.relative_to(runs.parent) if absolute.is_relative_to(runs) else absolute))


def build(bench: Workbench, judge: Judge) -> ShelfControls:
    """Lay the controls out."""
    names = bench.shelf.names()
    with gr.Accordion("Compare, merge, import, export", open=False):
        with gr.Row(elem_classes="tight"):
            info = "The direction above, or the catalogue of it, is held against this one."
            other = gr.Dropdown(
                names, value=names[0], label="Other catalogue", info=info, allow_custom_value=True, elem_id="other-catalogue"
            )
            other_direction = gr.Number(0, precision=0, label="Other direction", info="Its number.", elem_id="other-direction")
        compare = gr.Button("Compare the two directions", size="md", elem_id="compare")
        with gr.Row(elem_classes="tight"):
            info = "Directions whose cosine is above this become one."
            label, default = _LABELS["threshold"], CompareConfig.threshold
            threshold = gr.Slider(0.5, 1, default, step=0.01, label=label, info=info, elem_id="same-from")
            title = gr.Textbox("merged", label="Name of the merged catalogue", elem_id="merged-name", max_length=48)
        merge = gr.Button("Merge the two catalogues", size="md", elem_id="merge")
        answer = gr.HTML(elem_id="shelf-answer")
        with gr.Row(elem_classes="tight"):
            take_in = gr.UploadButton("Import a zip", file_types=[".zip"], size="md", elem_id="import-zip")
            export = gr.Button("Export this catalogue", size="md", elem_id="export-zip")
            save = gr.DownloadButton("Save the zip", size="md", interactive=False, elem_id="save-zip")
    return ShelfControls(other, other_direction, compare, threshold, title, merge, answer, take_in, export, save)


def wire(bench: Workbench, shelf: ShelfControls, judge: Judge, seed: gr.Number) -> None:
    """Have the buttons do what they say; a new catalogue is chosen at once."""
    shelf.compare.click(
        _compare(bench),
        [judge.catalogue, judge.direction, shelf.other, shelf.other_direction, seed],
        shelf.answer,
        show_progress="minimal",
        concurrency_id=ENGINE,
        concurrency_limit=1,
        api_name="compare",
    )
    shelf.merge.click(
        _merge(bench),
        [judge.catalogue, shelf.other, shelf.threshold, shelf.title],
        [judge.catalogue, shelf.other, shelf.answer],
        show_progress="minimal",
        api_name="merge",
    )
    shelf.take_in.upload(
        _take_in(bench),
        shelf.take_in,
        [judge.catalogue, shelf.other, shelf.answer],
        show_progress="minimal",
        api_name="import_catalogue",
    )
    exported: dict[str, Any] = {"show_progress": "minimal", "api_name": "export_catalogue"}
    shelf.export.click(_export(bench), judge.catalogue, shelf.save, **exported).success(
        lambda: gr.DownloadButton(interactive=True), None, shelf.save, **QUIET
    )
    shelf.other.focus(lambda: gr.Dropdown(choices=bench.shelf.names()), None, shelf.other, **QUIET)
    judge.catalogue.focus(lambda: gr.Dropdown(choices=bench.shelf.names()), None, judge.catalogue, **QUIET)


def _compare(bench: Workbench) -> Any:
    @guarded
    def compare(catalogue: str, direction: float, other: str, other_direction: float, seed: float) -> str:
        """Two directions: their cosine, the same code along both, and what their catalogues share (HTML)."""
        first = catalogue, whole("direction", direction)
        second = other, whole("other direction", other_direction)
        found = compare_directions(bench, first, second, whole("seed", seed))
        return compared(found, bench, first, second)

    return compare


def compared(found: Compared, bench: Workbench, first: tuple[str, int], second: tuple[str, int]) -> str:
    """HTML of a comparison."""
    titles = [f"{html.escape(name)}, {_titled(bench.shelf.catalogue(name), index)}" for name, index in (first, second)]
    strips = "".join(
        f"<figure>{inline(picture, title)}<figcaption>{title}</figcaption></figure>"
        for picture, title in zip(found.strips, titles, strict=True)
    )
    close = "; ".join(
        f"{_titled(bench.shelf.catalogue(second[0]), index)} ({_signed(cosine, 3)})" for index, cosine in found.closest
    )
    shared = found.shared
    return (
        f'<div class="facts"><p class="cosine">cosine <b>{_signed(found.cosine, 4)}</b></p>{strips}'
        f"<p>Closest to the first in the other catalogue: {close}.</p>"
        f"<p>The two catalogues share {len(shared.matches)} directions (absolute cosine above {CompareConfig.threshold:g}); "
        f"{len(shared.only_first)} are only in the first, {len(shared.only_second)} only in the other.</p></div>"
    )


def _signed(value: float, digits: int) -> str:
    rounded = round(value, digits)
    return f"{rounded:+.{digits}f}" if rounded else f"{0:.{digits}f}"


def _titled(catalogue: Catalogue, index: int) -> str:
    return f"direction {html.escape(catalogue.title(index))}"


def inline(picture: render.Pixels, alt: str) -> str:
    """HTML: a picture (H, W, 3) as a JPEG inside the page."""
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "JPEG", quality=88)
    return f'<img src="data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}" alt="{alt}">'


def _chosen(bench: Workbench, name: str, answer: str) -> tuple[Any, Any, str]:
    names = bench.shelf.names()
    return gr.Dropdown(choices=names, value=name), gr.Dropdown(choices=names), answer


def _merge(bench: Workbench) -> Any:
    @guarded
    @labelled(_LABELS)
    def merge(catalogue: str, other: str, threshold: float, title: str) -> tuple[Any, Any, str]:
        """Make one catalogue of two, and choose it; says what had to be decided."""
        names = [name or bench.shelf.first for name in (catalogue, other)]
        if names[0] == names[1]:
            raise LanternError("a catalogue cannot be merged with itself", "Choose another one under Other catalogue.")
        name, merged = bench.shelf.merge(names, title or "merged", CompareConfig(real("threshold", threshold)))
        conflicts = "".join(f"<li>{_conflict(one)}</li>" for one in merged.conflicts[:_SHOWN_CONFLICTS])
        more = len(merged.conflicts) - _SHOWN_CONFLICTS
        conflicts += f"<li>and {more} more</li>" if more > 0 else ""
        said = (
            f'<div class="facts"><p><b>{html.escape(name)}</b> has {len(merged.catalogue)} directions; {merged.folded} were '
            f"folded into others, {len(merged.conflicts)} things were told differently.</p><ul>{conflicts}</ul></div>"
        )
        return _chosen(bench, name, said)

    return merge


def _conflict(conflict: Conflict) -> str:
    field, kept, dropped, source = map(
        html.escape, (conflict.field, str(conflict.kept), str(conflict.dropped), conflict.source)
    )
    return f"{field} of direction {conflict.direction}: {kept}, not {dropped} ({source})"


def _take_in(bench: Workbench) -> Any:
    @guarded
    def import_catalogue(path: str | None) -> tuple[Any, Any, str]:
        """Take over the catalogue in a zip, and choose it; a zip that holds anything else is refused."""
        if path is None:
            raise LanternError("there is no file", "Choose a zip that was exported.")
        try:
            name = bench.shelf.take_in(Path(path), Path(path).stem)
        except LanternError as error:
            # Where an upload lies on this computer is nobody's business.
            raise LanternError(error.problem.replace(path, Path(path).name), error.remedy) from error
        return _chosen(bench, name, f'<p class="count">Taken over as <b>{html.escape(name)}</b>.</p>')

    return import_catalogue


def _export(bench: Workbench) -> Any:
    @guarded
    def export_catalogue(catalogue: str) -> str:
        """A catalogue with its strips as one zip."""
        name = (catalogue or bench.shelf.first).replace("/", "-")
        path = exports().place(f"{name}.zip")
        bench.shelf.export(catalogue, path)
        return str(path)

    return export_catalogue

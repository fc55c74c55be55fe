"""The tab that asks: which one is saliency lighting?"""

from __future__ import annotations

import dataclasses
from typing import Any

import gradio as gr

from explorer.desk import EDITED, judged, save_direction
from explorer.directions.catalogue import STATUSES
from explorer.ui import directions_runs, directions_shelf
from explorer.ui.cards import ALL, CHOOSE, MARK, SHOWN_STATUSES, Chosen, cards
from explorer.ui.directions_facts import formula
from explorer.ui.directions_form import BACKWARDS, FORWARDS, LABELS, drop, fill, sign_of, way
from explorer.ui.explore import ExploreTab, direction_slider, magnitude_slider
from explorer.ui.guard import ENGINE, QUIET, guarded, real, whole
from explorer.ui.mask_cards import mask_cards
from explorer.views import MaskView, Workbench

_QUESTION = """## Which one is saliency lighting?
The one along which the object gets lighter and its background darker. Start with the first cards, which scored best, look at
the masks that each makes (where the shifted image is lighter), and save what you think. What is shipped never changes: your
words go to a copy."""
SAMPLES = 6
_SAMPLES_ABOUT = "Each card: image, shifted image, mask, and what the filters of the paper say."


@dataclasses.dataclass(frozen=True)
class Judge:
    """The controls of the direction that is judged; ``seen`` is what their words are held against when they are saved."""

    catalogue: gr.Dropdown
    direction: gr.Slider
    label: gr.Textbox
    status: gr.Radio
    sign: gr.Radio
    magnitude: gr.Slider
    notes: gr.Textbox
    seen: gr.State
    filled: gr.Textbox
    """See :class:`explorer.ui.directions_form.Filled`."""
    unsaved: gr.Markdown
    drop: gr.Button

    @property
    def fields(self) -> list[Any]:
        """Those of :data:`explorer.desk.EDITED`, in that order."""
        return [self.label, self.status, self.sign, self.magnitude, self.notes]


def build(bench: Workbench, explored: ExploreTab, timer: gr.Timer, tab: gr.Tab) -> None:
    """Lay the tab out for ``bench``, inside ``tab``; it follows the direction of Explore."""
    gr.Markdown(_QUESTION, elem_classes="question")
    with gr.Row():
        with gr.Column(scale=5, min_width=320):
            dropdown: Any = explored.catalogue
            dropdown.render()
            where = gr.HTML(elem_id="catalogue-words", padding=True)
            show = gr.Dropdown(list(SHOWN_STATUSES), value=ALL, label="Show, the best total first", elem_id="judge-show")
            ranked = gr.HTML(elem_id="ranked", js_on_load=CHOOSE, container=True)
        with gr.Column(scale=9, min_width=320):
            judge, save, saved, picture, told = _judge(bench, explored)
            runs = directions_runs.build(bench, timer)
            shelf = directions_shelf.build(bench, judge)
    filling: dict[str, Any] = {
        "fn": fill(bench),
        "inputs": [judge.catalogue, judge.direction, *judge.fields, judge.filled],
        "outputs": [*judge.fields, told, judge.seen, judge.filled, judge.unsaved],
        **QUIET,
    }
    proof: dict[str, Any] = {
        "fn": _proof(bench),
        "inputs": [judge.catalogue, judge.direction, judge.sign, judge.magnitude, explored.seed],
        "outputs": picture,
        "concurrency_id": ENGINE,
        "show_progress": "hidden",
    }
    listed: dict[str, Any] = {
        "fn": _listed(bench),
        "inputs": [judge.catalogue, show, judge.direction],
        "outputs": [ranked, where],
        **QUIET,
    }
    judge.direction.change(**filling, trigger_mode="always_last").then(**proof, api_visibility="private")
    judge.direction.change(None, judge.direction, None, js=MARK, api_visibility="private")
    # input, not change: filling the form sets these too.
    moved = [judge.sign.input, judge.magnitude.input]
    gr.on(moved, **proof, trigger_mode="always_last", concurrency_limit=1, api_name="judge_direction")
    show.input(**listed)
    ranked.choose(_chosen, None, judge.direction, **QUIET)
    met = gr.State(None)
    entered = tab.select(_entered, [explored.direction, met], [judge.direction, met], **QUIET)
    opened = judge.catalogue.change(_first(bench), judge.catalogue, judge.direction, **QUIET)
    for step in (entered, opened):
        step.then(**listed)
        step.then(**filling).then(**proof, api_visibility="private")
    save.click(
        _save(bench),
        [judge.catalogue, judge.direction, *judge.fields, judge.seen],
        saved,
        show_progress="minimal",
        concurrency_id=ENGINE,
        concurrency_limit=1,
        api_name="save_direction",
    ).success(**listed).then(**filling)
    back = {**filling, "fn": drop(bench), "inputs": [judge.catalogue, judge.direction, judge.filled]}
    judge.drop.click(**back).then(**proof, api_visibility="private")
    directions_runs.wire(bench, runs, judge, tab, [listed, filling, {**proof, "api_visibility": "private"}])
    directions_shelf.wire(bench, shelf, judge, explored.seed)


def _judge(bench: Workbench, explored: ExploreTab) -> tuple[Judge, gr.Button, gr.Markdown, gr.HTML, gr.HTML]:
    known = bench.on()
    index = known.catalogue.lighting or 0
    entry = known.catalogue.entries[index]
    with gr.Row():
        with gr.Column(scale=4, min_width=300):
            direction = direction_slider(known, "judged", index, "Or choose one of the cards.")
            label = gr.Textbox(
                entry.label, label=LABELS["label"], placeholder="what does it do?", elem_id="label", max_length=200
            )
            info = "Only one direction can be saliency lighting; the one before it becomes other."
            status = gr.Radio(list(STATUSES), value=entry.status, label=LABELS["status"], info=info, elem_id="status")
            info = "Which way it is walked: the object has to get lighter."
            sign = gr.Radio([FORWARDS, BACKWARDS], value=way(entry.sign), label=LABELS["sign"], info=info, elem_id="sign")
            magnitude = magnitude_slider("judged-magnitude", entry.magnitude)
            notes = gr.Textbox(entry.notes, label=LABELS["notes"], lines=2, elem_id="notes", max_length=10_000)
            with gr.Row(elem_classes="tight"):
                save = gr.Button("Save", variant="primary", min_width=90, elem_id="save-direction")
                back = gr.Button("Drop unsaved", min_width=130, elem_id="drop-unsaved")
            unsaved = gr.Markdown(elem_id="unsaved")
            saved = gr.Markdown(elem_id="saved")
        with gr.Column(scale=6, min_width=320):
            gr.Markdown(_SAMPLES_ABOUT)
            picture = gr.HTML(elem_id="proof")
            with gr.Accordion("What was measured, and the history", open=True):
                told = gr.HTML(elem_id="facts", padding=True)
            with gr.Accordion("How the total is made", open=False) as accordion:
                made = gr.HTML(elem_id="formula", padding=True)
            # Only when asked for: it would be a hundredth of what every visitor loads first.
            accordion.expand(formula, None, made, **QUIET)
    filled = gr.Textbox("", visible=False, elem_id="judge-filled")
    fields = (label, status, sign, magnitude, notes)
    judge = Judge(explored.catalogue, direction, *fields, gr.State({}), filled, unsaved, back)
    return judge, save, saved, picture, told


def _first(bench: Workbench) -> Any:
    @guarded
    def first(catalogue: str) -> Any:
        known = bench.shelf.catalogue(catalogue)
        return gr.Slider(value=known.lighting or 0, maximum=max(len(known) - 1, 1))

    return first


def _listed(bench: Workbench) -> Any:
    @guarded
    def listed(catalogue: str, show: str, direction: float) -> tuple[str, str]:
        """The directions as cards, the best total first, and where their catalogue lies."""
        known, place = bench.shelf.catalogue(catalogue), bench.shelf.place(catalogue)
        measured = any("total" in entry.scores for entry in known.entries)
        chosen = Chosen("total" if measured else "index", show or ALL).of(known)
        said = "" if measured else '<p class="count">Not ranked yet: let a run do it, below.</p>'
        shown = cards(known, place.current, chosen, "total", whole("direction", direction))
        return said + shown, directions_shelf.where(known, place)

    return listed


def _proof(bench: Workbench) -> Any:
    @guarded
    def proof(catalogue: str, direction: float, sign: str, magnitude: float, seed: float) -> str:
        """Samples of a direction with their masks and what the filters say (HTML), at a sign and magnitude not saved yet."""
        view = MaskView(whole("direction", direction), real("magnitude", magnitude), whole("seed", seed), count=SAMPLES)
        return mask_cards(judged(bench.on(catalogue), view, sign_of(sign)), None)

    return proof


def _save(bench: Workbench) -> Any:
    @guarded
    def save(
        catalogue: str,
        direction: float,
        label: str,
        status: str,
        sign: str,
        magnitude: float,
        notes: str,
        seen: dict[str, Any],
    ) -> str:
        """Save what a person says of a direction, with a strip of it; says where."""
        index = whole("direction", direction)
        values = (label.strip(), status, sign_of(sign), real("magnitude", magnitude), notes.strip())
        fields = dict(zip(EDITED, values, strict=True))
        save_direction(bench, catalogue, index, fields, seen or None)
        return f"Direction {index} is saved in `{directions_shelf.shown_path(bench.shelf.place(catalogue).target)}`."

    return save


def _entered(explored: float, met: float | None) -> tuple[Any, float]:
    """The direction of Explore, unless it is the one met there the last time: then the form stays where it is."""
    return gr.skip() if explored == met else explored, explored


@guarded
def _chosen(event: gr.EventData) -> int:
    return whole("direction", event.index)

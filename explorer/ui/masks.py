"""The tab that asks: which samples are kept, and why are the others not?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import gradio as gr
from gradio.events import api

from explorer.closer import closer_look
from explorer.estimates import estimate
from explorer.ui import mask_cards, plots, render
from explorer.ui.explore import (
    ExploreTab,
    direction_slider,
    magnitude_slider,
    new_seed,
    sample_values,
    seed_box,
    truncation_slider,
)
from explorer.ui.guard import ENGINE, QUIET, answered, guarded, labelled, real, whole
from explorer.ui.space import borrowed
from explorer.views import MaskView, Workbench
from segmentation.errors import require
from segmentation.filters import PRESETS, FilterConfig
from segmentation.shards import ShardConfig

OWN = "own"
MOST = 96
"""Samples on the sheet, at most; a rate wants many, and a page that answers at once wants few."""
BREATH = 1.0
"""Seconds from one set of figures to the next: drawing them ten times a second would fill the browser's memory."""
_QUESTION = """## Which samples are kept, and why are the others not?
A pixel belongs to the mask where the shifted image is lighter than the image. Filters then decide which masks are good enough
to train on; move a threshold to see at once what it does to the same samples. Choose a card for a closer look at it."""
_LEGEND = """Each card: image, shifted image, mask. **Blue, solid:** the mask. **Orange, hatched:** small components that were
removed from it. A rejected sample has a dashed border, and a cross over its mask."""
_NAMES = tuple(field.name for field in fields(FilterConfig))
_LABELS = {
    "preset": "Rules",
    "size": "Size filter",
    "histogram": "Histogram filter",
    "components": "Components filter",
    "max_area": "Largest area",
    "min_component": "Smallest component",
    "histogram_bins": "Histogram bins",
    "histogram_window": "Window",
}
"""What the page calls the fields of :class:`FilterConfig`."""
_COUNT = "Samples"


@dataclass(frozen=True)
class MasksTab:
    """The controls that other tabs read: see :func:`read_choice`."""

    given: list[Any]


@dataclass(frozen=True)
class _Controls:
    catalogue: gr.Dropdown
    view: list[Any]
    count: gr.Slider
    filters: list[Any]
    preset: gr.Radio
    wanted: gr.Number
    chosen: gr.Number
    take: gr.Button
    another: gr.Button

    def judged(self) -> list[Any]:
        """What the sheet depends on, in the order of the callbacks' arguments."""
        return [self.catalogue, *self.view, self.count, *self.filters, self.wanted, self.chosen]


@dataclass(frozen=True)
class _Answers:
    sheet: gr.HTML
    acceptance: gr.HTML
    funnel: gr.Plot
    closer: gr.HTML
    figures: gr.Plot


def preset_name(filters: FilterConfig) -> str:
    """Which preset ``filters`` are, or ``own``."""
    return next((name for name in PRESETS if filters == FilterConfig(preset=name)), OWN)


def build(bench: Workbench, explored: ExploreTab, page: gr.Blocks) -> MasksTab:
    """Lay the tab out for ``bench``, inside a ``gr.Tab`` of ``page``."""
    gr.Markdown(_QUESTION, elem_classes="question")
    with gr.Row():
        with gr.Column(scale=4, min_width=280):
            controls = _controls(bench.on(), explored.catalogue)
        with gr.Column(scale=11, min_width=320):
            answers = _answers()
    api(_verdicts(bench), api_name="masks", concurrency_id=ENGINE, concurrency_limit=1)
    _show(bench, page, controls, answers)
    answers.sheet.click(_selected, None, controls.chosen, **QUIET)
    given = [explored.direction, explored.magnitude, explored.seed, explored.truncation]
    controls.take.click(lambda *values: values, given, controls.view, **QUIET)
    controls.another.click(new_seed, None, controls.view[2], **QUIET)
    controls.preset.input(_thresholds, controls.preset, controls.filters, **QUIET)
    # Its own directions and lighting come with a catalogue; the sheet follows from them, and from the catalogue itself.
    explored.catalogue.change(_opened(bench), explored.catalogue, controls.view[:2], **QUIET)
    return MasksTab([explored.catalogue, *controls.view, *controls.filters])


def _show(bench: Workbench, page: gr.Blocks, controls: _Controls, answers: _Answers) -> None:
    given = controls.judged()
    judge: dict[str, Any] = {
        "fn": _judge(bench),
        "inputs": given,
        "outputs": [answers.sheet, answers.acceptance, controls.preset],
        "concurrency_id": ENGINE,
        "concurrency_limit": 1,
        "show_progress": "hidden",
        "api_visibility": "private",
    }
    # change, not input: buttons set these controls too, and nothing that this answers sets them back.
    watched = [control.change for control in given if control is not controls.chosen]
    judged = gr.on(watched, **judge, trigger_mode="always_last")
    # Drawn once, when the page opens, and not when its tab is chosen: then it is there already.
    first = page.load(**judge)
    look: dict[str, Any] = {
        "fn": _look(bench),
        "inputs": given,
        "outputs": [answers.funnel, answers.closer, answers.figures],
        "trigger_mode": "always_last",
        "show_progress": "hidden",
        # Not the engine's queue: it waits between two answers, and the samples are there already.
        "concurrency_id": "figures",
        "concurrency_limit": 8,
        "api_visibility": "private",
    }
    judged.then(**look)
    first.then(**look)
    controls.chosen.change(**look)


def _controls(bench: Workbench, catalogue: gr.Dropdown) -> _Controls:
    default = MaskView(direction=bench.catalogue.lighting or 0)
    take = gr.Button("Take what Explore shows", size="md", elem_id="take-explored")
    view: list[Any] = [
        direction_slider(bench, "mask-direction", default.direction, "Number in the catalogue; starts at saliency lighting."),
        magnitude_slider("mask-magnitude", bench.catalogue.entries[default.direction].magnitude),
        seed_box("mask-seed", default.seed),
    ]
    another = gr.Button("New seed", size="md", elem_id="mask-new-seed")
    view.append(truncation_slider("mask-truncation", default.truncation))
    preset = _preset_radio()
    with gr.Accordion("Thresholds", open=True):
        filters = _filter_controls()
    count = gr.Slider(
        8, MOST, default.count, step=8, label=_COUNT, info="More: a surer rate, a slower page.", elem_id="mask-count"
    )
    wanted = gr.Number(
        ShardConfig.count, step=1, label="Samples wanted", info="Of a data set: how long will it take?", elem_id="wanted"
    )
    chosen = gr.Number(0, step=1, label="Closer look at sample", info="Its number, or choose its card.", elem_id="chosen")
    return _Controls(catalogue, view, count, filters, preset, wanted, chosen, take, another)


def _preset_radio() -> gr.Radio:
    info = "paper: as the text describes them. reference: as the authors' code has them. own: your thresholds below."
    return gr.Radio([*PRESETS, OWN], value=preset_name(FilterConfig()), label="Preset", info=info, elem_id="preset")


def _filter_controls() -> list[Any]:
    """A control for every field of :class:`FilterConfig`, in their order."""
    default, label = FilterConfig(), _LABELS
    rules = "paper: limits are still allowed, components join by edges. reference: limits are excluded, corners join too."
    return [
        gr.Radio(list(PRESETS), value=default.preset, label=label["preset"], info=rules, elem_id="rules"),
        gr.Checkbox(default.size, label=label["size"], info="Reject masks that cover too much.", elem_id="size"),
        gr.Checkbox(
            default.histogram,
            label=label["histogram"],
            info="Reject images not split in dark and light.",
            elem_id="histogram",
        ),
        gr.Checkbox(
            default.components, label=label["components"], info="Remove small components from masks.", elem_id="components"
        ),
        _slider((0, 1, 0.01), default.max_area, label["max_area"], "Share of the image a mask may cover.", "max-area"),
        _slider(
            (0, 1, 0.01), default.min_component, label["min_component"], "Share of the largest one's area.", "min-component"
        ),
        _slider((3, 64, 1), default.histogram_bins, label["histogram_bins"], "Grey levels told apart.", "bins"),
        _slider((1, 15, 2), default.histogram_window, label["histogram_window"], "Bins averaged; odd.", "window"),
    ]


def _slider(span: tuple[float, float, float], value: float, label: str, info: str, elem_id: str) -> gr.Slider:
    low, high, step = span
    precision = 0 if isinstance(step, int) else None
    return gr.Slider(low, high, value, step=step, precision=precision, label=label, info=info, elem_id=elem_id)


def _answers() -> _Answers:
    with gr.Row():
        with gr.Column(scale=5, min_width=280):
            acceptance = gr.HTML(elem_id="acceptance", padding=True, container=True)
        with gr.Column(scale=6, min_width=300):
            funnel = gr.Plot(show_label=False, elem_id="funnel")
    with gr.Row(elem_id="sheet"):
        with gr.Column(scale=6, min_width=300):
            gr.Markdown(_LEGEND)
            sheet = gr.HTML(elem_id="cards", js_on_load=mask_cards.CHOOSE)
        with gr.Column(scale=5, min_width=300, elem_id="closer-column"):
            look = gr.HTML(elem_id="closer", padding=True, container=True)
            figures = gr.Plot(show_label=False, elem_id="look-figures")
    return _Answers(sheet, acceptance, funnel, look, figures)


def _opened(bench: Workbench) -> Any:
    @guarded
    def opened(name: str) -> tuple[gr.Slider, float]:
        catalogue = bench.on(name).catalogue
        index = catalogue.lighting or 0
        return gr.Slider(maximum=max(len(catalogue) - 1, 1), value=index), catalogue.entries[index].magnitude

    return opened


@labelled({**_LABELS, "count": _COUNT})
def _read(values: Sequence[Any]) -> tuple[str, MaskView, FilterConfig]:
    """The controls' values, in their order, as what they choose; :class:`LanternError` names a wrong one."""
    catalogue, direction, magnitude, seed, truncation, count, *thresholds = values
    named = dict(zip(_NAMES, thresholds, strict=True))
    filters = FilterConfig(
        preset=named["preset"],
        size=named["size"],
        histogram=named["histogram"],
        components=named["components"],
        max_area=real("largest area", named["max_area"]),
        min_component=real("smallest component", named["min_component"]),
        histogram_bins=whole("number of histogram bins", named["histogram_bins"]),
        histogram_window=whole("window", named["histogram_window"]),
    )
    number = whole("number of samples", count)
    require(number <= MOST, f"the number of samples is {number}", f"Choose at most {MOST}.")
    return catalogue, MaskView(**sample_values(direction, magnitude, seed, truncation), count=number), filters


def read_choice(values: Sequence[Any]) -> tuple[str, MaskView, FilterConfig, list[Any]]:
    """What the controls of :class:`MasksTab` choose (catalogue, samples, filters), and the values after theirs."""
    own = 5 + len(_NAMES)
    return *_read((*values[:5], MaskView.count, *values[5:own])), list(values[own:])


def summary(bench: Workbench, values: Sequence[Any]) -> str:
    """Markdown: the direction, magnitude and thresholds that a run started now would have."""
    catalogue, view, filters, _ = read_choice(values)
    rules = preset_name(filters)
    if rules == OWN:
        rules = ", ".join(f"{name} {value}" for name, value in filters.to_json().items())
    title = render.plain(bench.on(catalogue).catalogue.title(view.direction))
    return f"Direction **{title}**, magnitude **{view.magnitude:g}**, filters: **{render.plain(rules)}**. Change them in Masks."


def _judge(bench: Workbench) -> Any:
    @guarded
    def judge(*values: Any) -> tuple[str, str, str]:
        *choice, wanted, chosen = values
        catalogue, view, filters = _read(choice)
        sheet = bench.on(catalogue).masks(view, filters)
        kept, seconds = sheet.funnel["kept"], sheet.seconds_per_pair
        found = estimate(kept, view.count, whole("number of samples wanted", wanted), seconds)
        picture = mask_cards.mask_cards(sheet, whole("sample to look at", chosen))
        return picture, mask_cards.acceptance(found, kept, view.count, seconds), preset_name(filters)

    return judge


def _look(bench: Workbench) -> Any:
    @borrowed
    @guarded
    def drawn(*values: Any) -> tuple[Any, str, Any]:
        *choice, _, chosen = values
        catalogue, view, filters = _read(choice)
        known = bench.on(catalogue)
        # The sheet may have become shorter than it was when the sample was chosen.
        wanted = whole("sample to look at", chosen)
        found = closer_look(known, view, filters, min(wanted, view.count - 1))
        counts = known.masks(view, filters).funnel
        return plots.funnel(counts), mask_cards.closer(found, wanted if wanted >= view.count else None), plots.look(found)

    async def look(*values: Any) -> AsyncIterator[tuple[Any, str, Any]]:
        yield await asyncio.to_thread(drawn, *values)
        # The page asks again only when this has ended: a slider that is being moved is answered once in this time.
        await asyncio.sleep(BREATH)

    return look


def _verdicts(bench: Workbench) -> Any:
    def masks(
        direction: int,
        magnitude: float,
        seed: int = MaskView.seed,
        truncation: float = MaskView.truncation,
        count: int = MaskView.count,
        filters: dict[str, Any] | None = None,
        catalogue: str = "",
    ) -> dict[str, Any]:
        """What the filters say of samples: the funnel, the acceptance rate, and of each sample the area and the verdict.

        ``filters`` holds thresholds by their names in FilterConfig; those not named are the defaults.
        """
        with answered():
            view = MaskView(**sample_values(direction, magnitude, seed, truncation), count=whole("count", count))
            sheet = bench.on(catalogue).masks(view, FilterConfig.from_json(filters or {}))
        verdicts = zip(sheet.area.tolist(), sheet.rejected_by, sheet.explanations, strict=True)
        samples = [{"area": area, "rejected_by": by, "verdict": words} for area, by, words in verdicts]
        return {"funnel": sheet.funnel, "acceptance_rate": sheet.acceptance_rate, "samples": samples}

    return masks


@guarded
def _selected(event: gr.EventData) -> int:
    return whole("sample to look at", event.sample)


@guarded
def _thresholds(preset: str) -> list[Any]:
    """The values of a preset for the controls; ``own`` leaves them as they are."""
    require(preset in (*PRESETS, OWN), f"the preset is {preset!r}", f"Choose {', '.join(PRESETS)} or {OWN}.")
    if preset == OWN:
        return [gr.skip() for _ in _NAMES]
    return list(asdict(FilterConfig(preset=preset)).values())

"""The tab that asks: which samples are kept, and why are the others not?"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

import gradio as gr

from explorer.ui import render
from explorer.ui.explore import (
    ExploreTab,
    direction_slider,
    magnitude_slider,
    new_seed,
    sample_values,
    seed_box,
    truncation_slider,
)
from explorer.ui.guard import ENGINE, guarded, real, whole
from explorer.views import MaskView, Workbench
from segmentation.errors import require
from segmentation.filters import PRESETS, FilterConfig

OWN = "own"
_QUESTION = """## Which samples are kept, and why are the others not?
A pixel belongs to the mask where the shifted image is lighter than the image. Filters then decide which masks are good enough
to train on; move a threshold to see at once what it does to the same samples."""
_LEGEND = """Each card: image, shifted image, mask. **Blue, solid:** the mask. **Orange, hatched:** small components that were
removed from it. Rejected cards are dimmed, with a dashed border and a cross."""
_NAMES = tuple(field.name for field in fields(FilterConfig))


@dataclass(frozen=True)
class _Answers:
    picture: gr.Image
    acceptance: gr.HTML
    preset: gr.Radio
    table: gr.Dataframe

    def all(self) -> list[Any]:
        return [self.picture, self.acceptance, self.preset, self.table]


def preset_name(filters: FilterConfig) -> str:
    """Which preset ``filters`` are, or ``own``."""
    return next((name for name in PRESETS if filters == FilterConfig(preset=name)), OWN)


def build(bench: Workbench, explored: ExploreTab, page: gr.Blocks, tab: gr.Tab) -> None:
    """Lay the tab out for ``bench``, inside ``tab`` of ``page``."""
    gr.Markdown(_QUESTION, elem_classes="question")
    with gr.Row():
        with gr.Column(scale=4, min_width=280):
            view, take, another = _view_controls(bench)
            preset = _preset_radio()
            with gr.Accordion("Thresholds", open=True):
                filters = _filter_controls()
        with gr.Column(scale=10, min_width=320):
            with gr.Row():
                with gr.Column(min_width=280):
                    acceptance = gr.HTML(elem_id="acceptance", padding=True, container=True)
                with gr.Column(min_width=280):
                    gr.Markdown(_LEGEND)
            answers = _Answers(_cards(), acceptance, preset, _table())
    judge: dict[str, Any] = {
        "fn": _masks(bench),
        "inputs": [*view, *filters],
        "outputs": answers.all(),
        "concurrency_id": ENGINE,
    }
    again: dict[str, Any] = {**judge, "show_progress": "hidden", "api_visibility": "private"}
    # input, not change: the answer sets the preset, and choosing a preset sets the thresholds.
    gr.on(
        [control.input for control in (*view, *filters)],
        **judge,
        trigger_mode="always_last",
        show_progress="hidden",
        concurrency_limit=1,
        api_name="masks",
    )
    quick: dict[str, Any] = {"show_progress": "hidden", "queue": False, "api_visibility": "private"}
    preset.input(_thresholds, preset, filters, **quick).then(**again)
    another.click(new_seed, None, view[2], **quick).then(**again)
    given = [explored.direction, explored.magnitude, explored.seed, explored.truncation]
    take.click(lambda *values: values, given, view, **quick).then(**again)
    tab.select(**again)
    # A visitor who opens the tab before the page listens would otherwise find it empty.
    page.load(**again)


def _view_controls(bench: Workbench) -> tuple[list[Any], gr.Button, gr.Button]:
    default = MaskView(direction=bench.catalogue.lighting or 0)
    take = gr.Button("Take what Explore shows", size="md", elem_id="take-explored")
    view = [
        direction_slider(bench, "mask-direction", default.direction, "Number in the catalogue; starts at saliency lighting."),
        magnitude_slider("mask-magnitude", bench.catalogue.entries[default.direction].magnitude),
        seed_box("mask-seed", default.seed),
    ]
    another = gr.Button("New seed", size="md", elem_id="mask-new-seed")
    view.append(truncation_slider("mask-truncation", default.truncation))
    return view, take, another


def _preset_radio() -> gr.Radio:
    info = "paper: as the text describes them. reference: as the authors' code has them. own: your thresholds below."
    return gr.Radio([*PRESETS, OWN], value=preset_name(FilterConfig()), label="Preset", info=info, elem_id="preset")


def _filter_controls() -> list[Any]:
    """A control for every field of :class:`FilterConfig`, in their order."""
    default = FilterConfig()
    rules = "paper: limits are still allowed, components join by edges. reference: limits are excluded, corners join too."
    return [
        gr.Radio(list(PRESETS), value=default.preset, label="Rules", info=rules, elem_id="rules"),
        gr.Checkbox(default.size, label="Size filter", info="Reject masks that cover too much.", elem_id="size"),
        gr.Checkbox(
            default.histogram,
            label="Histogram filter",
            info="Reject images not split into dark and light.",
            elem_id="histogram",
        ),
        gr.Checkbox(
            default.components, label="Components filter", info="Remove small components from masks.", elem_id="components"
        ),
        gr.Slider(
            0,
            1,
            default.max_area,
            step=0.01,
            label="Largest area",
            info="Share of the image a mask may cover.",
            elem_id="max-area",
        ),
        gr.Slider(
            0,
            1,
            default.min_component,
            step=0.01,
            label="Smallest component",
            info="Share of the largest one's area.",
            elem_id="min-component",
        ),
        gr.Slider(
            3,
            64,
            default.histogram_bins,
            step=1,
            precision=0,
            label="Histogram bins",
            info="Grey levels told apart.",
            elem_id="bins",
        ),
        gr.Slider(
            1, 15, default.histogram_window, step=2, precision=0, label="Window", info="Bins averaged; odd.", elem_id="window"
        ),
    ]


def _cards() -> gr.Image:
    return gr.Image(
        label=f"{MaskView.count} samples",
        format="jpeg",
        interactive=False,
        buttons=["fullscreen", "download"],
        elem_id="cards",
        elem_classes="picture",
        alt_text="A card for each sample: image, shifted image, mask, verdict. The verdicts are in the table below too.",
    )


def _table() -> gr.Dataframe:
    with gr.Accordion("The verdicts in words", open=False):
        return gr.Dataframe(
            headers=["sample", "verdict"], datatype=["number", "str"], interactive=False, wrap=True, elem_id="verdicts"
        )


def _masks(bench: Workbench) -> Any:
    @guarded
    def masks(
        direction: float,
        magnitude: float,
        seed: float,
        truncation: float,
        preset: str,
        size: bool,
        histogram: bool,
        components: bool,
        max_area: float,
        min_component: float,
        histogram_bins: float,
        histogram_window: float,
    ) -> tuple[render.Pixels, str, str, list[list[Any]]]:
        """The cards of 24 samples, the funnel, the name of the preset, and the verdicts in words."""
        view = MaskView(**sample_values(direction, magnitude, seed, truncation))
        filters = FilterConfig(
            preset=preset,
            size=size,
            histogram=histogram,
            components=components,
            max_area=real("largest area", max_area),
            min_component=real("smallest component", min_component),
            histogram_bins=whole("number of histogram bins", histogram_bins),
            histogram_window=whole("window", histogram_window),
        )
        sheet = bench.masks(view, filters)
        verdicts: list[list[Any]] = [[number, words] for number, words in enumerate(sheet.explanations)]
        return render.mask_cards(sheet), render.funnel_table(sheet.funnel), preset_name(filters), verdicts

    return masks


@guarded
def _thresholds(preset: str) -> list[Any]:
    """The values of a preset for the controls; ``own`` leaves them as they are."""
    require(preset in (*PRESETS, OWN), f"the preset is {preset!r}", f"Choose {', '.join(PRESETS)} or {OWN}.")
    if preset == OWN:
        return [gr.skip() for _ in _NAMES]
    return list(asdict(FilterConfig(preset=preset)).values())

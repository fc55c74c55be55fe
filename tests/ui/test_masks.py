"""The tab Masks: its callbacks over the disc generator, whose pictures can be predicted."""

from __future__ import annotations

import asyncio
import base64
import io
import re
from typing import Any

import gradio as gr
import numpy as np
import pytest
from PIL import Image

from explorer.closer import closer_look
from explorer.estimates import estimate
from explorer.ui import mask_cards, masks, plots
from explorer.views import MaskView, Workbench
from segmentation.filters import FilterConfig
from tests.ui.conftest import LIGHTING

VIEW = MaskView(direction=LIGHTING)


def values(chosen: int = 0, count: int = VIEW.count, wanted: Any = 1000, **changes: Any) -> list[Any]:
    """What the controls give the callbacks, in their order."""
    filters = {**FilterConfig().to_json(), **changes}
    return ["", VIEW.direction, VIEW.magnitude, VIEW.seed, VIEW.truncation, count, *filters.values(), wanted, chosen]


def drawn(source: str) -> np.ndarray[Any, np.dtype[np.uint8]]:
    kind, data = source.split(",")
    assert kind == "data:image/jpeg;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


def test_a_card_for_every_sample_with_its_verdict_and_its_pictures(bench: Workbench) -> None:
    page, acceptance, preset = masks._judge(bench)(*values(chosen=3))
    sheet = bench.masks(VIEW, FilterConfig())
    found = re.findall(r'class="sample (\w+)" data-sample="(\d+)" aria-pressed="(\w+)"><img src="([^"]+)"', page)
    assert [state for state, *_ in found] == ["rejected" if reason else "kept" for reason in sheet.rejected_by]
    assert [int(number) for _, number, *_ in found] == list(range(24))
    assert [pressed for *_, pressed, _ in found] == ["true" if number == 3 else "false" for number in range(24)]
    said = re.findall(r'class="verdict">.*?</span> ([^<]*) <small>.*?class="why">([^<]*)<', page)
    assert [f"{'accepted' if verdict == 'kept' else verdict}: {why}" for verdict, why in said] == sheet.explanations
    picture = drawn(found[5][3]).astype(int)
    assert np.abs(picture[:, :96] - sheet.images[5].repeat(3, 0).repeat(3, 1)).mean() < 12
    assert f"{100 * sheet.acceptance_rate:.0f}%" in acceptance and preset == "paper"


def test_a_rejected_mask_is_crossed_out_and_a_kept_one_is_not(bench: Workbench) -> None:
    kept, crossed = (masks._judge(bench)(*values(histogram=False, max_area=area))[0] for area in (1.0, 0.0))
    first = [drawn(re.findall(r'src="([^"]+)"', page)[0]).astype(int) for page in (kept, crossed)]
    difference = np.abs(first[0] - first[1]).mean(-1)
    assert difference[:, :190].mean() < 3 and difference[np.arange(96), 196 + np.arange(96)].mean() > 40


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({}, "paper"),
        ({"preset": "reference"}, "reference"),
        ({"max_area": 0.4}, "own"),
        ({"preset": "reference", "size": False}, "own"),
    ],
)
def test_the_preset_shown_is_the_one_that_the_thresholds_make(bench: Workbench, changes: dict[str, Any], name: str) -> None:
    assert masks._judge(bench)(*values(**changes))[2] == name


def test_choosing_a_preset_sets_every_threshold_and_own_sets_none() -> None:
    assert masks._thresholds("reference") == list(FilterConfig.reference().to_json().values())
    assert all(isinstance(value, dict) and value.get("__type__") == "update" for value in masks._thresholds("own"))


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"wanted": 0}, "samples wanted is 0"),
        ({"wanted": "many"}, "samples wanted is 'many'"),
        ({"count": 500}, "number of samples is 500"),
        ({"max_area": None}, "largest area is empty"),
        ({"chosen": "x"}, "sample to look at is 'x'"),
        ({"histogram_window": 4}, r"^'?Window \(histogram_window\) is 4\. Choose an odd number"),
        ({"max_area": 1.5}, r"Largest area \(max_area\) is 1\.5"),
        ({"preset": "own"}, r"Rules \(preset\) is 'own'"),
        ({"count": 0}, r"Samples \(count\) is 0"),
    ],
)
def test_wrong_values_are_named(bench: Workbench, changed: dict[str, Any], words: str) -> None:
    with pytest.raises(gr.Error, match=words):
        masks._judge(bench)(*values(**changed))


async def first_answer(bench: Workbench, *given: Any) -> Any:
    return await anext(masks._look(bench)(*given))


def test_the_closer_look_shows_the_sample_with_what_each_filter_says(bench: Workbench) -> None:
    _, page, figures = asyncio.run(first_answer(bench, *values(chosen=2)))
    look = closer_look(bench, VIEW, FilterConfig(), 2)
    assert page.count("<img ") == 3 and "Sample 2" in page
    for check in look.checks:
        assert f"<td>{check.state}</td><td>{check.words}</td>" in page
    histogram = next(trace for trace in figures.data if trace.xaxis == "x2")
    assert list(histogram.y) == pytest.approx(look.histogram)
    hatched = [index for index, shape in enumerate(histogram.marker.pattern.shape) if shape]
    assert tuple(hatched) == look.maxima


def test_of_a_sample_that_is_not_there_it_is_said_that_the_last_one_is_shown(bench: Workbench) -> None:
    _, page, _ = asyncio.run(first_answer(bench, *values(chosen=20, count=8)))
    assert "Sample 7" in page and "There is no sample 20: the last one, 7, is shown." in page
    _, page, _ = asyncio.run(first_answer(bench, *values(chosen=7, count=8)))
    assert "Sample 7" in page and "There is no" not in page
    with pytest.raises(gr.Error, match="the sample to look at is -1. Choose a value between 0 and 7"):
        asyncio.run(first_answer(bench, *values(chosen=-1, count=8)))


def test_the_pieces_and_the_area_are_drawn_against_their_limits(bench: Workbench) -> None:
    filters = FilterConfig(max_area=0.11, min_component=0.37)
    look = closer_look(bench, VIEW, filters, 0)
    figure = plots.look(look)
    assert [shape.x0 for shape in figure.layout.shapes] == [0.11, 0.37]
    area, pieces = figure.data[0], figure.data[-1]
    assert list(area.x) == [look.area] and area.marker.pattern.shape[0] == ("/" if look.area > 0.11 else "")
    assert list(pieces.x) == [piece.share for piece in look.components[: plots.SHOWN_COMPONENTS]]
    assert [bool(shape) for shape in pieces.marker.pattern.shape] == [not p.kept for p in look.components[:8]]


def test_the_funnel_names_every_step_with_what_is_left_and_what_it_took() -> None:
    figure = plots.funnel({"generated": 24, "size": 3, "histogram": 9, "empty": 0, "kept": 12})
    left, gone = figure.data
    assert list(left.y) == [
        "generated: 24",
        "within the area: 21 (3 rejected)",
        "with a good histogram: 12 (9 rejected)",
        "with pieces left: 12",
        "kept: 12",
    ]
    assert list(left.x) == [24, 21, 12, 12, 12] and list(gone.x) == [0, 3, 9, 0, 0]
    assert gone.marker.pattern.shape == "/"


def test_figures_are_small() -> None:
    assert len(plots.funnel({"generated": 24, "size": 3, "histogram": 9, "empty": 0, "kept": 12}).to_json()) < 4000


def test_the_estimate_is_in_words() -> None:
    words = mask_cards.acceptance(estimate(6, 24, 1000, 0.05), 6, 24, 0.05)
    assert "<strong>25%</strong>" in words and "6 of 24" in words and "4,000 pairs" in words and "3 min" in words
    assert "never come" in mask_cards.acceptance(estimate(0, 24, 1000, 0.05), 0, 24, 0.05)


def test_a_moved_slider_writes_no_file(bench: Workbench, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    page, _, _ = masks._judge(bench)(*values())
    assert gr.HTML().postprocess(page) == page and list(tmp_path.rglob("*")) == []

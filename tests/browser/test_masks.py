"""Masks and Segment in Chromium: cards, the closer look, thresholds that act at once; photographs, one and several."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gradio_client import Client
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect

from explorer.views import MaskView
from segmentation.filters import FilterConfig
from tests.browser.tabs import open_tab
from tests.browser.test_page import number, picture, slider, source

MOVES, ALLOWED = 500, 50_000_000


def samples(page: Page) -> Locator:
    return page.locator("#cards .sample")


def open_masks(page: Page) -> None:
    open_tab(page, "Masks")
    expect(samples(page)).to_have_count(MaskView.count)


def verdicts(page: Page) -> list[str]:
    return [re.sub(r"\s+", " ", card.inner_text()) for card in samples(page).all()]


def asked(app_url: str, page: Page, **thresholds: Any) -> dict[str, Any]:
    """What the action says of the samples that the page shows."""
    client = Client(app_url, verbose=False, analytics_enabled=False, httpx_kwargs={"timeout": 60})
    direction, magnitude = (number(page, f"mask-{name}").input_value() for name in ("direction", "magnitude"))
    answer: dict[str, Any] = client.predict(int(direction), float(magnitude), filters=thresholds, api_name="/masks")
    client.close()
    return answer


def test_a_tighter_area_rejects_exactly_the_samples_above_it(page: Page, app_url: str) -> None:
    open_masks(page)
    page.locator("#histogram input[type=checkbox]").uncheck()
    expect(page.locator("#preset input[value=own]")).to_be_checked()
    areas = [sample["area"] for sample in asked(app_url, page, histogram=False, max_area=1.0)["samples"]]
    limit = round(float(np.median(areas)), 2)
    slider(page, "max-area").fill(str(limit))
    too_large = [area > limit for area in areas]
    assert any(too_large) and not all(too_large)
    expect(page.locator("#cards .sample.rejected")).to_have_count(sum(too_large))
    for words, refused in zip(verdicts(page), too_large, strict=True):
        assert ("rejected by size" in words) == refused, words
    expect(page.locator("#acceptance .rate")).to_contain_text(f"{100 * too_large.count(False) / len(areas):.0f}%")
    # The figures follow within a moment, and say the same.
    expect(page.locator("#funnel")).to_contain_text(f"within the area: {too_large.count(False)} ({sum(too_large)} rejected)")
    page.locator("#cards .sample.rejected").first.click()
    chosen = number(page, "chosen").input_value()
    expect(page.locator("#closer")).to_contain_text(f"area {areas[int(chosen)]:.4f}, may be at most {limit:g}")


def test_the_pictures_stay_while_thresholds_move_and_change_with_the_seed(page: Page) -> None:
    open_masks(page)
    first = samples(page).nth(0).locator("img")
    page.locator("#histogram input[type=checkbox]").uncheck()
    expect(page.locator("#preset input[value=own]")).to_be_checked()
    before = first.get_attribute("src") or ""
    slider(page, "bins").fill("20")
    expect(page.locator("#closer")).to_contain_text("bins of 20")
    assert first.get_attribute("src") == before
    page.locator("#mask-new-seed").click()
    expect(first).not_to_have_attribute("src", before)


def test_presets_set_the_thresholds_and_thresholds_the_preset(page: Page) -> None:
    open_masks(page)
    slider(page, "max-area").fill("0.3")
    expect(page.locator("#preset input[value=own]")).to_be_checked()
    page.locator("#preset input[value=reference]").check()
    expect(page.locator("#rules input[value=reference]")).to_be_checked()
    expect(number(page, "max-area")).to_have_value(f"{FilterConfig.reference().max_area:g}")
    expect(page.locator("#closer")).to_contain_text("must stay below")
    expect(page.locator("#preset input[value=reference]")).to_be_checked()


def test_masks_takes_over_what_explore_shows(page: Page) -> None:
    page.locator("#strip img").wait_for()
    slider(page, "magnitude").fill("3.5")
    open_masks(page)
    before = samples(page).nth(0).locator("img").get_attribute("src") or ""
    page.locator("#take-explored").click()
    expect(number(page, "mask-magnitude")).to_have_value("3.5")
    # Nothing sets that back to the magnitude of the direction that the page began with; a slider of its own value has a way.
    for name, ways in (("mask-magnitude", 0), ("mask-truncation", 1)):
        expect(page.locator(f"#{name}").get_by_test_id("reset-button")).to_have_count(ways)
    expect(samples(page).nth(0).locator("img")).not_to_have_attribute("src", before)


def test_a_card_is_chosen_by_the_keyboard(page: Page) -> None:
    open_masks(page)
    samples(page).nth(5).focus()
    page.keyboard.press("Enter")
    expect(number(page, "chosen")).to_have_value("5")
    expect(samples(page).nth(5)).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#closer")).to_contain_text("Sample 5")
    expect(page.locator("#look-figures .js-plotly-plot")).to_be_visible()


def test_two_people_at_once_see_their_own(browser: Browser, app_url: str, page: Page) -> None:
    open_masks(page)
    other = browser.new_page(base_url=app_url)
    other.goto("/")
    open_masks(other)
    slider(page, "max-area").fill("0.05")
    slider(other, "max-area").fill("0.95")
    expect(page.locator("#cards .sample.rejected").first).to_contain_text("rejected by size")
    expect(other.locator("#preset input[value=own]")).to_be_checked()
    assert not [words for words in verdicts(other) if "by size" in words]
    assert number(page, "max-area").input_value() == "0.05" and number(other, "max-area").input_value() == "0.95"
    other.close()


def test_five_hundred_moves_leave_little_behind(page: Page, app_url: str, app_temporary: Path) -> None:
    open_masks(page)
    client = Client(app_url, verbose=False, analytics_enabled=False, httpx_kwargs={"timeout": 60}, download_files=False)
    before = bytes_in(app_temporary)
    moves = 5
    for move in range(moves):
        client.predict(direction=3 + move, magnitude=6.5, seed=move, truncation=4, api_name="/walk")
        slider(page, "max-area").fill(f"{0.2 + move / 10:.1f}")
        expect(page.locator("#acceptance")).to_be_visible()
    client.close()
    grown = bytes_in(app_temporary) - before
    assert grown / moves * MOVES < ALLOWED, f"{grown / moves:.0f} bytes a move"


def bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_a_photograph_is_segmented(page: Page, photograph: Path) -> None:
    open_tab(page, "Segment")
    page.locator("#photograph input[type=file]").set_input_files(photograph)
    assert picture(page, source(page, "overlay")).shape == (150, 200, 3)
    assert picture(page, source(page, "saliency")).shape == (150, 200, 3)
    cut = Image.open(io.BytesIO(page.request.get(source(page, "cut-out")).body()))
    assert cut.mode == "RGBA" and cut.size == (200, 150)
    expect(page.locator("#segment-words")).to_contain_text(re.compile(r"the network \w+ takes \d+% of the photograph"))


def test_several_photographs_come_back_as_an_archive(page: Page, photograph: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.png"
    Image.new("RGB", (90, 60), (30, 90, 160)).save(other)
    open_tab(page, "Segment")
    page.locator("#several input[type=file]").set_input_files([photograph, other])
    expect(page.locator("#segmented button img")).to_have_count(2)
    expect(page.locator("#segment-words")).to_contain_text("disc")
    page.locator("#segmented button").filter(has=page.locator("img")).nth(1).click()
    expect(page.locator("#segment-words")).to_contain_text("other")
    # The button does them again, by the network that is chosen then.
    page.locator("#segment").click()
    expect(page.locator("#segment-words")).to_contain_text("disc")
    expect(page.locator("#segmented button img")).to_have_count(2)
    with page.expect_download() as download:
        page.locator("#segment-zip").click()
    assert download.value.suggested_filename == "segmented.zip"
    assert Path(download.value.path()).read_bytes()[:2] == b"PK"


def test_a_file_that_is_no_image_is_refused_with_a_message(page: Page, console_errors: list[str], tmp_path: Path) -> None:
    pretended = tmp_path / "photo.png"
    pretended.write_text("this is no image")
    open_tab(page, "Segment")
    page.locator("#photograph input[type=file]").set_input_files(pretended)
    expect(page.locator(".toast-body").filter(has_text="JPEG or PNG").first).to_be_visible()
    console_errors.clear()


@pytest.mark.parametrize("path", ["app.py", "README.md", "/etc/passwd", "../main/app.py"])
def test_no_file_is_served_but_what_was_exported(page: Page, app_url: str, path: str) -> None:
    assert page.request.get(f"/gradio_api/file={path}").status in (403, 404)

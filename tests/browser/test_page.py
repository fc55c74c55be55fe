"""The page in Chromium: what a visitor does, and what the visitor sees of it."""

from __future__ import annotations

import io
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect

from explorer.ui.render import GAP, STRIP_CELL


def slider(page: Page, name: str) -> Locator:
    return page.locator(f"#{name} input[type=range]")


def number(page: Page, name: str) -> Locator:
    return page.locator(f"#{name} input[type=number]")


def source(page: Page, name: str) -> str:
    shown = page.locator(f"#{name} img")
    shown.wait_for()
    return shown.get_attribute("src") or ""


def wait_for_another(page: Page, name: str, before: str) -> None:
    expect(page.locator(f"#{name} img")).not_to_have_attribute("src", before)


def settle(page: Page, name: str) -> str:
    """The source of the picture once it has stopped changing."""
    current = source(page, name)
    while True:
        page.wait_for_timeout(1500)
        if (again := source(page, name)) == current:
            return current
        current = again


def picture(page: Page, address: str) -> NDArray[np.int_]:
    return np.asarray(Image.open(io.BytesIO(page.request.get(address).body())).convert("RGB")).astype(int)


def largest_difference_between_columns(strip: NDArray[np.int_]) -> float:
    """The mean difference in 8-bit levels between the first column of the strip and the one that differs most from it."""
    pitch = STRIP_CELL + GAP
    columns = [strip[-6 * pitch :, GAP + c * pitch + 2 : GAP + c * pitch + STRIP_CELL - 2] for c in range(5)]
    return max(float(np.abs(column - columns[0]).mean()) for column in columns[1:])


def test_the_first_page_is_small_and_asks_no_other_host(browser: Browser, app_url: str) -> None:
    context = browser.new_context(base_url=app_url)
    opened = context.new_page()
    asked: list[str] = []
    opened.on("request", lambda request: asked.append(request.url))
    assert len(opened.request.get("/config").body()) < 150_000
    opened.goto("/")
    opened.locator("#atlas img").first.wait_for()
    ours = urlsplit(app_url).netloc
    assert [url for url in asked if urlsplit(url).scheme.startswith("http") and urlsplit(url).netloc != ours] == []
    assert len(asked) > 5
    context.close()


def test_a_moved_slider_changes_the_strip(page: Page) -> None:
    before = settle(page, "strip")
    slider(page, "magnitude").fill("12.3")
    wait_for_another(page, "strip", before)
    assert number(page, "magnitude").input_value() == "12.3"


def test_without_magnitude_all_columns_are_the_same_and_with_it_they_differ(page: Page) -> None:
    before = settle(page, "strip")
    slider(page, "magnitude").fill("0")
    wait_for_another(page, "strip", before)
    still = settle(page, "strip")
    slider(page, "magnitude").fill("15")
    wait_for_another(page, "strip", still)
    moved = largest_difference_between_columns(picture(page, settle(page, "strip")))
    unmoved = largest_difference_between_columns(picture(page, still))
    assert unmoved < 2 and moved > 5 * unmoved


def test_the_slider_obeys_the_keyboard(page: Page) -> None:
    before = settle(page, "strip")
    value = float(number(page, "magnitude").input_value())
    slider(page, "magnitude").focus()
    page.keyboard.press("ArrowRight")
    wait_for_another(page, "strip", before)
    assert float(number(page, "magnitude").input_value()) == pytest.approx(value + 0.1)


def test_a_new_seed_makes_other_samples(page: Page) -> None:
    before = settle(page, "strip")
    seed = number(page, "seed").input_value()
    page.locator("#new-seed").click()
    expect(number(page, "seed")).not_to_have_value(seed)
    wait_for_another(page, "strip", before)


@pytest.mark.parametrize(
    ("typed", "words"), [("-1", "seed is -1"), ("", "seed is empty"), ("99999999999999999999", "seed is 1000")]
)
def test_a_bad_seed_is_refused_with_a_message(page: Page, console_errors: list[str], typed: str, words: str) -> None:
    settle(page, "strip")
    number(page, "seed").fill(typed)
    message = page.locator(".toast-body").filter(has_text=words)
    expect(message.first).to_be_visible()
    assert "Traceback" not in message.first.inner_text()
    console_errors.clear()


def test_a_walk_starts_from_a_photograph(page: Page, console_errors: list[str], photograph: Path, tmp_path: Path) -> None:
    seeded = settle(page, "strip")
    expect(page.locator("#start-photograph")).to_have_count(0)
    page.locator("#start input[value=photograph]").check()
    page.locator("#start-photograph input[type=file]").set_input_files(photograph)
    wait_for_another(page, "strip", seeded)
    square, made = np.split(np.delete(picture(page, source(page, "reconstruction")), (192, 193), axis=1), 2, axis=1)
    with Image.open(photograph) as image:
        cropped = np.asarray(image.crop((25, 0, 175, 150)).resize((192, 192))).astype(int)
    assert np.abs(square - cropped).mean() < 8 < np.abs(made - square).mean()
    expect(page.locator("#reconstruction-words")).to_contain_text("Mean squared error")
    before = settle(page, "strip")
    slider(page, "magnitude").fill("12.3")
    wait_for_another(page, "strip", before)
    expect(page.locator("#about-direction")).to_contain_text("photograph")
    before = settle(page, "strip")
    rows = picture(page, before)
    slider(page, "alpha").fill("0")
    wait_for_another(page, "strip", before)
    alone = picture(page, settle(page, "strip"))
    assert len(rows) - len(alone) == 5 * (STRIP_CELL + GAP)
    assert np.abs(rows[: len(alone)] - alone).mean() < 3
    # What replaces the photograph and is none leaves nothing of it.
    broken = tmp_path / "photo.png"
    broken.write_text("this is no image")
    page.locator("#start-photograph input[type=file]").set_input_files(broken)
    expect(page.locator("#reconstruction")).to_have_count(0)
    expect(page.locator("#about-direction")).not_to_contain_text("photograph")
    console_errors.clear()


def test_the_focused_control_is_marked(page: Page) -> None:
    settle(page, "strip")
    page.locator("#new-seed").focus()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Tab")
    style = page.evaluate(
        "(() => { const s = getComputedStyle(document.activeElement); return [s.outlineStyle, s.outlineWidth] })()"
    )
    assert style == ["solid", "3px"]

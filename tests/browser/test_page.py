"""The page in Chromium: what a visitor does, and what the visitor sees of it."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from gradio_client import Client
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect

from explorer.ui.render import GAP, STRIP_CELL
from explorer.views import MaskView
from segmentation.filters import FilterConfig


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


def open_masks(page: Page) -> str:
    source(page, "strip")
    page.get_by_role("tab", name="Masks").click()
    return settle(page, "cards")


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


def ask_masks(client: Client, direction: int, magnitude: float, **changes: Any) -> list[str]:
    view = MaskView(direction, magnitude)
    filters = {**FilterConfig().to_json(), **changes}
    values = [view.direction, view.magnitude, view.seed, view.truncation, *filters.values()]
    return [row[1] for row in client.predict(*values, api_name="/masks")[3]["data"]]


def test_a_tighter_area_rejects_exactly_the_samples_above_it(page: Page, app_url: str) -> None:
    before = open_masks(page)
    shown = (int(number(page, "mask-direction").input_value()), float(number(page, "mask-magnitude").input_value()))
    page.locator("#histogram input[type=checkbox]").uncheck()
    wait_for_another(page, "cards", before)
    client = Client(app_url, verbose=False, analytics_enabled=False)
    open_verdicts = ask_masks(client, *shown, histogram=False, max_area=1.0)
    areas = [float(found[1]) for verdict in open_verdicts if (found := re.search(r"area ([\d.]+)", verdict))]
    limit = round(float(np.median(areas)), 2)
    before = settle(page, "cards")
    slider(page, "max-area").fill(str(limit))
    wait_for_another(page, "cards", before)
    settle(page, "cards")
    verdicts = ask_masks(client, *shown, histogram=False, max_area=limit)
    rejected = [verdict.startswith("rejected by size") for verdict in verdicts]
    for verdict, refused in zip(open_verdicts, rejected, strict=True):
        found = re.search(r"area ([\d.]+)", verdict)
        if found and abs(float(found[1]) - limit) > 0.005:
            assert refused == (float(found[1]) > limit), verdict
    assert any(rejected) and not all(rejected)
    expect(page.locator("#acceptance tr.size td").last).to_have_text(str(sum(rejected)))
    expect(page.locator("#preset input[value=own]")).to_be_checked()
    page.get_by_text("The verdicts in words").click()
    expect(page.locator("#verdicts")).to_contain_text(verdicts[0])


def test_presets_set_the_thresholds_and_thresholds_the_preset(page: Page) -> None:
    open_masks(page)
    slider(page, "max-area").fill("0.3")
    expect(page.locator("#preset input[value=own]")).to_be_checked()
    page.locator("#preset input[value=reference]").check()
    expect(page.locator("#rules input[value=reference]")).to_be_checked()
    expect(number(page, "max-area")).to_have_value(f"{FilterConfig.reference().max_area:g}")
    settle(page, "cards")
    expect(page.locator("#preset input[value=reference]")).to_be_checked()


def test_masks_takes_over_what_explore_shows(page: Page) -> None:
    settle(page, "strip")
    slider(page, "magnitude").fill("3.5")
    before = open_masks(page)
    page.locator("#take-explored").click()
    expect(number(page, "mask-magnitude")).to_have_value("3.5")
    wait_for_another(page, "cards", before)


@pytest.fixture
def photograph(tmp_path: Path) -> Path:
    """A bright disc on a dark, noisy ground: 200x150."""
    noise = np.random.default_rng(0)
    down, across = np.indices((150, 200))
    inside = (down - 75) ** 2 + (across - 100) ** 2 < 45**2
    pixels = np.where(inside[..., None], (220, 190, 120), (40, 60, 50)) + noise.integers(-15, 16, (150, 200, 3))
    path = tmp_path / "disc.jpg"
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)
    return path


def test_a_photograph_is_segmented(page: Page, photograph: Path) -> None:
    page.get_by_role("tab", name="Segment").click()
    page.locator("#photograph input[type=file]").set_input_files(photograph)
    assert picture(page, source(page, "overlay")).shape == (150, 200, 3)
    assert picture(page, source(page, "saliency")).shape == (150, 200, 3)
    cut = Image.open(io.BytesIO(page.request.get(source(page, "cut-out")).body()))
    assert cut.mode == "RGBA" and cut.size == (200, 150)
    expect(page.locator("#segment-words")).to_contain_text("% of the photograph")


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


def test_a_file_that_is_no_image_is_refused_with_a_message(page: Page, console_errors: list[str], tmp_path: Path) -> None:
    pretended = tmp_path / "photo.png"
    pretended.write_text("this is no image")
    page.get_by_role("tab", name="Segment").click()
    page.locator("#photograph input[type=file]").set_input_files(pretended)
    expect(page.locator(".toast-body").filter(has_text="JPEG or PNG").first).to_be_visible()
    console_errors.clear()


@pytest.mark.parametrize("width", [420, 768, 1280])
def test_nothing_sticks_out_of_a_narrow_screen(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    settle(page, "strip")
    for tab in ("Explore", "Masks", "Segment"):
        page.get_by_role("tab", name=tab).click()
        if tab == "Masks":
            # Far down on a narrow screen, and loaded only when it comes into sight.
            page.locator("#cards").evaluate("element => element.scrollIntoView()")
            source(page, "cards")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, tab


def test_the_first_cards_can_be_reached_on_a_narrow_screen(page: Page) -> None:
    page.set_viewport_size({"width": 420, "height": 900})
    page.get_by_role("tab", name="Masks").click()
    page.locator("#cards").evaluate("element => element.scrollIntoView()")
    source(page, "cards")
    left = "element => [element.getBoundingClientRect().left, element.closest('#cards').getBoundingClientRect().left]"
    image, frame = page.locator("#cards img").evaluate(left)
    assert image >= frame


def test_the_focused_control_is_marked(page: Page) -> None:
    settle(page, "strip")
    page.locator("#new-seed").focus()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Tab")
    style = page.evaluate(
        "(() => { const s = getComputedStyle(document.activeElement); return [s.outlineStyle, s.outlineWidth] })()"
    )
    assert style == ["solid", "3px"]

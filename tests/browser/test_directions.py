"""Explore and Directions in Chromium: cards, pins, two directions, films; judging, saving, comparing, a run."""

from __future__ import annotations

import re

import numpy as np
import pytest
from gradio_client import Client
from playwright.sync_api import Page, expect

from explorer.ui.render import GAP, STRIP_CELL
from tests.browser.tabs import open_tab
from tests.browser.test_page import number, picture, settle, slider, source, wait_for_another

# A page waits for a loaded machine longer than a callback does.
pytestmark = pytest.mark.timeout(400)
PITCH = STRIP_CELL + GAP
RUN_MILLISECONDS = 90_000


def unfold(page: Page, title: str) -> None:
    page.get_by_role("button", name=title).click()


def open_directions(page: Page) -> None:
    source(page, "strip")
    page.get_by_role("tab", name="Directions").click()
    page.locator("#proof img").first.wait_for()
    page.locator("#ranked [aria-pressed=true]").first.wait_for()


def indices(page: Page, name: str = "atlas") -> list[str | None]:
    return [card.get_attribute("data-index") for card in page.locator(f"#{name} [data-index]").all()]


def test_a_card_of_the_atlas_chooses_its_direction_with_its_magnitude_and_the_button_goes_back(page: Page) -> None:
    settle(page, "strip")
    lighting = number(page, "direction").input_value()
    length = number(page, "magnitude").input_value()
    other = next(index for index in indices(page) if index != lighting)
    card = page.locator(f'#atlas [data-index="{other}"]')
    card.focus()
    page.keyboard.press("Enter")
    expect(number(page, "direction")).to_have_value(other or "")
    expect(card).to_have_attribute("aria-pressed", "true")
    told = re.findall(r"magnitude ([\d.]+)", card.inner_text())[0]
    expect(number(page, "magnitude")).to_have_value(told)
    expect(page.locator("#about-direction")).to_contain_text(f"Direction {other}")
    expect(page.locator("#about-direction")).to_contain_text(f"--direction {other} --magnitude {told}")
    page.locator("#to-lighting").click()
    expect(number(page, "direction")).to_have_value(lighting)
    expect(number(page, "magnitude")).to_have_value(length)
    expect(page.locator(f'#atlas [data-index="{lighting}"]')).to_have_attribute("aria-pressed", "true")


def test_the_atlas_is_sorted_and_filtered(page: Page, app_url: str) -> None:
    page.locator("#atlas [data-index]").first.wait_for()
    client = Client(app_url, verbose=False, analytics_enabled=False)
    best = re.findall(r'data-index="(\d+)"', client.predict(sort="total", api_name="/atlas"))
    assert best != indices(page)
    place = next(place for place, index in enumerate(indices(page)) if index != best[place])
    page.locator("#sort input").click()
    page.get_by_role("option", name="total").click()
    # The first one may be the same.
    expect(page.locator("#atlas [data-index]").nth(place)).to_have_attribute("data-index", best[place])
    assert indices(page) == best
    page.locator("#show-status input").click()
    page.get_by_role("option", name="saliency lighting").click()
    expect(page.locator("#atlas [data-index]")).to_have_count(1)
    # Typed as by a hand: gradio does not hear of a value that is only set.
    page.locator("#show-label input, #show-label textarea").first.press_sequentially("no such words")
    expect(page.locator("#atlas")).to_contain_text("No direction")


def test_a_second_direction_changes_the_strip_and_at_magnitude_0_it_does_not(page: Page) -> None:
    before = settle(page, "strip")
    unfold(page, "A second direction")
    slider(page, "second-magnitude").fill("9")
    wait_for_another(page, "strip", before)
    moved = settle(page, "strip")
    slider(page, "second-magnitude").fill("0")
    wait_for_another(page, "strip", moved)
    still, shifted, first = (picture(page, address) for address in (settle(page, "strip"), moved, before))
    assert np.abs(still - first).mean() < 1 < 5 < np.abs(shifted - first).mean()


def test_a_row_that_is_clicked_on_stays_when_the_seed_changes(page: Page) -> None:
    before = settle(page, "strip")
    row = picture(page, before)[32 + 2 * PITCH : 32 + 3 * PITCH]
    box = page.locator("#strip img").bounding_box()
    assert box is not None
    scale = box["width"] / (5 * PITCH + GAP)
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + scale * (32 + 2.5 * PITCH))
    wait_for_another(page, "strip", before)
    pinned = settle(page, "strip")
    page.locator("#new-seed").click()
    wait_for_another(page, "strip", pinned)
    after = picture(page, settle(page, "strip"))
    assert np.abs(after[32 : 32 + PITCH] - row).mean() < 3
    assert np.abs(after[32 + PITCH : 32 + 2 * PITCH] - picture(page, pinned)[32 + PITCH : 32 + 2 * PITCH]).mean() > 5


def test_a_walk_is_played_and_can_be_saved(page: Page) -> None:
    settle(page, "strip")
    unfold(page, "Play and save this walk")
    expect(page.locator("#save-film")).to_be_disabled()
    page.locator("#make-film").click()
    film = page.locator("#film img")
    film.wait_for()
    assert film.evaluate("async (image) => { await image.decode(); return image.naturalHeight }") == 128
    expect(page.locator("#save-film")).to_be_enabled()
    with page.expect_download() as saved:
        page.locator("#save-film").click()
    assert saved.value.suggested_filename.endswith(".webp")


def test_what_is_said_of_a_direction_survives_a_reload(page: Page) -> None:
    open_directions(page)
    chosen = next(index for index in indices(page, "ranked")[::-1] if index)
    page.locator(f'#ranked [data-index="{chosen}"]').click()
    expect(number(page, "judged")).to_have_value(chosen)
    expect(page.locator("#facts")).to_contain_text(f"Direction {chosen}")
    words = f"ears of {chosen}"
    page.locator("#label input, #label textarea").first.fill(words)
    page.locator("#status").get_by_text("other", exact=True).click()
    page.locator("#save-direction").click()
    expect(page.locator("#saved")).to_contain_text(f"Direction {chosen} is saved in")
    expect(page.locator("#facts")).to_contain_text(words)
    # A reload comes back to Directions.
    page.reload()
    open_tab(page, "Explore")
    page.locator("#atlas [data-index]").first.wait_for()
    expect(page.locator(f'#atlas [data-index="{chosen}"]')).to_contain_text(words)
    expect(page.locator(f'#atlas [data-index="{chosen}"]')).to_contain_text("\u25c6 other")
    open_directions(page)
    page.locator(f'#ranked [data-index="{chosen}"]').click()
    expect(page.locator("#label input, #label textarea").first).to_have_value(words)
    expect(page.locator("#catalogue-words")).to_contain_text("catalogues")


def test_words_that_are_not_saved_come_back_with_their_direction(page: Page) -> None:
    open_directions(page)
    words, unsaved = page.locator("#label input, #label textarea").first, page.locator("#unsaved")
    own, other = [index for index in indices(page, "ranked") if index][-2:]

    def choose(index: str) -> None:
        page.locator(f'#ranked [data-index="{index}"]').click()
        expect(page.locator("#facts")).to_contain_text(f"Direction {index}")

    choose(own)
    before = words.input_value()
    words.fill("typed, not saved")
    choose(other)
    expect(unsaved).to_contain_text(f"{own} (Label)")
    expect(words).not_to_have_value("typed, not saved")
    choose(own)
    expect(words).to_have_value("typed, not saved")
    expect(unsaved).to_contain_text("Not saved yet: Label")
    page.locator("#drop-unsaved").click()
    expect(words).to_have_value(before)
    choose(other)
    expect(unsaved).not_to_contain_text(f"{own} (Label)")


def test_the_masks_of_a_direction_follow_its_magnitude(page: Page) -> None:
    open_directions(page)
    before = page.locator("#proof img").first.get_attribute("src") or ""
    slider(page, "judged-magnitude").fill("1.5")
    expect(page.locator("#proof img").first).not_to_have_attribute("src", before)


def test_two_directions_are_compared_side_by_side(page: Page) -> None:
    open_directions(page)
    unfold(page, "Compare, merge, import, export")
    own = number(page, "judged").input_value()
    page.locator("#other-direction input").fill(own)
    page.locator("#compare").click()
    expect(page.locator("#shelf-answer")).to_contain_text("cosine +1.0000")
    assert page.locator("#shelf-answer figure img").count() == 2


def test_a_run_is_watched_found_again_after_a_reload_and_stopped_and_typed_words_stay(page: Page, app_url: str) -> None:
    open_directions(page)
    start, stop = page.locator("#start-run"), page.locator("#stop-run")
    page.get_by_role("radio", name="Calibrate").check()
    start.click()
    expect(page.locator("#run-state")).to_contain_text("calibrate: ", timeout=RUN_MILLISECONDS)
    expect(start).to_be_disabled()
    page.reload()
    expect(page.locator("#run-state")).to_contain_text("calibrate: ", timeout=RUN_MILLISECONDS)
    page.locator("#proof img").first.wait_for()
    # Another one than Explore shows.
    other = page.locator("#ranked [aria-pressed=false]").first
    chosen = other.get_attribute("data-index") or ""
    other.click()
    expect(page.locator("#facts")).to_contain_text(f"Direction {chosen}")
    words = "typed, not saved"
    notes = page.locator("#notes textarea")
    notes.fill(words)
    if stop.is_enabled():
        stop.click()
    over = re.compile("calibrate: (stopped|done)")
    expect(page.locator("#run-state")).to_contain_text(over, timeout=RUN_MILLISECONDS)
    expect(stop).to_be_disabled()
    expect(start).to_be_enabled()
    # What has become of it is still there after a look elsewhere, and so are the words; what others saved comes in.
    open_tab(page, "Explore")
    client = Client(app_url, verbose=False, analytics_enabled=False)
    client.predict(direction=int(chosen), label="lamps", status="other", api_name="/save_direction")
    open_tab(page, "Directions")
    expect(page.locator("#run-state")).to_contain_text(over)
    expect(page.locator("#label input, #label textarea").first).to_have_value("lamps")
    expect(notes).to_have_value(words)
    expect(number(page, "judged")).to_have_value(chosen)


@pytest.mark.parametrize("width", [420])
def test_directions_fit_a_narrow_screen(page: Page, width: int) -> None:
    open_directions(page)
    page.set_viewport_size({"width": width, "height": 900})
    inside = "element => element.getBoundingClientRect().right"
    for name in ("ranked", "proof", "facts", "save-direction", "catalogue"):
        assert page.locator(f"#{name}").evaluate(inside) <= width, name


def test_the_formula_comes_when_it_is_asked_for(page: Page) -> None:
    open_directions(page)
    unfold(page, "How the total is made")
    expect(page.locator("#formula")).to_contain_text("acceptance")

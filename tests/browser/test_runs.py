"""Generate, Train and Runs in Chromium: a run is started, watched, reloaded, stopped, gone on with and deleted."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.tabs import open_tab, width_of

pytestmark = pytest.mark.timeout(400)
RUN_MILLISECONDS = 120_000
"""A run is a process of its own, which takes long to begin on a machine that has much to do."""
TINY = {"batch-size": "2", "held-out": "2", "validate-every": "2", "unet-width": "1", "synthesis-candidates": "16"}


def start_training(page: Page, name: str, steps: int) -> None:
    open_tab(page, "Train")
    page.locator("#train-name input, #train-name textarea").first.fill(name)
    page.locator("#advanced").get_by_role("button", name="Advanced").click()
    for knob, value in {"steps": str(steps), **TINY}.items():
        page.locator(f"#knob-{knob} input").fill(value)
    page.locator("#train-go").click()
    begun = page.locator(f'#train-list [data-run="{name}"]')
    expect(begun).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#train-pack")).to_be_enabled()
    # Above what is unfolded.
    boxes = [place.bounding_box() for place in (begun, page.locator("#knob-steps"))]
    assert boxes[0] is not None and boxes[1] is not None and boxes[0]["y"] < boxes[1]["y"]


def test_a_training_is_started_watched_reloaded_and_stopped(page: Page, browser: Browser, app_url: str) -> None:
    start_training(page, "long", 100_000)
    about = page.locator("#train-about")
    expect(about).to_contain_text("long is running", timeout=RUN_MILLISECONDS)
    # Curves and predictions come by themselves.
    expect(page.locator("#train-picture img")).to_be_visible(timeout=RUN_MILLISECONDS)
    expect(page.locator("#train-curves")).to_contain_text("scores on held-out samples", timeout=RUN_MILLISECONDS)
    expect(about).to_contain_text(re.compile(r"\d of 100,000, .* left"), timeout=RUN_MILLISECONDS)
    # A reload comes back to the tab and goes on watching, and a second browser sees it in another tab of the page.
    page.reload()
    expect(about).to_contain_text("long is running")
    told = about.inner_text()
    expect(about).not_to_have_text(told, timeout=RUN_MILLISECONDS)
    other = browser.new_page(base_url=app_url)
    other.goto("/")
    open_tab(other, "Runs")
    other.locator('#runs-list [data-run="long"]').click()
    expect(other.locator("#runs-command")).to_contain_text("python -m explorer train --generator pocket")
    expect(other.locator("#runs-command")).to_contain_text("--steps 100000 --batch-size 2")
    page.locator("#train-stop").click()
    expect(about).to_contain_text("long is stopped", timeout=RUN_MILLISECONDS)
    expect(other.locator("#runs-about")).to_contain_text("long is stopped")
    # It goes on from where it stopped.
    stopped_at = step(page)
    page.locator("#train-resume").click()
    expect(about).to_contain_text("long is running", timeout=RUN_MILLISECONDS)
    expect(about).to_contain_text(re.compile(r"\d of 100,000, .* left"), timeout=RUN_MILLISECONDS)
    assert step(page) >= stopped_at > 0
    page.locator("#train-stop").click()
    expect(about).to_contain_text("long is stopped", timeout=RUN_MILLISECONDS)
    assert step(page) > stopped_at
    expect(other.locator("#runs-about")).to_contain_text("long is stopped", timeout=RUN_MILLISECONDS)
    delete(other, "long")
    expect(page.locator('#train-list [data-run="long"]')).to_have_count(0)
    other.close()


def step(page: Page) -> int:
    """How far the run in view is."""
    return int(re.findall(r"([\d,]+) of 100,000", page.locator("#train-about").inner_text())[0].replace(",", ""))


def delete(page: Page, name: str) -> None:
    page.locator("#runs-delete").click()
    expect(page.locator("#runs-really")).to_contain_text(f"Delete {name}")
    page.locator("#runs-delete-it").click()
    expect(page.locator(f'#runs-list [data-run="{name}"]')).to_have_count(0)


def test_a_data_set_is_made_looked_into_and_taken_away(page: Page) -> None:
    open_tab(page, "Generate")
    expect(page.locator("#generate-summary")).to_contain_text("filters: paper")
    page.locator("#generate-count input").fill("5")
    page.locator("#generate-name input, #generate-name textarea").first.fill("few")
    page.locator("#generate-go").click()
    expect(page.locator("#generate-about")).to_contain_text("few is done", timeout=RUN_MILLISECONDS)
    page.locator("#generate-look").click()
    expect(page.locator("#generate-samples")).to_contain_text("5 are finished")
    page.locator("#generate-pack").click()
    with page.expect_download() as download:
        page.locator("#generate-zip").click()
    assert download.value.suggested_filename == "few.zip"
    assert Path(download.value.path()).read_bytes()[:2] == b"PK"
    # A training learns from it, and every run shows its own command line.
    open_tab(page, "Train")
    page.locator("#train-data input").click()
    page.get_by_role("option", name="few").click()
    expect(page.locator("#train-summary")).to_contain_text("few: 5 samples")
    start_training(page, "learner", 4)
    expect(page.locator("#train-about")).to_contain_text("learner is done", timeout=RUN_MILLISECONDS)
    open_tab(page, "Runs")
    for name, words in (("learner", "explorer train"), ("few", "explorer generate"), ("learner", "/few --out")):
        page.locator(f'#runs-list [data-run="{name}"]').click()
        expect(page.locator("#runs-command")).to_contain_text(words)


def test_what_is_refused_is_said_though_it_is_asked_in_passing(page: Page) -> None:
    open_tab(page, "Generate")
    page.locator("#generate-first input").fill("-1")
    # Enter does what the button does, which waits for a run.
    page.locator("#generate-first input").press("Enter")
    said = page.locator(".toast-body").filter(has_text=re.compile("no run is chosen|there is no sample -1"))
    expect(said.first).to_be_visible()


def test_what_cannot_be_started_is_said(page: Page, console_errors: list[str]) -> None:
    open_tab(page, "Train")
    listed = page.locator("#train-list .run")
    expect(page.locator("#train-list .run, #train-list .nothing").first).to_be_visible()
    before = listed.count()
    page.locator("#train-name input, #train-name textarea").first.fill("../up")
    page.locator("#train-go").click()
    expect(page.locator(".toast-body").filter(has_text="is no name for a run").first).to_be_visible()
    looks(page, 2)
    assert listed.count() == before and page.locator('#train-list [data-run*=".."]').count() == 0
    console_errors.clear()


def looks(page: Page, count: int) -> None:
    """Wait until the page has looked ``count`` times, which it does once a second."""
    for _ in range(count):
        with page.expect_response(lambda response: "/gradio_api/run" in response.url):
            pass


def asked(page: Page, seconds: float) -> int:
    """How often the page has asked the server for something in a while."""
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.wait_for_timeout(1000 * seconds)
    return sum("/gradio_api/" in url for url in requests)


def test_runs_are_looked_at_only_while_they_are_shown(page: Page) -> None:
    for name in ("Directions", "Masks", "Segment", "Explore"):
        open_tab(page, "Runs")
        looks(page, 1)
        open_tab(page, name)
        # A tab asks for what it shows as it opens, and then no more.
        assert 0 in (asked(page, 3) for _ in range(10)), name


def leave(page: Page) -> None:
    """Leave the page when all it has asked for has arrived: a browser complains of an answer that is cut off."""
    open_tab(page, "Explore")
    assert 0 in (asked(page, 3) for _ in range(10))
    page.goto("about:blank")


def test_the_address_names_the_tab(page: Page) -> None:
    leave(page)
    page.goto("/#runs")
    expect(page.locator("#runs-list")).to_be_visible()
    looks(page, 2)
    expect(page).to_have_url(re.compile("#runs$"))
    leave(page)
    page.goto("/#masks")
    expect(page.locator("#cards .sample").first).to_be_visible()
    leave(page)
    page.goto("/#no-such-tab")
    expect(page.locator("#strip img")).to_be_visible()
    expect(page).to_have_url(re.compile("#explore$"))


def test_nothing_is_sent_while_nothing_changes(page: Page) -> None:
    open_tab(page, "Runs")
    listed = page.locator("#runs-list")
    expect(listed.locator(".run, .nothing").first).to_be_visible()
    looks(page, 3)
    listed.locator(".run, .nothing").first.evaluate("element => { element.dataset.mine = 'untouched'; }")
    looks(page, 3)
    # What is drawn anew would have lost the mark.
    expect(listed.locator("[data-mine=untouched]")).to_be_visible()


@pytest.mark.parametrize("width", [420, 1280])
def test_nothing_sticks_out_of_a_narrow_screen(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    for name in ("Masks", "Generate", "Train", "Segment", "Runs"):
        open_tab(page, name)
        assert width_of(page) <= width, name

"""Time from a moved slider to the new strip on the screen: ``python -m benchmarks.page [--url URL]``, with the app running."""

from __future__ import annotations

import argparse
import shutil
import statistics

from playwright.sync_api import Page, sync_playwright

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
MOVE = """async (value) => {
  const slider = document.querySelector("#magnitude input[type=range]");
  const before = document.querySelector("#strip img").src;
  const set = Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value").set;
  const start = performance.now();
  set.call(slider, value);
  slider.dispatchEvent(new Event("input", { bubbles: true }));
  for (;;) {
    const shown = document.querySelector("#strip img");
    if (shown && shown.src !== before && shown.complete && shown.naturalWidth) return performance.now() - start;
    await new Promise(requestAnimationFrame);
  }
}"""
"""Sets the slider as a hand does, and looks at every frame whether another picture is loaded."""


def measure(page: Page, moves: int) -> list[float]:
    """Milliseconds of each of ``moves`` moves, after three that warm the caches."""
    times = [float(page.evaluate(MOVE, str(1 + (7 * move % 180) / 10))) for move in range(moves + 3)]
    return times[3:]


def main() -> None:
    """Print the median and the 95th percentile."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:7860/", help="address of the running app (default: %(default)s)")
    parser.add_argument("--moves", type=int, default=50, help="moves of the slider (default: %(default)s)")
    options = parser.parse_args()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        page = browser.new_page()
        page.goto(options.url)
        page.locator("#strip img").wait_for()
        page.locator("#atlas img").first.wait_for()
        page.wait_for_timeout(2000)
        times = sorted(measure(page, options.moves))
        browser.close()
    late = times[min(len(times) - 1, round(0.95 * len(times)))]
    print(f"{len(times)} moves: median {statistics.median(times):.0f} ms, 95th percentile {late:.0f} ms")


if __name__ == "__main__":
    main()

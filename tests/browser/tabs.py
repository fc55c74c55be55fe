"""What several browser tests do with the tabs of the page."""

from __future__ import annotations

from playwright.sync_api import Page, expect


def open_tab(page: Page, name: str) -> None:
    """Choose the tab ``name``, where it is narrow from the menu of those that do not fit."""
    # The page listens once the first picture is there, shown or not.
    page.locator("#strip img").wait_for(state="attached")
    tab = page.locator("#tabs").get_by_role("tab", name=name, exact=True).first
    if not tab.is_visible():
        page.locator("#tabs .overflow-menu > button").click()
        page.locator("#tabs .overflow-dropdown button").filter(has_text=name).click()
    else:
        tab.click()
    expect(page.locator("#tabs .question h2:visible").first).to_be_visible()


def width_of(page: Page) -> int:
    """How wide the page is, wider than its window if something sticks out."""
    found: int = page.evaluate("document.documentElement.scrollWidth")
    return found

"""What tests of the page do on it: open a film, choose an example, wait, and look where things lie."""

from __future__ import annotations

VIEWER = "document.querySelector('#viewer .film-viewer')?.viewer"
VALUE_OF = "(name => document.querySelector(`#ehr-${name}_phantoms :is(textarea, input)`)?.value)"
ANALYZED = 180_000  # milliseconds that an analysis may take on a busy machine
WATCH_SHIFTS = """
window.shifted = 0;
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shifted += entry.value;
}).observe({ type: "layout-shift", buffered: true });
"""


def field(page, name: str, suffix: str = ""):
    return page.locator(f"#ehr-{name}{suffix} textarea, #ehr-{name}{suffix} input").first


def drop(page, path: str, target: str = "film-file", count: int = 1) -> None:
    page.set_input_files(f"#{target} input[type=file]", path)
    page.wait_for_function(f"{VIEWER}.films.length === {count}", timeout=60_000)


def choose_example(page, number: int, suffix: str = "") -> None:
    page.locator(f"#examples{suffix} button:has(img)").nth(number).click()
    page.wait_for_function(f"{VIEWER}.films[0]?.hasNormal", timeout=60_000)


def wait_for_result(page) -> None:
    page.wait_for_selector("#status :text('Done in')", timeout=ANALYZED)


def set_steps(page, steps: int) -> None:
    """Set the number of steps: many, so that an analysis cannot end before the test has done what it must see."""
    if not page.locator("#settings input[type=number]").nth(1).is_visible():
        page.locator("#settings .label-wrap").click()
    number = page.locator("#settings input[type=number]").nth(1)
    number.fill(str(steps))
    number.press("Tab")


def box_of(page, selector: str) -> dict:
    return page.locator(selector).bounding_box()


def assert_one_screen(page, analyze: str = "#analyze") -> None:
    """Assert that the viewer is 700 pixels high, and lies with the button inside a window that has not scrolled."""
    size = page.viewport_size
    viewer, button, stage = box_of(page, "#viewer"), box_of(page, analyze), box_of(page, ".fv-stage")
    assert stage["height"] >= 700 and viewer["y"] >= 0, (viewer, stage)
    for box in (viewer, button):
        assert box["y"] >= 0 and box["y"] + box["height"] <= size["height"], box
        assert box["x"] >= 0 and box["x"] + box["width"] <= size["width"], box
    assert page.evaluate("window.scrollY") == 0

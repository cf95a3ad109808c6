"""The page at every width, by keyboard, in light and dark."""

from __future__ import annotations

import cv2
import pytest
from page_steps import VIEWER, assert_one_screen, box_of, field


@pytest.mark.parametrize(("width", "height"), [(390, 844), (720, 900), (1920, 1080)])
def test_every_width_has_its_layout(open_page, width, height):
    with open_page("?example=nodule-pa-woman", width, height) as page:
        page.wait_for_function(f"{VIEWER}.films[0]?.hasNormal", timeout=60_000)
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        analyze = box_of(page, "#analyze")
        assert 0 <= analyze["y"] and analyze["y"] + analyze["height"] <= height
        if width < 900:
            places = [box_of(page, f"#{name}")["y"] for name in ("viewer", "verdict", "film-part")]
            assert places == sorted(places), "viewer, then verdict, then film"
            assert places[0] < 0.3 * height and page.locator("#record-part").is_hidden()
            page.click("#open-record")
            sheet = box_of(page, "#record-part")
            assert sheet["y"] >= 0.3 * height and field(page, "age").is_visible()
            assert sheet["y"] + sheet["height"] <= box_of(page, "#foot")["y"] + 1
            page.click("#open-record")
            assert page.locator("#record-part").is_hidden()
            assert "not for diagnosis" in page.inner_text("#notice")
            notice = page.locator("#notice p")
            assert notice.evaluate("node => node.scrollWidth <= node.clientWidth"), "the notice is not cut"
        else:
            assert_one_screen(page)
        tabs = page.locator("#rooms > .tab-wrapper button[role=tab]:visible").all_inner_texts()
        assert {"Explore", "Teach", "Many cases", "About"} <= set(tabs)


@pytest.mark.slow
def test_the_model_is_chosen_in_explore_alone(open_page):
    """The other rooms have models of their own, and the bar named another one over them."""
    with open_page() as page:
        assert page.locator("#model").is_visible()
        page.get_by_role("tab", name="Teach", exact=True).click()
        page.wait_for_selector("#model", state="hidden")
        page.get_by_role("tab", name="Explore", exact=True).click()
        page.wait_for_selector("#model", state="visible")


@pytest.mark.slow
def test_tables_have_no_frames_and_no_broken_words(open_page):
    """The numbers stood in black frames, far below their tab; the model card said "inferenc-e"."""
    with open_page("?example=nodule-pa-woman") as page:
        page.wait_for_function(f"{VIEWER}.films[0]?.hasNormal", timeout=60_000)
        page.get_by_role("tab", name="Numbers", exact=True).click()
        row = page.locator("#numbers tr").first
        row.wait_for()
        assert row.evaluate("node => getComputedStyle(node).borderTopWidth") == "0px"
        tabs = box_of(page, "#result-tabs .tab-wrapper")
        assert row.bounding_box()["y"] - tabs["y"] - tabs["height"] < 10
        page.get_by_role("tab", name="About", exact=True).click()
        page.wait_for_selector(".model-card td")
        assert page.locator(".model-card td").first.bounding_box()["width"] > 100


@pytest.mark.slow
def test_lines_of_explanations_can_be_read_on_a_wide_screen(open_page):
    with open_page(width=1920, height=1080) as page:
        width = "document.querySelector('#explanation').getBoundingClientRect().width"
        assert 800 < page.evaluate(width) <= 1240


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(open_page, scheme):
    axe = pytest.importorskip("axe_core_python.sync_playwright").Axe()
    with open_page(f"?__theme={scheme}&example=opacity-pa-man", color_scheme=scheme) as page:
        page.wait_for_function(f"{VIEWER}.films[0]?.hasNormal", timeout=60_000)
        violations = {}
        for tab in ("Explore", "Teach", "Many cases", "About"):
            page.get_by_role("tab", name=tab, exact=True).click()
            page.wait_for_timeout(800)
            for violation in axe.run(page)["violations"]:
                if violation["impact"] in ("serious", "critical"):
                    violations[f"{tab}: {violation['id']}"] = [node["html"][:160] for node in violation["nodes"][:3]]
        assert not violations, violations


def test_the_page_is_used_by_keyboard_alone(open_page):
    with open_page() as page:
        page.wait_for_selector("#examples button img")
        page.locator("#examples button:has(img)").nth(4).focus()
        page.keyboard.press("Enter")
        page.wait_for_function(f"{VIEWER}.films[0]?.hasNormal", timeout=60_000)
        page.locator("#film-file button").first.focus()
        focus_ids = []
        for _ in range(70):
            page.keyboard.press("Tab")
            focus_ids.append(page.evaluate("document.activeElement.closest('[id]')?.id ?? ''"))
        assert {"analyze", "save"} <= set(focus_ids), focus_ids
        page.locator(".fv-stage").focus()
        page.keyboard.press("4")
        assert page.evaluate(f"{VIEWER}.view.mode") == "swipe"
        page.locator("#findings .chip").first.focus()
        page.keyboard.press("Enter")
        page.wait_for_function(f"{VIEWER}.finding.index === 0")


@pytest.mark.slow
def test_a_picture_may_be_pasted_or_dropped_on_the_viewer(open_page, films):
    with open_page() as page:
        page.wait_for_selector("#film-file input[type=file]", state="attached")
        for kind, target in (("paste", "document"), ("drop", "document.querySelector('#viewer .fv-stage')")):
            data = cv2.imread(films["chest" if kind == "paste" else "prior"], cv2.IMREAD_UNCHANGED)
            page.evaluate(
                f"""([bytes, kind]) => {{
                    const carried = new DataTransfer();
                    carried.items.add(new File([new Uint8Array(bytes)], kind + ".png", {{type: "image/png"}}));
                    const event = kind === "paste"
                        ? new ClipboardEvent("paste", {{clipboardData: carried, bubbles: true}})
                        : new DragEvent("drop", {{dataTransfer: carried, bubbles: true, cancelable: true}});
                    {target}.dispatchEvent(event);
                }}""",
                [list(cv2.imencode(".png", data)[1].tobytes()), kind],
            )
            page.wait_for_selector(f"#film-card :text('{kind}.png')", timeout=30_000)

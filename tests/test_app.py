"""The real app, started as a user starts it, with the shipped checkpoint; used through its API and in a browser."""

from __future__ import annotations

import io
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pydicom
import pytest
from gradio_client import Client, handle_file
from helpers import ROOT, dicom_film, drawn_film

from app.components.ehr_form import FROM_HEADER, build_form, with_bmi
from app.runtime.storage import Storage
from app.runtime.streaming import Cancelled, Done, stream
from diff3m.data.phantom import person
from diff3m.ehr import paper_schema
from diff3m.imaging import Preprocessing, prepare, read_radiograph

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@contextmanager
def serving(log: Path, *arguments: str, **environment: str) -> Iterator[str]:
    """A server of its own, ended at the end: its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}/"
    everything = {**os.environ, "PORT": str(port), "HF_HUB_OFFLINE": "1", **environment}
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "app.py", *arguments], cwd=ROOT, env=everything, stdout=file, stderr=subprocess.STDOUT
        )
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(address, timeout=2)
                break
            except (urllib.error.URLError, OSError):
                assert process.poll() is None, log.read_text()
                time.sleep(0.5)
        yield address
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    log, storage = tmp_path_factory.mktemp("app") / "log", tmp_path_factory.mktemp("storage")
    with serving(log, TMPDIR=str(storage)) as address:
        yield address
        left_before = list(storage.rglob("*.png"))
    assert left_before and not list(storage.rglob("*.png"))  # pictures of films do not outlive the server
    said = log.read_text()
    assert "Traceback" not in said, said
    assert "secret-film-name" not in said and "SECRET" not in said


@pytest.fixture
def film(tmp_path):
    path = tmp_path / "secret-film-name.png"
    cv2.imwrite(str(path), (drawn_film(300) * 255).astype(np.uint8))
    return path


def analyze(client: Client, film, record: dict | None = None, **options) -> tuple[dict, list[str]]:
    """(numbers, pictures) of a film through the API. The drawn films are no chest films to the gate: it is told to go
    on.
    """
    return client.predict(
        handle_file(str(film)) if film else None, record, api_name="/analyze_film", **{"anyway": True, **options}
    )


def test_an_analysis_through_the_api(url, film):
    record = {
        "age": 63,
        "sex": "F",
        "view": "PA",
        "systolic_mmhg": 120,
        "diastolic_mmhg": 80,
        "height_cm": 170,
        "weight_kg": 70,
    }
    client = Client(url, verbose=False)
    numbers, pictures = analyze(client, film, record)
    assert (
        numbers["record"]["bmi"] == 24.2
        and numbers["compared_with"]["view"] == "PA"
        and 0 <= numbers["percentile"] <= 100
    )
    shown = {os.path.basename(path): cv2.imread(path, 0) for path in pictures}
    assert set(shown) == {"film.png", "reconstruction.png", "residual.png", "heat_map.png", "anomaly_map.png"}
    assert 0 < np.abs(shown["film.png"].astype(int) - shown["reconstruction.png"]).mean() < 60
    again = analyze(client, film, record)[0]
    assert again["score"] == numbers["score"] and again["components"] == numbers["components"], (
        "the same film and record give the same numbers"
    )


def test_the_api_explains_draws_and_describes_itself(url, film):
    client = Client(url, verbose=False)
    models = client.predict(api_name="/describe_models")
    assert {"real-films", "phantoms"} <= set(models) and any(
        entry["name"] == "age" for entry in models["phantoms"]["features"]
    )
    found = client.predict(
        handle_file(str(film)), {"age": 50, "view": "PA"}, "age", "real-films", True, api_name="/explain_film"
    )
    assert (
        set(found["explanations"]["misfit"]["groups"]) <= {"age", "sex", "view"}
        and len(found["explanations"]["influence"]["age"]["values"]) == 9
    )
    assert (
        len(found["explanations"]["influence"]["age"]["score"]) == 9
        and found["explanations"]["attention"]
        and found["explanations"]["record_unknown"]["mean_absolute_change"] > 0
    )
    drawn = client.predict({"age": 50, "sex": "M", "view": "AP"}, 1, "phantoms", api_name="/draw_normal")
    assert cv2.imread(drawn, 0).std() > 10
    endpoints = set(client.view_api(return_format="dict")["named_endpoints"])
    assert endpoints == {"/inspect_film", "/analyze_film", "/explain_film", "/draw_normal", "/describe_models"}, (
        "the page's own events stay private"
    )
    assert "/analyze_film" in urllib.request.urlopen(f"{url}gradio_api/openapi.json").read().decode()


@pytest.mark.parametrize(
    ("record", "word"),
    [
        ({"age": 200}, "Age"),
        ({"bmi": 60, "height_cm": 170, "weight_kg": 70}, "BMI"),
        ({"systolic_mmhg": 70, "diastolic_mmhg": 120}, "Blood pressure"),
        ({"systolic": 120}, "no systolic; its names are age"),
    ],
)
def test_a_wrong_record_gets_a_sentence(url, film, record, word):
    with pytest.raises(Exception, match=word):
        analyze(Client(url, verbose=False), film, record)


def test_no_film_and_a_bad_film_get_a_sentence(url, tmp_path, film):
    client = Client(url, verbose=False)
    with pytest.raises(Exception, match="There is no film"):
        analyze(client, None)
    (tmp_path / "letter.png").write_bytes(b"dear reader" * 50)
    with pytest.raises(Exception, match="no PNG"):
        analyze(client, tmp_path / "letter.png")
    with pytest.raises(Exception, match="no model"):
        analyze(client, film, model="absent")
    noise = tmp_path / "noise.png"
    cv2.imwrite(str(noise), np.random.default_rng(0).integers(0, 255, (200, 200), np.uint8))
    with pytest.raises(Exception, match="frontal chest film"):
        analyze(client, noise, anyway=False)


def test_no_header_value_is_logged_or_told(url, tmp_path):
    dataset = pydicom.dcmread(io.BytesIO(dicom_film()))
    dataset.PatientName, dataset.PatientID, dataset.InstitutionName = "SECRET^NAME", "SECRETID", "SECRET HOSPITAL"
    path = tmp_path / "film.dcm"
    dataset.save_as(path, enforce_file_format=True)
    client = Client(url, verbose=False)
    seen = client.predict(handle_file(str(path)), api_name="/inspect_film")
    assert seen["facts"] == {"age": 63, "sex": "F", "view": "PA"} and "SECRET" not in json.dumps(seen)
    numbers, _ = analyze(client, path, seen["facts"])
    assert numbers["record"]["age"] == 63 and "SECRET" not in json.dumps(numbers)


def test_a_folder_that_is_absent_is_named():
    done = subprocess.run(
        [sys.executable, "app.py", "--data", "/absent"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1 and "There is no folder /absent" in done.stderr and "Traceback" not in done.stderr


def test_mcp_tools_are_offered_and_no_file_of_the_server_can_be_named(tmp_path):
    pytest.importorskip("mcp")
    path = tmp_path / "inside.png"
    cv2.imwrite(str(path), (drawn_film(100) * 255).astype(np.uint8))
    with serving(tmp_path / "log", "--mcp", DIFF3M_CHECKPOINT="phantoms") as address:
        tools = json.load(urllib.request.urlopen(f"{address}gradio_api/mcp/schema", timeout=30))
        assert {"analyze_film", "explain_film", "inspect_film", "draw_normal"} <= {tool["name"] for tool in tools}
        assert any("not for diagnosis" in tool["description"] for tool in tools)
        for named in (str(path), f"file://{path}"):
            body = json.dumps(
                {"data": [{"path": named, "meta": {"_type": "gradio.FileData"}}, None, "", True]}
            ).encode()
            request = urllib.request.Request(
                f"{address}gradio_api/call/analyze_film", body, {"Content-Type": "application/json"}
            )
            event = json.load(urllib.request.urlopen(request, timeout=30))["event_id"]
            answer = (
                urllib.request.urlopen(f"{address}gradio_api/call/analyze_film/{event}", timeout=60).read().decode()
            )
            assert "event: error" in answer and "percentile" not in answer
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(
                urllib.request.Request(f"{address}gradio_api/upload", *_upload(bytes(65 * 2**20))), timeout=60
            )
        assert refused.value.code == 413


def _upload(data: bytes) -> tuple[bytes, dict[str, str]]:
    """Body and headers of an upload of one file."""
    edge = "edge-of-the-parts"
    head = f'--{edge}\r\nContent-Disposition: form-data; name="files"; filename="film"\r\nContent-Type: application/octet-stream\r\n\r\n'
    return head.encode() + data + f"\r\n--{edge}--\r\n".encode(), {
        "Content-Type": f"multipart/form-data; boundary={edge}"
    }


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("no Chromium: install Debian's `chromium` to run the browser test")
    from playwright.sync_api import sync_playwright

    flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield browser
        browser.close()


@pytest.mark.parametrize("width", [1440, 390])
def test_a_person_drops_a_film_and_reads_the_result(url, film, browser, width):
    page = browser.new_page(viewport={"width": width, "height": 1000})
    outside: list[str] = []
    page.on(
        "request",
        lambda request: outside.append(request.url) if not request.url.startswith((url, "data:", "blob:")) else None,
    )
    page.goto(url)
    page.wait_for_selector("#analyze")
    assert page.input_value("#ehr-age textarea, #ehr-age input") == ""  # unknown is empty, not 0
    page.set_input_files("#film-file input[type=file]", str(film))
    page.wait_for_selector("#film-facts p")
    assert "300×300" in page.inner_text("#film-facts")
    page.fill("#ehr-age textarea, #ehr-age input", "63")
    page.get_by_label("PA (standing)").first.check()
    page.click("#analyze")
    page.wait_for_selector("#status .alert")  # a drawn film is none: the gate says so, and lets the user go on
    assert "go on knowingly" in page.inner_text("#film-gate")
    page.locator("#accept input").check()
    page.wait_for_selector("#film-gate :text('You chose to go on')")
    page.click("#analyze")
    page.wait_for_selector("text=Done in", timeout=60_000)
    assert "percentile" in page.inner_text("#score") and "normal PA films" in page.inner_text("#score")
    assert page.locator("#compare img").count() >= 2
    first = page.locator("#heat img").get_attribute("src")
    assert "differ" in page.locator("#heat img").get_attribute("alt")
    page.locator("#threshold input[type=number]").fill("0.2")
    page.locator("#threshold input[type=number]").press("Enter")
    page.wait_for_function("src => document.querySelector('#heat img').src !== src", arg=first, timeout=10_000)
    assert "20.0%" in page.inner_text("#heat-words")
    assert "Age: 63 years" in page.inner_html("#attention")
    page.locator("#threshold input[type=number]").fill("")  # an emptied box is no error
    page.locator("#threshold input[type=number]").press("Enter")
    page.wait_for_timeout(300)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")  # nothing sticks out
    assert outside == []
    page.close()


def test_no_record_and_no_result_is_carried_to_the_next_film(url, film, tmp_path, browser):
    second = tmp_path / "second.png"
    cv2.imwrite(str(second), (drawn_film(200, seed=5) * 255).astype(np.uint8))
    page = browser.new_page(viewport={"width": 1440, "height": 1000})
    page.goto(url)
    age = page.locator("#ehr-age textarea, #ehr-age input")
    age.fill("63")
    page.set_input_files("#film-file input[type=file]", str(film))
    page.wait_for_selector("text=300×300")
    assert age.input_value() == "63"  # typed before the first film
    page.locator("#accept input").check()
    page.wait_for_selector("#film-gate :text('You chose to go on')")
    page.click("#analyze")
    page.wait_for_selector("text=Done in", timeout=60_000)
    age.fill("200")  # a wrong record takes the old result away
    page.click("#analyze")
    page.wait_for_selector("#status .alert")
    assert "Age" in page.inner_text("#status") and page.inner_text("#score") == ""
    age.fill("63")
    page.click("#analyze")  # still running when the film is taken away
    page.locator("#film-file button[aria-label*='Clear'], #film-file button[aria-label*='Remove']").first.click()
    page.wait_for_function("document.querySelector('#ehr-age textarea, #ehr-age input').value === ''")
    page.set_input_files("#film-file input[type=file]", str(second))
    page.wait_for_selector("text=200×200")
    page.wait_for_timeout(4000)
    assert (
        age.input_value() == ""
        and "Done" not in page.inner_text("#status")
        and page.locator("#score .card").count() == 0
    )
    page.close()


def test_twenty_users_at_once_each_get_their_own(url, tmp_path):
    paths = []
    for index in range(20):
        paths.append(tmp_path / f"{index}.png")
        cv2.imwrite(str(paths[-1]), (drawn_film(140, seed=index, bright=0.02 * index) * 255).astype(np.uint8))

    def ask(index: int) -> tuple[dict, np.ndarray]:
        numbers, pictures = analyze(
            Client(url, verbose=False), paths[index], {"age": 30 + index, "view": ("PA", "AP")[index % 2]}
        )
        return numbers, cv2.imread(next(path for path in pictures if path.endswith("film.png")), 0)

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(ask, range(20)))
    settings = Preprocessing(size=128)
    for index, (numbers, _) in enumerate(answers):
        assert numbers["record"]["age"] == 30 + index, "another user's record"
        own = prepare(read_radiograph(paths[index]), settings) * 255
        apart = [
            np.abs(cv2.resize(shown, (128, 128), interpolation=cv2.INTER_AREA) - own).mean() for _, shown in answers
        ]
        assert int(np.argmin(apart)) == index, "another user's film"


def test_a_stopped_explanation_leaves_the_result_and_a_new_analysis_ends_it(url, film, browser):
    page = browser.new_page(viewport={"width": 1440, "height": 1000})
    page.goto(url)
    page.set_input_files("#film-file input[type=file]", str(film))
    page.wait_for_selector("text=300×300")
    page.locator("#accept input").check()
    page.wait_for_selector("#film-gate :text('You chose to go on')")
    page.click("#analyze")
    page.wait_for_selector("text=Done in", timeout=60_000)
    page.click("#explain")
    page.wait_for_selector("#explanation .card", timeout=60_000)
    page.click("#cancel")
    page.wait_for_selector("#status :text('Stopped')")
    page.wait_for_timeout(1500)
    assert (
        page.locator("#score .card").count() == 1
        and page.locator("#explanation .card").count() >= 1
        and page.locator("#heat img").count() == 1
    )
    page.click("#explain")
    page.wait_for_function(
        "document.querySelector('#status').innerText.includes('Drawing this person')", timeout=60_000
    )
    page.fill("#ehr-age textarea, #ehr-age input", "63")
    page.click("#analyze")
    page.wait_for_selector("#status :text('Done in')", timeout=60_000)
    page.wait_for_timeout(
        9000
    )  # long enough for all cards, were what was asked of the other record to go on; a last word may be under way
    assert "Explained in" not in page.inner_text("#status") and page.locator("#explanation .card").count() < 8
    page.close()


def test_a_link_opens_an_example_with_its_settings(url, browser):
    page = browser.new_page(viewport={"width": 1440, "height": 1000})
    page.goto(f"{url}?example=phantom-opacity")
    page.wait_for_selector("#status_phantoms :text('Computed beforehand')", timeout=30_000)
    page.goto(f"{url}?example=phantom-opacity&level=600&seed=7&steps=nonsense")  # another level: computed now
    page.wait_for_selector("#status_phantoms :text('Done in')", timeout=60_000)
    assert "level=600" in page.locator("#link_phantoms a").get_attribute("href") and "steps=10" in page.locator(
        "#link_phantoms a"
    ).get_attribute("href")
    assert page.locator("#score_phantoms").is_visible() and "Opacity" in page.inner_text("#film-facts_phantoms")
    page.close()


def test_a_turned_film_is_noticed_and_set_right(url, browser, tmp_path):
    turned = tmp_path / "turned.png"
    cv2.imwrite(str(turned), 255 - np.rot90((person(2_050_001).film(256) * 255).astype(np.uint8)))
    page = browser.new_page(viewport={"width": 1440, "height": 1000})
    page.goto(url)
    page.set_input_files("#film-file input[type=file]", str(turned))
    page.wait_for_selector("#film-gate .alert")
    said = page.inner_text("#film-gate")
    assert "turned" in said and "negative" in said
    page.click("#mend")
    page.wait_for_function("!document.querySelector('#film-gate .alert')")
    page.click("#analyze")
    page.wait_for_selector("text=Done in", timeout=60_000)
    page.click("#save")
    page.wait_for_selector("#saved :text('.zip')", timeout=60_000)
    page.close()


def test_a_picture_may_be_pasted(url, browser):
    data = cv2.imencode(".png", (person(2_050_001).film(256) * 255).astype(np.uint8))[1].tobytes()
    page = browser.new_page(viewport={"width": 1440, "height": 1000})
    page.goto(url)
    page.wait_for_selector("#film-file input[type=file]", state="attached")
    page.evaluate(
        """bytes => {
            const carried = new DataTransfer();
            carried.items.add(new File([new Uint8Array(bytes)], "pasted.png", {type: "image/png"}));
            document.dispatchEvent(new ClipboardEvent("paste", {clipboardData: carried, bubbles: true}));
        }""",
        list(data),
    )
    page.wait_for_selector("#film-facts :text('256×256')", timeout=20_000)
    page.close()


def test_a_lesson_is_answered_and_many_cases_are_scored(url, browser, tmp_path):
    with zipfile.ZipFile(tmp_path / "films.zip", "w") as archive:
        for index in range(3):
            archive.writestr(
                f"{index}.png",
                cv2.imencode(".png", (person(2_050_001 + index).film(200) * 255).astype(np.uint8))[1].tobytes(),
            )
    page = browser.new_page(viewport={"width": 1440, "height": 1000})
    page.goto(url)
    page.get_by_role("tab", name="Teach", exact=True).click()
    page.locator("#lesson input").click()
    page.get_by_role("option", name="AP or PA?").click()
    page.wait_for_selector("#lesson-question :text('AP or PA?')")
    page.click("#lesson-ask")
    page.wait_for_selector("#lesson-answer h3:text('The answer')", timeout=90_000)
    assert "standard deviations" in page.inner_text("#lesson-answer")
    page.get_by_role("tab", name="Many cases", exact=True).click()
    page.set_input_files("#cohort-zip input[type=file]", str(tmp_path / "films.zip"))
    page.wait_for_selector("#cohort-zip :text('films')")
    page.click("#cohort-run")
    page.wait_for_selector("#cohort-status :text('Done: 3 films')", timeout=90_000)
    page.locator("#cohort-table").get_by_text("1.png").last.click()
    page.wait_for_selector("#film-facts :text('200×200')", timeout=30_000)
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(url, browser, scheme):
    axe = pytest.importorskip("axe_core_python.sync_playwright").Axe()
    page = browser.new_page(viewport={"width": 1440, "height": 1000}, color_scheme=scheme)
    page.goto(f"{url}?__theme={scheme}")
    page.wait_for_selector("#examples button img")
    page.locator("#examples button:has(img)").nth(3).click()
    page.wait_for_selector("#score .card", timeout=30_000)
    found = {}
    for tab in ("Explore a case", "Teach", "Many cases", "About"):
        page.get_by_role("tab", name=tab, exact=True).click()
        page.wait_for_timeout(800)
        for violation in axe.run(page)["violations"]:
            if violation["impact"] in ("serious", "critical"):
                found[f"{tab}: {violation['id']}"] = [node["html"][:160] for node in violation["nodes"][:3]]
    assert not found, found
    page.close()


def test_the_page_is_used_by_keyboard_alone(url, browser):
    page = browser.new_page(viewport={"width": 1440, "height": 1000})
    page.goto(url)
    page.wait_for_selector("#examples button img")
    page.locator("#examples button:has(img)").first.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#score .card", timeout=30_000)
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.closest('[id]')?.id ?? ''"))
    assert "analyze" in reached, "the button is reached by Tab from the examples on"
    page.locator("#analyze").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#status :text('Done in')", timeout=60_000)
    page.close()


def test_an_example_is_one_click(url, browser):
    page = browser.new_page(viewport={"width": 1440, "height": 1000})
    page.goto(url)
    page.wait_for_selector("#examples button img")
    assert page.locator("#examples button img").count() >= 6
    page.locator("#examples button:has(img)").nth(1).click()
    page.wait_for_selector("#status :text('Computed beforehand')", timeout=10_000)
    assert page.input_value("#ehr-age textarea, #ehr-age input") != "" and "percentile" in page.inner_text("#score")
    page.click("#analyze")  # and then live
    page.wait_for_selector("#status :text('Done in')", timeout=60_000)
    assert "?example=" in page.locator("#link a").get_attribute("href")
    page.close()


def test_the_other_model_is_chosen_by_name_and_its_examples_show_the_truth(url, browser):
    page = browser.new_page(viewport={"width": 1440, "height": 1000})
    page.goto(url)
    page.get_by_role("tab", name="Simulated patients", exact=True).click()
    page.wait_for_selector("#examples_phantoms button img")
    captions = page.inner_text("#examples_phantoms")
    place = next(index for index, text in enumerate(captions.split("\n")) if text.startswith("Opacity"))
    page.locator("#examples_phantoms button:has(img)").nth(place).click()
    page.wait_for_selector("#status_phantoms :text('Computed beforehand')", timeout=10_000)
    filled = [
        page.input_value(f"#ehr-{name}_phantoms textarea, #ehr-{name}_phantoms input")
        for name in ("age", "bmi", "systolic_mmhg", "weight_kg")
    ]
    assert all(filled) and "green outline is the truth" in page.inner_text("#heat-words_phantoms")
    assert "phantom, no patient" in page.inner_text("#film-facts_phantoms")
    assert "systolic pressure" in page.inner_text("#score_phantoms")
    for name in (
        "film-file",
        "analyze",
        "status",
        "score",
        "heat",
        "attention",
        "ehr-age",
    ):  # both pages are there, each with ids of its own
        assert page.locator(f"[id={name}]").count() <= 1 == page.locator(f"[id={name}_phantoms]").count()
    page.close()


def test_the_form_follows_the_schema_and_marks_what_it_filled_in():
    import gradio as gr

    with gr.Blocks():
        form = build_form(paper_schema())
    assert len(form.fields) == 8
    updates, bmi = form.filled({"age": 62.0, "sex": "M", "height_cm": 170.0, "weight_kg": 70.0}, FROM_HEADER)
    by_name = dict(zip(form.schema.names, updates, strict=True))
    assert by_name["age"]["value"] == "62" and by_name["age"]["info"] == FROM_HEADER
    assert (
        by_name["bmi"]["value"] == bmi == "24.2"
        and "computed" in by_name["bmi"]["info"]
        and by_name["view"]["value"] == "unknown"
    )
    typed = ("40", "M", "unknown", "", "", "", "", "")
    by_name = dict(zip(form.schema.names, form.filled({"sex": "F"}, FROM_HEADER, typed)[0], strict=True))
    assert "value" not in by_name["age"] and by_name["sex"]["value"] == "F"
    emptied = form.filled({}, "")[0]
    assert [update["value"] for update in emptied] == ["", "unknown", "unknown", "", "", "", "", ""]


def test_the_storage_forgets_all_but_the_examples(monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", "elsewhere")
    storage = Storage(keep_seconds=100)
    try:
        assert os.environ["GRADIO_TEMP_DIR"] == str(storage.folder)
        example = storage.folder / "a" / "example.png"
        example.parent.mkdir()
        example.write_bytes(b"x")
        storage.protect()
        old, new = storage.folder / "a" / "old.png", storage.folder / "a" / "new.png"
        for path in (old, new):
            path.write_bytes(b"x")
        for path in (example, old):
            os.utime(path, (time.time() - 200,) * 2)
        assert storage.sweep() == 1
        assert example.exists() and new.exists() and not old.exists()
        ended = subprocess.Popen([sys.executable, "-c", ""])
        ended.wait()
        orphan, others = (storage.folder.parent / f"diff3m-explorer-{number}-x" for number in (ended.pid, os.getppid()))
        for folder in (orphan, others):
            folder.mkdir()
        storage.sweep_orphans()
        assert not orphan.exists() and others.exists(), "what a killed run left goes, what a running one holds stays"
        others.rmdir()
    finally:
        storage.remove()
    assert not storage.folder.exists()


def test_bmi_is_computed_only_from_a_whole_and_plausible_pair():
    schema = paper_schema()
    assert with_bmi(schema, {"height_cm": 170.0, "weight_kg": 70.0}) == (
        {"height_cm": 170.0, "weight_kg": 70.0, "bmi": 24.2},
        {"bmi"},
    )
    assert with_bmi(schema, {"height_cm": 170.0, "unheard_of": 1}) == ({"height_cm": 170.0}, set())
    assert with_bmi(schema, {"height_cm": 230.0, "weight_kg": 25.0})[1] == set()


def test_a_stream_ends_raises_and_cancels():
    def count(callback):
        for number in range(3):
            callback(number)
            time.sleep(0.02)
        return "end"

    items = list(stream(count))
    assert isinstance(items[-1], Done) and items[-1].value == "end" and items[:-1] == [0, 1, 2]

    def fail(callback):
        callback(0)
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        list(stream(fail))

    stopped = []

    def endless(callback):
        try:
            while True:
                callback(0)
                time.sleep(0.01)
        except Cancelled:
            stopped.append(True)
            raise

    running = stream(endless)
    next(running)
    running.close()
    assert stopped == [True]

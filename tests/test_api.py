"""The functions of the page for programs, through a server started as a user starts it."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pydicom
import pytest
from gradio_client import Client, handle_file
from helpers import ROOT, dicom_film, drawn_film, serving

from diff3m.imaging import Preprocessing, prepare, read_radiograph

PICTURES = ("film", "normal_film", "difference", "reconstruction", "residual")
ZONE = r"(right|left) (lung|(upper|mid|lower)( and (mid|lower))? zones?)|heart|mediastinum|outside the lungs"


@pytest.fixture
def film(tmp_path):
    path = tmp_path / "secret-film-name.png"
    cv2.imwrite(str(path), (drawn_film(300) * 255).astype(np.uint8))
    return path


def analyze(client: Client, film, record: dict | None = None, **options) -> tuple[dict, list[str]]:
    """Return (numbers, pictures) of a film through the API, whatever the gate says: drawn films are no chest films."""
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
    images = {os.path.basename(path): cv2.imread(path, 0) for path in pictures}
    assert set(images) == {f"{name}.png" for name in PICTURES}
    assert images["film.png"].shape == images["normal_film.png"].shape == cv2.imread(str(film), 0).shape
    assert 0 < np.abs(images["film.png"].astype(int) - images["normal_film.png"]).mean() < 60
    assert numbers["findings"], "a drawn film differs somewhere"
    for finding in numbers["findings"]:
        top, left, bottom, right = finding["box"]
        assert 0 <= top < bottom <= 1 and 0 <= left < right <= 1 and 0 < finding["share"] < 1
        assert abs(finding["mean"]) <= abs(finding["largest"]) and re.fullmatch(ZONE, finding["zone"])
        assert finding["side"] == (
            finding["zone"].split()[0] if finding["zone"].startswith(("right", "left")) else None
        )
    again = analyze(client, film, record)[0]
    assert again["score"] == numbers["score"] and again["components"] == numbers["components"], (
        "the same film and record give the same numbers"
    )


@pytest.mark.slow
def test_the_api_explains_draws_and_describes_itself(url, film):
    client = Client(url, verbose=False)
    models = client.predict(api_name="/describe_models")
    assert {"real-films", "phantoms"} <= set(models) and any(
        entry["name"] == "age" for entry in models["phantoms"]["features"]
    )
    result = client.predict(
        handle_file(str(film)), {"age": 50, "view": "PA"}, "age", "real-films", True, api_name="/explain_film"
    )
    assert (
        set(result["explanations"]["misfit"]["groups"]) <= {"age", "sex", "view"}
        and len(result["explanations"]["influence"]["age"]["values"]) == 9
    )
    assert (
        len(result["explanations"]["influence"]["age"]["score"]) == 9
        and result["explanations"]["attention"]
        and result["explanations"]["record_unknown"]["mean_absolute_change"] > 0
    )
    film_path = client.predict({"age": 50, "sex": "M", "view": "AP"}, 1, "phantoms", api_name="/draw_normal")
    assert cv2.imread(film_path, 0).std() > 10
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
    inspection = client.predict(handle_file(str(path)), api_name="/inspect_film")
    assert inspection["facts"] == {"age": 63, "sex": "F", "view": "PA"} and "SECRET" not in json.dumps(inspection)
    numbers, _ = analyze(client, path, inspection["facts"])
    assert numbers["record"]["age"] == 63 and "SECRET" not in json.dumps(numbers)


def test_notes_of_the_file_come_with_those_of_the_gate(url, tmp_path):
    dataset = pydicom.dcmread(io.BytesIO(dicom_film()))
    dataset.BodyPartExamined = "SKULL"
    dataset.save_as(tmp_path / "film.dcm", enforce_file_format=True)
    result = Client(url, verbose=False).predict(handle_file(str(tmp_path / "film.dcm")), api_name="/inspect_film")
    assert any("the body part is SKULL" in note for note in result["notes"])


@pytest.mark.slow
def test_twenty_users_at_once_each_get_their_own(url, tmp_path):
    paths = []
    for index in range(20):
        paths.append(tmp_path / f"{index}.png")
        cv2.imwrite(str(paths[-1]), (drawn_film(140, seed=index, bright=0.02 * index) * 255).astype(np.uint8))

    def ask(index: int) -> tuple[dict, np.ndarray]:
        numbers, pictures = analyze(
            Client(url, verbose=False), paths[index], {"age": 30 + index, "view": ("PA", "AP")[index % 2]}
        )
        return numbers, cv2.imread(next(path for path in pictures if path.endswith("/film.png")), 0)

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(ask, range(20)))
    settings = Preprocessing(size=128)
    for index, (numbers, _) in enumerate(answers):
        assert numbers["record"]["age"] == 30 + index, "another user's record"
        own = prepare(read_radiograph(paths[index]), settings) * 255
        apart = [
            np.abs(cv2.resize(image, (128, 128), interpolation=cv2.INTER_AREA) - own).mean() for _, image in answers
        ]
        assert int(np.argmin(apart)) == index, "another user's film"


@pytest.mark.slow
def test_a_folder_that_is_absent_is_named():
    done = subprocess.run(
        [sys.executable, "app.py", "--data", "/absent"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1 and "There is no folder /absent" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.slow
def test_mcp_tools_are_offered_and_no_file_of_the_server_can_be_named(tmp_path):
    pytest.importorskip("mcp")
    path = tmp_path / "inside.png"
    cv2.imwrite(str(path), (drawn_film(100) * 255).astype(np.uint8))
    with serving(tmp_path / "log", "--mcp", DIFF3M_CHECKPOINT="phantoms") as address:
        tools = json.load(urllib.request.urlopen(f"{address}gradio_api/mcp/schema", timeout=30))
        assert {"analyze_film", "explain_film", "inspect_film", "draw_normal"} <= {tool["name"] for tool in tools}
        assert any("not for diagnosis" in tool["description"] for tool in tools)
        for reference in (str(path), f"file://{path}"):
            body = json.dumps(
                {"data": [{"path": reference, "meta": {"_type": "gradio.FileData"}}, None, "", True]}
            ).encode()
            request = urllib.request.Request(
                f"{address}gradio_api/call/analyze_film", body, {"Content-Type": "application/json"}
            )
            event = json.load(urllib.request.urlopen(request, timeout=30))["event_id"]
            answer = (
                urllib.request.urlopen(f"{address}gradio_api/call/analyze_film/{event}", timeout=60).read().decode()
            )
            assert "event: error" in answer and "percentile" not in answer
        with pytest.raises(urllib.error.HTTPError) as error:
            urllib.request.urlopen(
                urllib.request.Request(f"{address}gradio_api/upload", *_upload(bytes(65 * 2**20))), timeout=60
            )
        assert error.value.code == 413


def _upload(data: bytes) -> tuple[bytes, dict[str, str]]:
    """Body and headers of an upload of one file."""
    edge = "edge-of-the-parts"
    head = (
        f'--{edge}\r\nContent-Disposition: form-data; name="files"; filename="film"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    )
    body = head.encode() + data + f"\r\n--{edge}--\r\n".encode()
    return body, {"Content-Type": f"multipart/form-data; boundary={edge}"}

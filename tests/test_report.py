"""The report on paper, and the files that are saved."""

import io
import json
import re
import zipfile
from dataclasses import replace
from itertools import combinations

import cv2
import numpy as np
import pydicom
import pytest
from helpers import ROOT, drawn_film
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from app.render import paper, report
from app.render.paper import A4, Column, new_page
from app.render.report import Report
from diff3m.checkpoint.folder import load_checkpoint
from diff3m.detector import Detector
from diff3m.export.secondary_capture import can_export_dicom, secondary_captures
from diff3m.findings import find_findings
from diff3m.imaging import Radiograph
from diff3m.imaging.zones import ZONES
from diff3m.scoring.score import ViewCalibration

LONG = "A sentence that says at length what was turned, guessed or ignored while the film was read. "
TOLERANCE = 0.3  # millimeters by which the empty room around two texts may overlap


@pytest.fixture(scope="module")
def detector(tiny_checkpoint) -> Detector:
    """The tiny checkpoint with normal films of its own making to be compared with."""
    detector = Detector(load_checkpoint(tiny_checkpoint), device="cpu", precision="float32")
    normals = ViewCalibration(40, (0.1, 0.3, 0.1), (0.05, 0.1, 0.05), tuple(np.linspace(-2, 3, 40).tolist()))
    return detector.with_scoring(replace(detector.scoring, calibration=(("any", normals), ("AP", normals))))


@pytest.fixture(scope="module")
def shortest(detector) -> Report:
    """A report of a wide film of which nothing is known and nothing found."""
    film = np.pad(drawn_film(96, 3, bright=0.5), ((0, 0), (20, 20)), mode="edge")
    case = detector.case(Radiograph(film))
    return Report(detector.analyze(case), case, [], detector)


@pytest.fixture(scope="module")
def longest(shortest, detector) -> Report:
    """A report with long values in all fields and more of everything than there is room for."""
    case = detector.case(Radiograph(np.kron(drawn_film(96, 3, bright=0.5), np.ones((5, 4), np.float32))))
    record = {"age": 103.25, "sex": "F", "view": "AP", "height_cm": 171.25, "weight_kg": 123.75}
    case = case.with_record(detector.schema.parse({**record, "systolic_mmhg": 212.5, "diastolic_mmhg": 101.25}))
    analysis = replace(detector.analyze(case), notes=(*[LONG * 2] * 8, "w" * 300))
    film_findings = find_findings(analysis, case, detector.scoring, threshold=0.001)
    assert film_findings
    findings = [replace(film_findings[0], zone=zone, stands_out=True) for zone in ZONES[:5]] + [
        replace(film_findings[0], zone=ZONES[-1], largest=-0.123)
    ]
    measurements = [
        "Cardiothoracic ratio 0.56 here, 0.48 in what is normal for this record",
        "Area 1234.5 mm × 2345.6 mm, mean difference -12.3 %",
    ] * 20
    return Report(analysis, case, findings, detector, measurements)


def texts_of(page: Figure) -> list[tuple[str, tuple[float, float, float, float]]]:
    """All texts of a page with left, top, right and bottom in millimeters; the numbers on a picture apart."""
    page.draw_without_rendering()
    renderer, boxes = FigureCanvasAgg(page).get_renderer(), []
    pictures = [axes for axes in page.axes if axes.images]
    for text in dict.fromkeys(page.findobj(Text)):
        if not text.get_text().strip() or not text.get_visible() or text.axes in pictures:
            continue
        if text.axes is not None and not text.axes.axison:
            continue
        box = text.get_window_extent(renderer)
        scale = 25.4 / page.dpi
        boxes.append(
            (text.get_text(), (box.x0 * scale, A4[1] - box.y1 * scale, box.x1 * scale, A4[1] - box.y0 * scale))
        )
    return boxes


def overlaps(page: Figure) -> list[tuple[str, str]]:
    """Pairs of texts that lie over each other, and texts that lie over a picture or beyond the margins."""
    texts, result = texts_of(page), []
    for (first, one), (second, other) in combinations(texts, 2):
        height = min(one[3], other[3]) - max(one[1], other[1])
        width = min(one[2], other[2]) - max(one[0], other[0])
        if width > TOLERANCE and height > 1.2:  # lines of a paragraph: ascenders reach into the room above
            result.append((first, second))
    for axes in page.axes:
        if axes.images:
            box = axes.get_position()
            left, top, right, bottom = box.x0 * A4[0], (1 - box.y1) * A4[1], box.x1 * A4[0], (1 - box.y0) * A4[1]
            for text, (x0, y0, x1, y1) in texts:
                if min(x1, right) - max(x0, left) > TOLERANCE and min(y1, bottom) - max(y0, top) > TOLERANCE:
                    result.append((text, "a picture"))
    for text, (x0, y0, x1, y1) in texts:
        if x0 < 8 or y0 < 5 or x1 > A4[0] - report.MARGIN + TOLERANCE or y1 > A4[1] - 5:
            result.append((text, "the margin"))
    return result


def test_numbers_on_the_map_never_overlap_and_stay_inside_it(longest):
    page, _ = report.report_pages(longest)
    page.draw_without_rendering()
    renderer = FigureCanvasAgg(page).get_renderer()
    (axes,) = [axes for axes in page.axes if axes.texts and axes.images]
    labels = [text.get_window_extent(renderer) for text in axes.texts]
    assert len(labels) == len(longest.findings) == 6
    assert not [pair for pair in combinations(labels, 2) if pair[0].overlaps(pair[1])]
    picture = axes.get_window_extent(renderer).padded(2)
    assert all(picture.x0 <= box.x0 and box.x1 <= picture.x1 for box in labels)
    assert all(picture.y0 <= box.y0 and box.y1 <= picture.y1 for box in labels)


def test_labels_go_to_the_nearest_free_place():
    places = paper.place_labels([(4.0, 4.0), (4.0, 4.0), (99.0, -5.0)], [(2.0, 2.0)] * 3, (10.0, 10.0))
    assert places[0] == (4.0, 4.0) and places[2] == (8.0, 0.0)
    assert max(abs(places[1][0] - 4.0), abs(places[1][1] - 4.0)) == 2.0, "beside the first"


@pytest.mark.parametrize("which", ["shortest", "longest"])
def test_nothing_overlaps(which, request):
    for page in report.report_pages(request.getfixturevalue(which)):
        assert tuple(page.get_size_inches() * 25.4) == pytest.approx(A4)
        assert overlaps(page) == []


def test_overlaps_are_found_where_they_are():
    page = new_page()
    page.text(0.3, 0.5, "one text", fontsize=10)
    page.text(0.31, 0.501, "another", fontsize=10)
    page.text(0.95, 0.2, "beyond the margin", fontsize=10)
    assert overlaps(page) == [("one text", "another"), ("beyond the margin", "the margin")]


def test_film_and_normal_film_are_eight_centimeters_high(longest):
    first, _ = report.report_pages(longest)
    film, normal, difference = (axes for axes in first.axes if axes.images)
    for axes in (film, normal, difference):
        box = axes.get_position()
        height, width = box.height * A4[1], box.width * A4[0]
        assert height == pytest.approx(80) and width / height == pytest.approx(384 / 480)
    assert np.array_equal(film.images[0].get_array(), longest.case.film.pixels), "the film's own pixels"
    assert np.array_equal(normal.images[0].get_array(), longest.normal_film)
    assert not np.array_equal(longest.normal_film, longest.case.film.pixels)
    assert len(difference.lines) == len(longest.findings) == len(difference.texts)


def test_the_outline_on_the_map_lies_where_the_difference_is(longest, detector):
    (strongest, *_) = find_findings(longest.analysis, longest.case, detector.scoring, threshold=0.001)
    one = replace(longest, findings=[strongest])
    difference = [axes for axes in report.report_pages(one)[0].axes if axes.images][2]
    (line,) = difference.lines
    points = difference.transData.inverted().transform(line.get_transform().transform(line.get_xydata()))
    height, width = difference.images[0].get_array().shape[:2]
    columns, rows = points.T + 0.5  # the middle of the first pixel is 0
    assert rows.min() / height == pytest.approx(strongest.box[0], abs=0.01)
    assert rows.max() / height == pytest.approx(strongest.box[2], abs=0.01)
    assert columns.min() / width == pytest.approx(strongest.box[1], abs=0.01)
    assert columns.max() / width == pytest.approx(strongest.box[3], abs=0.01)


def test_what_the_first_page_says(longest, shortest, detector):
    analysis = longest.analysis
    words = [re.sub(r"\s+", " ", " ".join(text for text, _ in texts_of(page))) for page in report.report_pages(longest)]
    first, second = words
    assert f"Percentile {analysis.percentile:.1f} among" in first and f"percentile {analysis.percentile:.1f}" in second
    assert all(zone in first.lower() for zone in ZONES[:5]) and "(marker, clothing or border?)" in first
    assert "103.2 years" in first and "Systolic" in first and "212.5 mmHg" in first
    assert "Cardiothoracic ratio 0.56 here" in first and "more" in first
    assert "not for diagnosis" in first and "Limits" in first and "SHA-256" in second and "SHA-256" not in first
    empty = " ".join(text for text, _ in texts_of(report.report_pages(shortest)[0]))
    assert "Measurements 1 " not in empty and "none" in empty and "Nowhere does the film differ" in empty


def test_a_value_that_the_model_ignores_is_not_in_the_report(longest, detector):
    features = tuple(replace(one, trained=one.name in ("age", "view")) for one in detector.schema.features)
    ignorant = detector.with_config(replace(detector.config, schema=replace(detector.schema, features=features)))
    pages = report.report_pages(replace(longest, detector=ignorant))
    words = " ".join(text for page in pages for text, _ in texts_of(page))
    assert "103.2 years" in words and "mmHg" not in words and "BMI" not in words


def test_a_checkpoint_without_a_score_has_a_report(longest, detector):
    analysis = replace(longest.analysis, score=None, percentile=None, normals=0)
    page = report.report_pages(replace(longest, analysis=analysis))[0]
    assert "This model gives no score" in " ".join(text for text, _ in texts_of(page)) and overlaps(page) == []


def test_what_is_saved_holds_everything_and_names_nobody(longest, detector):
    pdf = report.pdf_report(longest)
    assert pdf.startswith(b"%PDF") and len(pdf) > 20_000 and len(re.findall(rb"/Type /Page\b", pdf)) == 2
    with zipfile.ZipFile(io.BytesIO(report.zip_files(report.result_files(longest)))) as archive:
        names = set(archive.namelist())
        values = json.loads(archive.read("result.json"))
        native = cv2.imdecode(np.frombuffer(archive.read("normal_film_16bit.png"), np.uint8), cv2.IMREAD_UNCHANGED)
        film, normal_film = (
            cv2.imdecode(np.frombuffer(archive.read(f"{name}.png"), np.uint8), cv2.IMREAD_UNCHANGED)
            for name in ("film", "normal_film")
        )
    names_of_pictures = ("film", "normal_film", "normal_film_16bit", "difference", "reconstruction", "residual")
    pictures = {f"{name}.png" for name in names_of_pictures}
    assert {"README.txt", "report.pdf", "result.json", *pictures} <= names
    assert values["checkpoint"]["weights_sha256"] == detector.checkpoint.sha256
    assert "not for diagnosis" in values["notice"] and values["percentile"] == longest.analysis.percentile
    assert values["findings"][0]["zone"] == ZONES[0] and len(values["measurements"]) == 40
    assert native.dtype == np.uint16 and native.shape == longest.case.film.pixels.shape
    assert np.abs(native / 65535 - longest.normal_film).max() < 1e-4
    assert np.abs(normal_film / 255 - longest.normal_film).max() < 0.003
    assert np.abs(film / 255 - longest.case.film.pixels).max() < 0.003


def test_dicom_files_are_secondary_captures_of_nobody(longest, detector):
    assert can_export_dicom(), "highdicom is among the requirements, so that the button keeps its promise"
    files = secondary_captures(longest.complete_analysis, detector)
    assert set(files) == {"film", "normal_film", "difference"}
    images = {name: pydicom.dcmread(io.BytesIO(data)) for name, data in files.items()}
    assert {image.SOPClassUID.name for image in images.values()} == {"Secondary Capture Image Storage"}
    assert len({image.SeriesInstanceUID for image in images.values()}) == 1
    assert all(not image.PatientName and not image.PatientID for image in images.values())
    assert all(not image.PatientOrientation and "BurnedInAnnotation" not in image for image in images.values()), (
        "neither is known"
    )
    shape = longest.case.film.pixels.shape
    assert images["film"].pixel_array.shape == images["normal_film"].pixel_array.shape == shape
    assert images["difference"].pixel_array.shape[2] == 3


def test_highdicom_is_installed_with_the_page():
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    assert any(line.startswith("highdicom") for line in lines)
    assert "highdicom" not in (ROOT / "requirements-dev.txt").read_text()


def test_a_column_wraps_and_says_what_is_missing():
    column = Column(new_page(), 20, 40, 20, 34)
    lines = column.wrap("several words and " + "w" * 60, 8.5)
    assert len(lines) > 2 and all(column._measure(line, 8.5, "normal") <= 40 for line in lines)
    assert "".join(lines).replace(" ", "") == "severalwordsand" + "w" * 60
    text = "7.1 % of 120 mmHg at 4 %"
    for width in range(18, 40):  # a number stays with its unit
        lines = Column(new_page(), 20, width, 20, 34).wrap(text, 8.5)
        assert " ".join(lines) == text and not any(line.startswith(("%", "mmHg")) for line in lines), lines
    assert not column.write("word " * 100, 8.5)
    assert [text.get_text() for text in column.page.texts][-1].endswith(paper.ELLIPSIS) and column.top <= 34
    rows = Column(new_page(), 20, 40, 20, 34)
    assert not rows.rows([("name", "value")] * 9)
    assert [text.get_text() for text in rows.page.texts][-1] == "… 7 more"
    assert Column(new_page(), 20, 40, 20, 34).rows([("name", "value")] * 3)

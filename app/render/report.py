"""A result on paper and on disk: a report of two A4 pages, PNG, JSON and DICOM files, and a ZIP of all."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.transforms import Affine2D, Transform

from diff3m.analysis import Analysis, format_percentile
from diff3m.case import Case
from diff3m.detector import Detector
from diff3m.export.files import NOTICE, analysis_to_dict, draw_difference, render_pictures
from diff3m.export.overlay import reduce_height, to_png
from diff3m.export.secondary_capture import can_export_dicom, secondary_captures
from diff3m.findings import Finding
from diff3m.imaging.zones import OUTSIDE
from diff3m.scoring.score import Scoring, ViewCalibration

from . import figures, wording
from .paper import A4, DPI, Column, area, new_page, place_labels

MARGIN = 15.0  # millimeters
WIDTH = 180.0  # millimeters between the margins
PICTURE = 80.0  # millimeters: height of film and normal film, and of the map
PRINTED_HEIGHT = 945  # pixels of a printed picture: 300 a inch
SMALL, TEXT, HEADING = 7.0, 8.5, 10.0  # points
OUTLINE = "#facc15"
NUMBER_WIDTH, NUMBER_HEIGHT = 2.3, 3.8  # millimeters of a digit in bold `TEXT`, and of its line
README = (
    "report.pdf                 a page for the reader, then a page of numbers\n"
    "result.json                score, percentile, findings, record, settings, hash of the weights, versions, date\n"
    "film.png, normal_film.png  on the film's own pixels\n"
    "normal_film_16bit.png      the same normal film with 16 bits\n"
    "difference.png             film minus normal film, over the film\n"
    "reconstruction.png         the model's own picture, from which the normal film is composed\n"
    "residual.png               film minus reconstruction, mid-grey = none\n"
    "*.dcm                      film, normal film and difference as DICOM Secondary Capture; no patient is named\n"
)


@dataclass(frozen=True)
class Report:
    """Everything that a report shows.

    analysis, case: of one film; the case holds the native film. findings: of `find_findings`, in their order.
    measurements: what the reader measured, one sentence each. detector: what analyzed the film.
    """

    analysis: Analysis
    case: Case
    findings: Sequence[Finding]
    detector: Detector
    measurements: Sequence[str] = ()

    @cached_property
    def complete_analysis(self) -> Analysis:
        """The analysis with its film, also where it was stored without."""
        return self.analysis if self.analysis.case is self.case else replace(self.analysis, case=self.case)

    @property
    def normal_film(self) -> np.ndarray:
        """The normal film at the film's own resolution: (H, W) float32 in [0, 1]."""
        return self.complete_analysis.pseudo_healthy

    @property
    def normals(self) -> ViewCalibration | None:
        """The normal films that the score was compared with; None without a score."""
        if self.analysis.score is None or self.analysis.percentile is None:
            return None
        return self.detector.scoring.select_calibration(self.analysis.record.get("view"))[1]

    def to_dict(self) -> dict:
        """Return the numbers as plain JSON values."""
        return {
            **result_to_dict(self.analysis, self.findings, self.detector),
            "measurements": list(self.measurements),
        }


def result_to_dict(analysis: Analysis, findings: Sequence[Finding], detector: Detector) -> dict:
    """Return an analysis and its findings as plain JSON values, the same for page, files and API."""
    text = None if analysis.percentile is None else format_percentile(analysis.percentile, analysis.normals)
    return {
        **analysis_to_dict(analysis, detector),
        "percentile_text": text,
        "findings": [finding.to_dict() for finding in findings],
    }


def pdf_report(report: Report) -> bytes:
    """Write the report as a PDF file of two A4 pages."""
    buffer = io.BytesIO()
    with PdfPages(buffer, metadata={"Title": "Diff3M Explorer: one film", "Subject": NOTICE}) as pdf:
        for page in report_pages(report):
            pdf.savefig(page, dpi=DPI)
    return buffer.getvalue()


def report_pages(report: Report) -> tuple[Figure, Figure]:
    """Draw the page for the reader and the page of numbers."""
    values = report.to_dict()
    return _first_page(report, values["date"]), _second_page(report, values)


def _first_page(report: Report, date: str) -> Figure:
    """Draw the first page: verdict, film, normal film, map, findings, record, measurements and limits."""
    page, analysis, schema = new_page(), report.analysis, report.detector.schema
    head = Column(page, MARGIN, WIDTH, 10, 22)
    head.write("Diff3M Explorer", 13, "bold")
    head.write(f"{NOTICE} {date[:10]}", TEXT, color=figures.CASE)
    verdict = Column(page, MARGIN, WIDTH - 58, 22, 47.5)
    verdict.write(wording.verdict_sentence(analysis, report.findings, schema), 10.5, "bold")
    verdict.write(wording.score_sentence(analysis))
    if report.normals is not None:
        axes = page.add_axes(area(MARGIN + WIDTH - 54, 25, 54, 15))
        figures.draw_small_histogram(axes, report.normals.scores, analysis.score)
        caption = Column(page, MARGIN + WIDTH - 54, 54, 41, 47)
        caption.write(f"{wording.compared_with(analysis)}; the line is this film", SMALL)
    film = report.case.film.pixels
    _picture(page, film, "Film", MARGIN, 48)
    _picture(page, report.normal_film, wording.normal_film_title(analysis.record), MARGIN + WIDTH / 2 + 2, 48)
    axes = _picture(
        page,
        draw_difference(report.complete_analysis, report.detector.scoring, PRINTED_HEIGHT),
        "Difference (red: brighter, blue: darker)",
        MARGIN,
        135,
    )
    _outlines(axes, report.findings)
    beside = Column(page, MARGIN + WIDTH / 2 + 2, WIDTH / 2 - 2, 135, 220)
    beside.write("Findings", HEADING, "bold")
    _findings(beside, report.findings, report.detector.scoring)
    _section(page, "Record", MARGIN, 223, 262, wording.record_rows(analysis.record, schema))
    measurements = [(str(number), text) for number, text in enumerate(report.measurements, start=1)]
    right = MARGIN + WIDTH / 2 + 2
    _section(page, "Measurements", right, 223, 262, measurements or [("", "none")], share=0.08)
    foot = Column(page, MARGIN, WIDTH, 264, 290)
    foot.write("Limits", HEADING, "bold")
    foot.write(" ".join([*wording.limit_sentences(analysis), wording.PSEUDO_HEALTHY, *analysis.notes]), SMALL)
    return page


def _second_page(report: Report, values: Mapping) -> Figure:
    """Return the numbers: score and its parts, findings, record, measurements, notes, settings and provenance."""
    page, analysis, schema = new_page(), report.analysis, report.detector.schema
    Column(page, MARGIN, WIDTH, 10, 20).write("Numbers", 13, "bold")
    if report.normals is not None:
        axes = page.add_axes(area(MARGIN + 10, 34, 76, 38))
        figures.draw_histogram(axes, report.normals.scores, analysis.score, analysis.percentile, analysis.compared_with)
    right = MARGIN + WIDTH / 2 + 2
    parts = [(name, f"{z:+.1f}") for name, z in wording.score_parts(analysis, schema)]
    _section(page, "Parts of the score (z-scores of normal films)", right, 20, 86, parts or [("none", "")], 0.84)
    columns = ("Finding", "mean", "largest", "area of film", "stands out")
    rows = [
        (
            f"{number} {one.zone}",
            wording.signed_percent(one.mean),
            wording.signed_percent(one.largest),
            wording.percent(one.share),
            "yes" if one.stands_out else "no",
        )
        for number, one in enumerate(report.findings, start=1)
    ]
    _table(page, 90, columns, rows)
    weights = {name: weight for group in analysis.attention.values() for name, weight in group.items()}
    record = [
        (feature.label, f"{feature.describe(analysis.record.get(feature.name))}{_attention(weights, feature.name)}")
        for feature in schema.features
        if feature.trained
    ]
    _section(page, "Record, and attention on it", MARGIN, 135, 195, record)
    measurements = [(str(number), text) for number, text in enumerate(report.measurements, start=1)]
    _section(page, "Measurements", right, 135, 195, measurements or [("", "none")], share=0.08)
    foot = Column(page, MARGIN, WIDTH, 198, 288)
    foot.write("How it was computed", HEADING, "bold")
    for line in (wording.score_meaning(report.detector.scoring), *_provenance_lines(values), *analysis.notes):
        foot.write(line, 7.5)
        foot.space(0.8)
    return page


def _picture(page: Figure, image: np.ndarray, title: str, left: float, top: float) -> Axes:
    """Draw a picture `PICTURE` high with its title, or as wide as half of the page where it is wider than that."""
    Column(page, left, WIDTH / 2 - 2, top, top + 5).write(title, TEXT, "bold")
    height, width = image.shape[:2]
    side = min(PICTURE, (WIDTH / 2 - 2) * height / width)
    axes = page.add_axes(area(left, top + 5, side * width / height, side))
    axes.imshow(
        reduce_height(image, PRINTED_HEIGHT),
        cmap="gray",
        vmin=0,
        vmax=1 if image.dtype.kind == "f" else 255,
        aspect="auto",
    )
    axes.set_axis_off()
    return axes


def _outlines(axes: Axes, findings: Sequence[Finding]) -> None:
    """Draw the findings' outlines and numbers over a picture of the whole film."""
    for finding in findings:
        rows, columns = np.array([*finding.outline, finding.outline[0]]).T
        axes.plot(columns, rows, color=OUTLINE, linewidth=0.8, transform=_shares(axes))
    box = axes.get_position()
    width, height = box.width * A4[0], box.height * A4[1]
    sizes = [(NUMBER_WIDTH * len(str(number)), NUMBER_HEIGHT) for number in range(1, len(findings) + 1)]
    peaks = [min(finding.outline) for finding in findings]  # (row, column) of each one's highest point
    best = [(column * width - NUMBER_WIDTH / 2, row * height - NUMBER_HEIGHT) for row, column in peaks]
    places = place_labels(best, sizes, (width, height))
    for number, (left, top) in enumerate(places, start=1):
        axes.text(
            left / width,
            (top + NUMBER_HEIGHT) / height,
            str(number),
            color=OUTLINE,
            fontsize=TEXT,
            fontweight="bold",
            verticalalignment="bottom",
            transform=_shares(axes),
            path_effects=[withStroke(linewidth=2, foreground="black")],
        )


def _shares(axes: Axes) -> Transform:
    """Return the transform of (column, row) in shares of a picture's sides, rows downward."""
    return Affine2D().scale(1, -1).translate(0, 1) + axes.transAxes


def _findings(column: Column, findings: Sequence[Finding], scoring: Scoring) -> None:
    """Write the findings by number, those that stand out in bold, those outside the lungs under their own heading."""
    column.write(wording.findings_summary(findings, scoring.heat_normal), TEXT)
    column.space(1)
    for number, finding in enumerate(findings, start=1):
        weight = "bold" if finding.stands_out else "normal"
        note = " (marker, clothing or border?)" if finding.zone == OUTSIDE else ""
        column.write(f"{number}  {wording.finding_sentence(finding)}{note}", TEXT, weight)
        column.space(0.6)
    if findings:
        column.write(wording.standing_out(scoring), SMALL)


def _section(
    page: Figure,
    title: str,
    left: float,
    top: float,
    bottom: float,
    rows: Sequence[tuple[str, str]],
    share: float = 0.45,
) -> None:
    """Write a heading and rows of names and values into half of the page's width."""
    column = Column(page, left, WIDTH / 2 - 2, top, bottom)
    column.write(title, HEADING, "bold")
    column.rows(rows, share=share)


def _table(page: Figure, top: float, names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write a table over the whole width, one line a row; its first column is the wide one."""
    first, height = 70.0, 4.6
    width = (WIDTH - first) / (len(names) - 1)
    for line, row in enumerate([names, *(rows or [("none", *[""] * (len(names) - 1))])]):
        for index, cell in enumerate(row):
            left = MARGIN + (first + (index - 1) * width if index else 0)
            start = top + line * height
            column = Column(page, left, (width if index else first) - 2, start, start + height)
            column.write(cell, TEXT, "normal" if line else "bold")


def _attention(weights: Mapping[str, float], name: str) -> str:
    return f" (attention {weights[name]:.2f})" if name in weights else ""


def _provenance_lines(values: Mapping) -> list[str]:
    """Return weights, settings, versions and date, and what attention and the normal film are, one line each."""
    versions = ", ".join(f"{name} {version}" for name, version in values["versions"].items())
    settings = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in values["settings"].items())
    return [
        f"Checkpoint {values['checkpoint']['name']}, weights SHA-256 {values['checkpoint']['weights_sha256']}.",
        f"Settings: {settings}. Precision {values['precision']}. {versions}. {values['date']}.",
        wording.ATTENTION_LIMIT,
        wording.PSEUDO_HEALTHY,
    ]


def result_files(report: Report) -> dict[str, bytes]:
    """Return everything about a result by file name: report, numbers, pictures, and DICOM where highdicom is installed.

    No file name of the film and no header text is in it.
    """
    native = np.round(report.normal_film * 65535).astype(np.uint16)
    files = {
        "README.txt": f"{NOTICE}\n\n{README}".encode(),
        "report.pdf": pdf_report(report),
        "result.json": json.dumps(report.to_dict(), indent=1, ensure_ascii=False).encode(),
        "normal_film_16bit.png": to_png(native),
    }
    images = render_pictures(report.complete_analysis, report.detector.scoring)
    files |= {f"{name}.png": to_png(picture) for name, picture in images.items()}
    if can_export_dicom():
        captures = secondary_captures(report.complete_analysis, report.detector)
        files |= {f"{name}.dcm": data for name, data in captures.items()}
    return files


def zip_files(files: Mapping[str, bytes]) -> bytes:
    """Pack files by name into one ZIP."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()

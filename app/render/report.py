"""A result on paper and on disk: one-page PDF, PNGs, JSON, DICOM, and a ZIP of all."""

from __future__ import annotations

import io
import json
import textwrap
import zipfile
from collections.abc import Mapping

from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure

from diff3m.analysis import Analysis
from diff3m.detector import Detector
from diff3m.export.files import NOTICE, analysis_to_dict, pictures
from diff3m.export.overlay import to_png
from diff3m.export.secondary_capture import can_export_dicom, secondary_captures

from . import figures, wording

A4 = (8.27, 11.69)  # inches
WRAP = 105  # characters a line of small text
README = (
    "report.pdf      one page with everything\n"
    "result.json     score, percentile, attention, record, settings, checkpoint hash, versions, date\n"
    "*.png           film, reconstruction, residual (mid-grey = no difference), heat map and, where there is one, anomaly map over the film\n"
    "*.dcm           the same as DICOM Secondary Capture, if highdicom is installed; no patient is named\n"
)


def pdf_report(analysis: Analysis, detector: Detector) -> bytes:
    """One A4 page: pictures, score among normals, what it means, the record, attention, settings and provenance."""
    values = analysis_to_dict(analysis, detector)
    page = Figure(figsize=A4)
    page.text(0.07, 0.962, "Diff3M Explorer", fontsize=17, fontweight="bold")
    page.text(0.07, 0.946, NOTICE, fontsize=9, fontweight="bold", color=figures.CASE)
    _pictures(page, analysis, detector)
    _words(page, 0.672, _result_lines(analysis, detector))
    _histogram(page, analysis, detector)
    _record(page, analysis, detector)
    _words(page, 0.16, _provenance_lines(values), size=7.5)
    buffer = io.BytesIO()
    with PdfPages(buffer, metadata={"Title": "Diff3M Explorer: one film", "Subject": NOTICE}) as pdf:
        pdf.savefig(page)
    return buffer.getvalue()


def _pictures(page: Figure, analysis: Analysis, detector: Detector) -> None:
    titles = {
        "film": "Film",
        "reconstruction": "What normal would look like",
        "heat_map": "Where they differ",
        "anomaly_map": "Anomaly map",
    }
    drawn = pictures(analysis, detector.scoring)
    titles = {name: title for name, title in titles.items() if name in drawn}
    width = 0.87 / len(titles)
    for place, (name, title) in enumerate(titles.items()):
        axes = page.add_axes((0.07 + width * place, 0.715, 0.95 * width, 0.205))
        axes.imshow(drawn[name], cmap="gray", vmin=0, vmax=255, aspect="equal")
        axes.set_title(title, fontsize=9)
        axes.set_axis_off()


def _result_lines(analysis: Analysis, detector: Detector) -> list[str]:
    verdict = (
        []
        if analysis.percentile is None
        else [f"{wording.verdict(analysis.percentile)}: percentile {analysis.whole_percentile}."]
    )
    heat = wording.heat_summary(analysis.heat_map, detector.scoring.heat_normal, detector.scoring.margin)
    fits = [
        *wording.contradiction_sentences(analysis, detector.schema),
        *wording.spread_sentences(analysis, detector.scoring),
    ]
    return [
        *verdict,
        wording.score_sentence(analysis),
        *fits,
        heat,
        wording.score_meaning(analysis, detector.scoring),
        *analysis.notes,
    ]


def _words(page: Figure, top: float, lines: list[str], size: float = 8.5) -> None:
    """Paragraphs from `top` downward."""
    text = "\n".join(textwrap.fill(line, WRAP if size > 8 else round(WRAP * 1.15)) for line in lines)
    page.text(0.07, top, text, fontsize=size, verticalalignment="top", linespacing=1.45)


def _histogram(page: Figure, analysis: Analysis, detector: Detector) -> None:
    if analysis.score is None or analysis.percentile is None:
        return
    axes = page.add_axes((0.1, 0.245, 0.37, 0.15))
    normals = detector.scoring.for_view(analysis.record.get("view"))[1].scores
    figures.draw_histogram(axes, normals, analysis.score, analysis.whole_percentile, analysis.compared_with)


def _record(page: Figure, analysis: Analysis, detector: Detector) -> None:
    """The record and the attention on it, as a table."""
    schema, rows = detector.schema, []
    weights = {name: weight for group in analysis.attention.values() for name, weight in group.items()}
    for feature in schema.features:
        rows.append(
            (
                feature.label,
                feature.describe(analysis.record.get(feature.name)),
                f"{weights[feature.name]:.2f}" if feature.name in weights else "",
            )
        )
    axes = page.add_axes((0.55, 0.235, 0.38, 0.17))
    axes.set_axis_off()
    table = axes.table(
        rows,
        colLabels=("Record", "", "Attention"),
        loc="upper left",
        cellLoc="left",
        colWidths=(0.42, 0.38, 0.2),
        edges="horizontal",
    )
    table.auto_set_font_size(False)
    table.set_fontsize(8)


def _provenance_lines(values: Mapping) -> list[str]:
    versions = ", ".join(f"{name} {version}" for name, version in values["versions"].items())
    settings = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in values["settings"].items())
    return [
        f"Checkpoint {values['checkpoint']['name']}, weights SHA-256 {values['checkpoint']['weights_sha256']}.",
        f"Settings: {settings}. Precision {values['precision']}. {versions}. {values['date']}.",
        wording.ATTENTION_LIMIT,
        "The reconstruction is a model's guess at what a normal film of this patient would look like, not a picture of the patient.",
    ]


def result_files(analysis: Analysis, detector: Detector) -> dict[str, bytes]:
    """Everything about a result by file name: report, numbers, pictures, and DICOM where highdicom is installed. No file name of the film and no
    header text is in it."""
    made = {
        "README.txt": f"{NOTICE}\n\n{README}".encode(),
        "report.pdf": pdf_report(analysis, detector),
        "result.json": json.dumps(analysis_to_dict(analysis, detector), indent=1, ensure_ascii=False).encode(),
    }
    made |= {f"{name}.png": to_png(picture) for name, picture in pictures(analysis, detector.scoring).items()}
    if can_export_dicom():
        made |= {f"{name}.dcm": data for name, data in secondary_captures(analysis, detector).items()}
    return made


def zipped(files: Mapping[str, bytes]) -> bytes:
    """Files in one ZIP."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()

"""Tab: what this is, the checkpoint's model card, privacy."""

from __future__ import annotations

import re
from collections.abc import Sequence

import gradio as gr

from diff3m.checkpoint.folder import CARD_FILE
from diff3m.detector import Detector

ABOUT = """
### What this page does
It shows what a diffusion model, trained on normal films only, thinks a **normal** chest film of *this* patient would
look like (the normal film), where the real film differs (the difference), how unusual that is among normal films (the
percentile), and what the patient's record changed. It was also trained to remove lesions that were painted into normal
films.

The method is Diff3M: Kim et al., *Harnessing EHRs for Diffusion-based Anomaly Detection on Chest X-rays*, MICCAI 2025
(arXiv 2505.17311). A little noise is added to the film and taken away again by the network, which has learned what
normal films look like; the record reaches it by image-EHR cross attention.

### What it is not
It is not a medical device, and no part of it may be used for diagnosis or treatment. It knows adult frontal films
only. It has no idea of disease: it knows what is usual, and marks what is not, be it illness, a device, a marker or an
odd exposure.

Every picture is checked first: what does not look like a whole, upright frontal chest film is stopped, and you may
correct it or analyze it as it is. That check is fallible too: it lets a mirrored film pass, and may stop a film of a
grossly changed chest.

### Privacy
A film you drop here leaves your computer for the server that runs this page; on your own machine that is your own
machine. It is held in a temporary folder of that server and deleted within the hour, as are files that you save and
results of many cases. From a DICOM header only age (or the dates of birth and study that give it), sex, view, height,
weight, body part and modality are read. Nothing is kept in your browser, sent elsewhere or used for training. No file
name and no header value is written to a log.

### Terms and citation
Code: Apache-2.0. The shipped weights were trained on films of NIH ChestX-ray14 (Wang et al., CVPR 2017; NIH Clinical
Center) with labels of the RSNA Pneumonia Detection Challenge 2018 (Shih et al., Radiology: AI 2019), and on simulated
films. If you use this, cite Kim et al. for the method, Wang et al. and Shih et al. for the data. Every example here is
synthetic; no patient's film is part of it.

### For programs
The functions of this page are an API ("Use via API" below; OpenAPI at `/gradio_api/openapi.json`), and MCP tools where
the server was started with `--mcp`.
"""


def build_about(detectors: Sequence[Detector]) -> None:
    """Lay the tab out; called inside a Blocks."""
    gr.Markdown(ABOUT)
    for index, detector in enumerate(detectors):
        card = detector.checkpoint.folder / CARD_FILE if detector.checkpoint.folder else None
        if card and card.is_file():
            with gr.Accordion(f"Model card of the checkpoint “{detector.config.name}”", open=index == 0):
                text = re.sub(r"\A---\n.*?\n---\n", "", card.read_text(encoding="utf-8"), flags=re.S)
                gr.Markdown(text, elem_classes="model-card")

"""Explanations as JSON values and PNG files, whatever the registry holds."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..explain import EXPLANATIONS, Context, Picture
from .files import NOTICE, PICTURE_HEIGHT, describe_provenance, write_png_files
from .overlay import compute_full_color_limit, draw_signed, enlarge, to_uint8


def explanations_to_dict(context: Context) -> dict:
    """Return the computed explanations by name as JSON values, without pictures, file names and header text.

    "not_explained" says why the others could not be computed; "notes" and "accepted" are those of the `Radiograph`.
    """
    return {
        "notice": NOTICE,
        "record": context.case.record,
        "explanations": {
            name: EXPLANATIONS[name].to_dict(result) for name, result in context.collect_results().items()
        },
        "not_explained": context.failures,
        "notes": list(context.case.film.notes),
        "accepted": list(context.case.film.accepted),
        **describe_provenance(context.detector),
    }


def write_explanation_pictures(folder: str | Path, context: Context) -> list[Path]:
    """Write the pictures of the computed explanations as PNG files 512 pixels high; return their paths.

    Signed maps are red for + (brighter, or the record helps) and blue for −, with full color at the 99.5th percentile
    of their absolute values.
    """
    images = {}
    for explanation, result in context.collect_results().items():
        for name, picture in EXPLANATIONS[explanation].pictures(result).items():
            images[name] = _enlarge(_render(picture), context.case.aspect)
    return write_png_files(folder, images)


def _render(picture: Picture) -> np.ndarray:
    return (
        draw_signed(picture.pixels, compute_full_color_limit(picture.pixels))
        if picture.signed
        else to_uint8(picture.pixels)
    )


def _enlarge(image: np.ndarray, aspect: float) -> np.ndarray:
    height, width = image.shape[:2]
    return enlarge(image, PICTURE_HEIGHT, width / height * aspect)

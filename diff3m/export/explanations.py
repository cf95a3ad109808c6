"""Explanations as JSON values and PNG files, whatever the registry holds."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..explain import EXPLANATIONS, Context, Picture
from .files import NOTICE, PICTURE_HEIGHT, describe_provenance, write_png_files
from .overlay import compute_full_color_limit, draw_signed, enlarge, to_uint8


def explanations_to_dict(context: Context) -> dict:
    """Return the finished explanations by name as plain JSON values, without pictures.

    not_explained: why the others could not be given. notes, accepted: of the film, see `Radiograph`. No file name and
    no header text is in it.
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
    """Write the pictures of the finished explanations as PNG files 512 pixels high; returns their paths.

    Signed maps: red for + (brighter; the record helps), blue for −, full color at the 99.5th percentile of the sizes.
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

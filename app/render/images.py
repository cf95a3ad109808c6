"""Pictures inside HTML: grey or color arrays as figures with captions and alternative text."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from diff3m.export.overlay import enlarge, to_png, to_uint8


@dataclass(frozen=True)
class Frame:
    """One picture.

    image: (S, S) in [0, 1] or (H, W, 3) uint8 RGB. alternative: its alternative text; default, the caption.
    """

    image: np.ndarray
    caption: str
    alternative: str = ""


def picture_strip(frames: Sequence[Frame], height: int = 256, aspect: float = 1.0, tall: bool = True) -> str:
    """Return frames side by side, scrolled where they do not fit.

    height: of a picture in pixels. aspect: width over height. tall: as high as the page's other pictures, else small.
    """
    figures = "".join(
        f"<figure>{inline_image(frame, height, aspect)}<figcaption>{html.escape(frame.caption)}</figcaption></figure>"
        for frame in frames
    )
    kind = "strip tall" if tall else "strip"
    return f'<div class="{kind}" tabindex="0" role="group" aria-label="Pictures side by side">{figures}</div>'


def inline_image(frame: Frame, height: int, aspect: float = 1.0) -> str:
    """Return an <img> that holds its own data."""
    image = frame.image if frame.image.dtype == np.uint8 else to_uint8(frame.image)
    larger = enlarge(image, height, aspect)
    alternative = html.escape(frame.alternative or frame.caption, quote=True)
    data = base64.b64encode(to_png(larger)).decode()
    return f'<img src="data:image/png;base64,{data}" alt="{alternative}" height="{height}">'

"""Upright films in true proportions: turning and mirroring as a header says, and resampling to square pixels."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .radiograph import MAX_PIXELS

SQUARE = 0.01  # by how much of its width a pixel's height may differ and the pixel still count as square
MAX_PIXEL_ASPECT = 8.0  # beyond that the header is wrong; fax machines and scanners stay below 2.5

MIRRORED = "The film was mirrored left to right, as its header says. Compare the side marker."
TURNED = "The film was turned {turn}, as its header says. Compare the side marker."
TURNED_AND_MIRRORED = "The film was turned {turn} and mirrored, as its header says. Compare the side marker."
STRETCHED = (
    "The film's pixels are not square, {ratio:.3g} times as {direction} as {other}; it was scaled to its true "
    "proportions."
)
TURNS = {1: "by 90° to the left", 2: "by 180°", 3: "by 90° to the right"}


@dataclass(frozen=True)
class Placement:
    """How a stored picture is brought upright: transposed first, then flipped left to right and top to bottom."""

    transposed: bool = False
    mirrored: bool = False
    upside_down: bool = False

    def apply(self, pixels: np.ndarray) -> np.ndarray:
        """Return the picture upright: (H, W) → (H, W), or (W, H) if it is transposed; a view."""
        pixels = pixels.T if self.transposed else pixels
        pixels = pixels[:, ::-1] if self.mirrored else pixels
        return pixels[::-1] if self.upside_down else pixels

    @property
    def note(self) -> str:
        """A sentence on what is done to the film; "" for a film that is upright."""
        is_mirror_image = self.transposed ^ self.mirrored ^ self.upside_down
        upright, upside_down = (3, 1) if self.transposed else (0, 2)  # a transposed picture is turned and mirrored
        turn = upside_down if self.upside_down else upright
        if not turn:
            return MIRRORED if is_mirror_image else ""
        return (TURNED_AND_MIRRORED if is_mirror_image else TURNED).format(turn=TURNS[turn])


def pixels_are_square(aspect: float) -> bool:
    """Tell whether pixels of this height over width count as square."""
    return abs(aspect - 1) <= SQUARE


def stretch_note(aspect: float) -> str:
    """Return the sentence about pixels of this height over width; "" for square ones."""
    if pixels_are_square(aspect):
        return ""
    if aspect > 1:
        return STRETCHED.format(ratio=aspect, direction="high", other="wide")
    return STRETCHED.format(ratio=1 / aspect, direction="wide", other="high")


def with_square_pixels(pixels: np.ndarray, aspect: float) -> np.ndarray:
    """Resample (H, W) pixels of this height over width to square ones, by linear interpolation.

    The finer direction is kept and the other interpolated, unless that would make more pixels than a film may have.
    """
    height, width = square_size(pixels.shape[0], pixels.shape[1], aspect)
    if (height, width) == pixels.shape:
        return pixels
    shrinks = height < pixels.shape[0] or width < pixels.shape[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(np.ascontiguousarray(pixels), (width, height), interpolation=method)


def square_size(height: int, width: int, aspect: float) -> tuple[int, int]:
    """Return the size (height, width) that `with_square_pixels` gives a picture."""
    if pixels_are_square(aspect):
        return height, width
    larger = (round(height * aspect), width) if aspect > 1 else (height, round(width / aspect))
    if larger[0] * larger[1] <= MAX_PIXELS:
        return larger
    return (height, round(width / aspect)) if aspect > 1 else (round(height * aspect), width)

"""The radiograph: a film's pixels, what its file says of them, and the limits of what counts as a film."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

MIN_SIDE = 64  # pixels
MAX_PIXELS = 36_000_000  # the largest detectors have about half of that
MAX_RANGE = 1e30  # between the largest and the smallest value; float32 ends at 3.4e38
MAX_ASPECT = 2.0  # of the longer side to the shorter
MAX_BYTES = 256 * 2**20
COLOR_SPREAD = 0.10  # channel difference, of full scale, from which a pixel counts as colored
COLOR_SHARE = 0.05  # share of colored pixels that makes a picture a color picture


class RadiographError(ValueError):
    """A file that cannot be analyzed as a chest film; the message says what to do."""


@dataclass(frozen=True)
class Window:
    """A grey-scale window that the film's header offers.

    low, high: the values that become black and white, in units of `Radiograph.unwindowed`; they may lie outside [0, 1].
    explanation: what the window is for, e.g. "LUNG", where the header has a known term for it; else e.g. "window 2".
    """

    low: float
    high: float
    explanation: str


@dataclass(frozen=True)
class Radiograph:
    """One film as read, upright and with square pixels.

    pixels: (H, W) float32 in [0, 1], bright = dense (bone white), after the header's window or lookup table.
    source: "DICOM", "PNG", "JPEG", "WEBP", "TIFF" or "array".
    facts: EHR values of the header, by feature name.
    notes: sentences for the reader about what was turned, guessed or ignored.
    spacing_mm: (row, column) distance of neighboring pixels in millimeters; None where the header does not say it.
    at_detector: whether that is on the detector; distances in the patient are smaller by an unknown factor.
    windows: the header's windows.
    full_range: (H, W) float32 in [0, 1], the film before window or lookup table, where these clip or curve it; None
    where `pixels` are that.
    accepted: the gate's reasons against a film that is analyzed all the same; see `gate.pass_gate`.
    """

    pixels: np.ndarray
    source: str = "array"
    facts: dict[str, float | str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    spacing_mm: tuple[float, float] | None = None
    at_detector: bool = False
    windows: tuple[Window, ...] = ()
    full_range: np.ndarray | None = None
    accepted: tuple[str, ...] = ()

    @property
    def unwindowed(self) -> np.ndarray:
        """The film's full range of grey levels, to which `windows` refer: (H, W) float32 in [0, 1]."""
        return self.pixels if self.full_range is None else self.full_range


def grey_from_rgb(rgb: np.ndarray) -> np.ndarray:
    """Average the channels of a picture that holds no color.

    rgb: (H, W, 3) uint8 or uint16. Returns (H, W) float32 in the same units. Raises RadiographError for a picture with
    color.
    """
    spread = rgb.max(axis=2).astype(np.float32) - rgb.min(axis=2)
    if (spread > COLOR_SPREAD * _full_scale(rgb)).mean() > COLOR_SHARE:
        raise RadiographError(
            "This is a color picture, not a radiograph. Export the film itself in grey levels, without color overlays."
        )
    return rgb.mean(axis=2, dtype=np.float32)


def _full_scale(values: np.ndarray) -> int:
    """Return the largest value of the bits in use: 255 for bytes, 4095 for 12 bits in 16."""
    return 255 if values.dtype == np.uint8 else 2 ** int(values.max()).bit_length() - 1


def normalize_film(pixels: np.ndarray) -> np.ndarray:
    """Scale a decoded film (H, W) of any range to [0, 1]: float32.

    Raises RadiographError for a film that is too small, too large, too long, blank or not finite.
    """
    if pixels.ndim != 2:
        raise RadiographError("The file does not hold a single grey picture. Export one frontal film.")
    check_size(pixels.shape[1], pixels.shape[0])
    if not np.isfinite(pixels).all():
        raise RadiographError("The image holds values that are not numbers. Export it again as PNG or DICOM.")
    low, high = float(pixels.min()), float(pixels.max())
    if not high > low:
        raise RadiographError("The image is blank: every pixel has the same value. Export the film again.")
    if high - low > MAX_RANGE:
        raise RadiographError(
            "The image holds values that are too large to be grey levels. Export it again as PNG or DICOM."
        )
    return ((pixels - np.float32(low)) / np.float32(high - low)).astype(np.float32, copy=False)


def check_size(width: int, height: int, pixel_aspect: float = 1.0) -> None:
    """Raise RadiographError for a picture that is too small, too large or too long for a frontal chest film.

    width, height: in pixels. pixel_aspect: height over width of one pixel.
    """
    if min(height, width) < MIN_SIDE:
        raise RadiographError(
            f"The image has {width}×{height} pixels; at least {MIN_SIDE}×{MIN_SIDE} are needed. "
            "Export the film in full size."
        )
    if width * height > MAX_PIXELS:
        raise RadiographError(
            f"The image has {width}×{height} pixels, more than {MAX_PIXELS // 10**6} million. Export it smaller."
        )
    if max(height * pixel_aspect, width) > MAX_ASPECT * min(height * pixel_aspect, width):
        raise RadiographError(
            f"The image is {width}×{round(height * pixel_aspect)} pixels, too long for a frontal chest film. "
            "Crop it to the chest."
        )

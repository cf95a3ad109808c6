"""Normal films with anomalies painted in, which teach the anomaly head what does not belong.

Soft clouds, nodules, fluid, haze, coarse texture, dark patches, patches of other films, and organs enlarged by a warp.
They need not look like disease; they must differ from it and from each other in many ways.

After the idea of learning from synthetic anomalies (Foreign Patch Interpolation, Tan et al., 2020; AnatPaste, Sato et
al., iScience 2023); what is painted, and where, is our own. Films are (S, S) float32 in [0, 1], prepared as for the
network; sizes below are shares of the side.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

REFERENCE = 128  # side to which blurs given in pixels refer
VISIBLE = 0.05  # grey levels (of the film's range) from which a change counts whole in the mask
SECOND = 0.25  # share of painted films that get a second anomaly

Painted = tuple[np.ndarray, np.ndarray]  # film, and where it was changed, 0..1


def paint_anomaly(film: np.ndarray, other: np.ndarray, rng: np.random.Generator) -> Painted:
    """Paint one or two anomalies of random kinds, sizes and strengths, and stretch the contrast again.

    Returns the film and the soft mask of the anomalies, both (S, S). other: another film, from which patches are taken.
    """
    changed, mask = _one(film, other, rng)
    if rng.random() < SECOND:
        changed, second = _one(changed.astype(np.float32), other, rng)
        mask = np.maximum(mask, second)
    difference = _blur(np.abs(changed - film).astype(np.float32), 1.5)
    low, high = np.percentile(changed, [1, 99])  # as `prepare` stretches films
    return ((changed - low) / max(high - low, 0.1)).astype(np.float32), (
        mask * np.clip(difference / VISIBLE, 0, 1)
    ).astype(np.float32)


def vary_pose(film: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A small turn, shift and zoom; edges repeat."""
    side = film.shape[0]
    matrix = cv2.getRotationMatrix2D((side / 2, side / 2), rng.uniform(-5, 5), np.exp(rng.uniform(-0.07, 0.07)))
    matrix[:, 2] += rng.uniform(-0.04, 0.04, 2) * side
    return cv2.warpAffine(film, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def vary_processing(film: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Vary blur, sharpness, grain, gamma and exposure, of normal and painted films alike."""
    if rng.random() < 0.5:
        blurred = _blur(film, rng.uniform(0.3, 1.1))
        film = blurred if rng.random() < 0.5 else film + rng.uniform(0.2, 1) * (film - blurred)
    if rng.random() < 0.3:
        film = film + _blur(rng.normal(size=film.shape).astype(np.float32), 0.6) * rng.uniform(0, 0.03)
    film = np.clip(film, 0, 1) ** np.exp(rng.uniform(-0.25, 0.25))
    if rng.random() < 0.3:
        x, y = _grid(film.shape[0])
        film = film + rng.uniform(-0.16, 0.16) * (x - 0.5) + rng.uniform(-0.16, 0.16) * (y - 0.5)
    return np.clip(film, 0, 1).astype(np.float32)


def _one(film: np.ndarray, other: np.ndarray, rng: np.random.Generator) -> Painted:
    kind = rng.choice(list(KINDS), p=[share for _, share in KINDS.values()])
    painter = KINDS[kind][0]
    return painter(film, other, rng)


def _grid(side: int) -> tuple[np.ndarray, np.ndarray]:
    y, x = np.mgrid[0:side, 0:side].astype(np.float32) / side
    return x, y


def _blur(image: np.ndarray, sigma: float) -> np.ndarray:
    return cv2.GaussianBlur(image, (0, 0), sigma * image.shape[0] / REFERENCE)


def _cloud(side: int, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Smooth noise of standard deviation 1."""
    noise = _blur(rng.normal(size=(side, side)).astype(np.float32), sigma)
    return noise / noise.std()


def _step(x: np.ndarray) -> np.ndarray:
    """Logistic function."""
    return 1 / (1 + np.exp(np.clip(-x, -30, 30)))


def _lighten(film: np.ndarray, mask: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Part of the way to a bright level, where that is brighter than the film."""
    return film + strength * mask * np.clip(rng.uniform(0.7, 1.0) - film, 0, None)


def _lung_place(film: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    """A place (x, y) where the film is dark, as the lungs are."""
    x, y = _grid(film.shape[0])
    smooth, window = _blur(film, 3), (x > 0.14) & (x < 0.86) & (y > 0.14) & (y < 0.78)
    rows, columns = np.nonzero(window & (smooth < np.quantile(smooth[window], 0.55)))
    chosen = rng.integers(len(rows))
    return columns[chosen] / film.shape[0], rows[chosen] / film.shape[0]


def _radius(side: int, center: tuple[float, float], width: float, height: float, angle: float = 0.0) -> np.ndarray:
    """Distance from a center in units of an ellipse."""
    x, y = _grid(side)
    u = (x - center[0]) * np.cos(angle) + (y - center[1]) * np.sin(angle)
    v = -(x - center[0]) * np.sin(angle) + (y - center[1]) * np.cos(angle)
    return np.sqrt((u / width) ** 2 + (v / height) ** 2)


def _blob(side: int, center: tuple[float, float], extent: float, rng: np.random.Generator) -> np.ndarray:
    """An irregular patch with a sharp to soft edge."""
    radius = _radius(
        side, center, extent * rng.uniform(0.6, 1.2), extent * rng.uniform(0.6, 1.2), rng.uniform(0, np.pi)
    )
    radius = radius * (1 + 0.25 * _cloud(side, rng.uniform(4, 10), rng))
    return _step((1 - radius) / rng.uniform(0.08, 0.6) * 2)


def _opacities(film: np.ndarray, rng: np.random.Generator, count: int) -> Painted:
    side, mask = film.shape[0], np.zeros_like(film)
    for _ in range(count):
        mask = np.maximum(
            mask, _blob(side, _lung_place(film, rng), np.exp(rng.uniform(np.log(0.04), np.log(0.2))), rng)
        )
    texture = np.clip(1 + rng.uniform(0.05, 0.4) * _cloud(side, rng.uniform(1, 5), rng), 0.2, 1.8)
    return _lighten(film, mask * texture, rng.uniform(0.15, 0.8), rng), mask


def _opacity(film: np.ndarray, other: np.ndarray, rng: np.random.Generator) -> Painted:
    return _opacities(film, rng, 1)


def _several_opacities(film: np.ndarray, other: np.ndarray, rng: np.random.Generator) -> Painted:
    return _opacities(film, rng, int(rng.integers(2, 6)))


def _nodules(film: np.ndarray, other: np.ndarray, rng: np.random.Generator) -> Painted:
    mask = np.zeros_like(film)
    for _ in range(rng.integers(1, 4)):
        extent = rng.uniform(0.02, 0.06)
        radius = _radius(film.shape[0], _lung_place(film, rng), extent, extent * rng.uniform(0.8, 1.2))
        mask = np.maximum(mask, np.sqrt(np.clip(1 - radius**2, 0, None)) ** 0.7)
    mask = _blur(mask, 0.8)
    return _lighten(film, mask, rng.uniform(0.25, 0.8), rng), mask


def _fluid(film: np.ndarray, other: np.ndarray, rng: np.random.Generator) -> Painted:
    """One side's base, bright below a level that climbs toward the chest wall."""
    x, y = _grid(film.shape[0])
    side, level = rng.choice([-1, 1]), rng.uniform(0.42, 0.72)
    outward = np.clip((x - 0.5 - side * rng.uniform(0.18, 0.3)) * side / 0.18, -1, 1.5)
    surface = level - 0.12 * np.clip(outward, 0, None) ** 2 * rng.uniform(0.3, 1.5)
    mask = _step(((x - 0.5) * side - rng.uniform(0.03, 0.12)) * 60) * _step((y - surface) * rng.uniform(20, 80))
    mask = mask * np.exp(-((np.clip(y - level - 0.2, 0, None) / 0.1) ** 2))
    return _lighten(film, mask, rng.uniform(0.3, 0.9), rng), mask


def _lungs(film: np.ndarray, one_side: bool, rng: np.random.Generator) -> np.ndarray:
    """Roughly the lungs, or one of them, or their lower or upper part: (S, S) in 0..1."""
    x, y = _grid(film.shape[0])
    smooth = _blur(film, 2.5)
    mask = _step((np.quantile(smooth, 0.5) - smooth) * 18) * (y > 0.08)
    if one_side or rng.random() < 0.4:
        mask = mask * _step((x - 0.5) * rng.choice([-1, 1]) * 40)
    if rng.random() < 0.6:
        mask = mask * _step((y - rng.uniform(0.3, 0.6)) * rng.choice([1, 1, -1]) * 15)
    return mask


def _clouded(film: np.ndarray, mask: np.ndarray, strength: tuple[float, float], rng: np.random.Generator) -> Painted:
    """A mask filled with an even cloud, of a strength between two bounds."""
    cloud = np.clip(1 + 0.3 * _cloud(film.shape[0], 8, rng), 0.3, 1.7)
    return _lighten(film, mask * cloud, rng.uniform(*strength), rng), mask


def _haze(film: np.ndarray, other: np.ndarray, rng: np.random.Generator) -> Painted:
    return _clouded(film, _lungs(film, False, rng), (0.15, 0.7), rng)


def _white_lung(film: np.ndarray, other: np.ndarray, rng: np.random.Generator) -> Painted:
    return _clouded(film, _lungs(film, True, rng), (0.5, 0.95), rng)


def _coarse_texture(film: np.ndarray, other: np.ndarray, rng: np.random.Generator) -> Painted:
    mask = _lungs(film, False, rng)
    grain = _cloud(film.shape[0], rng.uniform(0.9, 2.5), rng)
    return film + mask * grain * rng.uniform(0.015, 0.05) + mask * rng.uniform(0, 0.1), mask


def _enlarged(film: np.ndarray, other: np.ndarray, rng: np.random.Generator) -> Painted:
    """A local magnification about the heart or the middle of the chest."""
    side = film.shape[0]
    x, y = _grid(side)
    center = (0.5 + rng.uniform(-0.02, 0.12), rng.uniform(0.5, 0.68))
    extent = rng.uniform(0.12, 0.24)
    pull = rng.uniform(0.2, 0.45) * np.exp(-0.6 * _radius(side, center, extent, extent * rng.uniform(0.8, 1.2)) ** 2)
    columns, rows = (x - (x - center[0]) * pull) * side, (y - (y - center[1]) * 0.6 * pull) * side
    changed = cv2.remap(
        film, columns.astype(np.float32), rows.astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return changed, np.clip(_blur(np.abs(changed - film), 2.5) * 8, 0, 1)


def _foreign_patch(film: np.ndarray, other: np.ndarray, rng: np.random.Generator) -> Painted:
    """A soft patch of another film, shifted and perhaps mirrored."""
    side = film.shape[0]
    mask = _blob(side, _lung_place(film, rng), rng.uniform(0.06, 0.18), rng)
    shifted = np.roll(other, [round(rng.uniform(-share, share) * side) for share in (0.09, 0.31)], (0, 1))
    if rng.random() < 0.5:
        shifted = shifted[:, ::-1]
    share = mask * rng.uniform(0.5, 1)
    changed = film * (1 - share) + shifted * share
    return changed, np.clip(_blur(np.abs(changed - film), 2) * 7, 0, 1)


def _dark_patch(film: np.ndarray, other: np.ndarray, rng: np.random.Generator) -> Painted:
    mask = _blob(film.shape[0], _lung_place(film, rng), rng.uniform(0.07, 0.2), rng)
    return film * (1 - mask * rng.uniform(0.25, 0.7)), mask


KINDS: dict[str, tuple[Callable[[np.ndarray, np.ndarray, np.random.Generator], Painted], float]] = {
    "opacity": (_opacity, 0.25),
    "several opacities": (_several_opacities, 0.13),
    "nodules": (_nodules, 0.08),
    "fluid": (_fluid, 0.13),
    "haze": (_haze, 0.09),
    "white lung": (_white_lung, 0.05),
    "enlarged": (_enlarged, 0.09),
    "foreign patch": (_foreign_patch, 0.08),
    "dark patch": (_dark_patch, 0.05),
    "coarse texture": (_coarse_texture, 0.05),
}  # painter and share

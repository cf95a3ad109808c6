"""Rendering of a film from anatomy: attenuation along the beam, Beer-Lambert law, scatter, noise and display.

The simulation is two-dimensional: an organ is a map of its thickness along the beam, times its attenuation per cm at
about 60 keV (soft tissue 0.20, bone about 0.35, lung a quarter of soft tissue; Hubbell and Seltzer, NIST, rounded).
In this module `a` is the anatomy and `g` the grid, and maps are (S, S) arrays on the grid.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .anatomy import Anatomy
from .organs import compute_dome, compute_lung_outline, draw_heart, draw_lungs
from .shapes import Grid, draw_smooth_noise

SOFT, BONE = 0.20, 0.34  # per cm
LUNG = 0.25  # density against soft tissue
VESSEL_CM, VESSEL_WEIGHT = (0.50, 0.32, 0.20, 0.13), (0.16, 0.15, 0.14, 0.12)  # by generation: width, attenuation
EQUALIZATION = 0.32  # share of the very low frequencies that display processing removes
GREY_LOW, GREY_HIGH = 0.85, 4.0  # −log intensity shown as black and as white, before exposure and contrast


@dataclass(frozen=True)
class Layers:
    """Maps (S, S) of a body on one grid.

    lung_left, lung_right: 1 inside the aerated lung on the image's left and right, 0 outside. lung_depth: cm of lung
    along the beam, less the heart in front of it. vessels: attenuation of the lung's vessels. attenuation: the whole
    line integral, without unit.
    """

    grid: Grid
    lung_left: np.ndarray
    lung_right: np.ndarray
    lung_depth: np.ndarray
    vessels: np.ndarray
    attenuation: np.ndarray


def render(anatomy: Anatomy, size: int = 256) -> np.ndarray:
    """Render a film of an anatomy without lesion: (size, size) float32 in [0, 1], bright = dense."""
    return expose(compute_layers(anatomy, size).attenuation, anatomy)


def compute_layers(anatomy: Anatomy, size: int) -> Layers:
    """Compute all maps of an anatomy. size: pixels a side; raises ValueError for less than 32."""
    if size < 32:
        raise ValueError(f"a phantom needs a side of at least 32 pixels, got {size}")
    a, rng = anatomy, np.random.default_rng(anatomy.texture_seed)
    grid = Grid.of(size, a.field_cm, a.center_x, a.apex_y, a.rotation)
    left, right, depth = draw_lungs(a, grid)
    both_lungs = left + right
    lung_depth = np.maximum(both_lungs * depth - draw_heart(a, grid), 0.0)
    soft = _draw_body(a, grid) + _draw_breasts(a, grid)
    attenuation = SOFT * soft - SOFT * (1 - LUNG) * lung_depth * (1 + 0.06 * draw_smooth_noise(rng, grid.x.shape, 9))
    bowel = (
        np.clip(0.5 * (grid.y - a.lung_length), 0, 1)
        * (1 - both_lungs)
        * (soft > 3)
        * draw_smooth_noise(rng, grid.x.shape, 7)
    )
    vessels = both_lungs * _draw_vessels(a, grid, rng)
    attenuation += (
        SOFT * (0.8 * bowel + _draw_mediastinum(a, grid) - _draw_air(a, grid)) + vessels + BONE * _draw_bones(a, grid)
    )
    attenuation += _draw_devices(a, grid, rng)
    return Layers(grid, left, right, lung_depth, vessels, np.maximum(attenuation, 0.0).astype(np.float32))


def expose(attenuation: np.ndarray, anatomy: Anatomy) -> np.ndarray:
    """Expose and display a film: Beer-Lambert law, scatter, quantum noise, logarithm, window, marker and collimation.

    attenuation: (S, S) line integrals. Returns (S, S) float32 in [0, 1].
    """
    a, size = anatomy, attenuation.shape[0]
    rng = np.random.default_rng([a.texture_seed, 1])
    primary = np.exp(-attenuation)
    signal = primary + 0.35 * a.scatter * _blur(primary, 3.5 / a.field_cm)
    # noise of a pixel rises with resolution, so that films have the same noise after reduction to one size
    grain = rng.normal(size=(size, size)).astype(np.float32) * np.float32(a.noise * size / 128)
    signal = signal * (1 + grain * (0.12 / (signal + 0.03)) ** 0.5)
    # the last term is automatic exposure control
    display = -np.log(np.maximum(signal, 1e-4)) + a.exposure - 0.85 * SOFT * (a.depth_cm - 22)
    display -= EQUALIZATION * (_blur(display, 5.0 / a.field_cm) - 2.6)
    level = (display - GREY_LOW) / (GREY_HIGH - GREY_LOW)
    grey = 1 / (1 + np.exp(-4.6 * a.contrast * (level - 0.52)))
    film = np.clip((grey - 0.06) / 0.86, 0, 1).astype(np.float32)
    return _collimate(_add_marker(film, a), a)


def _blur(image: np.ndarray, share: float) -> np.ndarray:
    """Blur an image (S, S) with a wide Gaussian, computed at 64 pixels. share: its standard deviation, of the side."""
    small = cv2.resize(image, (64, 64), interpolation=cv2.INTER_AREA)
    return cv2.resize(cv2.GaussianBlur(small, (0, 0), share * 64, borderType=cv2.BORDER_REPLICATE), image.shape[::-1])


def _draw_body(a: Anatomy, g: Grid) -> np.ndarray:
    """Return the depth of chest wall, shoulders, arms, neck and abdomen, in cm."""
    half = a.thorax_width / 2
    axilla = 8.5
    chest = (
        half
        + 1.1
        + a.rim_cm
        + 0.25 * np.clip(g.y - 0.7 * a.thorax_length, 0, None) * np.clip((a.rim_cm - 1.0) / 4, 0, 1)
    )
    profile = np.clip(1 - (np.abs(g.x) / chest) ** 2.6, 0, 1) ** 0.5
    slope = np.clip((np.abs(g.x) - 5.5) / (a.shoulder_cm - 5.5), 0, 1.6)
    shoulder_line = a.shoulder_y - 4.2 + 4.6 * slope**1.5 - 0.12 * (a.rim_cm - 1.5)
    below = g.inside(g.y - shoulder_line, 0.6)
    taper = np.clip((g.y - shoulder_line) / 3.5, 0, 1) ** 0.5
    trunk = a.depth_cm * profile * (0.66 + 0.34 * np.clip(g.y / (0.4 * a.thorax_length), 0, 1)) * taper
    arm_inner = chest + 0.30 * np.clip(g.y - axilla, 0, None)
    arm = g.inside(np.where(g.y > axilla, np.abs(g.x) - arm_inner, 1.0), 0.4) * g.inside(np.abs(g.x) - half * 0.9, 2.5)
    arms = (7.5 + 0.8 * a.rim_cm) * arm * taper * g.inside(a.shoulder_cm + 1.5 * a.rim_cm + 1 - np.abs(g.x), 1.0)
    neck = 12.0 * np.clip(1 - (g.x / 6.8) ** 2, 0, 1) ** 0.5 * g.inside(2.0 - g.y, 4.0)
    return np.maximum(np.maximum(trunk * below, arms * below), neck)


def _draw_breasts(a: Anatomy, g: Grid) -> np.ndarray:
    """Return the depth of both breasts, in cm."""
    if a.breast_cm <= 0:
        return np.zeros_like(g.x)
    total = np.zeros_like(g.x)
    for side in (-1, 1):
        x, y = side * 0.56 * a.thorax_width / 2, 0.70 * a.thorax_length
        lower = np.where(g.y > y, 0.85, 1.35) * a.breast_cm
        rest = np.clip(1 - ((g.x - x) / (1.05 * a.breast_cm)) ** 2 - ((g.y - y) / lower) ** 2, 0, 1)
        total += a.breast_depth_cm * np.where(g.y > y, rest**0.45, rest**0.9)
    return total


def _draw_mediastinum(a: Anatomy, g: Grid) -> np.ndarray:
    """Return the depth of the mediastinum above the heart and of the great vessels, in cm of soft tissue."""
    x = g.x - 0.8 * a.mediastinal_shift
    length = a.thorax_length
    across = np.clip(1 - (np.abs(x) / (a.mediastinum_cm * np.where(x > 0, 0.92, 1.05))) ** 3, 0, 1) ** 0.5
    column = 8.0 * across * g.inside(length + 1 - g.y, 2.0) * g.inside(g.y + 1.0, 2.0)
    knob_y = 0.27 * length
    r = a.aortic_knob_cm
    knob = 5.0 * g.ellipsoid(1.55 + 0.30 * a.aortic_unfolding_cm + 0.8 * a.mediastinal_shift, knob_y, r, 1.05 * r)
    edge = 1.9 + a.aortic_unfolding_cm * np.sin(np.pi * np.clip((g.y - knob_y) / (length - knob_y), 0, 1)) + 0.5 * r
    descending = (
        2.4 * g.inside(np.minimum(edge - x, x), 0.35) * g.inside(g.y - knob_y, 1.0) * g.inside(length - g.y, 3.0)
    )
    ascending = 1.6 * g.ellipsoid(-1.2 - 0.35 * a.aortic_unfolding_cm, 0.40 * length, 1.7, 0.20 * length)
    trunk = 2.0 * g.ellipsoid(2.1 + 0.8 * a.mediastinal_shift, 0.42 * length, 1.5, 1.9)
    return column * 0.16 + np.maximum(knob, descending) + ascending + trunk


def _draw_vessels(a: Anatomy, g: Grid, rng: np.random.Generator) -> np.ndarray:
    """Return the attenuation of hila and branching vessels of both lungs, drawn relative to the rib cage."""
    half, length = a.thorax_width / 2, a.thorax_length
    generations: list[list[np.ndarray]] = [[] for _ in VESSEL_CM]
    for side in (-1, 1):
        hilum = np.array([side * 0.22, 0.43 + (0.02 if side < 0 else -0.01)])
        for angle in np.linspace(-1.35, 1.45, 13) + rng.normal(scale=0.08, size=13):
            _add_branch(hilum, angle, side, 0.30 + 0.10 * rng.random(), 0, rng, generations)
    to_cm, shift = np.array([half, length]), np.array([0.6 * a.mediastinal_shift, 0.0])
    vessels = np.zeros_like(g.x)
    for paths, width, weight in zip(generations, VESSEL_CM, VESSEL_WEIGHT, strict=True):
        np.maximum(vessels, g.lines([path * to_cm + shift for path in paths], width, weight), out=vessels)
    vessels = cv2.GaussianBlur(vessels, (0, 0), max(0.10 / g.pixel, 0.3))
    hila = sum(g.cloud(side * 0.235 * half + shift[0], (0.44 + 0.015 * -side) * length, 0.9, 1.9) for side in (-1, 1))
    return a.vessels * (vessels + 0.20 * hila)


def _add_branch(
    start: np.ndarray,
    angle: float,
    side: int,
    reach: float,
    generation: int,
    rng: np.random.Generator,
    paths: list[list],
) -> None:
    """Add a vessel and its daughters to `paths`, by generation; x is in half thorax widths, y in thorax lengths."""
    steps = np.linspace(0, 1, 5)[:, None]
    bend = rng.normal(scale=0.15)
    direction = np.array([side * np.cos(angle), np.sin(angle)])
    sideways = np.array([-direction[1], direction[0]])
    path = start + steps * direction * reach + steps**2 * sideways * bend * reach
    paths[generation].append(path)
    if generation + 1 == len(paths):
        return
    for turn, at in ((-0.42, path[3]), (0.42, path[4])):
        _add_branch(at, angle + turn + rng.normal(scale=0.18), side, reach * 0.68, generation + 1, rng, paths)


def _draw_bones(a: Anatomy, g: Grid) -> np.ndarray:
    """Return the thickness of bone along the beam, in cm: spine, ribs, clavicles and scapulae."""
    half, length = a.thorax_width / 2, a.thorax_length
    spacing = length / 9.2
    phase = np.cos(2 * np.pi * (g.y - 0.3) / (1.05 * spacing))
    spine = g.inside(1.75 - np.abs(g.x), 0.4) * (1.15 + 0.30 * phase + 0.35 * np.clip(np.abs(g.x) / 1.75, 0, 1) ** 4)
    absolute = np.abs(g.x)
    outer = compute_lung_outline(a, g.y) + 0.5
    xi = np.clip((absolute - 1.9) / (half - 1.9 + 0.4), 0, 1.05)
    within = g.inside(outer - absolute, 0.3) * g.inside(absolute - 1.9, 0.5)
    tangential = 1 + 0.9 * np.clip(absolute / np.maximum(outer, 1.0), 0, 1) ** 8
    ribs = np.zeros_like(g.x)
    for index in range(11):
        start = -0.8 + index * spacing
        posterior = start + a.rib_slope * (5.2 * xi**1.9 - 1.3 * np.sin(np.pi * xi) * (1 if index < 8 else 0.6))
        ribs += 0.52 * g.band(posterior, 0.60, 0.35) * within
        if index <= 6:
            anterior = start + a.rib_slope * (5.2 + 5.0 * np.clip(1 - xi, 0, 1) ** 0.8 * (0.45 + 0.07 * index))
            ribs += 0.30 * g.band(anterior, 0.75, 0.4) * within * g.inside(xi - 0.36, 0.10)
    ribs *= tangential
    along = np.clip((absolute - 1.8) / (0.92 * a.shoulder_cm - 1.8), 0, 1)
    clavicle_y = 2.1 - a.clavicle_slope * 8.0 * along - 0.7 * np.sin(2 * np.pi * along)
    clavicle = (
        1.15 * g.band(clavicle_y, 0.68) * g.inside(absolute - 1.6, 0.5) * g.inside(0.9 * a.shoulder_cm - absolute, 0.8)
    )
    return a.rib_density * (spine + ribs + clavicle + _draw_scapulae(a, g))


def _draw_scapulae(a: Anatomy, g: Grid) -> np.ndarray:
    """Return the thickness of scapulae, thin triangles with a thick lateral border, and humeral heads, in cm."""
    total = np.zeros_like(g.x)
    for side in (-1, 1):
        at = 0.66 * a.thorax_width / 2 + a.scapula_shift
        points = np.array([[at - 0.6, 0.8], [at + 4.8, 2.2], [at + 1.9, 12.5], [at - 0.1, 9.0]]) * np.array([side, 1.0])
        blade = np.zeros(g.x.shape, np.uint8)
        cv2.fillPoly(blade, [np.round(g.pixels(points) * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
        soft = cv2.GaussianBlur(blade.astype(np.float32) / 255, (0, 0), max(0.25 / g.pixel, 0.3))
        border = g.lines([points[[1, 2]]], 0.9, 0.8) + g.lines([points[[0, 3]]], 0.4, 0.35)
        total += 0.35 * soft + cv2.GaussianBlur(border, (0, 0), max(0.15 / g.pixel, 0.3))
        total += 1.3 * g.ellipsoid(side * (0.93 * a.shoulder_cm), 1.4 + a.shoulder_y, 2.4, 2.5)
    return total


def _draw_air(a: Anatomy, g: Grid) -> np.ndarray:
    """Return the air of trachea, main bronchi and stomach, in cm of the soft tissue that it replaces."""
    length = a.thorax_length
    x = g.x - 0.9 * a.mediastinal_shift * np.clip(g.y / (0.25 * length), 0, 1)
    carina = 0.30 * length
    trachea = 1.7 * np.clip(1 - ((x + 0.25) / 0.95) ** 2, 0, 1) ** 0.5 * g.inside(carina - g.y, 1.0)
    arms = [np.array([[-0.25, carina - 0.4], [side * 2.6, carina + (2.6 if side < 0 else 2.0)]]) for side in (-1, 1)]
    bronchi = g.lines([arm + np.array([0.9 * a.mediastinal_shift, 0]) for arm in arms], 1.0, 1.0)
    bubble = np.zeros_like(g.x)
    if a.stomach_cm > 0.6:
        center_y = compute_dome(a, np.array(0.46 * a.thorax_width / 2), 1) + 0.9 + a.stomach_cm * 0.7
        bubble = 5.0 * g.ellipsoid(
            0.42 * a.thorax_width / 2, float(center_y), 1.5 * a.stomach_cm, a.stomach_cm * 0.8, 0.6
        )
    return trachea + cv2.GaussianBlur(bronchi, (0, 0), max(0.2 / g.pixel, 0.3)) + bubble


def _draw_devices(a: Anatomy, g: Grid, rng: np.random.Generator) -> np.ndarray:
    """Return the attenuation of leads and lines."""
    total = np.zeros_like(g.x)
    half, length = a.thorax_width / 2, a.thorax_length
    if "leads" in a.devices:
        for _ in range(3):
            electrode = np.array([rng.uniform(-0.8, 0.8) * half, rng.uniform(0.1, 0.7) * length])
            way_out = np.array([rng.choice([-1, 1]) * 1.5 * half, length * rng.uniform(0.3, 1.4)])
            t = np.linspace(0, 1, 12)[:, None]
            path = electrode + t * (way_out - electrode) + np.sin(np.pi * t) * rng.normal(scale=2.0, size=2)
            total += g.lines([path], 0.12, 0.9) + 0.8 * g.ellipsoid(electrode[0], electrode[1], 0.5, 0.5, 0.2)
    if "line" in a.devices:
        t = np.linspace(0, 1, 16)[:, None]
        path = np.array([-4.5, -2.0]) + t * np.array([2.2, 0.5 * length]) + np.sin(np.pi * t) * np.array([1.2, 0.0])
        total += g.lines([path], 0.18, 0.55)
    return total


def _add_marker(film: np.ndarray, a: Anatomy) -> np.ndarray:
    """Draw the side marker, an L, on a film."""
    if a.marker is None:
        return film
    size = film.shape[0]
    x, y, brightness = a.marker
    layer = np.zeros((size, size), np.uint8)
    corner, thickness = (int(x * size), int(y * size)), max(1, size // 110)
    cv2.putText(layer, "L", corner, cv2.FONT_HERSHEY_SIMPLEX, size / 330, 255, thickness, cv2.LINE_AA)
    return np.maximum(film, layer.astype(np.float32) / 255 * np.float32(brightness))


def _collimate(film: np.ndarray, a: Anatomy) -> np.ndarray:
    """Make the collimated borders of a film black."""
    left, right, top, bottom = (round(share * film.shape[0]) for share in a.collimation)
    open_part = np.zeros_like(film)
    rows, columns = slice(top, film.shape[0] - bottom), slice(left, film.shape[1] - right)
    open_part[rows, columns] = film[rows, columns]
    return open_part

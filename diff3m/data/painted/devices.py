"""Objects on normal films that are no disease: devices, wires, writing, clothes, jewelry, arms, chin, collimation.

Each function draws an object at random on a film (S, S) float32 in [0, 1] and returns the film. Objects are drawn on
the target as well as on the input of the healing objective, so that the network learns to keep them.
"""

from __future__ import annotations

import cv2
import numpy as np

from ...imaging.scale import REFERENCE_SIDE
from .shapes import (
    blur,
    compute_ellipse_radius,
    draw_curve,
    draw_lines,
    draw_polygon,
    logistic,
    make_coordinates,
)

WORDS = ("L", "R", "L", "R", "PORTABLE", "SUPINE", "ERECT", "AP", "PA", "UPRIGHT", "SEMI", "MOBILE", "RIGHT", "LEFT")
FONTS = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_PLAIN, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_TRIPLEX)


def _brighten(film: np.ndarray, layer: np.ndarray, rng: np.random.Generator, low: float = 0.15) -> np.ndarray:
    """Brighten a film where a layer (S, S) in [0, 1] of metal or plastic is: at least `low` of the way to white."""
    return film + layer * rng.uniform(low, 1.0) * np.clip(rng.uniform(0.8, 1.1) - film, 0, None)


def add_writing(film: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw a side marker, a word, a time or an arrow, bright or dark, perhaps in a box, mostly near the border."""
    side = film.shape[0]
    if rng.random() < 0.2:
        return _add_disc(film, rng) if rng.random() < 0.6 else _add_hollow_arrow(film, rng)
    layer: np.ndarray = np.zeros((side, side), np.uint8)
    scale = side / REFERENCE_SIDE
    if rng.random() < 0.2:
        start = rng.uniform(0.05, 0.95, 2) * side
        end = start + rng.uniform(-0.15, 0.15, 2) * side
        tail, tip = ((int(point[0]), int(point[1])) for point in (start, end))
        cv2.arrowedLine(layer, tail, tip, 255, max(1, round(scale)), cv2.LINE_AA)
    else:
        text = str(rng.choice(WORDS)) if rng.random() < 0.8 else f"{rng.integers(1, 13)}:{rng.integers(10, 60)}"
        size = rng.uniform(0.22, 0.5) * scale * (0.7 if len(text) > 2 else rng.uniform(0.8, 1.6))
        thickness = max(1, round(rng.uniform(0.6, 1.6) * scale))
        font = FONTS[int(rng.integers(len(FONTS)))]
        (width, height), _ = cv2.getTextSize(text, font, size, thickness)
        near_border = rng.random() < 0.85
        x = rng.choice([rng.uniform(0.01, 0.15), rng.uniform(0.75, 0.95)]) if near_border else rng.uniform(0.1, 0.8)
        y = rng.uniform(0.05, 0.97)
        corner = (int(np.clip(x * side, 0, max(side - width, 0))), int(np.clip(y * side, height, side - 2)))
        if rng.random() < 0.25:
            pad = max(1, round(scale))
            box = (corner[0] - pad, corner[1] - height - pad), (corner[0] + width + pad, corner[1] + pad)
            film = film.copy()
            cv2.rectangle(film, *box, float(rng.uniform(0, 0.3)), -1)
        cv2.putText(layer, text, corner, font, size, 255, thickness, cv2.LINE_AA)
        if rng.random() < 0.3:  # tilted, as markers on the cassette are
            matrix = cv2.getRotationMatrix2D((corner[0] + width / 2, corner[1] - height / 2), rng.normal(scale=25), 1)
            layer = cv2.warpAffine(layer, matrix, (side, side))
    layer = blur(layer.astype(np.float32) / 255, rng.uniform(0.1, 0.5))
    if rng.random() < 0.12:
        return film * (1 - layer * rng.uniform(0.4, 1))
    return _brighten(film, layer, rng, 0.3)


def _add_disc(film: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw a dark disc with a bright letter, as of a marker filled with lead."""
    side = film.shape[0]
    center, radius = rng.uniform([0.04, 0.08], [0.96, 0.9]), rng.uniform(0.018, 0.036)
    disc = logistic((1 - compute_ellipse_radius(side, tuple(center), radius, radius)) * rng.uniform(6, 20))
    film = film * (1 - disc) + disc * rng.uniform(0, 0.25)
    layer: np.ndarray = np.zeros((side, side), np.uint8)
    text, font = str(rng.choice(["L", "R"])), FONTS[int(rng.integers(len(FONTS)))]
    size = radius * side / 22
    (width, height), _ = cv2.getTextSize(text, font, size, 1)
    corner = round(float(center[0]) * side - width / 2), round(float(center[1]) * side + height / 2)
    cv2.putText(layer, text, corner, font, size, 255, 1, cv2.LINE_AA)
    return _brighten(film, layer.astype(np.float32) / 255, rng, 0.5)


def _add_hollow_arrow(film: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw a thick arrow with a bright outline and a dark inside, or the reverse, as portable machines burn it in."""
    side = film.shape[0]
    outline = np.array([[0, -1], [0.7, -0.2], [0.3, -0.2], [0.3, 0.8], [-0.3, 0.8], [-0.3, -0.2], [-0.7, -0.2]])
    angle = rng.choice([0, 0, 0.5, 1, 1.5]) * np.pi
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    corners = rng.uniform([0.06, 0.06], [0.94, 0.94]) + rng.uniform(0.015, 0.035) * outline @ turn.T
    inside = draw_polygon(side, corners, 0.2)
    edge = draw_lines(side, [corners], rng.uniform(0.004, 0.009), is_closed=True)
    bright, dark = rng.uniform(0.8, 1.0), rng.uniform(0, 0.3)
    if rng.random() < 0.3:
        bright, dark = dark, bright
    film = film * (1 - inside) + inside * dark
    return film * (1 - edge) + edge * bright


def add_wires(film: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw leads of an electrocardiogram with their electrodes, or loose cables."""
    side = film.shape[0]
    layer = np.zeros((side, side), np.float32)
    for _ in range(int(rng.integers(1, 5))):
        electrode = rng.uniform(0.15, 0.85, 2)
        border = np.array([rng.choice([-0.05, 1.05]), rng.uniform(0.1, 1.1)])
        if rng.random() < 0.4:
            border = border[::-1]
        layer = np.maximum(
            layer, draw_lines(side, [draw_curve(electrode, border, 0.08, rng)], rng.uniform(0.004, 0.011))
        )
        if rng.random() < 0.8:
            radius = compute_ellipse_radius(side, tuple(electrode), *(rng.uniform(0.012, 0.03) * np.ones(2)))
            ring = np.exp(-(((radius - 0.8) / 0.25) ** 2)) if rng.random() < 0.5 else logistic((1 - radius) * 10)
            layer = np.maximum(layer, ring * rng.uniform(0.5, 1))
    return _brighten(film, layer, rng)


def add_tubes(film: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw central lines, endotracheal, gastric and drainage tubes: one dense line, or two walls with a dark lumen."""
    side = film.shape[0]
    middle = rng.normal(0.5, 0.03)
    kinds = {
        "central line": (np.array([rng.choice([0.2, 0.8]), 0.12]), np.array([middle + 0.02, rng.uniform(0.35, 0.5)])),
        "endotracheal tube": (np.array([middle, -0.05]), np.array([middle, rng.uniform(0.2, 0.33)])),
        "gastric tube": (np.array([middle, -0.05]), np.array([middle + rng.uniform(0, 0.2), rng.uniform(0.75, 1.05)])),
        "drain": (np.array([rng.choice([-0.05, 1.05]), rng.uniform(0.4, 0.9)]), rng.uniform(0.25, 0.75, 2)),
        "neck line": (np.array([middle + rng.uniform(-0.15, 0.15), -0.05]), np.array([middle, rng.uniform(0.3, 0.5)])),
    }
    for name in rng.choice(list(kinds), size=int(rng.integers(1, 4)), replace=False):
        start, end = kinds[str(name)]
        path = draw_curve(start, end, rng.uniform(0.005, 0.04), rng, 24)
        width = rng.uniform(0.004, 0.012)
        layer = draw_lines(side, [path], width)
        if name != "central line" and rng.random() < 0.5:
            layer = np.clip(draw_lines(side, [path], 2.2 * width) - 0.8 * layer, 0, 1)
        film = _brighten(film, layer, rng, 0.1)
    return film


def add_implant(film: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw a port, a pacemaker with its lead, wires of the sternum, surgical clips, or a ring such as a valve's."""
    side = film.shape[0]
    if rng.random() < 0.25:
        return _add_port(film, rng)
    choice = rng.random()
    if choice < 0.35:
        center = np.array([rng.choice([rng.uniform(0.14, 0.32), rng.uniform(0.68, 0.86)]), rng.uniform(0.15, 0.35)])
        width, height = rng.uniform(0.03, 0.075, 2)
        x, y = make_coordinates(side)
        angle = rng.normal(scale=0.4)
        u = (x - center[0]) * np.cos(angle) + (y - center[1]) * np.sin(angle)
        v = (y - center[1]) * np.cos(angle) - (x - center[0]) * np.sin(angle)
        body = logistic((1 - ((u / width) ** 4 + (v / height) ** 4)) * 12)
        film = _brighten(film, body, rng, 0.5)
        end = np.array([rng.uniform(0.48, 0.62), rng.uniform(0.5, 0.72)])
        return _brighten(
            film, draw_lines(side, [draw_curve(center, end, 0.08, rng, 24)], rng.uniform(0.005, 0.01)), rng, 0.4
        )
    middle = rng.normal(0.5, 0.02)
    if choice < 0.6:
        loops = []
        for level in np.arange(rng.uniform(0.2, 0.3), rng.uniform(0.5, 0.7), rng.uniform(0.05, 0.08)):
            t = np.linspace(0, 2 * np.pi, 14)[:, None]
            loops.append(
                np.array([middle, level])
                + np.hstack([0.018 * np.cos(t), 0.01 * np.sin(t)])
                + rng.normal(scale=0.004, size=2)
            )
        return _brighten(film, draw_lines(side, loops, rng.uniform(0.004, 0.008)), rng, 0.3)
    if choice < 0.8:
        starts = rng.uniform([0.2, 0.15], [0.8, 0.85], size=(int(rng.integers(2, 14)), 2))
        if rng.random() < 0.6:  # together, as after an operation
            starts = starts[0] + rng.normal(scale=0.04, size=starts.shape)
        ends = starts + rng.normal(scale=0.012, size=starts.shape)
        return _brighten(film, draw_lines(side, list(np.stack([starts, ends], 1)), rng.uniform(0.005, 0.009)), rng, 0.4)
    t = np.linspace(0, 2 * np.pi, 20)[:, None]
    center, axes = rng.uniform([0.4, 0.4], [0.65, 0.7]), rng.uniform(0.012, 0.04, 2)
    ring = center + np.hstack([axes[0] * np.cos(t), axes[1] * np.sin(t)])
    return _brighten(film, draw_lines(side, [ring], rng.uniform(0.005, 0.01), is_closed=True), rng, 0.3)


def _add_port(film: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw a port: its reservoir, a bright ring of three to eleven corners over a lung, and its line to the heart."""
    side = film.shape[0]
    center = np.array([rng.choice([rng.uniform(0.2, 0.38), rng.uniform(0.62, 0.8)]), rng.uniform(0.2, 0.45)])
    radius, corners = rng.uniform(0.015, 0.035), int(rng.integers(3, 12))
    t = np.linspace(0, 2 * np.pi, corners, endpoint=False)[:, None] + rng.uniform(0, 2)
    ring = center + radius * np.hstack([np.cos(t), rng.uniform(0.6, 1) * np.sin(t)])
    layer = draw_lines(side, [ring], rng.uniform(0.006, 0.016), is_closed=True)
    layer = np.maximum(layer, draw_polygon(side, ring, 0.3) * rng.uniform(0, 0.8))
    film = _brighten(film, layer, rng, 0.5)
    end = np.array([rng.uniform(0.48, 0.6), rng.uniform(0.35, 0.5)])
    return _brighten(
        film, draw_lines(side, [draw_curve(center, end, 0.1, rng, 24)], rng.uniform(0.004, 0.009)), rng, 0.2
    )


def add_jewelry(film: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw a necklace, or a row of buttons or single coins."""
    side = film.shape[0]
    middle = rng.normal(0.5, 0.02)
    if rng.random() < 0.4:
        t = np.linspace(-1, 1, 24)[:, None]
        chain = np.hstack(
            [middle + rng.uniform(0.1, 0.18) * t, rng.uniform(0.12, 0.25) - rng.uniform(0.08, 0.18) * t**2]
        )
        return _brighten(film, draw_lines(side, [chain], rng.uniform(0.004, 0.009)), rng, 0.3)
    layer = np.zeros((side, side), np.float32)
    for index in range(int(rng.integers(1, 6))):
        center = (
            (middle + rng.normal(scale=0.03), 0.15 + 0.14 * index)
            if rng.random() < 0.6
            else tuple(rng.uniform(0.1, 0.9, 2))
        )
        radius = rng.uniform(0.008, 0.02)
        layer = np.maximum(layer, logistic((1 - compute_ellipse_radius(side, center, radius, radius)) * 8))
    return _brighten(film, layer, rng, 0.1)


def add_clothes(film: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw folds of a gown, a sheet or skin: long soft lines and bands, slightly brighter or darker."""
    side = film.shape[0]
    for _ in range(int(rng.integers(1, 5))):
        path = draw_curve(rng.uniform(-0.1, 1.1, 2), rng.uniform(-0.1, 1.1, 2), 0.08, rng)
        band = draw_lines(side, [path], rng.uniform(0.006, 0.05), rng.uniform(0.5, 3))
        film = film + rng.normal(scale=0.05) * band
    return film


def add_body_parts(film: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw an arm along the side, or the chin of a bent head over the upper border."""
    side = film.shape[0]
    x, y = make_coordinates(side)
    if rng.random() < 0.5:
        border = rng.uniform(0.05, 0.18)
        depth = x if rng.random() < 0.5 else 1 - x
        arm = logistic((border + rng.uniform(-0.1, 0.1) * (y - 0.5) - depth) * rng.uniform(20, 80))
        bone = np.exp(-(((depth - border * rng.uniform(0.3, 0.7)) / 0.025) ** 2)) * rng.uniform(0, 0.4)
        return film + arm * rng.uniform(0.1, 0.6) * np.clip(0.8 + bone - film, 0, None)
    center = (rng.normal(0.5, 0.08), rng.uniform(-0.08, 0.06))
    radius = compute_ellipse_radius(
        side, center, rng.uniform(0.12, 0.24), rng.uniform(0.06, 0.16), rng.normal(scale=0.3)
    )
    chin = logistic((1 - radius) * rng.uniform(5, 15))
    jaw = np.exp(-(((radius - 0.9) / 0.12) ** 2)) * rng.uniform(0, 0.3)
    return film + (chin * rng.uniform(0.2, 0.8) + jaw) * np.clip(1.0 - film, 0, None)


def add_collimation(film: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw black, grey or bright borders of the collimator, straight or tilted."""
    side = film.shape[0]
    low, high = rng.uniform(-0.05, 0.09, 2), rng.uniform(0.91, 1.05, 2)
    corners = np.array([[low[0], low[1]], [high[0], low[1]], [high[0], high[1]], [low[0], high[1]]])
    angle = rng.normal(scale=0.05)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    open_part = draw_polygon(
        side, (corners - 0.5) @ turn.T + 0.5 + rng.normal(scale=0.01, size=(4, 2)), rng.uniform(0.2, 1.5)
    )
    return film * open_part + (1 - open_part) * rng.choice([0.0, 0.0, rng.uniform(0, 0.3), rng.uniform(0.7, 1)])


DEVICES = {  # the probability of each on a film
    add_writing: 0.45,
    add_wires: 0.16,
    add_tubes: 0.14,
    add_implant: 0.14,
    add_jewelry: 0.07,
    add_clothes: 0.15,
    add_body_parts: 0.16,
    add_collimation: 0.14,
}


def add_devices(film: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw each kind of object with its own probability; about a third of films stay as they are."""
    if rng.random() < 0.2:
        return film
    for add, probability in DEVICES.items():
        if rng.random() < probability:
            film = add(film, rng)
    return film.astype(np.float32)

"""Masks of lungs and heart on a frontal film, by a small network that was trained on simulated films.

Simulated films (`data.phantom`) come with exact masks. A U-Net of 0.12 million parameters, trained on them under strong
changes of contrast, exposure and pose (`tools/fit_organs.py`), also outlines real films. The masks say where lesions
are painted and in which zone a finding lies; nothing is diagnosed from them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from ..resources import resource

WEIGHTS = resource("assets/organs.safetensors")
SIDE = 64  # pixels of the network's input
CHANNELS = 12  # of the network's first level
MIN_LUNG_AREA = 0.02  # share of the film; a smaller mask is not trusted
BATCH = 64


class OrganNetwork(nn.Module):
    """A U-Net of three levels.

    Takes films (B, 1, 64, 64) in [0, 1] and returns logits of left lung, right lung and heart, (B, 3, 64, 64).
    """

    def __init__(self) -> None:
        super().__init__()
        c = CHANNELS
        self.down = nn.ModuleList([_block(1, c), _block(c, 2 * c), _block(2 * c, 4 * c), _block(4 * c, 4 * c)])
        self.up = nn.ModuleList([_block(8 * c, 2 * c), _block(4 * c, c), _block(2 * c, c)])
        self.head = nn.Conv2d(c, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the logits (B, 3, 64, 64) of films x (B, 1, 64, 64)."""
        skips = []
        for level, block in enumerate(self.down):
            x = block(x if level == 0 else F.avg_pool2d(x, 2))
            skips.append(x)
        for block, skip in zip(self.up, reversed(skips[:-1]), strict=True):
            x = block(torch.cat([F.interpolate(x, scale_factor=2, mode="bilinear"), skip], 1))
        return self.head(x)


def _block(channels_in: int, channels_out: int) -> nn.Sequential:
    """Return two convolutions with normalization and activation, which keep the size."""
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, padding=1),
        nn.GroupNorm(4, channels_out),
        nn.SiLU(),
        nn.Conv2d(channels_out, channels_out, 3, padding=1),
        nn.GroupNorm(4, channels_out),
        nn.SiLU(),
    )


@cache
def load_organ_network() -> OrganNetwork:
    """Load the network with its shipped weights, on the CPU, in evaluation mode."""
    network = OrganNetwork()
    network.load_state_dict({name: tensor.float() for name, tensor in load_file(WEIGHTS).items()})
    return network.eval()


@torch.no_grad()
def segment_organs(films: np.ndarray) -> np.ndarray:
    """Outline the lung of the image's left, that of its right, and the heart on prepared films.

    films: (N, S, S) in [0, 1], or uint8. Returns soft masks (N, 3, 64, 64) uint8, 255 = certain, of each organ the
    largest connected part.
    """
    network = load_organ_network()
    masks = np.empty((len(films), 3, SIDE, SIDE), np.uint8)
    for start in range(0, len(films), BATCH):
        small = [cv2.resize(film, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for film in films[start : start + BATCH]]
        scale = 255 if films.dtype == np.uint8 else 1
        probabilities = network(torch.from_numpy(np.stack(small).astype(np.float32) / scale)[:, None]).sigmoid()
        masks[start : start + BATCH] = np.round(probabilities.numpy() * 255).astype(np.uint8)
    for film_masks in masks:
        for mask in film_masks:
            mask[:] = largest_part(mask)
    return masks


def largest_part(mask: np.ndarray) -> np.ndarray:
    """Remove from a soft uint8 mask the parts above one half that are not connected with the largest of them."""
    _, labels, statistics, _ = cv2.connectedComponentsWithStats((mask > 127).astype(np.uint8))
    if len(statistics) < 3:
        return mask
    largest = 1 + int(np.argmax(statistics[1:, cv2.CC_STAT_AREA]))
    others = ((labels != largest) & (labels > 0)).astype(np.uint8)
    return np.where(cv2.dilate(others, np.ones((5, 5), np.uint8)) > 0, 0, mask).astype(np.uint8)


@dataclass(frozen=True)
class Organs:
    """Soft masks (S, S) in [0, 1] of the lung on the image's left, the lung on its right, and the heart."""

    left_lung: np.ndarray
    right_lung: np.ndarray
    heart: np.ndarray

    @classmethod
    def from_masks(cls, masks: np.ndarray, size: int) -> Organs:
        """Resize the masks of one film, (3, 64, 64) uint8 as `segment_organs` returns them, to (size, size)."""
        return cls(
            *(
                cv2.resize(mask, (size, size), interpolation=cv2.INTER_CUBIC).astype(np.float32).clip(0, 255) / 255
                for mask in masks
            )
        )

    @property
    def lungs(self) -> np.ndarray:
        """Both lungs."""
        return np.maximum(self.left_lung, self.right_lung)

    @cached_property
    def _lung_pixels(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows and columns of the pixels inside the lungs."""
        rows, columns = np.nonzero(self.lungs > 0.5)
        return rows, columns

    def lung(self, side: int) -> np.ndarray:
        """Return the lung on the image's left (side −1) or right (side 1)."""
        return self.left_lung if side < 0 else self.right_lung

    @cached_property
    def boxes(self) -> dict[int, tuple[float, float, float, float]]:
        """Left, top, right and bottom of each lung as shares of the film, by side.

        A lung that is not recognized has a usual box.
        """
        usual = {-1: (0.12, 0.12, 0.44, 0.72), 1: (0.56, 0.12, 0.88, 0.72)}
        return {side: _box(self.lung(side)) or usual[side] for side in (-1, 1)}

    def chest(self) -> tuple[float, float, float, float]:
        """Return left, top, right and bottom of both lungs together, as shares of the film."""
        left, right = self.boxes[-1], self.boxes[1]
        return left[0], min(left[1], right[1]), right[2], max(left[3], right[3])

    def point_in_lungs(self, rng: np.random.Generator) -> tuple[float, float]:
        """Draw a position (x, y) inside a lung, as shares of the film."""
        rows, columns = self._lung_pixels
        side = self.heart.shape[0]
        if len(rows) < MIN_LUNG_AREA * side**2:
            left, top, right, bottom = self.boxes[int(rng.choice([-1, 1]))]
            return float(rng.uniform(left, right)), float(rng.uniform(top, bottom))
        index = int(rng.integers(len(rows)))
        return columns[index] / side, rows[index] / side

    def heart_box(self) -> tuple[float, float, float, float]:
        """Return center x and y, half width and half height of the heart, as shares of the film.

        A usual box where no heart was recognized.
        """
        box = _box(self.heart)
        left, top, right, bottom = box or (0.38, 0.42, 0.68, 0.74)
        return (left + right) / 2, (top + bottom) / 2, (right - left) / 2, (bottom - top) / 2

    @property
    def masks(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The three masks in order."""
        return self.left_lung, self.right_lung, self.heart

    def transform(self, matrix: np.ndarray) -> Organs:
        """Return the masks after an affine map (2, 3) of the film, as `cv2.warpAffine` takes it."""
        size = self.heart.shape[::-1]
        return Organs(*(cv2.warpAffine(mask, matrix, size, flags=cv2.INTER_LINEAR) for mask in self.masks))


def _box(mask: np.ndarray) -> tuple[float, float, float, float] | None:
    """Return left, top, right and bottom of a mask as shares of its side; None where it is too small to be trusted."""
    inside = mask > 0.5
    if inside.mean() < MIN_LUNG_AREA / 2:
        return None
    columns, rows = np.flatnonzero(inside.any(0)), np.flatnonzero(inside.any(1))
    side = mask.shape[0]
    return columns[0] / side, rows[0] / side, (columns[-1] + 1) / side, (rows[-1] + 1) / side

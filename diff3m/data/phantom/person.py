"""Phantoms by number: a number always gives the same person, film and lesion."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .anatomy import Anatomy, draw_anatomy
from .lesion import KINDS, Lesion, LesionFilm, draw_lesion, render_with_lesion
from .patient import Patient, draw_patient
from .render import render

# by use: the first number, and how many; training uses "train" alone, and nothing is chosen on "test"
SEEDS = {
    "train": (0, 1_000_000),
    "val": (1_000_000, 100_000),
    "dev": (2_000_000, 100_000),
    "test": (3_000_000, 100_000),
}


@dataclass(frozen=True)
class Person:
    """A simulated person. number: the seed. patient: the record. lesion: None for a normal person."""

    number: int
    patient: Patient
    lesion: Lesion | None = None

    @property
    def healthy(self) -> Person:
        """The same person without the lesion."""
        return replace(self, lesion=None)

    def draw_anatomy(self, patient: Patient | None = None) -> Anatomy:
        """Draw the person's anatomy under their own record or that of `patient` (a counterfactual); always the same."""
        return draw_anatomy(patient or self.patient, np.random.default_rng([self.number, 1]))

    def render(self, size: int = 256, patient: Patient | None = None) -> np.ndarray:
        """Render the person's film (size, size) float32 in [0, 1], with the lesion if there is one.

        patient: another record, as in `draw_anatomy`.
        """
        return self.render_with_lesion(size, patient).film if self.lesion else render(self.draw_anatomy(patient), size)

    def render_with_lesion(self, size: int = 256, patient: Patient | None = None) -> LesionFilm:
        """Render the film with its lesion's mask and anatomy; see `render`. Raises ValueError for a normal person."""
        if self.lesion is None:
            raise ValueError(f"phantom {self.number} has no lesion")
        return render_with_lesion(self.draw_anatomy(patient), self.lesion, size)


def make_person(number: int, lesion: str | None = None) -> Person:
    """Make the person of a number. lesion: a kind of `KINDS`, "any" to draw the kind too, or None for none."""
    rng = np.random.default_rng([number, 2])
    kind = KINDS[int(rng.integers(len(KINDS)))]
    instance = None if lesion is None else draw_lesion(kind if lesion == "any" else lesion, rng)
    return Person(number, draw_patient(np.random.default_rng([number, 0])), instance)


def is_diseased(number: int, share: float) -> bool:
    """Tell whether the person of a number has a lesion, in a cohort of which `share` have one."""
    return float(np.random.default_rng([number, 3]).random()) < share

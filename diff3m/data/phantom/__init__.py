"""Simulated chest radiographs whose anatomy follows from a patient's record by stated equations.

`make_person(number)` draws a patient and their individual variation, `Person.render` renders their film under their own
record or another, `Person.render_with_lesion` also returns the lesion's exact mask, and `write_cohort` writes a folder
of films.
"""

from .anatomy import Anatomy, compute_cardiothoracic_ratio, draw_anatomy
from .cohort import write_cohort
from .lesion import KINDS, Lesion, LesionFilm, draw_lesion, render_with_lesion
from .patient import Patient, draw_patient
from .person import SEEDS, Person, make_person
from .render import render

__all__ = [
    "KINDS",
    "SEEDS",
    "Anatomy",
    "Lesion",
    "LesionFilm",
    "Patient",
    "Person",
    "compute_cardiothoracic_ratio",
    "draw_anatomy",
    "draw_lesion",
    "draw_patient",
    "make_person",
    "render",
    "render_with_lesion",
    "write_cohort",
]

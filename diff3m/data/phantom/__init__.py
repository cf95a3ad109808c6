"""Simulated chest radiographs whose anatomy follows from a patient's record by stated equations.

`person(number)` draws a patient and their individual variation, `Person.film` renders them under their own record or
another, `render_with` adds a lesion with its exact mask, and `write_cohort` writes a folder of films.
"""

from .anatomy import Anatomy, anatomy, cardiothoracic_ratio
from .cohort import write_cohort
from .lesion import KINDS, Lesion, LesionFilm, draw_lesion, render_with
from .patient import Patient, draw_patient
from .person import SEEDS, Person, person
from .render import render

__all__ = [
    "KINDS",
    "SEEDS",
    "Anatomy",
    "Lesion",
    "LesionFilm",
    "Patient",
    "Person",
    "anatomy",
    "cardiothoracic_ratio",
    "draw_lesion",
    "draw_patient",
    "person",
    "render",
    "render_with",
    "write_cohort",
]

"""Lessons: a film, a question, a guess by the class, and an answer that is computed while they watch."""

from __future__ import annotations

from .disagreement import DISAGREEMENT
from .healing import HEALING
from .lesson import Lesson, Setting, Step
from .processing import PROCESSING
from .record import ATTENTION, BODY, HEART, NODULE, VIEW, WITHOUT_RECORD

LESSONS = (HEART, BODY, VIEW, WITHOUT_RECORD, ATTENTION, NODULE, HEALING, PROCESSING, DISAGREEMENT)

__all__ = ["LESSONS", "Lesson", "Setting", "Step"]

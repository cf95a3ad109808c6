"""Analyses as files: JSON, pictures, DICOM, and a cache of computed ones."""

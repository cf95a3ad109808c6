"""Radiographs: reading files, DICOM, preprocessing and the gate."""

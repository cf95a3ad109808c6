"""Measuring a checkpoint: metrics, calibration on normals, evaluation of a manifest."""

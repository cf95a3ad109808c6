"""Measuring a checkpoint: metrics, calibration on normals, evaluation of a manifest."""

BASELINES = ("PCA", "autoencoder", "AnoDDPM, Gaussian", "AnoDDPM, simplex", "Diff3M as released")  # what `evaluation.films` measures beside ours

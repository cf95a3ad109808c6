"""Measuring a checkpoint: metrics, calibration on normals, evaluation of a manifest."""

BASELINES = (
    "PCA",
    "autoencoder",
    "AnoDDPM, Gaussian",
    "AnoDDPM, simplex",
    "Diff3M as released",
)  # what `film_comparison` measures beside ours
RELEASED_STRIDE = 40  # of the released loop every 40th timestep: all of them are 798 passes a film

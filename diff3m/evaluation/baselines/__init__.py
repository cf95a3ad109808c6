"""Other methods of unsupervised anomaly detection, on the same films and by the same protocol as ours."""

from .anoddpm import anoddpm
from .autoencoder import ConvAutoencoder, autoencoder
from .pca import pca

__all__ = ["ConvAutoencoder", "anoddpm", "autoencoder", "pca"]

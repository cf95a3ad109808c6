"""Other methods of unsupervised anomaly detection, trained and measured as ours: the same films, preparation and protocol."""

from .anoddpm import anoddpm
from .autoencoder import ConvAutoencoder, autoencoder
from .pca import pca

__all__ = ["ConvAutoencoder", "anoddpm", "autoencoder", "pca"]

"""Other methods of unsupervised anomaly detection, on the same films and by the same protocol as ours."""

from .anoddpm import reconstruct_by_anoddpm
from .autoencoder import ConvAutoencoder, load_or_train_autoencoder
from .pca import fit_pca

__all__ = ["ConvAutoencoder", "fit_pca", "load_or_train_autoencoder", "reconstruct_by_anoddpm"]

"""A convolutional autoencoder of normal films."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

WIDTHS, CODE = (16, 32, 64, 64), 16
EPOCHS, BATCH, LEARNING_RATE = 8, 32, 1e-3
DOWN = 2 ** len(WIDTHS)


class ConvAutoencoder(nn.Module):
    """Four halvings to an 8×8×16 code (of 128 pixels) and back.

    (B, 1, S, S) in [0, 1] → the same; S a multiple of 16.
    """

    def __init__(self, widths: tuple[int, ...] = WIDTHS, code: int = CODE) -> None:
        super().__init__()
        down, up, before = [], [], 1
        for width in widths:
            down += [nn.Conv2d(before, width, 4, stride=2, padding=1), nn.BatchNorm2d(width), nn.LeakyReLU(0.2)]
            before = width
        self.encoder = nn.Sequential(*down, nn.Conv2d(before, code, 1))
        before = code
        for width in (*reversed(widths[:-1]), widths[0]):
            up += [
                nn.Upsample(scale_factor=2),
                nn.Conv2d(before, width, 3, padding=1),
                nn.BatchNorm2d(width),
                nn.LeakyReLU(0.2),
            ]
            before = width
        self.decoder = nn.Sequential(*up, nn.Conv2d(before, 1, 3, padding=1), nn.Sigmoid())

    def forward(self, x0: Tensor) -> Tensor:
        """Reconstruct films (B, 1, S, S) in [0, 1]; the shape and range stay."""
        return self.decoder(self.encoder(x0))


def load_or_train_autoencoder(
    images: np.ndarray, weights: Path, epochs: int = EPOCHS, report: Callable[[int, int], None] | None = None
) -> Callable[[Tensor], Tensor]:
    """Load an autoencoder, or train it by mean squared error (Adam) and save it.

    images: normal films (N, S, S) uint8. weights: its file. report: called with (films so far, films of all epochs).
    Returns films (B, 1, S, S) in [0, 1] → reconstructions. Raises ValueError for a side that is no multiple of 16.
    """
    if images.shape[-1] % DOWN:
        raise ValueError(f"The autoencoder needs films whose side is a multiple of {DOWN}, got {images.shape[-1]}.")
    torch.manual_seed(0)
    network = ConvAutoencoder()
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
    if weights.is_file():
        network.load_state_dict(load_file(weights))
    else:
        _train(network, images, epochs, report)
        weights.parent.mkdir(parents=True, exist_ok=True)
        save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, weights)
    network.eval()

    @torch.no_grad()
    def reconstruct(x0: Tensor) -> Tensor:
        return network.to(x0.device)(x0)

    return reconstruct


def _train(network: nn.Module, images: np.ndarray, epochs: int, report: Callable[[int, int], None] | None) -> None:
    optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)
    rng, done, total = np.random.default_rng(0), 0, epochs * len(images)
    network.train()
    for _ in range(epochs):
        order = rng.permutation(len(images))
        for start in range(0, len(order), BATCH):
            x0 = torch.from_numpy(images[order[start : start + BATCH]]).float()[:, None] / 255
            loss = (network(x0) - x0).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            done += len(x0)
            if report:
                report(done, total)

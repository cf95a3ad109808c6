"""The Diff3M network, assembled (METHOD, "Network")."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..diffusion import Schedule
from .blocks import Decoder, Encoder, sinusoid
from .config import NetworkConfig
from .fusion import Fusion
from .masking import checkerboard, masks


@dataclass(frozen=True)
class Condition:
    """What the record says about one film; computed once, valid at every timestep.

    embedding: (B, d), the sum of the groups' conditions; attention: {group: (B, slots)}, each summing to 1.
    """

    embedding: Tensor
    attention: dict[str, Tensor]


@dataclass(frozen=True)
class Prediction:
    """noise: ε̂ (B, 1, S, S); masked_pixels: x̃_t (B, 1, S, S)."""

    noise: Tensor
    masked_pixels: Tensor


class Diff3M(nn.Module):
    """Noise prediction and masked pixel generation, conditioned on EHR by IECA.

    Images are (B, 1, S, S) in [0, 1]; timesteps (B,) integers in 0..999; EHR values (B, slots) as
    `EHRSchema.encode` makes them, NaN for unknown.
    """

    def __init__(self, config: NetworkConfig, schedule: Schedule | None = None) -> None:
        super().__init__()
        self.config = config
        alpha_bars = (schedule or Schedule()).alpha_bars[1:-1]
        self.register_buffer("signal", alpha_bars.sqrt().float(), persistent=False)
        self.register_buffer("sigma", (1 - alpha_bars).sqrt().float(), persistent=False)
        d = config.embedding_width
        self.time_embed = nn.Sequential(nn.Linear(config.channels, d), nn.SiLU(), nn.Linear(d, d))
        self.noise_encoder = Encoder(config)
        self.masked_encoders = nn.ModuleList([Encoder(config) for _ in range(1 if config.shared_masked_encoder else 2)])
        self.query_encoder = Encoder(config)
        self.query_head = nn.Sequential(nn.Linear(config.widths[-1], d), nn.LayerNorm(d))
        self.fusion = Fusion(config)
        self.embedding_norm = nn.LayerNorm(d)
        self.noise_decoder = Decoder(config, config.noise_head_channels)
        self.masked_decoder = Decoder(config, 1)
        self.register_buffer("pattern", checkerboard(config.image_size), persistent=False)

    def condition(self, x0: Tensor, values: Tensor) -> Condition:
        """IECA for films x0 (B, 1, S, S) and encoded EHR values (B, slots)."""
        query = self.query_head(self.query_encoder(x0, None)[-1].amax(dim=(2, 3)))
        with torch.autocast(x0.device.type, enabled=False):  # a few thousand sums; in bfloat16 attention would not sum to 1
            return Condition(*self.fusion(query.float(), values.float()))

    def embeddings(self, t: Tensor, condition: Condition) -> tuple[Tensor, Tensor]:
        """(encoder embedding, decoder embedding) at timesteps t: e and LayerNorm(e + cond)."""
        e = self.time_embed(sinusoid(t, self.config.channels))
        fused = self.embedding_norm(e + condition.embedding)
        return (fused if self.config.condition_encoders else e), fused

    def predict_noise(self, x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
        """ε̂(x_t, t), the noise branch alone. Returns (B, 1, S, S)."""
        e, fused = self.embeddings(t, condition)
        head = self.noise_decoder(self.noise_encoder(x_t, e), fused)[:, :1]
        if self.config.parameterization == "noise":
            return head
        signal, sigma = (factor[t].view(-1, 1, 1, 1) for factor in (self.signal, self.sigma))
        return sigma * x_t + signal * head.float()

    def predict_masked_pixels(self, x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
        """x̃_t = g1⊙m2 + g2⊙m1: every pixel from the branch in which it was masked. Returns (B, 1, S, S)."""
        e, fused = self.embeddings(t, condition)
        m1, m2 = masks(t, self.pattern)
        if self.config.shared_masked_encoder:
            features = self.masked_encoders[0](torch.cat([x_t * m1, x_t * m2]), e.repeat(2, 1))
        else:
            pairs = zip(self.masked_encoders[0](x_t * m1, e), self.masked_encoders[1](x_t * m2, e), strict=True)
            features = [torch.cat(pair) for pair in pairs]
        g1, g2 = self.masked_decoder(features, fused.repeat(2, 1)).chunk(2)
        return g1 * m2 + g2 * m1

    def predict(self, x_t: Tensor, t: Tensor, condition: Condition) -> Prediction:
        """Both branches at once."""
        return Prediction(self.predict_noise(x_t, t, condition), self.predict_masked_pixels(x_t, t, condition))

    def forward(self, x_t: Tensor, t: Tensor, x0: Tensor, values: Tensor) -> tuple[Prediction, dict[str, Tensor]]:
        """One pass as published: (prediction, attention by group)."""
        condition = self.condition(x0, values)
        return self.predict(x_t, t, condition), condition.attention


def count_parameters(network: nn.Module) -> int:
    """Number of parameters."""
    return sum(parameter.numel() for parameter in network.parameters())

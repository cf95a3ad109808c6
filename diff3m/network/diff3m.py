"""The Diff3M network, assembled (docs/method.md, "Network")."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ..diffusion import Schedule
from .blocks import Decoder, Encoder, sinusoid
from .config import NetworkConfig
from .fusion import Fusion
from .masking import checkerboard, masks


@dataclass(frozen=True)
class Condition:
    """The condition that the record sets for a film; it is computed once and valid at every timestep.

    embedding: (B, d), the sum of the groups' conditions. attention: {group: (B, slots)}, each row summing to 1; empty
    for networks that compute their image query at every step, see `Diff3M.attention`. tokens: {group: (B, slots, d)}
    for those networks, else empty.
    """

    embedding: Tensor
    attention: dict[str, Tensor]
    tokens: dict[str, Tensor] = field(default_factory=dict)

    def map(self, change: Callable[[Tensor], Tensor]) -> Condition:
        """Apply a function to every tensor of the condition, e.g. one that selects rows."""
        maps = ({name: change(tensor) for name, tensor in part.items()} for part in (self.attention, self.tokens))
        return Condition(change(self.embedding), *maps)

    def repeat(self, count: int) -> Condition:
        """Return the condition of `count` images of every film, in the order 0 to B − 1, 0 to B − 1, and so on."""
        return self if count == 1 else self.map(lambda tensor: tensor.repeat(count, *[1] * (tensor.dim() - 1)))


@dataclass(frozen=True)
class Prediction:
    """What both branches of the network predict of noised images.

    noise: ε̂ (B, 1, S, S). masked_pixels: x̃_t (B, 1, S, S).
    """

    noise: Tensor
    masked_pixels: Tensor


class Diff3M(nn.Module):
    """Noise prediction and masked pixel generation, conditioned on EHR by IECA.

    Images are (B, 1, S, S) in [0, 1]; timesteps (B,) integers in 0..999; EHR values (B, slots) as
    `EHRSchema.encode` returns them, NaN for unknown.

    signal, sigma: √ᾱ and √(1 − ᾱ) by timestep, (T,). pattern: the checkerboard, (1, 1, S, S).
    """

    signal: Tensor
    sigma: Tensor
    pattern: Tensor

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
        if config.query == "film":
            self.query_encoder = Encoder(config)
        else:
            self.record_query = nn.Parameter(torch.randn(d))
        self.query_head = nn.Sequential(nn.Linear(config.widths[-1], d), nn.LayerNorm(d))
        self.fusion = Fusion(config)
        self.embedding_norm = nn.LayerNorm(d)
        self.noise_decoder = Decoder(config, config.noise_head_channels, has_refinement=config.refinement_channels > 0)
        self.masked_decoder = Decoder(config, 1)
        self.register_buffer("pattern", checkerboard(config.image_size), persistent=False)

    def condition(self, x0: Tensor, values: Tensor) -> Condition:
        """Encode films x0 (B, 1, S, S) and EHR values (B, slots) into a condition that holds at every timestep."""
        # a few thousand sums; in bfloat16 attention would not sum to 1
        with torch.autocast(x0.device.type, enabled=False):
            tokens = self.fusion.tokens(values.float())
        return self.condition_of(x0, tokens)

    def condition_of(self, x0: Tensor, tokens: dict[str, Tensor]) -> Condition:
        """Compute the condition from the record's tokens, {group: (B, slots, d)}, differentiable in them."""
        asks_film = self.config.query == "film"
        query = self._query(self.query_encoder(x0, None)) if asks_film else self.record_query.expand(len(x0), -1)
        with torch.autocast(x0.device.type, enabled=False):
            embedding, attention = self.fusion(query.float(), tokens)
        return Condition(embedding, attention) if asks_film else Condition(embedding, {}, tokens)

    def attention(self, x0: Tensor, condition: Condition) -> dict[str, Tensor]:
        """Return IECA's weights for films x0 (B, 1, S, S), {group: (B, slots)}.

        They hold for every step; for networks whose query changes at every step they are those at t = 0.
        """
        if condition.attention:
            return condition.attention
        t = torch.zeros(len(x0), dtype=torch.long, device=x0.device)
        return self._attend(self.noise_encoder(x0, self.encoder_embedding(self.embed_time(t), condition)), condition)[1]

    def _query(self, features: list[Tensor]) -> Tensor:
        """Return the global maximum of the deepest feature map over space, projected: (B, d)."""
        return self.query_head(features[-1].amax(dim=(2, 3)))

    def _attend(self, features: list[Tensor], condition: Condition) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the condition (B, d) and the attention by group for the image query of an encoder's features."""
        query = self._query(features)
        with torch.autocast(query.device.type, enabled=False):
            return self.fusion(query.float(), condition.tokens)

    def embed_time(self, t: Tensor) -> Tensor:
        """Return the embedding e (B, d) of timesteps t (B,)."""
        return self.time_embed(sinusoid(t, self.config.channels))

    def encoder_embedding(self, e: Tensor, condition: Condition) -> Tensor:
        """Return the encoders' embedding (B, d): that of time, and of the record too if `condition_encoders`."""
        return self.embedding_norm(e + condition.embedding) if self.config.condition_encoders else e

    def decoder_embedding(self, e: Tensor, condition: Condition, features: list[Tensor]) -> Tensor:
        """Return LayerNorm(e + cond), with the condition that the image's own query attends to, (B, d)."""
        e = e + condition.embedding
        return self.embedding_norm(e + self._attend(features, condition)[0] if condition.tokens else e)

    def predict_noise(self, x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
        """Predict the noise ε̂(x_t, t) by the noise branch alone. Returns (B, 1, S, S)."""
        e = self.embed_time(t)
        features = self.noise_encoder(x_t, self.encoder_embedding(e, condition))
        head = self.noise_decoder(features, self.decoder_embedding(e, condition, features), x_t)[:, :1]
        if self.config.parameterization == "noise":
            return head
        signal, sigma = (factor[t].view(-1, 1, 1, 1) for factor in (self.signal, self.sigma))
        return sigma * x_t + signal * head.float()

    def features(self, x: Tensor, t: Tensor, condition: Condition) -> list[Tensor]:
        """Return feature maps of the noise branch for images x (B, 1, S, S) at timesteps t (B,).

        They are the last ones of the encoder's levels but the deepest, that of the decoder's middle, and the last ones
        of the decoder's levels, the deepest first.
        """
        e, blocks = self.embed_time(t), self.config.blocks_per_level
        encoded = self.noise_encoder(x, self.encoder_embedding(e, condition))
        decoded = self.noise_decoder.maps(encoded, self.decoder_embedding(e, condition, encoded))
        above = [encoded[blocks + level * (blocks + 1)] for level in range(len(self.config.widths) - 1)]
        return above + decoded[:: blocks + 1]

    def predict_masked_pixels(self, x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
        """Predict x̃_t = g1⊙m2 + g2⊙m1, each pixel by the branch in which it was masked. Returns (B, 1, S, S)."""
        time = self.embed_time(t)
        e = self.encoder_embedding(time, condition)
        m1, m2 = masks(t, self.pattern)
        if self.config.shared_masked_encoder:
            features = self.masked_encoders[0](torch.cat([x_t * m1, x_t * m2]), e.repeat(2, 1))
        else:
            pairs = zip(self.masked_encoders[0](x_t * m1, e), self.masked_encoders[1](x_t * m2, e), strict=True)
            features = [torch.cat(pair) for pair in pairs]
        embedding = self.decoder_embedding(time.repeat(2, 1), condition.repeat(2), features)
        g1, g2 = self.masked_decoder(features, embedding).chunk(2)
        return g1 * m2 + g2 * m1

    def predict(self, x_t: Tensor, t: Tensor, condition: Condition) -> Prediction:
        """Predict noise and masked pixels of x_t (B, 1, S, S) at timesteps t (B,)."""
        return Prediction(self.predict_noise(x_t, t, condition), self.predict_masked_pixels(x_t, t, condition))

    def forward(self, x_t: Tensor, t: Tensor, x0: Tensor, values: Tensor) -> tuple[Prediction, dict[str, Tensor]]:
        """Run one pass as published: predict x_t at t for films x0 and encoded records `values` (B, slots).

        Returns the prediction and the attention by group, {group: (B, slots)}.
        """
        condition = self.condition(x0, values)
        return self.predict(x_t, t, condition), self.attention(x0, condition)


def count_parameters(network: nn.Module) -> int:
    """Return the number of a network's parameters."""
    return sum(parameter.numel() for parameter in network.parameters())

"""The configuration of a Diff3M network, which a checkpoint stores."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class NetworkConfig:
    """The settings of a network; see docs/method.md, "Network".

    image_size: side of the square input, pixels.
    space_to_depth: factor of the stem that folds pixels into channels (1 = the paper).
    channels: base width C; the embedding width is 4C.
    channel_multipliers: width of each resolution level, in units of C.
    blocks_per_level: residual blocks of an encoder level (decoders run one more).
    attention_resolutions: feature-map sides, in pixels, that get self-attention.
    attention_heads: heads of that self-attention.
    noise_head_channels: output channels of the noise head; the first is the noise (the released head has 2).
    shared_masked_encoder: one encoder for both checkerboard-masked inputs instead of two.
    fusion: "paper" (one softmax over dot products; docs/method.md, "Network", 6) or "multihead" (key/value
        projections).
    fusion_heads: heads of the multi-head fusion.
    query: the image's side of the cross attention: "film" (paper: a fourth encoder over the clean film), or "features"
        (the noise branch's own bottleneck at x_t, beside a learned query without image). A query from the clean film
        tells the decoder, through its attention weights, what the noise has hidden, so that the record matters less.
    condition_encoders: feed the fused embedding to the encoders too (paper: time only).
    parameterization: what the noise head outputs: "noise" (paper), or "velocity" v with ε̂ = √(1 − ᾱ_t) x_t +
    √ᾱ_t v
        (Salimans and Ho, ICLR 2022), so that at high noise the head draws the film rather than copies the noise.
    refinement_channels: channels of the convolutions at full resolution that correct the noise head's output
        (0 = none, as in the paper); useful where space_to_depth is above 1.
    slots: token slots of each EHR group, in the schema's order, e.g. (("demographics", 5), ("ehr", 5)).
    unknown_tokens: learn one token per slot that stands for a missing value.

    Raises ValueError for values out of range.
    """

    image_size: int = 256
    space_to_depth: int = 1
    channels: int = 128
    channel_multipliers: tuple[float, ...] = (1, 1, 2, 2, 4, 4)
    blocks_per_level: int = 2
    attention_resolutions: tuple[int, ...] = (16,)
    attention_heads: int = 1
    noise_head_channels: int = 1
    shared_masked_encoder: bool = False
    fusion: str = "paper"
    fusion_heads: int = 8
    query: str = "film"
    condition_encoders: bool = False
    parameterization: str = "noise"
    refinement_channels: int = 0
    slots: tuple[tuple[str, int], ...] = (("demographics", 5), ("ehr", 5))
    unknown_tokens: bool = True

    def __post_init__(self) -> None:
        counts = (
            self.image_size,
            self.space_to_depth,
            self.blocks_per_level,
            self.attention_heads,
            self.noise_head_channels,
            self.fusion_heads,
        )
        if not all(isinstance(count, int) and 1 <= count <= 4096 for count in counts):
            raise ValueError("sizes, blocks, heads and channels must be whole numbers of at least 1")
        if not isinstance(self.refinement_channels, int) or not 0 <= self.refinement_channels <= 1024:
            raise ValueError(
                f"refinement_channels must be a whole number from 0 to 1024, got {self.refinement_channels!r}"
            )
        for name in ("shared_masked_encoder", "condition_encoders", "unknown_tokens"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} must be true or false, got {getattr(self, name)!r}")
        if not 1 <= len(self.channel_multipliers) <= 10 or not all(
            0 < multiplier <= 64 for multiplier in self.channel_multipliers
        ):
            raise ValueError("channel_multipliers must be one to ten positive numbers")
        divisor = self.space_to_depth * 2 ** (len(self.channel_multipliers) - 1)
        if self.image_size % divisor:
            raise ValueError(
                f"image_size {self.image_size} must be a multiple of {divisor} (space_to_depth × the down-samplings)"
            )
        if not isinstance(self.channels, int) or not 2 <= self.channels <= 1024 or self.channels % 2:
            raise ValueError(f"channels must be an even number up to 1024, got {self.channels}")
        if self.blocks_per_level > 16:
            raise ValueError(f"blocks_per_level must be at most 16, got {self.blocks_per_level}")
        if self.fusion not in ("paper", "multihead"):
            raise ValueError(f'fusion must be "paper" or "multihead", got {self.fusion!r}')
        if self.query not in ("film", "features"):
            raise ValueError(f'query must be "film" or "features", got {self.query!r}')
        if self.parameterization not in ("noise", "velocity"):
            raise ValueError(f'parameterization must be "noise" or "velocity", got {self.parameterization!r}')
        if self.fusion == "multihead" and self.embedding_width % self.fusion_heads:
            raise ValueError(f"fusion_heads {self.fusion_heads} must divide the embedding width {self.embedding_width}")
        if not self.slots:
            raise ValueError("a network needs at least one EHR group")

    @property
    def embedding_width(self) -> int:
        """Width d = 4C of time embedding, tokens and image query."""
        return 4 * self.channels

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each resolution level, finest first."""
        return tuple(int(self.channels * multiplier) for multiplier in self.channel_multipliers)

    @property
    def feature_size(self) -> int:
        """Side of the feature map after the stem, pixels."""
        return self.image_size // self.space_to_depth

    def to_dict(self) -> dict:
        """Return plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict) -> NetworkConfig:
        """Read what `to_dict` wrote (lists from JSON become tuples). Raises ValueError on unknown keys."""
        unknown = set(values) - set(cls.__dataclass_fields__)
        if unknown:
            raise ValueError(f"unknown network setting(s): {', '.join(sorted(unknown))}")
        plain = dict(values)
        for key in ("channel_multipliers", "attention_resolutions"):
            if key in plain:
                plain[key] = tuple(plain[key])
        if "slots" in plain:
            plain["slots"] = tuple((str(name), int(count)) for name, count in plain["slots"])
        return cls(**plain)


PRESETS = {
    "paper": NetworkConfig(),
    "compact": NetworkConfig(
        image_size=128,
        space_to_depth=4,
        channels=64,
        channel_multipliers=(1, 2, 3),
        blocks_per_level=1,
        attention_resolutions=(8,),
        attention_heads=4,
        shared_masked_encoder=True,
        fusion="multihead",
        query="features",
        condition_encoders=True,
        parameterization="velocity",
    ),
}


def preset(name: str, **changes) -> NetworkConfig:
    """Return a named preset with fields replaced. Raises ValueError for an unknown name or field."""
    if name not in PRESETS:
        raise ValueError(f"unknown preset {name!r}; choose one of {', '.join(PRESETS)}")
    values = {**PRESETS[name].to_dict(), **changes}
    return NetworkConfig.from_dict(values)

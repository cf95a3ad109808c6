"""The parts of the U-Net: time embedding, residual block, self-attention, encoder and decoder.

See docs/method.md, "Network", 1 and 3.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import NetworkConfig

GROUPS = 32


def sinusoid(t: Tensor, width: int) -> Tensor:
    """Embed timesteps in sinusoids, cosines first: (B,) → (B, width), frequencies exp(−ln(10000)·i/(width/2))."""
    half = width // 2
    frequency = torch.exp(-math.log(10000.0) * torch.arange(half, device=t.device, dtype=torch.float32) / half)
    angle = t.float()[:, None] * frequency[None]
    return torch.cat([torch.cos(angle), torch.sin(angle)], dim=1)


def zero_init(module: nn.Module) -> nn.Module:
    """Set a layer's parameters to zero, so that its branch starts as the identity."""
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module


class GroupNorm(nn.GroupNorm):
    """Group normalization of feature maps (B, C, H, W).

    With gradients on the CPU the map is copied to channels-first layout and back: PyTorch's gradient for channels-last
    maps takes three times as long as its channels-first gradient and both copies.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalize a map; the shape stays."""
        if not torch.is_grad_enabled() or x.device.type != "cpu" or x.dim() != 4:
            return super().forward(x)
        return super().forward(x.contiguous()).contiguous(memory_format=torch.channels_last)


class ResidualBlock(nn.Module):
    """GroupNorm, SiLU, 3×3, + embedding, GroupNorm, SiLU, 3×3, + input. (B, in, H, W) → (B, out, H, W)."""

    def __init__(self, channels_in: int, channels_out: int, embedding_width: int) -> None:
        super().__init__()
        self.norm1 = GroupNorm(GROUPS, channels_in)
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        self.embedding = nn.Linear(embedding_width, channels_out)
        self.norm2 = GroupNorm(GROUPS, channels_out)
        self.conv2 = zero_init(nn.Conv2d(channels_out, channels_out, 3, padding=1))
        self.skip = nn.Identity() if channels_in == channels_out else nn.Conv2d(channels_in, channels_out, 1)

    def forward(self, x: Tensor, e: Tensor | None) -> Tensor:
        """Transform feature maps x (B, in, H, W) under an embedding e (B, d), or None for none."""
        h = self.conv1(F.silu(self.norm1(x)))
        if e is not None:
            h = h + self.embedding(F.silu(e))[:, :, None, None]
        h = self.conv2(F.silu(self.norm2(h)))
        return self.skip(x) + h


class SelfAttention(nn.Module):
    """GroupNorm, 1×1 to q, k, v per head, softmax(qᵀk/√channels) v, 1×1, + input. Keeps (B, C, H, W)."""

    def __init__(self, channels: int, heads: int = 1) -> None:
        super().__init__()
        self.heads = heads
        self.norm = GroupNorm(GROUPS, channels)
        self.qkv = nn.Conv1d(channels, 3 * channels, 1)
        self.proj = zero_init(nn.Conv1d(channels, channels, 1))

    def forward(self, x: Tensor, e: Tensor | None = None) -> Tensor:
        """Let the places of feature maps x (B, C, H, W) attend to each other. The embedding e is not used."""
        b, c, height, width = x.shape
        qkv = self.qkv(self.norm(x).flatten(2))
        # (B, heads, 3, channels a head, N): each head's q, k and v lie together, as in the released code
        q, k, v = qkv.view(b, self.heads, 3, c // self.heads, height * width).transpose(-1, -2).unbind(2)
        h = F.scaled_dot_product_attention(q, k, v).transpose(-1, -2).reshape(b, c, height * width)
        return x + self.proj(h).view(b, c, height, width)


class Downsample(nn.Module):
    """Halve the resolution with a stride-2 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x: Tensor, e: Tensor | None = None) -> Tensor:
        """Return feature maps x (B, C, H, W) at half the resolution. The embedding e is not used."""
        return self.conv(x)


class Upsample(nn.Module):
    """Double the resolution: nearest neighbor, then a convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor, e: Tensor | None = None) -> Tensor:
        """Return feature maps x (B, C, H, W) at twice the resolution. The embedding e is not used."""
        return self.conv(F.interpolate(x, scale_factor=2, mode="nearest"))


class Stage(nn.ModuleList):
    """Layers of one resolution that are applied one after the other, each under the same embedding."""

    def forward(self, x: Tensor, e: Tensor | None) -> Tensor:
        """Apply the layers to feature maps x (B, C, H, W) under an embedding e (B, d), or None for none."""
        for layer in self:
            x = layer(x, e)
        return x


def encoder_widths(config: NetworkConfig) -> list[int]:
    """Return the channels of every encoder output that a decoder concatenates: stem, blocks, down-samplings."""
    widths = [config.widths[0]]
    for level, width in enumerate(config.widths):
        widths += [width] * config.blocks_per_level
        if level < len(config.widths) - 1:
            widths.append(width)
    return widths


class Encoder(nn.Module):
    """The contracting half. (B, 1, S, S) and (B, d) or None → list of feature maps, the last one the bottleneck."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        width, size = config.widths[0], config.feature_size
        self.fold = nn.PixelUnshuffle(config.space_to_depth)
        self.stem = nn.Conv2d(config.space_to_depth**2, width, 3, padding=1)
        self.stages = nn.ModuleList()
        for level, target in enumerate(config.widths):
            for _ in range(config.blocks_per_level):
                stage: list[nn.Module] = [ResidualBlock(width, target, config.embedding_width)]
                width = target
                if size in config.attention_resolutions:
                    stage.append(SelfAttention(width, config.attention_heads))
                self.stages.append(Stage(stage))
            if level < len(config.widths) - 1:
                self.stages.append(Stage([Downsample(width)]))
                size //= 2

    def forward(self, x: Tensor, e: Tensor | None) -> list[Tensor]:
        """Encode images x (B, 1, S, S) under an embedding e (B, d), or None for none.

        Returns the feature maps of the stem and of every stage, `encoder_widths` channels each.
        """
        h = self.stem(self.fold(x))
        features = [h]
        for stage in self.stages:
            h = stage(h, e)
            features.append(h)
        return features


class Refinement(nn.Module):
    """A correction of the decoder's output by convolutions at full resolution, so that no edges of pixel blocks show.

    Its inputs are the decoder's last feature map (B, width, S/f, S/f), unfolded by the stem's factor f, and the image
    (B, 1, S, S) of the encoder. Its output (B, channels_out, S, S) is zero before training.
    """

    def __init__(self, config: NetworkConfig, width: int, channels_out: int) -> None:
        super().__init__()
        channels = config.refinement_channels
        self.expand = nn.Conv2d(width, channels * config.space_to_depth**2, 1)
        self.unfold = nn.PixelShuffle(config.space_to_depth)
        self.conv1 = nn.Conv2d(channels + 1, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.head = zero_init(nn.Conv2d(channels, channels_out, 3, padding=1))

    def forward(self, features: Tensor, image: Tensor) -> Tensor:
        """Return the correction (B, channels_out, S, S) for the decoder's features and the encoder's image."""
        h = self.unfold(self.expand(features))
        h = self.conv1(torch.cat([F.silu(h), image.to(h.dtype)], dim=1))
        h = h + self.conv2(F.silu(h))
        return self.head(F.silu(h))


class Decoder(nn.Module):
    """Middle and expanding half. Encoder features and (B, d) → (B, channels_out, S, S).

    has_refinement: whether the output is corrected by `Refinement`.
    """

    def __init__(self, config: NetworkConfig, channels_out: int, has_refinement: bool = False) -> None:
        super().__init__()
        skip_widths, d = encoder_widths(config), config.embedding_width
        width, size = skip_widths[-1], config.feature_size // 2 ** (len(config.widths) - 1)
        self.middle = Stage(
            [
                ResidualBlock(width, width, d),
                SelfAttention(width, config.attention_heads),
                ResidualBlock(width, width, d),
            ]
        )
        self.stages = nn.ModuleList()
        for level, target in reversed(list(enumerate(config.widths))):
            for block in range(config.blocks_per_level + 1):
                stage: list[nn.Module] = [ResidualBlock(width + skip_widths.pop(), target, d)]
                width = target
                if size in config.attention_resolutions:
                    stage.append(SelfAttention(width, config.attention_heads))
                if level and block == config.blocks_per_level:
                    stage.append(Upsample(width))
                    size *= 2
                self.stages.append(Stage(stage))
        self.norm = GroupNorm(GROUPS, width)
        self.head = zero_init(nn.Conv2d(width, channels_out * config.space_to_depth**2, 3, padding=1))
        self.unfold = nn.PixelShuffle(config.space_to_depth)
        self.refinement = Refinement(config, width, channels_out) if has_refinement else None

    def forward(self, features: list[Tensor], e: Tensor, image: Tensor | None = None) -> Tensor:
        """Decode the encoder's feature maps under an embedding e (B, d).

        image: (B, 1, S, S), the encoder's input, which only a decoder with refinement needs. Returns
        (B, channels_out, S, S).
        """
        last = F.silu(self.norm(self.maps(features, e)[-1]))
        output = self.unfold(self.head(last))
        return output if self.refinement is None else output + self.refinement(last, image)

    def maps(self, features: list[Tensor], e: Tensor) -> list[Tensor]:
        """Return the feature maps of the middle and of every stage; the last of them is the head's input."""
        remaining = list(features)
        outputs = [self.middle(remaining[-1], e)]
        for stage in self.stages:
            outputs.append(stage(torch.cat([outputs[-1], remaining.pop()], dim=1), e))
        return outputs

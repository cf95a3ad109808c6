"""EHR tokens and image-EHR cross attention, IECA (docs/method.md, "Network", 5 and 6)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from .config import NetworkConfig


class Tokenizer(nn.Module):
    """One token per slot: LayerNorm(v·w + b), or LayerNorm(unknown) where the value is NaN. (B, n) → (B, n, d)."""

    def __init__(self, slots: int, width: int, unknown: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(slots, width))
        self.bias = nn.Parameter(torch.randn(slots, width))
        self.unknown = nn.Parameter(torch.randn(slots, width)) if unknown else None
        self.norm = nn.LayerNorm(width)

    def forward(self, values: Tensor) -> Tensor:
        """Return the tokens (B, n, d) of values (B, n).

        Raises ValueError for a NaN where the network has no token for a missing value.
        """
        missing = torch.isnan(values)
        tokens = torch.nan_to_num(values)[..., None] * self.weight + self.bias
        if self.unknown is None:
            if bool(missing.any()):
                raise ValueError("this checkpoint has no token for a missing value: give every EHR value")
            return self.norm(tokens)
        return self.norm(torch.where(missing[..., None], self.unknown.to(tokens.dtype), tokens))


class PaperAttention(nn.Module):
    """IECA as published: a = softmax(tokens·q/√d), cond = Σ a_i token_i. No parameters."""

    def forward(self, query: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Return the condition (B, d) and the attention (B, n) of a query (B, d) over tokens (B, n, d)."""
        logits = (tokens @ query[..., None]).squeeze(-1) / math.sqrt(query.shape[-1])
        attention = logits.softmax(dim=-1)
        return (attention[..., None] * tokens).sum(dim=1), attention


class MultiHeadFusion(nn.Module):
    """IECA with key, value and output projections and several heads, so that no one token can take all the weight.

    Returns the condition (B, d) and the attention averaged over heads (B, n), which sums to 1.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)

    def forward(self, query: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Return the condition (B, d) and the attention (B, n) of a query (B, d) over tokens (B, n, d)."""
        condition, attention = self.attention(query[:, None], tokens, tokens, need_weights=True)
        return condition[:, 0], attention[:, 0]


class Fusion(nn.Module):
    """All groups of EHR tokens against one image query.

    `tokens` does not depend on the image, so it is computed once for a record.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        d = config.embedding_width
        self.groups = config.slots
        self.tokenizers = nn.ModuleDict(
            {name: Tokenizer(count, d, config.unknown_tokens) for name, count in config.slots}
        )
        self.attend = nn.ModuleDict(
            {
                name: PaperAttention() if config.fusion == "paper" else MultiHeadFusion(d, config.fusion_heads)
                for name, _ in config.slots
            }
        )

    def tokens(self, values: Tensor) -> dict[str, Tensor]:
        """Return the tokens {group: (B, slots, d)} of encoded values (B, sum of slots), NaN = unknown.

        Raises ValueError for another number of slots.
        """
        expected = sum(count for _, count in self.groups)
        if values.shape[-1] != expected:
            raise ValueError(f"expected {expected} encoded EHR slots, got {values.shape[-1]}")
        parts = values.split([count for _, count in self.groups], dim=-1)
        return {name: self.tokenizers[name](part) for (name, _), part in zip(self.groups, parts, strict=True)}

    def forward(self, query: Tensor, tokens: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the sum of the groups' conditions (B, d), and each group's attention {group: (B, slots)}.

        query: of the image, (B, d). tokens: of every group, {group: (B, slots, d)}.
        """
        total, attention = torch.zeros_like(query), {}
        for name, _ in self.groups:
            condition, attention[name] = self.attend[name](query, tokens[name])
            total = total + condition
        return total, attention

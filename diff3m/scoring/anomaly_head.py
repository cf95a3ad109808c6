"""A small head that reads the frozen denoiser's features and says where a film holds what does not belong.

It is taught on normal films with anomalies painted in (`data.synthetic_anomalies`), never on disease. The features
are those of the film itself and of the film noised to one level: the denoiser knows normal anatomy, and its features
of a place differ where that is disturbed (denoising networks as feature extractors: Baranchuk et al., ICLR 2022).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..diffusion import Schedule, add_noise
from ..network import Condition, Diff3M, NetworkConfig
from .filters import inner

GROUPS = 16  # of the body's group normalization
MOST_MEMBERS = 16  # of an anomaly head
TAUGHT_INSIDE = (
    0.0625,
    0.0625,
    0.125,
    0.0625,
)  # shares of top, right, bottom and left beyond which the map was taught nothing
POOLED_INSIDE = (
    0.1,
    0.1,
    0.1875,
    0.1,
)  # shares of top, right, bottom and left that the logit of the film does not look at


@dataclass(frozen=True)
class HeadConfig:
    """level: noise level of the second input, 1 to 1000. width: channels. members: networks that read the same
    features, from other first weights, and whose logits are averaged."""

    level: int = 100
    width: int = 96
    members: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.level <= 1000 or self.width < 1 or self.width % GROUPS:
            raise ValueError(
                f"an anomaly head needs a level of 1 to 1000 and a width that {GROUPS} divides, got {self.level} and {self.width}"
            )
        if not 1 <= self.members <= MOST_MEMBERS:
            raise ValueError(f"an anomaly head has 1 to {MOST_MEMBERS} members, got {self.members}")


class AnomalyHead(nn.Module):
    """Feature maps of both inputs → logits of "painted" by place (B, 1, s, s) at the network's feature size s, and of
    the whole film (B,), averaged over the members (a deep ensemble: Lakshminarayanan et al., NeurIPS 2017)."""

    def __init__(self, network: NetworkConfig, config: HeadConfig | None = None) -> None:
        super().__init__()
        self.config = config or HeadConfig()
        self.members = nn.ModuleList([HeadMember(network, self.config.width) for _ in range(self.config.members)])
        self.register_load_state_dict_pre_hook(_of_one_member)

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        places, films = zip(*(member(features) for member in self.members), strict=True)
        return sum(places) / len(places), sum(films) / len(films)


def _of_one_member(head: AnomalyHead, state: dict[str, Tensor], prefix: str, *_) -> None:
    """Files from before heads had members name the parts of the only one."""
    for name in [name for name in state if not name.startswith(f"{prefix}members.")]:
        state[f"{prefix}members.0.{name.removeprefix(prefix)}"] = state.pop(name)


class HeadMember(nn.Module):
    """One member of an anomaly head."""

    def __init__(self, network: NetworkConfig, width: int) -> None:
        super().__init__()
        widths = 2 * feature_widths(network)
        self.reduce = nn.ModuleList(
            [nn.Sequential(nn.GroupNorm(1, channels), nn.Conv2d(channels, width, 1)) for channels in widths]
        )
        self.body = nn.Sequential(
            nn.GroupNorm(GROUPS, width), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1),
            nn.GroupNorm(GROUPS, width), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1),
            nn.GroupNorm(GROUPS, width), nn.SiLU(),
        )  # fmt: skip
        self.map = nn.Conv2d(width, 1, 3, padding=1)
        self.film = nn.Linear(2 * width, 1)

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        size = max(feature.shape[-1] for feature in features)
        # contiguous: torch 2.13's group normalization crashes the process in the backward pass of channels_last maps
        reduced = (layer(feature.float().contiguous()) for layer, feature in zip(self.reduce, features, strict=True))
        summed = sum(F.interpolate(feature, size=size, mode="bilinear") for feature in reduced)
        h = self.body(summed.contiguous())
        inside = inner(h, POOLED_INSIDE)
        return self.map(h), self.film(torch.cat([inside.mean((2, 3)), inside.amax((2, 3))], 1))[:, 0]


def feature_widths(network: NetworkConfig) -> list[int]:
    """Channels of the maps that `Diff3M.features` gives, in order: a level's last decoder block leaves its width,
    then it is sampled up."""
    *above, deepest = network.widths
    up = [network.widths[level] for level in reversed(range(len(network.widths)))]
    return [*above, deepest, *up]


@torch.no_grad()
def head_features(
    network: Diff3M, schedule: Schedule, x0: Tensor, noise: Tensor, level: int, condition: Condition
) -> list[Tensor]:
    """Feature maps of films (B, 1, S, S), and of the films noised to a level with noise alike."""
    return film_features(network, x0, condition) + noised_features(network, schedule, x0, noise, level, condition)


@torch.no_grad()
def film_features(network: Diff3M, x0: Tensor, condition: Condition) -> list[Tensor]:
    """Feature maps of the films themselves, as at t = 0."""
    return network.features(x0, torch.zeros(len(x0), dtype=torch.long, device=x0.device), condition)


@torch.no_grad()
def noised_features(
    network: Diff3M, schedule: Schedule, x0: Tensor, noise: Tensor, level: int, condition: Condition
) -> list[Tensor]:
    """Feature maps of films noised to a level (1 … T)."""
    t = torch.full((len(x0),), level - 1, device=x0.device)
    return network.features(add_noise(x0, noise, t, schedule), t, condition)


@torch.no_grad()
def anomaly_logits(
    network: Diff3M, head: AnomalyHead, schedule: Schedule, x0: Tensor, noises: Tensor, condition: Condition
) -> tuple[Tensor, Tensor]:
    """Logits by place (B, 1, S, S) and of the whole film (B,), averaged over noises (n, 1, S, S), the same for every
    film."""
    count, films = len(noises), len(x0)
    still = [feature.repeat(count, 1, 1, 1) for feature in film_features(network, x0, condition)]
    drawn = noises.repeat_interleave(films, dim=0)
    noised = noised_features(
        network, schedule, x0.repeat(count, 1, 1, 1), drawn, head.config.level, condition.repeat(count)
    )
    with torch.autocast(x0.device.type, enabled=False):
        logits, whole = head(still + noised)
    places = logits.view(count, films, *logits.shape[1:]).mean(0)
    return F.interpolate(places, size=x0.shape[-2:], mode="bilinear"), whole.view(count, films).mean(0)


def anomaly_map(logits: Tensor) -> Tensor:
    """Logits by place (B, 1, S, S) as probabilities; 0 where the head was taught nothing."""
    shown = torch.zeros_like(logits)
    inner(shown, TAUGHT_INSIDE).copy_(inner(logits, TAUGHT_INSIDE).sigmoid())
    return shown

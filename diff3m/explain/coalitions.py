"""Coalitions of a record's parts, each known or unknown, and Captum's arithmetic on a table of what was measured under each."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ..detector import Detector
from ..ehr import HABITUS, Record
from .record_fit import ExplanationError, may_be_unknown

MOST_SINGLE = 2  # features of a group that are looked at one by one
MOST_PLAYERS = 7  # Captum walks through every order of them: 5,040 here, in 3 s
Coalition = tuple[int, ...]


def coalitions_of(
    detector: Detector, record: Record, single: bool
) -> tuple[list[tuple[str, ...]], list[Coalition], list[Record]]:
    """Players, all coalitions of them (nothing known first, everything last), and the record of each."""
    may_be_unknown(detector)
    players = players_of(detector, record, single)
    if len(players) > MOST_PLAYERS:
        raise ExplanationError(
            f"This record has {len(players)} parts that can be known or unknown, and more than {MOST_PLAYERS} have too many orders to walk through. "
            "Leave some values out, or train with fewer explanation groups."
        )
    coalitions = list(itertools.product((0, 1), repeat=len(players)))
    return players, coalitions, [coalition_record(record, players, coalition) for coalition in coalitions]


def groups_of(detector: Detector, record: Record, players: Sequence[Sequence[str]]) -> list[str]:
    """The explanation group of each player."""
    group_of = {name: group for group, members in group_members(detector, record).items() for name in members}
    return [group_of[player[0]] for player in players]


def part_names(players: Sequence[Sequence[str]], groups: Sequence[str]) -> list[str]:
    """The name of each player: its one feature, or its group."""
    return [player[0] if len(player) == 1 else group for player, group in zip(players, groups, strict=True)]


def group_members(detector: Detector, record: Record) -> dict[str, list[str]]:
    """Known, trained features by explanation group; groups without one are left out."""
    found = {
        group: [feature.name for feature in members if feature.trained and record.get(feature.name) is not None]
        for group, members in detector.schema.explanation_groups.items()
    }
    return {group: names for group, names in found.items() if names}


def players_of(detector: Detector, record: Record, single: bool) -> list[tuple[str, ...]]:
    """What can be known or unknown on its own: groups, or single features but for habitus, which moves as one, and for groups of more features than
    `MOST_SINGLE`, whose coalitions and orders would be too many."""
    players: list[tuple[str, ...]] = []
    for names in group_members(detector, record).values():
        together = not single or len(names) > MOST_SINGLE or any(name in HABITUS for name in names)
        players += [tuple(names)] if together else [(name,) for name in names]
    return players


def coalition_record(record: Record, players: Sequence[Sequence[str]], coalition: Sequence[int]) -> Record:
    """The record with only the present players known."""
    kept = {name for player, present in zip(players, coalition, strict=True) if present for name in player}
    return {name: value if name in kept else None for name, value in record.items()}


def attributed(method: type, table: Mapping[Coalition, float], names: Sequence[str]) -> dict[str, float]:
    """Captum's attribution of a table of coalition values; players that share a name count as one."""
    if not names:
        return {}
    distinct = list(dict.fromkeys(names))
    mask = torch.tensor([[distinct.index(name) for name in names]])

    def forward(present: Tensor) -> Tensor:
        return torch.tensor([table[tuple(int(flag) for flag in row)] for row in present.tolist()], dtype=torch.float64)

    ones = torch.ones(1, len(names), dtype=torch.float64)
    given = method(forward).attribute(ones, baselines=torch.zeros_like(ones), feature_mask=mask)[0].tolist()
    return {name: given[names.index(name)] for name in distinct}

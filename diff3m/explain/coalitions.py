"""Coalitions of a record's parts, each known or unknown, and exact Shapley values over them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import comb

from ..detector import Detector
from ..ehr import HABITUS, Record
from .needs import ExplanationError, Need, require

MAX_SINGLE = 2  # features of a group that may be players of their own
MAX_PLAYERS = 7  # 128 coalitions, each of which is a few passes of the network
Coalition = tuple[int, ...]


@dataclass(frozen=True)
class Coalitions:
    """All coalitions of a record's players, the empty one first and the full one last.

    players: the features of each player, which are known or unknown together. groups: the explanation group of each
    player. members: 0 or 1 by player, of each coalition. records: the record of each coalition.
    """

    players: tuple[tuple[str, ...], ...]
    groups: tuple[str, ...]
    members: tuple[Coalition, ...]
    records: tuple[Record, ...]

    @property
    def parts(self) -> tuple[str, ...]:
        """The name of each player: its one feature, or its group."""
        pairs = zip(self.players, self.groups, strict=True)
        return tuple(player[0] if len(player) == 1 else group for player, group in pairs)


def list_coalitions(detector: Detector, record: Record, single: bool) -> Coalitions:
    """Return all coalitions of a record's groups or, where `single`, of its single values.

    Raises ExplanationError for a checkpoint without tokens for unknown values, or a record with more than
    `MAX_PLAYERS` players.
    """
    require(detector, Need.UNKNOWN_TOKENS)
    players = list_players(detector, record, single)
    if len(players) > MAX_PLAYERS:
        raise ExplanationError(
            f"This record has {len(players)} parts that can be known or unknown; more than {MAX_PLAYERS} have too many "
            "combinations to compute. Leave some values out, or train with fewer explanation groups."
        )
    group_of = {name: group for group, names in group_known_features(detector, record).items() for name in names}
    members = tuple(itertools.product((0, 1), repeat=len(players)))
    records = tuple(make_coalition_record(record, players, coalition) for coalition in members)
    return Coalitions(tuple(players), tuple(group_of[player[0]] for player in players), members, records)


def group_known_features(detector: Detector, record: Record) -> dict[str, list[str]]:
    """Return the names of the known, trained features by explanation group, without empty groups."""
    groups = {
        group: [feature.name for feature in members if feature.trained and record.get(feature.name) is not None]
        for group, members in detector.schema.explanation_groups.items()
    }
    return {group: names for group, names in groups.items() if names}


def list_players(detector: Detector, record: Record, single: bool) -> list[tuple[str, ...]]:
    """Return the features of each player: a group, or, where `single`, a single feature.

    Habitus (BMI, height and weight) is always one player, and so is a group of more than `MAX_SINGLE` features.
    """
    players: list[tuple[str, ...]] = []
    for names in group_known_features(detector, record).values():
        together = not single or len(names) > MAX_SINGLE or any(name in HABITUS for name in names)
        players += [tuple(names)] if together else [(name,) for name in names]
    return players


def make_coalition_record(record: Record, players: Sequence[Sequence[str]], coalition: Sequence[int]) -> Record:
    """Return the record in which only the players of a coalition are known. coalition: 0 or 1 by player."""
    subset = {name for player, present in zip(players, coalition, strict=True) if present for name in player}
    return {name: value if name in subset else None for name, value in record.items()}


def compute_shapley_values(table: Mapping[Coalition, float], names: Sequence[str]) -> dict[str, float]:
    """Compute exact Shapley values (Shapley 1953) by name from the values of all coalitions.

    table: the value of each coalition. names: of each player; players that share a name count as one.
    """
    distinct = list(dict.fromkeys(names))
    values = dict.fromkeys(distinct, 0.0)
    for name in distinct:
        others = [other for other in distinct if other != name]
        for size in range(len(distinct)):
            for subset in itertools.combinations(others, size):
                gain = _look_up_value(table, names, {*subset, name}) - _look_up_value(table, names, subset)
                values[name] += gain / (len(distinct) * comb(len(others), size))
    return values


def compute_ablation_values(table: Mapping[Coalition, float], names: Sequence[str]) -> dict[str, float]:
    """Compute by how much the full coalition's value exceeds that without one name, by name.

    Parameters as in `compute_shapley_values`.
    """
    whole = set(names)
    return {
        name: _look_up_value(table, names, whole) - _look_up_value(table, names, whole - {name})
        for name in dict.fromkeys(names)
    }


def _look_up_value(table: Mapping[Coalition, float], names: Sequence[str], subset: Iterable[str]) -> float:
    """Return the value of the coalition in which the names of a subset are known."""
    subset = set(subset)
    return table[tuple(int(name in subset) for name in names)]

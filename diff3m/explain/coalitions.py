"""Coalitions of a record's parts, each known or unknown, and exact Shapley values of what was measured under each."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import comb

from ..detector import Detector
from ..ehr import HABITUS, Record
from .needs import ExplanationError, Need, require

MAX_SINGLE = 2  # features of a group that are looked at one by one
MAX_PLAYERS = 7  # 128 coalitions, each of which is a few passes of the network
Coalition = tuple[int, ...]


@dataclass(frozen=True)
class Coalitions:
    """All coalitions of a record's players: nothing known first, everything last.

    players: features that become known together. groups: the explanation group of each player. members: 0 or 1 by
    player, of each coalition. records: the record of each coalition.
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

    Raises ExplanationError for a checkpoint that cannot leave parts unknown, or a record with too many of them.
    """
    require(detector, Need.UNKNOWN_TOKENS)
    players = list_players(detector, record, single)
    if len(players) > MAX_PLAYERS:
        raise ExplanationError(
            f"This record has {len(players)} parts that can be known or unknown; more than {MAX_PLAYERS} have too many "
            "combinations to compute. Leave some values out, or train with fewer explanation groups."
        )
    group_of = {name: group for group, names in known_members(detector, record).items() for name in names}
    members = tuple(itertools.product((0, 1), repeat=len(players)))
    records = tuple(coalition_record(record, players, coalition) for coalition in members)
    return Coalitions(tuple(players), tuple(group_of[player[0]] for player in players), members, records)


def known_members(detector: Detector, record: Record) -> dict[str, list[str]]:
    """Return known, trained features by explanation group; groups without one are left out."""
    groups = {
        group: [feature.name for feature in members if feature.trained and record.get(feature.name) is not None]
        for group, members in detector.schema.explanation_groups.items()
    }
    return {group: names for group, names in groups.items() if names}


def list_players(detector: Detector, record: Record, single: bool) -> list[tuple[str, ...]]:
    """Return what can be known or unknown on its own: groups, or, where `single`, single features.

    Habitus always moves as one, and so does a group of more features than `MAX_SINGLE`, whose coalitions are too many.
    """
    players: list[tuple[str, ...]] = []
    for names in known_members(detector, record).values():
        together = not single or len(names) > MAX_SINGLE or any(name in HABITUS for name in names)
        players += [tuple(names)] if together else [(name,) for name in names]
    return players


def coalition_record(record: Record, players: Sequence[Sequence[str]], coalition: Sequence[int]) -> Record:
    """Return the record with only the present players known."""
    subset = {name for player, present in zip(players, coalition, strict=True) if present for name in player}
    return {name: value if name in subset else None for name, value in record.items()}


def shapley_values(table: Mapping[Coalition, float], names: Sequence[str]) -> dict[str, float]:
    """Return exact Shapley values (Shapley 1953) of a table of all coalitions' values.

    names: of each player; players that share a name become known together and count as one.
    """
    distinct = list(dict.fromkeys(names))
    values = dict.fromkeys(distinct, 0.0)
    for name in distinct:
        others = [other for other in distinct if other != name]
        for size in range(len(distinct)):
            for subset in itertools.combinations(others, size):
                gain = _value(table, names, {*subset, name}) - _value(table, names, subset)
                values[name] += gain / (len(distinct) * comb(len(others), size))
    return values


def ablation_values(table: Mapping[Coalition, float], names: Sequence[str]) -> dict[str, float]:
    """Return what the whole record's value loses when one name alone is unknown. Parameters as `shapley_values`."""
    whole = set(names)
    return {name: _value(table, names, whole) - _value(table, names, whole - {name}) for name in dict.fromkeys(names)}


def _value(table: Mapping[Coalition, float], names: Sequence[str], subset: Iterable[str]) -> float:
    subset = set(subset)
    return table[tuple(int(name in subset) for name in names)]

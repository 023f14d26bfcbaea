"""Rows of the online store, read for many entities of several groups in one round trip, column by column."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import IntEnum
from types import MappingProxyType
from typing import Protocol

import numpy as np
import numpy.typing as npt

from playhead.columns import Column, Flags, all_of, any_of
from playhead.plan import DailyPlan, Plan
from playhead.relations import DAY_MS, milliseconds
from playhead.serving.online import OnlineStore, keys_of
from playhead.serving.packed import Packer


class Status(IntEnum):
    """What is known of a value.

    `PRESENT`: there is a row. `MISSING`: there is none, or the entity is not known. `STALE`: a row that has outlived
    its time to live, or a window that the batch layer is too far behind for. `REFUSED`: a row that this reader does not
    take, so that every feature is null.
    """

    PRESENT = 0
    MISSING = 1
    STALE = 2
    REFUSED = 3


Statuses = npt.NDArray[np.uint8]
"""Of `Status`."""


@dataclass(frozen=True, slots=True)
class GroupRows:
    """A group's features of some entities.

    Attributes:
        columns: feature to a value for each entity; without a row that of an empty window, or null.
        status: of each entity; `STALE` when it is so of any feature.
        stamps: event timestamp of the newest row that it was made from, epoch milliseconds; null without a row.
        stale: feature to the entities of which it is; features of which none is are left out.
    """

    columns: Mapping[str, Column]
    status: Statuses
    stamps: Column
    stale: Mapping[str, Flags] = field(default_factory=dict)

    def status_of(self, feature: str) -> Statuses:
        """Of a feature's values: an entity's, but for windows that are not stale where others are."""
        if not self.stale:
            return self.status
        known = np.where(self.stamps.valid, np.uint8(Status.PRESENT), np.uint8(Status.MISSING))
        found = np.where(self.status == Status.STALE, known, self.status)
        if feature in self.stale:
            found[self.stale[feature] & (found != Status.REFUSED)] = Status.STALE
        return found


class Asked(Protocol):
    """A group's part of a round trip."""

    @property
    def keys(self) -> Sequence[bytes]:
        """What to read."""

    def read(self, rows: Sequence[bytes | None]) -> GroupRows | None:
        """What was found under the keys; None: ask again, other keys are needed."""


class Group(Protocol):
    """A group, compiled for the online store."""

    @property
    def fingerprint(self) -> str:
        """Of its rows."""

    @property
    def ttl_ms(self) -> int | None:
        """How long a row holds after its event timestamp; None: until the next."""

    def ask(self, entities: Sequence[str], day_ms: int) -> Asked:
        """What to read of entities on a day, its first millisecond."""


def read_groups(
    store: OnlineStore, wanted: Sequence[tuple[Group, Sequence[str]]], clock_s: Callable[[], float]
) -> tuple[list[GroupRows], int]:
    """Read entities of several groups in one round trip.

    Args:
        store: the online store.
        wanted: groups, and which entities of each.
        clock_s: wall clock, Unix seconds.

    Returns:
        What was found of each, and the moment it is of: after the read, so that none of it is newer.

    Raises:
        StackError: the store does not answer.
    """
    while True:
        day_ms = _midnight_ms(int(clock_s() * 1_000))
        asked = [group.ask(entities, day_ms) for group, entities in wanted]
        # The short ones first: they are worked on while the server is at the long ones.
        order = sorted(range(len(asked)), key=lambda place: len(asked[place].keys))
        with contextlib.closing(store.get_each([asked[place].keys for place in order])) as rows:
            read = {place: asked[place].read(own) for place, own in zip(order, rows, strict=True)}
        at_ms = int(clock_s() * 1_000)
        # At midnight, once more: the rows of the new day were not asked for.
        if _midnight_ms(at_ms) != day_ms:
            continue
        found = [own for place, (group, _) in enumerate(wanted) if (own := _holding(read[place], group.ttl_ms, at_ms))]
        if len(found) == len(wanted):
            return found, at_ms


class PlainGroup:
    """A group whose rows are its features.

    Args:
        packer: of its rows.
        empty: feature to its value where there is no row, where that is not null.
        ttl: how long a row holds after its event timestamp; None: until the next.
    """

    def __init__(
        self,
        packer: Packer,
        empty: Mapping[str, int | float] = MappingProxyType({}),
        ttl: timedelta | None = None,
    ) -> None:
        self.packer = packer
        self.fingerprint = packer.fingerprint
        self.absent = packer.pack(0, empty)
        self.ttl_ms = None if ttl is None else milliseconds(ttl)

    @classmethod
    def of(cls, plan: Plan) -> PlainGroup:
        """A plan's; not of windows of days."""
        if isinstance(plan, DailyPlan):
            raise TypeError(f"{plan.name} is merged")
        return cls(Packer.of(plan), plan.empty, plan.ttl)

    def ask(self, entities: Sequence[str], _day_ms: int) -> Asked:
        """As of `Group`."""
        return _PlainAsked(self, keys_of(self.packer.name, entities))


class _PlainAsked:
    def __init__(self, group: PlainGroup, keys: Sequence[bytes]) -> None:
        self.keys = keys
        self._group = group

    def read(self, rows: Sequence[bytes | None]) -> GroupRows:
        packed = self._group.packer.columns(rows, self._group.absent)
        status = statuses((packed.present, Status.PRESENT), (packed.refused, Status.REFUSED))
        return GroupRows(packed, status, Column(packed.stamps, packed.present))


def _holding(found: GroupRows | None, ttl_ms: int | None, at_ms: int) -> GroupRows | None:
    """The rows, without the values of those that have outlived their time."""
    if found is None or ttl_ms is None:
        return found
    since_ms = at_ms - ttl_ms
    old = found.stamps.valid & (found.stamps.values < since_ms)
    if not old.any():
        return found
    columns = {name: Column(own.values, own.valid & ~old) for name, own in found.columns.items()}
    return GroupRows(columns, np.where(old, np.uint8(Status.STALE), found.status), found.stamps)


def statuses(*cases: tuple[Flags, Status]) -> Statuses:
    """Of each row the status of the first case that holds; else `MISSING`."""
    held = [(flags, status) for flags, status in cases if any_of(flags)]
    if held and all_of(held[0][0]):
        return np.full(len(held[0][0]), held[0][1], np.uint8)
    found = np.full(len(cases[0][0]), Status.MISSING, np.uint8)
    for flags, status in reversed(held):
        found[flags] = status
    return found


def _midnight_ms(at_ms: int) -> int:
    return at_ms - at_ms % DAY_MS

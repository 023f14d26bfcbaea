"""The Lambda merge online: which rows of the store a group of calendar windows is made from, and how.

The batch layer publishes, per entity, the days on which it had events and their partials, in one row that is stamped
with E, the end of the last published day. One more row says E for all, the entities without a row too: it is written
after theirs, so whoever reads it with them, or before, misses none. The speed layer keeps a row per (entity, day).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, TypeAlias

import ibis.expr.datatypes as dt
import numpy as np
import pyarrow as pa

from playhead.merge import SPEED_DAYS, UNPUBLISHED, Partials, merge
from playhead.plan import DailyPlan, Plan, today_of
from playhead.relations import DAY_MS, day_key
from playhead.serving.online import OnlineStore
from playhead.serving.packed import PackedRow, Packer, Refused, Value

EVERYBODY = ""
"""The entity of the row that says E for all."""

DAY_MS_OF = "day_ms"
"""The column of a published row that holds the first milliseconds of its days."""

KEPT_TODAY = timedelta(days=SPEED_DAYS + 1)
"""How long the online store keeps the speed layer's row of a day after its last change."""

Status: TypeAlias = Literal["present", "missing", "stale", "refused"]
Found: TypeAlias = Mapping[tuple[Packer, str], PackedRow | Refused | None]
"""What the store gave for (packer, entity)."""


@dataclass(frozen=True)
class MergedRow:
    """An entity's features.

    Attributes:
        status: `present`; `missing`: no event in the window; `stale`: a window was refused, because the batch layer is
            too far behind; `refused`: a row that this reader does not take, so that every feature is null.
        values: feature to value.
        event_timestamp_ms: of the newest that it was made from; None without a row of its own.
    """

    status: Status
    values: Mapping[str, Value]
    event_timestamp_ms: int | None


def published_packer(group: str, measures: Mapping[str, dt.DataType], fingerprint: str) -> Packer:
    """The packer of what the batch layer publishes of a group of calendar windows.

    Args:
        group: its name.
        measures: measure to the type of its partials.
        fingerprint: the group's.
    """
    types = {DAY_MS_OF: dt.int64, **measures}
    return Packer(published_of(group), [(name, dt.Array(kind)) for name, kind in types.items()], fingerprint)


def end_packer(group: str, fingerprint: str) -> Packer:
    """The packer of the row whose timestamp is the group's E."""
    return Packer(f"{group}__end", [], fingerprint)


def row_groups(group: str) -> tuple[str, ...]:
    """The names under which the store holds rows of a group of calendar windows."""
    return f"{group}__end", published_of(group), today_of(group)


def published_of(group: str) -> str:
    """The name under which the store holds a row per entity of a group of calendar windows."""
    return f"{group}__published"


def online_name(plan: Plan) -> str:
    """The name under which the store holds a row per entity of any group."""
    return published_of(plan.name) if isinstance(plan, DailyPlan) else plan.name


def kept_published(plan: DailyPlan) -> timedelta:
    """How long the online store keeps a published row: until all its days are out of the longest window."""
    return timedelta(days=plan.longest + SPEED_DAYS)


def read_rows(
    store: OnlineStore, keys_on: Callable[[int], Iterable[tuple[Packer, str]]], clock_s: Callable[[], float]
) -> tuple[Found, int]:
    """Rows in one round trip, and the moment they are of: after the read, so that none of them is newer.

    Args:
        store: the online store.
        keys_on: the first millisecond of a UTC day → what to read on it.
        clock_s: wall clock, Unix seconds.

    Raises:
        StackError: the store does not answer.
    """
    at_ms = int(clock_s() * 1_000)
    while True:
        day_ms = at_ms - at_ms % DAY_MS
        keys = list(dict.fromkeys(keys_on(day_ms)))
        found = dict(zip(keys, store.read_many(keys), strict=True))
        at_ms = int(clock_s() * 1_000)
        # At midnight, once more: the rows of the new day were not asked for.
        if at_ms - at_ms % DAY_MS == day_ms:
            return found, at_ms


class OnlineMerge:
    """A group of calendar windows, compiled for the online store."""

    def __init__(self, plan: DailyPlan) -> None:
        self.plan = plan
        self.end = end_packer(plan.name, plan.fingerprint)
        self.published = published_packer(plan.name, {m.name: m.kind for m in plan.measures}, plan.fingerprint)
        self.today = Packer.of(plan.today)

    def rows_of(self, entity: str, day_ms: int) -> list[tuple[Packer, str]]:
        """What to read of an entity on a day."""
        return [(self.end, EVERYBODY), (self.published, entity), *self._live(entity, day_ms)]

    def merged(self, entities: Sequence[str], at_ms: int, found: Found) -> list[MergedRow]:
        """The features of entities at a moment, from their rows.

        Args:
            entities: any.
            at_ms: q, epoch milliseconds.
            found: at least what `rows_of` names on q's day.
        """
        day_ms = at_ms - at_ms % DAY_MS
        batch, speed = _Items(self.plan), _Items(self.plan)
        end = found[self.end, EVERYBODY]
        ends, newest, refused = [], [], []
        for place, entity in enumerate(entities):
            published = found[self.published, entity]
            live = [(found[key], day_ms - age * DAY_MS) for age, key in enumerate(self._live(entity, day_ms))]
            refused.append(any(isinstance(row, Refused) for row in (end, published, *(row for row, _ in live))))
            # Rows come before the row for all: meanwhile an entity's own is ahead of it.
            ends.append(
                max((r.event_timestamp_ms for r in (end, published) if isinstance(r, PackedRow)), default=UNPUBLISHED)
            )
            stamps = []
            if isinstance(published, PackedRow):
                batch.add(place, published.values[DAY_MS_OF], published.values)
                stamps.append(min(ends[-1], day_ms))
            for row, day in live:
                if isinstance(row, PackedRow):
                    speed.add(place, [day], {name: [value] for name, value in row.values.items()})
                    stamps.append(row.event_timestamp_ms)
            newest.append(max(stamps, default=None))
        moments = np.full(len(entities), at_ms, np.int64)
        ends_ms = np.array(ends, np.int64)
        begins_ms = ends_ms - self.plan.longest * DAY_MS
        made = merge(self.plan, moments, begins_ms, ends_ms, batch.partials(), speed.partials())
        stale = np.logical_or.reduce(list(made.stale.values()))
        return [
            MergedRow("refused", {}, None)
            if refused[place]
            else MergedRow("stale" if stale[place] else "present" if at else "missing", values, at)
            for place, (values, at) in enumerate(zip(made.values.to_pylist(), newest, strict=True))
        ]

    def _live(self, entity: str, day_ms: int) -> list[tuple[Packer, str]]:
        return [(self.today, day_key(entity, day_ms - age * DAY_MS)) for age in range(SPEED_DAYS)]


class _Items:
    """Collects the items of `Partials`."""

    def __init__(self, plan: DailyPlan) -> None:
        self.rows: list[int] = []
        self.days_ms: list[int] = []
        self._kinds = {measure.name: measure.kind.to_pyarrow() for measure in plan.measures}
        self.values: dict[str, list[Any]] = {name: [] for name in self._kinds}

    def add(self, row: int, days_ms: Sequence[int], values: Mapping[str, Sequence[Any]]) -> None:
        self.rows += [row] * len(days_ms)
        self.days_ms += days_ms
        for name, own in self.values.items():
            own += values[name]

    def partials(self) -> Partials:
        values = {name: pa.array(own, self._kinds[name]) for name, own in self.values.items()}
        return Partials(np.array(self.rows, np.int64), np.array(self.days_ms, np.int64), values)

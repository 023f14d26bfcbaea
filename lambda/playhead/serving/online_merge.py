"""The Lambda merge online: which rows of the store a group of calendar windows is made from, and how.

The batch layer publishes a row per entity, stamped with E, the end of the last published day: of each window the days
before E that are inside, by how many days E is behind the moment. One more row says E for all, the entities without a
row too: it is written after theirs, so whoever reads it with them, or before, misses none. The speed layer keeps a row
per (entity, day).
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from playhead.columns import Column, Flags, Places, any_of
from playhead.items import Moments
from playhead.merge import LAGS, SPEED_DAYS, UNPUBLISHED, Partials, Windows, merge, published_columns
from playhead.plan import DailyPlan, Plan, today_of
from playhead.relations import DAY_MS, day_key
from playhead.serving.online import key_of, keys_of
from playhead.serving.packed import PackedColumns, Packer, Refused
from playhead.serving.reading import Group, GroupRows, PlainGroup, Status, statuses

_Kind = TypeVar("_Kind", bound=np.generic)

_NEVER = np.iinfo(np.int64).min

EVERYBODY = ""
"""The entity of the row that says E for all."""

KEPT_TODAY = timedelta(days=SPEED_DAYS + 1)
"""How long the online store keeps the speed layer's row of a day after its last change."""


def published_packer(plan: DailyPlan) -> Packer:
    """The packer of what the batch layer publishes of a group of calendar windows."""
    columns = [(name, measure.kind) for name, measure in published_columns(plan).items()]
    return Packer(published_of(plan.name), columns, plan.fingerprint)


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


def online_group(plan: Plan, names: Collection[str] | None = None) -> Group:
    """A plan, compiled for the online store; of windows of days only the features of these names, all when None."""
    return OnlineMerge(plan, names) if isinstance(plan, DailyPlan) else PlainGroup.of(plan)


class OnlineMerge:
    """A group of calendar windows, compiled for the online store. Safe to share between threads.

    Args:
        plan: of the group.
        names: the features that are asked for; all of them when None.
    """

    def __init__(self, plan: DailyPlan, names: Collection[str] | None = None) -> None:
        self.plan = plan if names is None else plan.only(names)
        self.fingerprint = plan.fingerprint
        self.end = end_packer(plan.name, plan.fingerprint)
        self.published = published_packer(plan)
        self.today = Packer.of(plan.today)
        self.ttl_ms = None
        # E as it was seen last, so before the rows that are read with it now.
        self.end_ms = UNPUBLISHED

    def ask(self, entities: Sequence[str], day_ms: int) -> _Asked:
        """As of `playhead.serving.reading.Group`."""
        return _Asked(self, entities, day_ms)


class _Asked:
    """The keys of E, of the published rows, and of the speed layer's rows day by day; and how they are merged."""

    def __init__(self, merge: OnlineMerge, entities: Sequence[str], day_ms: int) -> None:
        self._merge, self._day_ms, self._rows = merge, day_ms, len(entities)
        self._end_ms = merge.end_ms
        # The speed layer's rows of days before E need not be read.
        self._ages = _live_days(day_ms, self._end_ms)
        self.keys = [key_of(merge.end.name, EVERYBODY)]
        self.keys += keys_of(merge.published.name, entities)
        for age in range(self._ages):
            self.keys += keys_of(merge.today.name, entities, day_key("", day_ms - age * DAY_MS))

    def read(self, rows: Sequence[bytes | None]) -> GroupRows | None:
        """As of `playhead.serving.reading.Asked`."""
        merge, count = self._merge, self._rows
        first = None if rows[0] is None else merge.end.unpack(rows[0])
        # Of a row that cannot be read all is refused, whatever E is.
        everybodys = self._end_ms if isinstance(first, Refused) else first.event_timestamp_ms if first else UNPUBLISHED
        merge.end_ms = everybodys
        # A cluster's nodes answer each at its own moment: a row from before E and E together would be an entity that
        # has had nothing since. So E must have been seen before the rows were read.
        if everybodys > self._end_ms or _live_days(self._day_ms, everybodys) > self._ages:
            return None
        published, live = merge.published.columns(rows[1 : count + 1]), merge.today.columns(rows[count + 1 :])
        refused = published.refused | self._over_days(np.logical_or, live.refused)
        if isinstance(first, Refused):
            refused[:] = True
        # Rows come before the row for all: meanwhile an entity's own is ahead of it.
        ends = np.maximum(everybodys, published.stamps)
        return self._merged(published, live, ends, refused)

    def _merged(self, published: PackedColumns, live: PackedColumns, ends: Moments, refused: Flags) -> GroupRows:
        plan, laid = self._merge.plan, _laid_out(self._rows, self._ages, self._day_ms)
        lags = (self._day_ms - ends) // DAY_MS
        # An older row is of somebody who has had nothing in the longest window since: its windows are empty. Of an E
        # further ahead no window was published, so that none which needs it is whole.
        ahead = lags < LAGS[0]
        counted = published.present & (published.stamps == ends) & ~ahead & (lags <= LAGS[-1])
        usual = min(max((self._day_ms - self._merge.end_ms) // DAY_MS, LAGS[0]), LAGS[-1])
        begins = np.where(ahead, ends, ends - plan.longest * DAY_MS)
        batch = Windows(laid.rows, np.where(counted, lags, usual), published.where(counted))
        made = merge(plan, laid.moments, begins, ends, batch, Partials(laid.live_rows, laid.live_days, live))
        columns, stale = made.columns, made.stale
        if any_of(refused):
            columns = {name: Column(own.values, own.valid & ~refused) for name, own in columns.items()}
        stamps, known = self._stamps(published, live, ends)
        some = [(flags, Status.STALE) for flags in stale.values()]
        status = statuses((refused, Status.REFUSED), *some, (known, Status.PRESENT))
        return GroupRows(columns, status, Column(stamps, known & ~refused), stale)

    def _stamps(self, published: PackedColumns, live: PackedColumns, ends: Moments) -> tuple[Moments, Flags]:
        """The newest of what each entity was made from, and whether there is any."""
        own = np.where(published.present, np.minimum(ends, self._day_ms), _NEVER)
        lives = self._over_days(np.maximum, np.where(live.present, live.stamps, _NEVER))
        return np.maximum(own, lives), published.present | self._over_days(np.logical_or, live.present)

    def _over_days(self, function: np.ufunc, lives: npt.NDArray[_Kind]) -> npt.NDArray[_Kind]:
        """Each entity's of all the speed layer's days together."""
        by_day = lives.reshape(self._ages, self._rows)
        found: npt.NDArray[_Kind] = by_day[0] if self._ages == 1 else function.reduce(by_day, axis=0)
        return found


class _Layout(NamedTuple):
    """How the rows that are merged stand: their numbers and moments, and the speed layer's, day by day.

    A moment is the day's first millisecond: a merge looks at no more of it.
    """

    rows: Places
    moments: Moments
    live_rows: Places
    live_days: Moments


@functools.lru_cache(maxsize=16)
def _laid_out(rows: int, ages: int, day_ms: int) -> _Layout:
    numbers, days = np.arange(rows), day_ms - np.arange(ages) * DAY_MS
    return _Layout(numbers, np.full(rows, day_ms, np.int64), np.tile(numbers, ages), np.repeat(days, rows))


def _live_days(day_ms: int, end_ms: int) -> int:
    """How many of the speed layer's days may count, today's included."""
    return min(max((day_ms - end_ms) // DAY_MS, 0), SPEED_DAYS - 1) + 1

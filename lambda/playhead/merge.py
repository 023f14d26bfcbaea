"""The Lambda merge: windows of calendar days from what the batch layer has published and what the speed layer knows.

A window of N days ends at a moment q: today so far, and the N - 1 whole UTC days before. Let E be the end of the last
day that the batch layer has published. The days before E come from its partials, those from E on from the speed layer,
which keeps the partials of today and of the two days before. So the value is the same for every E that is at most two
days behind q, and a late batch bends nothing. Where a day of the window is in neither layer, the value is refused:
never silently short.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from ibis.expr.operations import Field

from playhead.expressions import operation, vectorised
from playhead.gathered import number, top
from playhead.nodes import Measure
from playhead.plan import DailyPlan
from playhead.relations import DAY_MS, PREFIX

SPEED_DAYS = 3
"""Days of which the speed layer keeps partials: today, yesterday, and the day before."""

UNPUBLISHED = 0
"""The E of what was never published."""

Moments: TypeAlias = npt.NDArray[np.int64]
"""Epoch milliseconds, one for each row."""

Flags: TypeAlias = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Partials:
    """What a layer knows of days: an item for each row and day with events. A day without one has none.

    Attributes:
        rows: which row it is of, from 0.
        days_ms: the first millisecond of its UTC day.
        values: measure to its partials, int64 or text; null only of what is no sum, where nothing had a value.
    """

    rows: npt.NDArray[np.int64]
    days_ms: Moments
    values: Mapping[str, pa.Array]


@dataclass(frozen=True)
class Merged:
    """Features in the plan's schema, and which of them were refused: null, and true in `stale`.

    Both have a row for each row that was merged.
    """

    values: pa.Table
    stale: Mapping[str, Flags]


def day_of(moments_ms: Moments) -> Moments:
    """The first millisecond of each moment's UTC day.

    >>> day_of(np.array([86_400_000 + 5]))
    array([86400000])
    """
    return moments_ms - moments_ms % DAY_MS


def merge(
    plan: DailyPlan, moments_ms: Moments, begins_ms: Moments, ends_ms: Moments, batch: Partials, speed: Partials
) -> Merged:
    """The plan's features at moments, from both layers; pure, and the same for every end up to two days behind.

    Args:
        plan: of calendar windows.
        moments_ms: q of each row.
        begins_ms: of each row, the midnight from which the batch layer has every day up to
        ends_ms: E. A day ahead of q it may be, as after a replay of the past.
        batch: of those days.
        speed: as of q, of `SPEED_DAYS` days up to the day of q.

    >>> import ibis
    >>> from playhead.declare import Count, Entity, FeatureGroup, days
    >>> from playhead.compile import compile_group
    >>> plays = Count("plays", where=ibis._.event_type == "PLAY", over=days(3))
    >>> plan = compile_group(FeatureGroup(name="g", entity=Entity(name="user", key="user_id"), features=(plays,)))
    >>> noon, today = np.array([10 * DAY_MS + DAY_MS // 2]), 10 * DAY_MS
    >>> def partials(**by_day):
    ...     days_ms = [today - int(day[1:]) * DAY_MS for day in by_day]
    ...     return Partials(np.zeros(len(by_day), int), np.array(days_ms), {"plays": pa.array(list(by_day.values()))})
    >>> known = partials(_0=4, _1=2, _2=1)
    >>> begin, end = np.array([today - 3 * DAY_MS]), np.array([today])
    >>> on_time = merge(plan, noon, begin, end, partials(_1=2, _2=1, _3=7), known)
    >>> a_day_late = merge(plan, noon, begin, end - DAY_MS, partials(_2=1, _3=7), known)
    >>> on_time.values["plays_3d"].to_pylist(), a_day_late.values["plays_3d"].to_pylist()
    ([7], [7])
    """
    today = day_of(moments_ms)
    published = np.minimum(ends_ms, today)
    columns: dict[str, pa.Array] = {}
    stale: dict[str, Flags] = {}
    measures, tops = {measure.name: measure for measure in plan.measures}, dict(plan.tops)
    for name, measure, length in plan.windows:
        since = today - (length - 1) * DAY_MS
        behind = np.maximum(published, since) < today - (SPEED_DAYS - 1) * DAY_MS
        refused = behind | ((since < begins_ms) & (since < published))
        of_batch = (batch.days_ms >= since[batch.rows]) & (batch.days_ms < published[batch.rows])
        live_since = np.maximum(published, since)[speed.rows]
        of_speed = (speed.days_ms >= live_since) & (speed.days_ms <= today[speed.rows])
        layers = [(batch, of_batch), (speed, of_speed)]
        if measures[measure].kind.is_integer():
            columns[name] = _number(measures[measure], layers, refused)
        else:
            columns[name] = _text(measures[measure], tops.get(name), layers, refused)
        stale[name] = refused
    for computed in plan.derived:
        kinds = {name: kind for name, column in columns.items() if (kind := _ibis_type(column))}
        node = operation(computed.value, kinds)
        columns[computed.name] = vectorised(node, columns).cast(computed.kind.to_pyarrow())
        stale[computed.name] = np.logical_or.reduce([stale[field.name] for field in node.find(Field)])
    names = [name for name, _ in plan.schema]
    return Merged(pa.table([columns[name] for name in names], names=names), {name: stale[name] for name in names})


def _number(measure: Measure, layers: list[tuple[Partials, Flags]], refused: Flags) -> pa.Array:
    """Each row's sum or extreme of the items that are inside its window; null where it is refused."""
    start, combine = _COMBINED[measure.how]
    found = np.full(len(refused), start, np.int64)
    empty = np.full(len(refused), measure.how != "sum")
    for partials, inside in layers:
        values = partials.values[measure.name]
        counted = inside & values.is_valid().to_numpy(zero_copy_only=False)
        rows = partials.rows[counted]
        combine.at(found, rows, values.fill_null(0).to_numpy()[counted])
        empty[rows] = False
    return pa.array(found, mask=refused | empty)


_INT64 = np.iinfo(np.int64)
_COMBINED: Mapping[str, tuple[int, np.ufunc]] = {
    "sum": (0, np.add),
    "min": (_INT64.max, np.minimum),
    "max": (_INT64.min, np.maximum),
}
"""How partials combine: where it starts, and how it goes on."""


def _text(measure: Measure, k: int | None, layers: list[tuple[Partials, Flags]], refused: Flags) -> pa.Array:
    """Each row's first, last, most frequent or number of values, of the items that are inside its window."""
    texts: list[list[str]] = [[] for _ in refused]
    for partials, inside in layers:
        known = partials.values[measure.name]
        for row, text in zip(partials.rows[inside].tolist(), known.filter(pa.array(inside)).to_pylist(), strict=True):
            if text is not None:
                texts[row].append(text)
    if measure.how == "counts":
        made = [top(own, k or 0) for own in texts]
        return pa.array([None if no else one for one, no in zip(made, refused, strict=True)], pa.list_(pa.string()))
    if measure.how == "distinct":
        return pa.array([number(own) for own in texts], pa.int64(), mask=refused)
    found = [(min if measure.how == "first" else max)(own, default=None) for own in texts]
    values = pa.array([None if one is None else one[PREFIX:] for one in found], pa.string(), mask=refused)
    return values.cast(measure.of.to_pyarrow())


def _ibis_type(column: pa.Array) -> str | None:
    """Of a number."""
    return "float64" if pa.types.is_floating(column.type) else "int64" if pa.types.is_integer(column.type) else None

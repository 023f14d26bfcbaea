"""The Lambda merge: windows of calendar days from what the batch layer has published and what the speed layer knows.

A window of N days ends at a moment q: today so far, and the N - 1 whole UTC days before. Let E be the end of the last
day that the batch layer has published. The days before E come from its partials, those from E on from the speed layer,
which keeps the partials of today and of the two days before. So the value is the same for every E that is at most two
days behind q, and a late batch bends nothing. Where a day of the window is in neither layer, the value is refused:
never silently short.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from ibis.expr.operations import Field

from playhead.columns import Column, Flags, Places
from playhead.expressions import operation, vectorised
from playhead.gathered import number, top, united
from playhead.nodes import Measure
from playhead.plan import DailyPlan
from playhead.relations import DAY_MS, PREFIX

SPEED_DAYS = 3
"""Days of which the speed layer keeps partials: today, yesterday, and the day before."""

UNPUBLISHED = 0
"""The E of what was never published."""

Moments: TypeAlias = npt.NDArray[np.int64]
"""Epoch milliseconds, one for each row."""

Inside: TypeAlias = Flags | slice
"""Which of a layer's items are inside a window."""

LAGS = range(-1, SPEED_DAYS)
"""By how many days E may be behind the day of q, for what is published of windows. A day ahead it is after a replay."""


class Layer(Protocol):
    """What a layer knows, an item for each row and day, or for each row; see `Partials` and `Windows`."""

    @property
    def rows(self) -> Places:
        """Which row each item is of, from 0."""

    def inside(self, since_ms: Moments, until_ms: Moments) -> Inside:
        """The items from `since_ms` to before `until_ms` of their rows, both midnights."""

    def column(self, window: str, measure: str) -> Column:
        """The items' partials for a window of a measure: int64 or text; null only of no sum, where no value was."""


@dataclass(frozen=True)
class Partials:
    """What a layer knows of days: an item for each row and day with events. A day without one has none.

    Attributes:
        rows: which row it is of, from 0.
        days_ms: the first millisecond of its UTC day.
        values: measure to its partials.
    """

    rows: Places
    days_ms: Moments
    values: Mapping[str, Column]

    def inside(self, since_ms: Moments, until_ms: Moments) -> Inside:
        """As of `Layer`."""
        return (self.days_ms >= since_ms[self.rows]) & (self.days_ms < until_ms[self.rows])

    def column(self, _window: str, measure: str) -> Column:
        """As of `Layer`."""
        return self.values[measure]


@dataclass(frozen=True)
class Windows:
    """What the batch layer publishes of windows: an item for each row, of E and what came before; see `published`.

    Attributes:
        rows: which row it is of, from 0.
        lags: by how many days its E is behind the day of q; one of `LAGS`.
        values: the columns of `published`.
    """

    rows: Places
    lags: Places
    values: Mapping[str, Column]

    def inside(self, _since_ms: Moments, _until_ms: Moments) -> Inside:
        """As of `Layer`: they were made for the window."""
        return slice(None)

    def column(self, window: str, _measure: str) -> Column:
        """As of `Layer`."""
        found: Column | None = None
        for lag in np.unique(self.lags).tolist():
            own = self.values.get(window_of(window, lag))
            own = Column(np.zeros(len(self.rows), np.int64), np.zeros(len(self.rows), np.bool_)) if own is None else own
            found = own if found is None else _where(self.lags == lag, own, found)
        return found or Column.nulls(0, pa.int64())


@dataclass(frozen=True)
class Merged:
    """Features in the plan's schema, and which of them were refused: null, and true in `stale`.

    Both have a row for each row that was merged.
    """

    columns: Mapping[str, Column]
    stale: Mapping[str, Flags]
    schema: pa.Schema

    @functools.cached_property
    def values(self) -> pa.Table:
        """The features as Arrow."""
        return pa.table([self.columns[f.name].to_arrow(f.type) for f in self.schema], schema=self.schema)


def window_of(window: str, lag: int) -> str:
    """The column of what is published of a window, for moments at which E is `lag` days behind."""
    return f"{window}@{lag}"


def published_columns(plan: DailyPlan) -> dict[str, Measure]:
    """What is published of a plan's windows: column to the measure whose partial it is.

    There is none where no day before E is inside.
    """
    measures = {measure.name: measure for measure in plan.measures}
    return {
        window_of(name, lag): measures[measure]
        for name, measure, length in plan.windows
        for lag in LAGS
        if length - 1 > max(lag, 0)
    }


def published(plan: DailyPlan, partials: Partials, end_ms: int, rows: int) -> dict[str, Column]:
    """What is published: of each window and lag the days before E that are inside, as one partial.

    Args:
        plan: of calendar windows.
        partials: of the days of the longest window before E, of each row.
        end_ms: E.
        rows: how many rows there are.

    Returns:
        The columns of `published_columns`, a value for each row.
    """
    found: dict[str, Column] = {}
    measures = {measure.name: measure for measure in plan.measures}
    for name, measure, length in plan.windows:
        for lag in LAGS:
            today = end_ms + lag * DAY_MS
            since, until = today - (length - 1) * DAY_MS, min(end_ms, today)
            if since < until:
                inside = (partials.days_ms >= since) & (partials.days_ms < until)
                items = _selected(partials, inside, name, measure)
                found[window_of(name, lag)] = _together(measures[measure], [items], rows)
    return found


def day_of(moments_ms: Moments) -> Moments:
    """The first millisecond of each moment's UTC day.

    >>> day_of(np.array([86_400_000 + 5]))
    array([86400000])
    """
    return moments_ms - moments_ms % DAY_MS


def merge(
    plan: DailyPlan, moments_ms: Moments, begins_ms: Moments, ends_ms: Moments, batch: Layer, speed: Layer
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
    ...     plays = Column.of(pa.array(list(by_day.values())))
    ...     return Partials(np.zeros(len(by_day), int), np.array(days_ms), {"plays": plays})
    >>> known = partials(_0=4, _1=2, _2=1)
    >>> begin, end = np.array([today - 3 * DAY_MS]), np.array([today])
    >>> on_time = merge(plan, noon, begin, end, partials(_1=2, _2=1, _3=7), known)
    >>> a_day_late = merge(plan, noon, begin, end - DAY_MS, partials(_2=1, _3=7), known)
    >>> on_time.values["plays_3d"].to_pylist(), a_day_late.values["plays_3d"].to_pylist()
    ([7], [7])
    """
    today = day_of(moments_ms)
    until = np.minimum(ends_ms, today)
    spans = {length: _Span(length, today, until, begins_ms, batch, speed) for _, _, length in plan.windows}
    measures, tops = {measure.name: measure for measure in plan.measures}, dict(plan.tops)
    columns: dict[str, Column] = {}
    stale: dict[str, Flags] = {}
    for name, measure, length in plan.windows:
        span = spans[length]
        items = [_selected(batch, span.of_batch, name, measure), _selected(speed, span.of_speed, name, measure)]
        columns[name] = _finished(measures[measure], tops.get(name), items, span.refused)
        stale[name] = span.refused
    for computed in plan.derived:
        # Of numbers alone: lists and texts have no column form.
        types = {name: column.values.dtype for name, column in columns.items()}
        kinds = {name: str(dtype) for name, dtype in types.items() if dtype != np.object_}
        node = operation(computed.value, kinds)
        columns[computed.name] = vectorised(node, columns).cast(computed.kind.to_pyarrow())
        stale[computed.name] = np.logical_or.reduce([stale[field.name] for field in node.find(Field)])
    names = plan.arrow_schema.names
    return Merged({n: columns[n] for n in names}, {n: stale[n] for n in names}, plan.arrow_schema)


class _Span:
    """The windows of a length: where they are refused, and which items of the layers are inside."""

    def __init__(
        self, length: int, today: Moments, until: Moments, begins_ms: Moments, batch: Layer, speed: Layer
    ) -> None:
        since = today - (length - 1) * DAY_MS
        live_since = np.maximum(until, since)
        behind = live_since < today - (SPEED_DAYS - 1) * DAY_MS
        self.refused = behind | ((since < begins_ms) & (since < until))
        self.of_batch = batch.inside(since, until)
        self.of_speed = speed.inside(live_since, today + DAY_MS)


_Items: TypeAlias = tuple[Places, Column]
"""Rows, and a partial for each."""


def _selected(layer: Layer, inside: Inside, window: str, measure: str) -> _Items:
    column = layer.column(window, measure)
    return layer.rows[inside], Column(column.values[inside], column.valid[inside])


def _together(measure: Measure, items: Sequence[_Items], rows: int) -> Column:
    """Each row's partials as one."""
    if measure.kind.is_integer():
        return _number(measure, items, rows)
    texts = _texts(items, rows)
    if measure.how in _ORDERED:
        found = [_ORDERED[measure.how](own, default=None) for own in texts]
    else:
        found = [united(own, measure.how) for own in texts]
    return Column.of_list(found, pa.string())


def _finished(measure: Measure, k: int | None, items: Sequence[_Items], refused: Flags) -> Column:
    """Each row's value; null where it is refused."""
    if measure.kind.is_integer():
        found = _number(measure, items, len(refused))
    elif measure.how == "counts":
        lists = [top(own, k or 0) for own in _texts(items, len(refused))]
        found = Column.of_list(lists, pa.list_(pa.string()))
    elif measure.how == "distinct":
        found = Column.of_list([number(own) for own in _texts(items, len(refused))], pa.int64())
    else:
        last = [_ORDERED[measure.how](own, default=None) for own in _texts(items, len(refused))]
        values = pa.array([None if one is None else one[PREFIX:] for one in last], pa.string())
        found = Column.of(values.cast(measure.of.to_pyarrow()))
    return Column(found.values, found.valid & ~refused)


def _number(measure: Measure, items: Sequence[_Items], rows: int) -> Column:
    start, combine = _COMBINED[measure.how]
    found = np.full(rows, start, np.int64)
    known = np.full(rows, measure.how == "sum")
    for places, column in items:
        if not column.valid.all():
            places, column = places[column.valid], Column(column.values[column.valid], column.valid[column.valid])
        combine.at(found, places, column.values)
        known[places] = True
    return Column(found, known)


def _texts(items: Sequence[_Items], rows: int) -> list[list[str]]:
    texts: list[list[str]] = [[] for _ in range(rows)]
    for places, column in items:
        for row, text in zip(places.tolist(), column.to_list(), strict=True):
            if text is not None:
                texts[row].append(text)
    return texts


_INT64 = np.iinfo(np.int64)
_COMBINED: Mapping[str, tuple[int, np.ufunc]] = {
    "sum": (0, np.add),
    "min": (_INT64.max, np.minimum),
    "max": (_INT64.min, np.maximum),
}
"""How partials combine: where it starts, and how it goes on."""

_ORDERED: Mapping[str, Any] = {"first": min, "last": max}
"""Which of texts behind their events' places counts."""


def _where(condition: Flags, one: Column, other: Column) -> Column:
    return Column(np.where(condition, one.values, other.values), np.where(condition, one.valid, other.valid))

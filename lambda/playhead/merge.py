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
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from playhead.columns import Column, Flags, Places, all_true, any_of, numbers_of
from playhead.expressions import ById, Vectorised, operation, vectorised
from playhead.gathered import number, top, united
from playhead.items import Inside, Items, Layer, Moments, Window
from playhead.nodes import Measure
from playhead.plan import DailyPlan
from playhead.relations import DAY_MS, PREFIX

SPEED_DAYS = 3
"""Days of which the speed layer keeps partials: today, yesterday, and the day before."""

UNPUBLISHED = 0
"""The E of what was never published."""

LAGS = range(-1, SPEED_DAYS)
"""By how many days E may be behind the day of q, for what is published of windows. A day ahead it is after a replay."""


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

    def numbers(self, windows: Sequence[Window]) -> tuple[npt.NDArray[np.int64], Flags]:
        """As of `Layer`."""
        return numbers_of(self.values, [measure for _, measure in windows])


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
        return None

    @functools.cached_property
    def different_lags(self) -> list[int]:
        """The lags that there are."""
        return sorted({*self.lags.tolist()})

    def column(self, window: str, _measure: str) -> Column:
        """As of `Layer`."""
        found: Column | None = None
        for lag in self.different_lags:
            own = self.values.get(window_of(window, lag))
            own = Column.nulls(len(self.rows), pa.int64()) if own is None else own
            found = own if found is None else _where(self.lags == lag, own, found)
        return Column.nulls(0, pa.int64()) if found is None else found

    def numbers(self, windows: Sequence[Window]) -> tuple[npt.NDArray[np.int64], Flags]:
        """As of `Layer`."""
        if len(self.different_lags) == 1:
            names = [window_of(window, *self.different_lags) for window, _ in windows]
            if all(name in self.values for name in names):
                return numbers_of(self.values, names)
        return numbers_of(
            {window: self.column(window, measure) for window, measure in windows}, [w for w, _ in windows]
        )


@dataclass(frozen=True)
class Merged:
    """Features in the plan's schema, a row for each row that was merged, and which of them were refused.

    `stale` has the features that were, and where: there they are null.
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
    return {
        window_of(each.window[0], lag): each.measure
        for each in _planned(ById(plan))
        for lag in LAGS
        if each.length - 1 > max(lag, 0)
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
    items = Items(partials, rows)
    for each in _planned(ById(plan)):
        for lag in LAGS:
            today = end_ms + lag * DAY_MS
            since, until = today - (each.length - 1) * DAY_MS, min(end_ms, today)
            if since < until:
                inside = (partials.days_ms >= since) & (partials.days_ms < until)
                span = _Span([(items, inside)], np.zeros(rows, np.bool_))
                found[window_of(each.window[0], lag)] = _together(each.measure, span, each.window)
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
    spans = _spans(plan, day_of(moments_ms), begins_ms, ends_ms, batch, speed)
    numbers: dict[tuple[str, _Span], list[Window]] = {}
    columns: dict[str, Column] = {}
    for each in _planned(ById(plan)):
        span = spans[each.length]
        if each.is_number:
            numbers.setdefault((each.measure.how, span), []).append(each.window)
        else:
            columns[each.window[0]] = _gathered(each.measure, each.k, span, each.window)
    for (how, span), windows in numbers.items():
        columns |= _numbers(how, span, windows)
    stale = {name: spans[length].refused for name, _, length in plan.windows if spans[length].any_refused}
    # What is computed of values that are null, or divided by zero, nobody sees.
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        for derived in _derived(ById(plan)):
            columns[derived.name] = derived.compute(columns).cast(derived.kind)
            if of := [stale[name] for name in derived.inputs if name in stale]:
                stale[derived.name] = np.logical_or.reduce(of)
    names = plan.arrow_schema.names
    return Merged({n: columns[n] for n in names}, {n: stale[n] for n in names if n in stale}, plan.arrow_schema)


class _Span:
    """Windows of the same days: the items of each layer that are inside, and the rows of which they are refused."""

    def __init__(self, items: Sequence[tuple[Items, Inside]], refused: Flags) -> None:
        self.items, self.refused, self.any_refused = items, refused, any_of(refused)


def _spans(
    plan: DailyPlan, today: Moments, begins_ms: Moments, ends_ms: Moments, batch: Layer, speed: Layer
) -> dict[int, _Span]:
    """Length to its windows."""
    until, tomorrow = np.minimum(ends_ms, today), today + DAY_MS
    of_batch, of_speed = Items(batch, len(today)), Items(speed, len(today))
    # The speed layer's days, where none of them is missing, and the rows of which one is: these of no longer window.
    live, behind = speed.inside(until, tomorrow), until < today - (SPEED_DAYS - 1) * DAY_MS
    found: dict[int, _Span] = {}
    last: _Span | None = None
    for length in sorted({length for _, _, length in plan.windows}, reverse=True):
        since = today - (length - 1) * DAY_MS
        inside = batch.inside(since, until)
        if last is not None and not last.any_refused and inside is None and length > SPEED_DAYS:
            # What is whole of a longer window is so of this one.
            found[length] = last
            continue
        refused = (since < begins_ms) & (since < until)
        if length > SPEED_DAYS:
            refused |= behind
            last = found[length] = _Span([(of_batch, inside), (of_speed, live)], refused)
        else:
            own = speed.inside(np.maximum(until, since), tomorrow)
            found[length] = _Span([(of_batch, inside), (of_speed, own)], refused)
    return found


def _together(measure: Measure, span: _Span, window: Window) -> Column:
    """Each row's partials as one."""
    if measure.kind.is_integer():
        return _numbers(measure.how, span, [window])[window[0]]
    texts = _texts(span, window)
    if measure.how in _ORDERED:
        found = [_ORDERED[measure.how](own, default=None) for own in texts]
    else:
        found = [united(own, measure.how) for own in texts]
    return Column.of_list(found, pa.string())


def _gathered(measure: Measure, k: int, span: _Span, window: Window) -> Column:
    """Each row's value of what is no number on its way; null where it is refused."""
    texts = _texts(span, window)
    if measure.how == "counts":
        found = Column.of_list([top(own, k) for own in texts], pa.list_(pa.string()))
    elif measure.how == "distinct":
        found = Column.of_list([number(own) for own in texts], pa.int64())
    else:
        last = [_ORDERED[measure.how](own, default=None) for own in texts]
        values = pa.array([None if one is None else one[PREFIX:] for one in last], pa.string())
        found = Column.of(values.cast(measure.of.to_pyarrow()))
    return Column(found.values, found.valid & ~span.refused) if span.any_refused else found


def _numbers(how: str, span: _Span, windows: Sequence[Window]) -> dict[str, Column]:
    """Each row's values of several windows; null where they are refused."""
    start, function = _COMBINED[how]
    layers = [(items, *items.numbers(windows, start, inside)) for items, inside in span.items]
    found = functools.reduce(function, [items.combined(function, values, start) for items, values, _ in layers])
    # Of nothing a sum is 0.
    known = all_true(*found.shape)
    if how != "sum":
        flags = [items.combined(np.logical_or, valid, False) for items, _, valid in layers]
        known = functools.reduce(np.logical_or, flags)
    if span.any_refused:
        known = known & ~span.refused
    return {name: Column(found[place], known[place]) for place, (name, _) in enumerate(windows)}


def _texts(span: _Span, window: Window) -> list[list[str]]:
    texts: list[list[str]] = [[] for _ in range(len(span.refused))]
    for items, inside in span.items:
        for row, text in items.texts(window, inside):
            texts[row].append(text)
    return texts


@dataclass(frozen=True)
class _Planned:
    """A plan's window of `length` days; `k` of a list of the most frequent."""

    window: Window
    length: int
    measure: Measure
    is_number: bool
    k: int


@functools.lru_cache(maxsize=1024)
def _planned(plan: ById) -> list[_Planned]:
    """A plan's windows, with what they are made of."""
    own: DailyPlan = plan.own
    measures, tops = {measure.name: measure for measure in own.measures}, dict(own.tops)
    return [
        _Planned((name, measure), length, measures[measure], measures[measure].kind.is_integer(), tops.get(name, 0))
        for name, measure, length in own.windows
    ]


@dataclass(frozen=True)
class _Derived:
    name: str
    kind: pa.DataType
    inputs: list[str]
    compute: Vectorised


@functools.lru_cache(maxsize=1024)
def _derived(plan: ById) -> list[_Derived]:
    """What a plan computes from windows, and from what was computed before it."""
    own: DailyPlan = plan.own
    return [
        _Derived(
            each.name,
            each.kind.to_pyarrow(),
            sorted(own.made_of[each.name]),
            vectorised(operation(each.value, own.number_types)),
        )
        for each in own.derived
    ]


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

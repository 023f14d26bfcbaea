"""The Lambda merge offline: windows of calendar days as of the moments of a spine, from the lake.

The days before E come from the batch layer's partials, those from E on from the archive of the speed layer, as of the
moment. E is the end of the last published day, or the moment's own day when that is before it: by the law of the merge
any E will do, and the batch layer's days have their late events.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from playhead.columns import Column, concatenated
from playhead.errors import UnsupportedError
from playhead.items import Moments
from playhead.merge import SPEED_DAYS, UNPUBLISHED, Partials, day_of, merge
from playhead.plan import DailyPlan
from playhead.relations import BY_DAY, DAY_MS
from playhead.serving.asof import as_key, attached, check_columns, moments_of
from playhead.serving.lake_rows import Feature, ViewRows, open_duckdb
from playhead.serving.ranges import rows_within

_ROWS_AT_ONCE = 100_000
_MS = pa.timestamp("ms", tz="UTC")
_PLACE, _KEY, _MOMENT = "place", "key", "moment"


@dataclass(frozen=True, kw_only=True)
class MergedRows:
    """What a group of calendar windows is merged from in the lake, and what is taken of it.

    Attributes:
        plan: the group's plan.
        key: column of the spine that holds the entity.
        features: what is taken.
        partials: the batch layer's, a row per entity and day: the event timestamp is the day, the features are the
            plan's measures under their names.
        today: the archive of `plan.today`, the features likewise.
        end_ms: the end of the last published day; None before the first.
        missing_ms: the first milliseconds of the days that have events and no partials, in order.
    """

    plan: DailyPlan
    key: str
    features: tuple[Feature, ...]
    partials: ViewRows
    today: ViewRows
    end_ms: int | None
    missing_ms: tuple[int, ...] = ()

    @property
    def keys(self) -> tuple[tuple[str, str], ...]:
        """As of `ViewRows`."""
        return ((self.key, self.plan.key),)


def measures_of(plan: DailyPlan) -> tuple[Feature, ...]:
    """A plan's measures, to be read under their own names."""
    return tuple(Feature(measure.name, measure.name, measure.kind.to_pyarrow()) for measure in plan.measures)


def joined(
    spine: pa.Table,
    timestamp: str,
    views: Sequence[ViewRows | MergedRows],
    *,
    known: str | None = None,
    memory_mb: int | None = None,
) -> pa.Table:
    """`as_of` for views of either kind: the spine as it is, then the features of each view in their order.

    Raises:
        UnsupportedError: `known` for windows of days.
        InputError: as of `as_of`.
    """
    check_columns(spine, timestamp, views, known)
    days = [view for view in views if isinstance(view, MergedRows)]
    if known and days:
        raise UnsupportedError(
            f"{known!r}: days of {days[0].plan.name!r} do not say when they were known",
            hint="ask for features that are no windows of days, or leave the column out",
        )
    plain = [view for view in views if isinstance(view, ViewRows)]
    with open_duckdb(memory_mb) as connection:
        found = attached(connection, spine, timestamp, plain, known)
        for view in days:
            merged = _merged_at(connection, spine, timestamp, view)
            for name in merged.column_names:
                found = found.append_column(name, merged[name])
    return found.select([*spine.column_names, *(feature.name for view in views for feature in view.features)])


def _merged_at(connection: duckdb.DuckDBPyConnection, spine: pa.Table, timestamp: str, view: MergedRows) -> pa.Table:
    """The features as of each row's moment, in the spine's order; null where the key or the moment is."""
    keys = as_key(view.partials, spine, view.key, pa.string())
    moments = pc.floor_temporal(moments_of(spine, timestamp), unit="millisecond").cast(_MS).cast(pa.int64())
    asked = pa.table({_KEY: keys, _MOMENT: moments, _PLACE: pa.array(range(spine.num_rows), pa.int64())})
    known = asked.filter(pc.and_(asked[_KEY].is_valid(), asked[_MOMENT].is_valid()))
    starts = range(0, known.num_rows or 1, _ROWS_AT_ONCE)
    parts = [_merged(connection, known.slice(start, _ROWS_AT_ONCE), view) for start in starts]
    made = pa.concat_tables(parts)
    # A row without a place of its own takes null.
    places = np.full(spine.num_rows, -1, np.int64)
    places[known[_PLACE].to_numpy()] = np.arange(known.num_rows)
    taken = pa.array(places, mask=places < 0)
    return pa.table({f.name: made[f.column].take(taken).cast(f.kind or made[f.column].type) for f in view.features})


def _merged(connection: duckdb.DuckDBPyConnection, asked: pa.Table, view: MergedRows) -> pa.Table:
    """The features of rows (key, moment), neither of them null."""
    moments = asked[_MOMENT].to_numpy()
    today = day_of(moments)
    ends = np.minimum(today, UNPUBLISHED if view.end_ms is None else view.end_ms)
    since = np.minimum(today - (view.plan.longest - 1) * DAY_MS, ends)
    place = pa.array(np.arange(asked.num_rows))
    spans = pa.table({_PLACE: place, _KEY: asked[_KEY], "since": _stamps(since), "until": _stamps(ends)})
    of_batch = rows_within(connection, spans, view.partials)
    speed = list(_live(connection, asked, today, ends, view))
    batch = Partials(
        of_batch[_PLACE].to_numpy(),
        of_batch["at"].cast(_MS).cast(pa.int64()).to_numpy(),
        {measure.name: Column.of(of_batch[measure.name]) for measure in view.plan.measures},
    )
    return merge(view.plan, moments, begins_of(view.missing_ms, ends), ends, batch, _together(speed, view.plan)).values


def begins_of(missing_ms: Sequence[int], ends: Moments) -> Moments:
    """After the last day before each E that is missing."""
    missing = np.array([UNPUBLISHED - DAY_MS, *missing_ms], np.int64)
    begins: Moments = missing[np.searchsorted(missing, ends) - 1] + DAY_MS
    return begins


def _live(
    connection: duckdb.DuckDBPyConnection, asked: pa.Table, today: Moments, ends: Moments, view: MergedRows
) -> Iterator[Partials]:
    """What the archive knew of each of the speed layer's days at each moment, where the batch layer has not got it."""
    for age in range(SPEED_DAYS):
        days = today - age * DAY_MS
        rows = np.flatnonzero(days >= ends)
        if len(rows):
            part = asked.take(rows)
            days = days[rows]
            key = pc.binary_join_element_wise(part[_KEY], pa.array(days).cast(pa.string()), BY_DAY)
            spine = pa.table({view.plan.key: key, _MOMENT: part[_MOMENT].cast(_MS)})
            held = attached(connection, spine, _MOMENT, [view.today])
            values = {measure.name: Column.of(held[measure.name]) for measure in view.plan.measures}
            yield Partials(rows, days, values)


def _together(parts: Sequence[Partials], plan: DailyPlan) -> Partials:
    none = np.array([], np.int64)
    empty = {measure.name: Column.nulls(0, measure.kind.to_pyarrow()) for measure in plan.measures}
    return Partials(
        np.concatenate([none, *(part.rows for part in parts)]),
        np.concatenate([none, *(part.days_ms for part in parts)]),
        {name: concatenated([own, *(part.values[name] for part in parts)]) for name, own in empty.items()},
    )


def _stamps(moments_ms: Moments) -> pa.Array:
    return pa.array(moments_ms).cast(_MS).cast(pa.timestamp("us", tz="UTC"))

"""Tables hour by hour, counted on Spark: what `checks.hours` holds against the usual."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as f

from playhead.batch.dimensions import read_dimensions
from playhead.batch.events import files_of
from playhead.batch.tables import count_rows, table_days
from playhead.checks.hours import Counts, Usual, by_hour, days_to_compare, profile
from playhead.checks.suites import may_be_null
from playhead.checks.usual import Footer, footers, hour_of, other_types, usual
from playhead.config import Settings
from playhead.days import begin_ms_of
from playhead.declare import VALID_FROM_MS, Dimension
from playhead.dimensions import table_name, table_path
from playhead.lake_files import event_days
from playhead.objectives import CheckSettings
from schemas.tables import event_columns, lake_columns

HOUR = timedelta(hours=1)
_START, _ROWS, _DOUBLED = "start_ms", "rows", "doubled"


@dataclass(frozen=True, kw_only=True)
class Types:
    """Columns of files that have another type than they should.

    Attributes:
        files: the files, with their columns and the types that these have.
        hours: the same by hour, or by day where the files do not lie by hour.
    """

    files: Mapping[Path, Mapping[str, str]] = field(default_factory=dict)
    hours: Mapping[datetime, Mapping[str, str]] = field(default_factory=dict)


def types_of(days: Iterable[date], files: Callable[[date], Sequence[Path]], expected: Mapping[str, str]) -> Types:
    """Types in the files of some days, from their footers.

    Args:
        days: which.
        files: finished files of a day.
        expected: column to its type, Arrow's name.
    """
    found: dict[Path, Mapping[str, str]] = {}
    hours: dict[datetime, dict[str, str]] = {}
    for day in days:
        own: Sequence[Footer] = footers(files(day))
        for file, columns in other_types(own, expected).items():
            found[file] = columns
            start = _moment(begin_ms_of(day)) + (hour_of(file) or 0) * HOUR
            hours.setdefault(start, {}).update(columns)
    return Types(files=found, hours=hours)


def event_types(lake: Path, days: Iterable[date]) -> Types:
    """The same of events."""
    return types_of(days, lambda day: files_of(lake / "events", day), lake_columns())


def events_profile(
    spark: SparkSession,
    settings: Settings,
    events: DataFrame,
    days: Sequence[date],
    dimensions: Sequence[Dimension],
    types: Types,
    *,
    now: datetime,
) -> list[dict[str, Any]]:
    """The hours of the days' events that are over; see `checks.hours.profile`.

    Args:
        spark: the session.
        settings: says where the lake is, and what is allowed.
        events: of these days, cached.
        days: at least one, in order.
        dimensions: whose keys events have. One that was never loaded is not asked.
        types: of the files.
        now: aware; an hour that ends later is left out.
    """
    lake, there = settings.lake, event_days(settings.lake)
    content = [name for name in event_columns() if name != "event_id"]
    loaded = [dimension for dimension in dimensions if table_path(lake, dimension).is_dir()]
    counts = count_hours(
        events, f.col("event_time_ms"), may_be_null(), content=content, known=_first_known(spark, lake, loaded)
    )
    found: list[dict[str, Any]] = []
    for day in days:
        before = usual(day, there, lambda one: files_of(lake / "events", one))
        of_day = by_hour(day, counts_with(counts, types), now, HOUR)
        found += profile(of_day, before and before.of(may_be_null()), settings.checks)
    return found


def counts_with(counts: Mapping[datetime, Counts], types: Types) -> dict[datetime, Counts]:
    """Counts that say which types their files have."""
    starts = {*counts, *types.hours}
    return {
        start: replace(counts.get(start, Counts(since=start, rows=0)), types=types.hours.get(start, {}))
        for start in starts
    }


def count_hours(
    frame: DataFrame,
    moment_ms: Column,
    nullable: Sequence[str],
    *,
    content: Sequence[str] = (),
    known: Mapping[str, tuple[str, DataFrame]] | None = None,
    step: timedelta = HOUR,
) -> dict[datetime, Counts]:
    """Count a frame by hour; what comes to the driver is a row for each.

    Args:
        frame: cached: it is read twice.
        moment_ms: when a row is of, epoch milliseconds.
        nullable: columns whose nulls are counted.
        content: columns of which two rows that have the same count as one too many; none: nothing is.
        known: dimension to its key and since when it knows each, as of `_first_known`.
        step: an hour, or a day.
    """
    step_ms = step // timedelta(milliseconds=1)
    frame = frame.withColumn(_START, f.floor(moment_ms / step_ms) * step_ms)
    figures = [f.count(f.lit(1)).alias(_ROWS), *(f.count_if(f.col(n).isNull()).alias(_null(n)) for n in nullable)]
    joined = frame
    for dimension, (key, since) in (known or {}).items():
        joined = joined.join(since, key, "left")
        figures.append(f.count_if(f.col(key).isNotNull()).alias(_keyed(dimension)))
        figures.append(f.count_if(moment_ms >= f.col(_since(dimension))).alias(_known(dimension)))
    rows = {row[_START]: row.asDict() for row in joined.groupBy(_START).agg(*figures).collect()}
    doubled = _doubled(frame, content)
    return {
        _moment(start): Counts(
            since=_moment(start),
            rows=row[_ROWS],
            nulls={name: row[_null(name)] for name in nullable},
            doubled=doubled.get(start, 0),
            keyed={name: row[_keyed(name)] for name in known or ()},
            known={name: row[_known(name)] for name in known or ()},
        )
        for start, row in rows.items()
        if start is not None
    }


def types_profile(days: Iterable[date], types: Types, checks: CheckSettings) -> list[dict[str, Any]]:
    """The profile of days of which only the types are asked."""
    wanted = {*days}
    own = (Counts(since=start, rows=0, types=named) for start, named in types.hours.items() if start.date() in wanted)
    return profile(list(own), None, checks)


def days_profile(
    rows: Mapping[date, int], path: Path, checks: CheckSettings, types: Mapping[str, str] | None = None
) -> list[dict[str, Any]]:
    """The profile of days of a view beside those that its table has.

    Args:
        rows: day to its number of rows.
        path: the table, Delta.
        checks: what is allowed.
        types: column to the type that it has in place of the expected one.
    """
    there = table_days(path)
    found: list[dict[str, Any]] = []
    for day, count in rows.items():
        before = tuple((count_rows(path, one, one),) for one in days_to_compare(day, there))
        one = Counts(since=_moment(begin_ms_of(day)), rows=count, types=types or {})
        found += profile([one], Usual(rows=before) if before else None, checks)
    return found


def _doubled(frame: DataFrame, content: Sequence[str]) -> dict[int, int]:
    if not content:
        return {}
    # Of nulls a hash says nothing, so each column says whether it is one.
    same = f.xxhash64(*(part for name in content for part in (f.col(name), f.col(name).isNull())))
    groups = frame.groupBy(_START, same.alias("same")).agg(f.count(f.lit(1)).alias(_ROWS)).where(f.col(_ROWS) > 1)
    rows = groups.groupBy(_START).agg(f.sum(f.col(_ROWS) - 1).alias(_DOUBLED)).collect()
    return {row[_START]: row[_DOUBLED] for row in rows}


def _first_known(spark: SparkSession, lake: Path, dimensions: Sequence[Dimension]) -> dict[str, tuple[str, DataFrame]]:
    """Dimension to its key, and a frame of its keys and since when each is known."""
    tables = read_dimensions(spark, lake, dimensions)
    return {
        d.name: (d.key, tables[table_name(d)].groupBy(d.key).agg(f.min(VALID_FROM_MS).alias(_since(d.name))))
        for d in dimensions
    }


def _moment(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1_000, UTC)


def _null(name: str) -> str:
    return f"null {name}"


def _since(dimension: str) -> str:
    return f"since {dimension}"


def _keyed(dimension: str) -> str:
    return f"keyed {dimension}"


def _known(dimension: str) -> str:
    return f"known {dimension}"

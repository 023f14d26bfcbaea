"""Daily partials: sums, extremes and texts of a day, from which the windows of days are made.

A partial is right as long as these are what they were: the files of the day, what dimensions say of its events, and
the meaning of its measures. They are kept as a digest beside the tables, so that a run finds by itself what is missing,
what late events have changed, and what a new declaration has.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import TypeAlias

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession

from playhead.batch.digests import digest, keep, kept
from playhead.batch.dimensions import enrichment_digests, read_dimensions
from playhead.batch.events import digest_of
from playhead.batch.jobs import side_by_side
from playhead.batch.sql import compiled, run
from playhead.batch.tables import replace_days
from playhead.columns import Column
from playhead.days import PartialTable, dated_events
from playhead.merge import Partials

DAY = "day_ms"
"""Of a day in a list that `partials_of` reads: its first millisecond."""

Pending: TypeAlias = Mapping[str, Mapping[date, str | None]]
"""Name of a table to the days to compute, each with the digest of what it will be made from."""


def pending(lake: Path, tables: Sequence[PartialTable], days: Iterable[date], again: Collection[date]) -> Pending:
    """What is to be computed: the days of `again`, and of the others those that a table lacks or has otherwise.

    Ask before the events are read: a file that comes meanwhile then makes its day pending the next time.
    """
    made, days = kept(_folder(lake)), sorted({*days, *again})
    known = {table.name: enrichment_digests(lake, table.dimensions) for table in tables}
    files = {day: digest_of(lake, day) for day in days}
    found: dict[str, dict[date, str | None]] = {}
    for table in tables:
        meaning, before = compiled(table.rows(dated_events())), made.get(table.name, {})
        now = {day: files[day] and digest(meaning, files[day], *known[table.name](day)) for day in days}
        found[table.name] = {d: own for d, own in now.items() if d in again or own != before.get(d.isoformat())}
    return found


def write_partials(
    spark: SparkSession, lake: Path, tables: Sequence[PartialTable], events: DataFrame, todo: Pending
) -> None:
    """Replace the partials of the pending days.

    Args:
        spark: the session.
        lake: its root.
        tables: what to write.
        events: all events of these days.
        todo: which days of which table.
    """
    writes = []
    for table in (t for t in tables if todo[t.name]):
        days = list(todo[table.name])
        dimensions = read_dimensions(spark, lake, table.dimensions)
        rows = run(spark, table.rows(dated_events()), events=events, **dimensions)
        rows = rows.where(rows.dt.isin([day.isoformat() for day in days]))
        writes.append(functools.partial(replace_days, rows, partials_path(lake, table.name), days))
    side_by_side(writes)
    keep(_folder(lake), todo)


def partials_path(lake: Path, name: str) -> Path:
    """Where a table of partials is."""
    return _folder(lake) / name


def _folder(lake: Path) -> Path:
    return lake / "daily"


def partials_of(days: pa.ListArray) -> Partials:
    """Lists of days, one for each row; a day is a struct of `DAY` and the measures."""
    items = days.flatten()
    values = {name: Column.of(items.field(name)) for name in items.type.names if name != DAY}
    return Partials(days.value_parent_indices().to_numpy(), items.field(DAY).to_numpy(), values)

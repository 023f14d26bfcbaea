"""The plan on Flink without a cluster: bounded events in, the whole changelog out, in a process of its own."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import ibis.expr.datatypes as dt
import orjson
import pyarrow as pa
from pyflink.datastream import StreamExecutionEnvironment
from pyflink.table import StreamTableEnvironment

from playhead.declare import Dimension
from playhead.dimensions import Lookup, Tables, rows_of, sorted_rows, table_name, together
from playhead.plan import SpeedPlan, lake_table
from playhead.relations import BATCH_ORDER, T_MS
from playhead.speed import sql
from playhead.speed.changelog import EVENTS, ROWTIME, add_group
from playhead.speed.decode import enriched_columns
from playhead.speed.job import table_environment


def changelogs(plans: Sequence[SpeedPlan], events: pa.Table, dimensions: Tables) -> list[pa.Table]:
    """The changelog of each plan, by the speed job's own operators.

    The end of the events is the end of time: every expiry is in it. Events are enriched as when they are decoded.

    Args:
        plans: of sliding or session windows.
        events: the columns of `schemas.tables.lake_arrow_schema`, each event once; none is late.
        dimensions: their rows.

    Returns:
        For each plan its key, `event_timestamp_ms` and its features, one row per (key, event_timestamp_ms), unsorted.
    """
    with tempfile.TemporaryDirectory(prefix="playhead-flink-") as temporary:
        folder = Path(temporary)
        environment = StreamExecutionEnvironment.get_execution_environment()
        environment.set_parallelism(1)
        tables = table_environment(environment)
        named = together(dimension for plan in plans for dimension in plan.dimensions)
        _add_events(tables, _enriched(events, named, dimensions), named, folder / "events.jsonl")
        inserts = tables.create_statement_set()
        for plan in plans:
            rows = f"SELECT * FROM {sql.name(add_group(tables, plan).rows)}"
            inserts.add_insert_sql(_insert(tables, rows, _schema(plan), folder / plan.name))
        inserts.execute().wait()
        return [_rows(_schema(plan), folder / plan.name) for plan in plans]


def _schema(plan: SpeedPlan) -> dict[str, dt.DataType]:
    return {plan.key: dt.string, T_MS: dt.int64, **dict(plan.schema)}


def _enriched(events: pa.Table, dimensions: Sequence[Dimension], tables: Tables) -> pa.Table:
    rows = rows_of(dimensions, tables)
    lookups = [Lookup(dimension, sorted_rows(dimension, rows[table_name(dimension)])) for dimension in dimensions]
    keys = {"event_time_ms", *(dimension.key for dimension in dimensions)}
    found = enriched_columns(lookups, {name: events[name].to_pylist() for name in keys})
    types = {name: kind for dimension in dimensions for name, kind in dimension.event_columns.items()}
    for name, kind in types.items():
        events = events.append_column(name, pa.array(found[name], pa.type_for_alias(kind)))
    return events


def _add_events(tables: StreamTableEnvironment, events: pa.Table, dimensions: Sequence[Dimension], file: Path) -> None:
    """The view `events`, in the order of time, so that nothing comes behind the watermark."""
    _write(events.sort_by([(column, "ascending") for column in BATCH_ORDER]), file)
    types = {name: sql.flink_type(kind) for name, kind in lake_table(EVENTS, dimensions).schema().items()}
    columns = sql.columns(types)
    # A watermark of its own time would make the second event of a moment late.
    rowtime, behind = sql.name(ROWTIME), sql.interval(timedelta(milliseconds=1))
    time = f"{rowtime} AS TO_TIMESTAMP_LTZ(`event_time_ms`, 3), WATERMARK FOR {rowtime} AS {rowtime} - {behind}"
    _create(tables, EVENTS, f"{columns}, {time}", file)


def _write(rows: pa.Table, file: Path) -> None:
    file.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows.to_pylist()))


def _create(tables: StreamTableEnvironment, name: str, columns: str, path: Path) -> None:
    options = {"connector": "filesystem", "path": path.as_uri(), "format": "json"}
    tables.execute_sql(f"CREATE TEMPORARY TABLE {sql.name(name)} ({columns}) WITH ({sql.options(options)})")


def _insert(tables: StreamTableEnvironment, query: str, schema: Mapping[str, dt.DataType], folder: Path) -> str:
    sink = f"{folder.name}_file_sink"
    _create(tables, sink, sql.columns({name: sql.flink_type(kind) for name, kind in schema.items()}), folder)
    return f"INSERT INTO {sql.name(sink)} SELECT {', '.join(map(sql.name, schema))} FROM ({query})"


def _rows(schema: Mapping[str, dt.DataType], folder: Path) -> pa.Table:
    files = sorted(file for file in folder.rglob("part-*") if file.is_file())
    rows: list[dict[str, Any]] = [orjson.loads(line) for file in files for line in file.read_bytes().splitlines()]
    return pa.Table.from_pylist(rows, schema=pa.schema({name: kind.to_pyarrow() for name, kind in schema.items()}))

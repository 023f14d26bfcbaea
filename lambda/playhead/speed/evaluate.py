"""The plan on Flink without a cluster: bounded events in, the whole changelog out, in a process of its own."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
from pyflink.datastream import StreamExecutionEnvironment
from pyflink.table import StreamTableEnvironment

from playhead.errors import UnsupportedError
from playhead.plan import Plan, SessionPlan, SlidingPlan
from playhead.relations import BATCH_ORDER, T_MS
from playhead.speed import sql
from playhead.speed.changelog import EVENTS, ROWTIME, add_group
from playhead.speed.job import table_environment
from playhead.speed.sinks import LAKE_TYPES
from schemas.tables import lake_columns


def changelogs(plans: Sequence[Plan], events: pa.Table) -> list[pa.Table]:
    """The changelog of each plan, by the speed job's own operators.

    The end of the events is the end of time: every expiry is in it.

    Args:
        plans: of sliding or session windows.
        events: the columns of `schemas.tables.lake_arrow_schema`, each event once; none is late.

    Returns:
        For each plan its key, `event_timestamp_ms` and its features, one row per (key, event_timestamp_ms), unsorted.

    Raises:
        UnsupportedError: a plan of calendar windows, which the batch layer makes.
    """
    made: list[SlidingPlan | SessionPlan] = []
    for plan in plans:
        if not isinstance(plan, SlidingPlan | SessionPlan):
            raise UnsupportedError(f"group {plan.name!r}: Flink makes no calendar windows; the batch layer does")
        made.append(plan)
    with tempfile.TemporaryDirectory(prefix="playhead-flink-") as temporary:
        folder = Path(temporary)
        environment = StreamExecutionEnvironment.get_execution_environment()
        environment.set_parallelism(1)
        tables = table_environment(environment)
        _add_events(tables, events, folder / "events.jsonl")
        inserts = tables.create_statement_set()
        for plan in made:
            inserts.add_insert_sql(_insert(tables, plan, folder / plan.name))
        inserts.execute().wait()
        return [_rows(plan, folder / plan.name) for plan in made]


def _add_events(tables: StreamTableEnvironment, events: pa.Table, file: Path) -> None:
    """The view `events`, in the order of time, so that nothing comes behind the watermark."""
    in_order = events.sort_by([(column, "ascending") for column in BATCH_ORDER])
    file.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in in_order.to_pylist()))
    columns = sql.columns({name: LAKE_TYPES[kind] for name, kind in lake_columns().items()})
    # A watermark of its own time would make the second event of a moment late.
    rowtime, behind = sql.name(ROWTIME), sql.interval(timedelta(milliseconds=1))
    tables.execute_sql(
        f"CREATE TEMPORARY TABLE {sql.name(EVENTS)} ({columns}, "
        f"{rowtime} AS TO_TIMESTAMP_LTZ(`event_time_ms`, 3), WATERMARK FOR {rowtime} AS {rowtime} - {behind}) "
        f"WITH ({sql.options({'connector': 'filesystem', 'path': file.as_uri(), 'format': 'json'})})"
    )


def _insert(tables: StreamTableEnvironment, plan: SlidingPlan | SessionPlan, folder: Path) -> str:
    rows = add_group(tables, plan).rows
    types = {plan.key: "STRING", T_MS: "BIGINT"} | {name: sql.flink_type(kind) for name, kind in plan.schema}
    sink = f"{plan.name}_file_sink"
    options = {"connector": "filesystem", "path": folder.as_uri(), "format": "json"}
    tables.execute_sql(f"CREATE TEMPORARY TABLE {sql.name(sink)} ({sql.columns(types)}) WITH ({sql.options(options)})")
    return f"INSERT INTO {sql.name(sink)} SELECT {', '.join(map(sql.name, types))} FROM {sql.name(rows)}"


def _rows(plan: SlidingPlan | SessionPlan, folder: Path) -> pa.Table:
    features = {name: kind.to_pyarrow() for name, kind in plan.schema}
    schema = pa.schema({plan.key: pa.string(), T_MS: pa.int64(), **features})
    files = sorted(file for file in folder.rglob("part-*") if file.is_file())
    rows: list[dict[str, Any]] = [orjson.loads(line) for file in files for line in file.read_bytes().splitlines()]
    return pa.Table.from_pylist(rows, schema=schema)

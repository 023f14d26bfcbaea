"""Relations from Arrow tables, on DuckDB."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType

import duckdb
import ibis.expr.types as ir
import pyarrow as pa

from playhead import changelogs, relations
from playhead.dimensions import Tables, rows_of
from playhead.local.sql import compiled
from playhead.plan import SpeedPlan, lake_table


def run(table: ir.Table, **inputs: pa.Table) -> pa.Table:
    """An ibis table as an Arrow table.

    Args:
        table: the relation.
        inputs: by name of a table that the relation reads, the rows that it stands for.

    Returns:
        The rows in the relation's types, in no order unless the relation has one.
    """
    with duckdb.connect() as connection:
        return _executed(connection, compiled(table), table.schema().to_pyarrow(), inputs)


def changelog(plan: SpeedPlan, events: pa.Table, dimensions: Tables = MappingProxyType({})) -> pa.Table:
    """The changelog of `changelogs.changelog`, sorted by key and time.

    Args:
        plan: the group's plan.
        events: the master data's columns (`schemas.tables.lake_arrow_schema`), one row per event.
        dimensions: their rows.

    Returns:
        One row per (key, event_timestamp_ms), in the types of the plan.
    """
    (found,) = changelogs_of([plan], events, dimensions)
    return found


def changelogs_of(
    plans: Sequence[SpeedPlan], events: pa.Table, dimensions: Tables = MappingProxyType({})
) -> list[pa.Table]:
    """The `changelog` of each plan: while DuckDB computes one, the next is compiled."""
    with duckdb.connect() as connection, ThreadPoolExecutor(max_workers=1) as computing:
        found = []
        for plan in plans:
            rows = changelogs.changelog(plan, lake_table("events")).order_by(plan.key, relations.T_MS)
            inputs = {"events": events, **rows_of(plan.dimensions, dimensions)}
            found.append(computing.submit(_executed, connection, compiled(rows), rows.schema().to_pyarrow(), inputs))
        return [each.result() for each in found]


def _executed(
    connection: duckdb.DuckDBPyConnection, sql: str, schema: pa.Schema, inputs: Mapping[str, pa.Table]
) -> pa.Table:
    for name, rows in inputs.items():
        connection.register(name, rows)
    # DuckDB's SUM of BIGINT is HUGEINT: the plan's types are the contract.
    return connection.sql(sql).to_arrow_table().cast(schema)

"""Relations from Arrow tables, on DuckDB."""

from __future__ import annotations

from types import MappingProxyType

import duckdb
import ibis
import ibis.expr.types as ir
import pyarrow as pa

from playhead import changelogs, relations
from playhead.dimensions import Tables, rows_of
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
        for name, rows in inputs.items():
            connection.register(name, rows)
        found = connection.sql(str(ibis.to_sql(table, dialect="duckdb"))).to_arrow_table()
    # DuckDB's SUM of BIGINT is HUGEINT: the plan's types are the contract.
    return found.cast(table.schema().to_pyarrow())


def changelog(plan: SpeedPlan, events: pa.Table, dimensions: Tables = MappingProxyType({})) -> pa.Table:
    """The changelog of `changelogs.changelog`, sorted by key and time.

    Args:
        plan: the group's plan.
        events: the master data's columns (`schemas.tables.lake_arrow_schema`), one row per event.
        dimensions: their rows.

    Returns:
        One row per (key, event_timestamp_ms), in the types of the plan.
    """
    rows = changelogs.changelog(plan, lake_table("events"))
    return run(rows.order_by(plan.key, relations.T_MS), events=events, **rows_of(plan.dimensions, dimensions))

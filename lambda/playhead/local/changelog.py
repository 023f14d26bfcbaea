"""A group's changelog from an Arrow table of events, on DuckDB."""

from __future__ import annotations

import duckdb
import ibis
import pyarrow as pa

from playhead import relations
from playhead.plan import SessionPlan, SlidingPlan, lake_table


def changelog(plan: SlidingPlan | SessionPlan, events: pa.Table) -> pa.Table:
    """The changelog of `relations.changelog`, sorted by key and time.

    Args:
        plan: the group's plan.
        events: the master data's columns (`schemas.tables.lake_arrow_schema`), one row per event.

    Returns:
        One row per (key, event_timestamp_ms), in the types of the plan.
    """
    rows = relations.changelog(plan, lake_table("events"))
    sql = ibis.to_sql(rows.order_by(plan.key, relations.T_MS), dialect="duckdb")
    with duckdb.connect() as connection:
        connection.register("events", events)
        # DuckDB's SUM of BIGINT is HUGEINT: the plan's types are the contract.
        return connection.sql(sql).to_arrow_table().cast(rows.schema().to_pyarrow())

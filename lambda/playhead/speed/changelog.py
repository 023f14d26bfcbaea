"""A plan on Flink: its relations as SQL, with a tumbling window for the tiles."""

from __future__ import annotations

from dataclasses import dataclass

import ibis
import ibis.expr.types as ir
from pyflink.table import StreamTableEnvironment

from playhead import relations
from playhead.plan import SessionPlan, SlidingPlan, lake_table
from playhead.speed import sql
from playhead.speed.source import barrier

EVENTS = "events"
"""The view of valid events that are not late, with `rowtime`."""

ROWTIME = "rowtime"


@dataclass(frozen=True)
class GroupTables:
    """What a group gives: the view of its changelog rows, and for sessions the view of those that closed."""

    rows: str
    closed: str | None = None


def add_group(tables: StreamTableEnvironment, plan: SlidingPlan | SessionPlan) -> GroupTables:
    """Register the group's views in the environment; nothing runs before a sink asks for them."""
    if isinstance(plan, SlidingPlan):
        return _sliding(tables, plan)
    return _session(tables, plan)


def _sliding(tables: StreamTableEnvironment, plan: SlidingPlan) -> GroupTables:
    events = _stream_table(lake_table(EVENTS))
    on = events.filter(events[plan.key].notnull())
    ticks = relations.sliding_ticks(plan, on, (ROWTIME,))
    tiles = _tiles(tables, plan, _ticks(tables, plan, ticks))
    rows = relations.sliding_rows(plan, tiles, (ROWTIME,))
    return GroupTables(rows=_view(tables, f"{plan.name}_rows", sql.compiled(rows)))


def _session(tables: StreamTableEnvironment, plan: SessionPlan) -> GroupTables:
    events = _stream_table(lake_table(EVENTS))
    on = events.filter(events[plan.key].notnull())
    ticks = _ticks(tables, plan, relations.session_ticks(plan, on, (ROWTIME,)))
    progress = relations.session_progress(plan, ticks, (ROWTIME,))
    tiles = _tiles(tables, plan, _named(tables, f"{plan.name}_progress", progress))
    rows = relations.session_rows(plan, tiles)
    closed = relations.closed_sessions(plan, tiles)
    return GroupTables(
        rows=_view(tables, f"{plan.name}_rows", sql.compiled(rows)),
        closed=_view(tables, f"{plan.name}_closed", sql.compiled(closed)),
    )


def _ticks(tables: StreamTableEnvironment, plan: SlidingPlan | SessionPlan, ticks: ir.Table) -> ir.Table:
    """Ticks behind a barrier: each has its own moment as rowtime, expiries hours ahead of the watermark included."""
    name = f"{plan.name}_ticks"
    types = {column: sql.flink_type(kind) for column, kind in ticks.schema().items()}
    stream = barrier(tables, sql.compiled(ticks), types, "tick_ms")
    tables.create_temporary_view(name, stream)
    return _stream_table(ibis.table(ticks.schema(), name=name))


def _tiles(tables: StreamTableEnvironment, plan: SlidingPlan | SessionPlan, ticks: ir.Table) -> ir.Table:
    """One row per (key, second): Flink's form of `relations.tiles`."""
    combined = relations.tile_columns(plan) | {"tick_ms": "max"}
    aggregates = ", ".join(f"{how.upper()}({sql.name(c)}) AS {sql.name(c)}" for c, how in combined.items())
    key, source = sql.name(plan.key), sql.name(ticks.get_name())
    name = _view(
        tables,
        f"{plan.name}_tiles",
        f"SELECT {key}, {aggregates}, `window_time` AS {sql.name(ROWTIME)} "
        f"FROM TABLE(TUMBLE(TABLE {source}, DESCRIPTOR({sql.name(ROWTIME)}), INTERVAL '1' SECOND)) "
        f"GROUP BY {key}, `window_start`, `window_end`, `window_time`",
    )
    return _stream_table(ibis.table({c: ticks.schema()[c] for c in (plan.key, *combined)}, name=name))


def _named(tables: StreamTableEnvironment, name: str, table: ir.Table) -> ir.Table:
    return ibis.table(table.schema(), name=_view(tables, name, sql.compiled(table)))


def _view(tables: StreamTableEnvironment, name: str, query: str) -> str:
    tables.create_temporary_view(name, tables.sql_query(query))
    return name


def _stream_table(table: ir.Table) -> ir.Table:
    """The table with its rowtime column, as ibis knows it."""
    return ibis.table({**table.schema(), ROWTIME: "timestamp('UTC', 3)"}, name=table.get_name())

"""A plan on Flink: its relations as SQL, with a tumbling window for the tiles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import ibis
import ibis.expr.types as ir
from pyflink.table import StreamTableEnvironment

from playhead import changelogs, relations, sessions, sliding
from playhead.gathered import collected_as_multiset
from playhead.nodes import Distinct, Gathered
from playhead.plan import SessionPlan, SlidingPlan, SpeedPlan, lake_table
from playhead.speed import sql
from playhead.speed.source import barrier, state_ttl

EVENTS = "events"
"""The view of valid events that are not late, with `rowtime` and the columns of the dimensions."""

ROWTIME = "rowtime"

ARRIVAL = "arrival"
"""Processing time. What leaves an operator that sorts by rowtime is in order for each key, and stays so: whoever comes
next goes by arrival, without holding rows and timers once more."""

DAY = timedelta(days=1)
DOWN_TIME = timedelta(days=1)
"""How long the job may be down without losing state that it would still need."""

_EVERY_ROW = 2**31 - 1
"""A rank that no row of one key and second exceeds: Flink only ranks up to a constant."""


@dataclass(frozen=True)
class GroupTables:
    """What a group gives: the view of its changelog rows, and for sessions the view of those that closed."""

    rows: str
    closed: str | None = None


def add_group(tables: StreamTableEnvironment, plan: SpeedPlan) -> GroupTables:
    """Register the group's views in the environment; nothing runs before a sink asks for them."""
    if isinstance(plan, SlidingPlan):
        return _sliding(tables, plan)
    return _session(tables, plan)


def _sliding(tables: StreamTableEnvironment, plan: SlidingPlan) -> GroupTables:
    events = _stream_table(lake_table(EVENTS, plan.dimensions))
    on = relations.keyed(plan, events)
    listed = _ordered(tables, plan, on) if plan.latest else on
    pairs = [_pairs(tables, plan, distinct, on) for distinct in plan.distincts]
    texts = [_gathered(tables, plan, each, on) for each in plan.together]
    ticks = sliding.ticks(plan, on, listed, pairs, texts, (ARRIVAL,))
    tiles = _tiles(tables, plan, _ticks(tables, plan, ticks))
    framed = sliding.framed_extremes(plan, tiles, ROWTIME, _before)
    rows = sliding.rows(plan, framed, (ARRIVAL,))
    if not plan.by_day:
        return GroupTables(rows=_view(tables, f"{plan.name}_rows", sql.compiled(rows)))
    types = {column: sql.flink_type(kind) for column, kind in rows.schema().items()}
    # A day that is over is forgotten.
    with state_ttl(tables, DAY + DOWN_TIME):
        tables.create_temporary_view(f"{plan.name}_rows", barrier(tables, sql.compiled(rows), types, relations.T_MS))
    return GroupTables(rows=f"{plan.name}_rows")


def _gathered(
    tables: StreamTableEnvironment, plan: SlidingPlan, together: Sequence[Gathered], events: ir.Table
) -> ir.Table:
    """`sliding.gathered_texts`. A value's first event is found by the value, so its barrier is as that of pairs."""
    values = sliding.gathered_values(plan, together, events, (ROWTIME,))
    if together[0].how == "distinct":
        name = f"{plan.name}_{together[0].name}_values"
        types = {column: sql.flink_type(kind) for column, kind in values.schema().items()}
        # Of a day, like the plan.
        with state_ttl(tables, DAY + DOWN_TIME):
            tables.create_temporary_view(name, barrier(tables, sql.compiled(values), types, "event_time_ms"))
        values = _stream_table(ibis.table(values.schema(), name=name))
    return sliding.gathered_texts(plan, together, values, ROWTIME, collected_as_multiset)


def _pairs(tables: StreamTableEnvironment, plan: SlidingPlan, distinct: Distinct, events: ir.Table) -> ir.Table:
    """`sliding.distinct_pairs`, behind a barrier: several tables of ticks share them."""
    pairs = sliding.distinct_pairs(plan, distinct, events, (ROWTIME,))
    name = f"{plan.name}_{distinct.name}_pairs"
    types = {column: sql.flink_type(kind) for column, kind in pairs.schema().items()}
    lengths = [length for _, length in distinct.windows if length is not None]
    # A value that fell out of all windows is forgotten; a lifetime forgets none. The clock stands for event time here,
    # so a day is added: for as long as that the job may have been down.
    ttl = max(lengths) + DOWN_TIME if len(lengths) == len(distinct.windows) else timedelta(0)
    with state_ttl(tables, ttl):
        tables.create_temporary_view(name, barrier(tables, sql.compiled(pairs), types, "event_time_ms"))
    return _stream_table(ibis.table(pairs.schema(), name=name))


def _before(length: timedelta) -> ir.IntervalValue:
    return ibis.interval(milliseconds=relations.milliseconds(length) - 1)


def _session(tables: StreamTableEnvironment, plan: SessionPlan) -> GroupTables:
    events = _stream_table(lake_table(EVENTS, plan.dimensions))
    on = relations.keyed(plan, events)
    pairs = _settled(tables, f"{plan.name}_pairs", sessions.pairs(plan, on, (ROWTIME,)))
    ticks = _ticks(tables, plan, sessions.ticks(plan, on, pairs, (ARRIVAL,)))
    progress = _named(tables, f"{plan.name}_progress", sessions.progress(plan, ticks, (ROWTIME,)))
    ends = _named(tables, f"{plan.name}_ends", progress.filter(progress.ends))
    rows = sessions.rows(plan, _tiles(tables, plan, progress))
    closed = sessions.closed(plan, _tiles(tables, plan, ends))
    return GroupTables(
        rows=_view(tables, f"{plan.name}_rows", sql.compiled(rows)),
        closed=_view(tables, f"{plan.name}_closed", sql.compiled(closed)),
    )


def _ticks(tables: StreamTableEnvironment, plan: SpeedPlan, ticks: Sequence[ir.Table]) -> ir.Table:
    """Ticks behind barriers: each has its own moment as rowtime, expiries hours ahead of the watermark included.

    Each table has a barrier of its own. Behind their union, which no operator can be chained to, every tick would be
    sent once more.
    """
    types = {column: sql.flink_type(kind) for column, kind in ticks[0].schema().items()}
    for place, table in enumerate(ticks):
        stream = barrier(tables, sql.compiled(table), types, "tick_ms")
        tables.create_temporary_view(f"{plan.name}_ticks_{place}", stream)
    every = " UNION ALL ".join(f"SELECT * FROM {sql.name(f'{plan.name}_ticks_{i}')}" for i in range(len(ticks)))
    name = _view(tables, f"{plan.name}_ticks", every)
    return _stream_table(ibis.table(ticks[0].schema(), name=name))


def _tiles(tables: StreamTableEnvironment, plan: SpeedPlan, ticks: ir.Table) -> ir.Table:
    """One row per (key, second): Flink's form of `changelogs.tiles`."""
    combined = changelogs.tile_columns(plan) | {"tick_ms": "max"}
    aggregates = ", ".join(f"{how.upper()}({sql.name(c)}) AS {sql.name(c)}" for c, how in combined.items())
    key, source = sql.name(plan.key), sql.name(ticks.get_name())
    name = _view(
        tables,
        f"{ticks.get_name()}_tiles",
        f"SELECT {key}, {aggregates}, `window_time` AS {sql.name(ROWTIME)}, PROCTIME() AS {sql.name(ARRIVAL)} "
        f"FROM TABLE(TUMBLE(TABLE {source}, DESCRIPTOR({sql.name(ROWTIME)}), INTERVAL '1' SECOND)) "
        f"GROUP BY {key}, `window_start`, `window_end`, `window_time`",
    )
    tile = _stream_table(ibis.table({c: ticks.schema()[c] for c in (plan.key, *combined)}, name=name), ARRIVAL)
    return _stream_table(tile, ROWTIME)


def _ordered(tables: StreamTableEnvironment, plan: SlidingPlan, events: ir.Table) -> ir.Table:
    """Events of a list, a key's in their total order as arrival.

    Parallel tasks hand on events of one moment in any order, and a frame can order by time only. The rank of a window
    gives its rows in order.
    """
    source = _view(tables, f"{plan.name}_listed", sql.compiled(sliding.listed_events(plan, events)))
    listed = lake_table(f"{plan.name}_ordered", plan.dimensions)
    columns = ", ".join(map(sql.name, listed.columns))
    order = ", ".join(map(sql.name, relations.BATCH_ORDER))
    _view(
        tables,
        listed.get_name(),
        f"SELECT {columns}, PROCTIME() AS {sql.name(ARRIVAL)} FROM (SELECT *, ROW_NUMBER() OVER ("
        f"PARTITION BY {sql.name(plan.key)}, `window_start`, `window_end` ORDER BY {order}) AS `rank` "
        f"FROM TABLE(TUMBLE(TABLE {sql.name(source)}, DESCRIPTOR({sql.name(ROWTIME)}), INTERVAL '1' SECOND))) "
        f"WHERE `rank` <= {_EVERY_ROW}",
    )
    return _stream_table(listed, ARRIVAL)


def _named(tables: StreamTableEnvironment, name: str, table: ir.Table) -> ir.Table:
    return ibis.table(table.schema(), name=_view(tables, name, sql.compiled(table)))


def _settled(tables: StreamTableEnvironment, name: str, table: ir.Table) -> ir.Table:
    """What an operator gave that sorts by rowtime, with its order as arrival."""
    view = _view(tables, name, f"SELECT *, PROCTIME() AS {sql.name(ARRIVAL)} FROM ({sql.compiled(table)})")
    return _stream_table(ibis.table(table.schema(), name=view), ARRIVAL)


def _view(tables: StreamTableEnvironment, name: str, query: str) -> str:
    tables.create_temporary_view(name, tables.sql_query(query))
    return name


def _stream_table(table: ir.Table, time: str = ROWTIME) -> ir.Table:
    """The table with its time column, as ibis knows it."""
    return ibis.table({**table.schema(), time: "timestamp('UTC', 3)"}, name=table.get_name())

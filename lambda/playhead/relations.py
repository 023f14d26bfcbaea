"""A plan as relations: events → ticks → tiles → changelog, as ibis tables that each engine compiles.

The law of the windows: a row stamped T holds exactly the events with `event_time` in `[T - W, T)`, T whole seconds. An
event at time e is therefore in every row from `floor(e) + 1 s` on, and out of it from `floor(e + W) + 1 s` on.
A *tick* is one of these two moments: `tick_ms = e` (+value) or `e + W` (-value). All ticks of one second fall into one
*tile*, stamped with the second's end; a running sum over the tiles of a key is the changelog.

Engines differ in the tiles, for which batch engines group by the truncated second and Flink uses a tumbling window; and
in what orders rows behind a sort, which in Flink is their arrival.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import reduce
from typing import Literal

import ibis
import ibis.expr.types as ir

from playhead.expressions import resolve
from playhead.plan import EventPlan, SlidingPlan, SpeedPlan

T_MS = "event_timestamp_ms"
BATCH_ORDER = ("event_time_ms", "kafka_partition", "kafka_offset")
"""Total order of a key's events: by time, ties as they stand in Kafka."""

DAY_MS = 86_400_000
BY_DAY = "|"
"""Between an entity and its day in `day_key`."""

How = Literal["sum", "min", "max"]
TIME_DIGITS = 10**15
"""Added to a time or an offset, it makes 16 digits."""

_PARTITION_DIGITS = 10**6
PREFIX = 16 + 7 + 16
"""Digits of an event's place in the key's order."""


def milliseconds(length: timedelta) -> int:
    """Whole milliseconds of a duration.

    >>> milliseconds(timedelta(minutes=1))
    60000
    """
    return length // timedelta(milliseconds=1)


def keyed(plan: SpeedPlan, events: ir.Table) -> ir.Table:
    """The events that have the key. By day, the key is `day_key`."""
    on_time = events.filter(events[plan.key].notnull())
    if isinstance(plan, SlidingPlan) and plan.by_day:
        day_ms = on_time.event_time_ms - on_time.event_time_ms % DAY_MS
        return on_time.mutate(**{plan.key: ibis.literal(BY_DAY).join([on_time[plan.key], day_ms.cast("string")])})
    return on_time


def day_key(entity: str, day_ms: int) -> str:
    """The key of an entity's UTC day, which begins at `day_ms`.

    >>> day_key("ada", 86_400_000)
    'ada|86400000'
    """
    return f"{entity}{BY_DAY}{day_ms}"


def union(ticks: Sequence[ir.Table]) -> ir.Table:
    """All rows of all of them, duplicates too."""
    return reduce(lambda a, b: a.union(b), ticks)


def in_schema(
    plan: EventPlan, values: Mapping[str, ir.Value], names: Sequence[str] | None = None
) -> dict[str, ir.Value]:
    """The plan's features, or some of them, from its sums and lists, ratios divided."""
    found, wanted = dict(values), [name for name, _ in plan.schema if names is None or name in names]
    for computed in (computed for computed in plan.derived if computed.name in wanted):
        found[computed.name] = resolve(computed.value, found).cast(computed.kind)
    return {name: found[name] for name in wanted}


def placed(events: ir.Table, value: ir.StringValue) -> ir.StringValue:
    """A text behind its event's place in the key's order: as texts they compare as the events do."""
    time_ms, partition, offset = (events[c].cast("int64") for c in BATCH_ORDER)
    place = [time_ms + TIME_DIGITS, partition + _PARTITION_DIGITS, offset + TIME_DIGITS]
    return ibis.literal("").join([*(p.cast("string") for p in place), value])


def placed_back(events: ir.Table, value: ir.StringValue) -> ir.StringValue:
    """The same, so that texts compare the other way round."""
    time_ms, partition, offset = (events[c].cast("int64") for c in BATCH_ORDER)
    place = [2 * TIME_DIGITS - time_ms, 2 * _PARTITION_DIGITS - partition, 2 * TIME_DIGITS - offset]
    return ibis.literal("").join([*(p.cast("string") for p in place), value])


def second_end(tick_ms: ir.IntegerValue) -> ir.IntegerValue:
    return tick_ms - tick_ms % 1000 + 1000

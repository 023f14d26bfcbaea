"""Sessions as relations.

Per key, running totals over all its events, and the totals just before the event that opened the session. Both only
grow, so their maximum is their latest value whatever the order of arrival, and a session's count is the difference.

An extreme is the greatest of texts that begin with the session's first moment, so that a new session's text is
greater than all before it, whatever they hold. A value is new in its session when it was last seen before that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ibis
import ibis.expr.types as ir

from playhead.expressions import resolve
from playhead.nodes import Distinct, Extreme, Measure
from playhead.plan import SessionPlan
from playhead.relations import PREFIX, T_MS, TIME_DIGITS, in_schema, milliseconds, placed, placed_back, second_end

_NUMBER = 4 * 10**18
"""Added to what is less than 3 * 10**18 either way, it makes 19 digits."""


def _measured(plan: SessionPlan) -> list[Measure]:
    everything = Measure("events", ibis._.event_time_ms.notnull())
    return [everything, *plan.measures]


def _totals(plan: SessionPlan) -> list[str]:
    return [*(m.name for m in _measured(plan)), *(d.name for d in plan.distincts)]


def columns(plan: SessionPlan) -> dict[str, ir.Value]:
    """The columns of ticks and tiles, each with its null."""
    names = _totals(plan)
    numbers = ["last_event_ms", "opened_ms", *(f"total_{n}" for n in names), *(f"before_{n}" for n in names)]
    texts = [f"extreme_{e.name}" for e in plan.extremes]
    return dict.fromkeys(numbers, ibis.null("int64")) | dict.fromkeys(texts, ibis.null("string"))


def pairs(plan: SessionPlan, events: ir.Table, order: Sequence[str]) -> ir.Table:
    """Each event with what it adds to the totals and the time of the key's event before it.

    Besides, for each extreme the event's text, and for each distinct the time of the key's event before it that had the
    same value, 0 without one; null where the event has no value.
    """
    for distinct in plan.distincts:
        events = _with_same(plan, distinct, events, order)
    pair = ibis.window(group_by=plan.key, order_by=list(order), preceding=1, following=0)
    return events.select(
        plan.key,
        "event_time_ms",
        *(c for c in order if c != "event_time_ms"),
        # Not LAG: Flink's takes all events of one moment at once, and then sees the moment itself as the previous one.
        previous_ms=events.event_time_ms.sum().over(pair) - events.event_time_ms,
        **{f"own_{m.name}": m.contribution(events) for m in _measured(plan)},
        **{f"same_{d.name}": events[f"same_{d.name}"] for d in plan.distincts},
        **{f"extreme_{e.name}": _extreme_text(e, events) for e in plan.extremes},
    )


def _with_same(plan: SessionPlan, distinct: Distinct, events: ir.Table, order: Sequence[str]) -> ir.Table:
    matches = distinct.matches(events)
    value = ibis.ifelse(matches, resolve(distinct.value, events).cast("string"), ibis.null("string"))
    valued = events.mutate(distinct_value=value)
    window = ibis.window(group_by=[plan.key, "distinct_value"], order_by=list(order), preceding=1, following=0)
    same_ms = valued.event_time_ms.sum().over(window) - valued.event_time_ms
    seen = ibis.ifelse(valued.distinct_value.notnull(), same_ms, ibis.null("int64"))
    # In front, as in `framed_extremes`.
    return valued.select(**{f"same_{distinct.name}": seen}, **{name: valued[name] for name in events.columns})


def ticks(plan: SessionPlan, events: ir.Table, seen: ir.Table, order: Sequence[str]) -> list[ir.Table]:
    """One entry an event with the running totals; and, as a table of its own, one expiry at event + gap.

    Args:
        plan: the sessions.
        events: with the key.
        seen: `pairs` of the same events.
        order: columns that put a key's `seen` in the order of the events.
    """
    nothing = ibis.null("int64")
    running = ibis.window(group_by=plan.key, order_by=list(order), preceding=None, following=0)
    # Without a previous event the sum is the event itself, and the gap reaches back to 1970.
    opens = seen.event_time_ms - seen.previous_ms > milliseconds(plan.gap)
    opened = seen.mutate(opened_ms=ibis.ifelse(opens, seen.event_time_ms, nothing))
    if plan.distincts or plan.extremes:
        opened = _since_opened(plan, opened, running)
    totals, extremes = _totals(plan), [f"extreme_{e.name}" for e in plan.extremes]
    counted = opened.select(
        plan.key,
        "event_time_ms",
        "opened_ms",
        **{f"own_{n}": opened[f"own_{n}"] for n in totals},
        **{f"total_{n}": opened[f"own_{n}"].sum().over(running) for n in totals},
        **{c: opened[c].max().over(running) for c in extremes},
    )
    before = {n: counted[f"total_{n}"] - counted[f"own_{n}"] for n in totals}
    entries = counted.select(
        plan.key,
        tick_ms=counted.event_time_ms,
        last_event_ms=counted.event_time_ms,
        opened_ms=counted.opened_ms,
        **{f"total_{n}": counted[f"total_{n}"] for n in totals},
        **{f"before_{n}": ibis.ifelse(counted.opened_ms.notnull(), b, nothing) for n, b in before.items()},
        **{c: counted[c] for c in extremes},
    )
    expiries = events.select(plan.key, tick_ms=events.event_time_ms + milliseconds(plan.gap), **columns(plan))
    return [entries, expiries]


def _since_opened(plan: SessionPlan, opened: ir.Table, running: Any) -> ir.Table:
    """With what depends on the session's first moment: whether a value is new in it, and the extremes' texts."""
    since_ms = opened.opened_ms.max().over(running)
    # In front, as in `framed_extremes`.
    placed = opened.select(since_ms=since_ms, **{name: opened[name] for name in opened.columns})
    one, none = ibis.literal(1, "int64"), ibis.literal(0, "int64")
    new = {d.name: placed[f"same_{d.name}"] < placed.since_ms for d in plan.distincts}
    since = (placed.since_ms + TIME_DIGITS).cast("string")
    return placed.mutate(
        **{f"own_{name}": ibis.ifelse(is_new, one, none) for name, is_new in new.items()},
        **{c: since.concat(placed[c]) for c in (f"extreme_{e.name}" for e in plan.extremes)},
    )


def progress(plan: SessionPlan, ticks: ir.Table, order: Sequence[str]) -> ir.Table:
    """The running maxima at each tick that is an event or `ends` a session."""
    # RANGE, so that an event at exactly the gap and the expiry it shares its moment with see each other.
    window = ibis.range_window(group_by=plan.key, order_by=list(order), preceding=None, following=0)
    names = columns(plan)
    kept = [c for c in order if c != "tick_ms"]
    is_entry = ticks.last_event_ms.notnull()
    running = ticks.select(
        plan.key, "tick_ms", *kept, is_entry=is_entry, **{c: ticks[c].max().over(window) for c in names}
    )
    marked = running.mutate(
        ends=(~running.is_entry) & (running.tick_ms == running.last_event_ms + milliseconds(plan.gap))
    )
    return marked.filter(marked.is_entry | marked.ends).select(plan.key, "tick_ms", *kept, *names, "ends")


def rows(plan: SessionPlan, tile: ir.Table) -> ir.Table:
    """The live session's features at every tick; all null once the gap has passed."""
    stamped = tile.mutate(**{T_MS: second_end(tile.tick_ms)})
    live = stamped[T_MS] <= stamped.last_event_ms + milliseconds(plan.gap)
    values = _values(plan, stamped)
    nulled = {n: ibis.ifelse(live, v, ibis.null(v.type())) for n, v in values.items()}
    return stamped.select(plan.key, T_MS, **in_schema(plan, nulled))


def closed(plan: SessionPlan, ends: ir.Table) -> ir.Table:
    """One row per session that ended: key, its first and last event, number of events, and its features.

    Args:
        plan: the sessions.
        ends: `tiles` of those rows of `progress` that end a session. Events of one moment end it together.
    """
    values = _values(plan, ends)
    return ends.select(
        plan.key,
        session_start_ms=ends.opened_ms,
        session_end_ms=ends.last_event_ms,
        events=ends.total_events - ends.before_events,
        **{name: values[name] for name, _ in plan.made},
    )


def _values(plan: SessionPlan, table: ir.Table) -> dict[str, ir.Value]:
    counts = {n: table[f"total_{n}"] - table[f"before_{n}"] for n in _totals(plan)}
    extremes = {e.name: _extreme_value(e, table[f"extreme_{e.name}"], table.opened_ms) for e in plan.extremes}
    return {plan.start: table.opened_ms, **counts, **extremes}


def _extreme_text(extreme: Extreme, events: ir.Table) -> ir.Value:
    """An event's value as a text of which the greatest is the extreme; null where it has none."""
    value = resolve(extreme.value, events)
    up = extreme.how == "max"
    if extreme.ordered:
        text = (placed if up else placed_back)(events, value.cast("string"))
    else:
        text = (_NUMBER + value if up else _NUMBER - value).cast("string")
    return ibis.ifelse(extreme.matches(events), text, ibis.null("string"))


def _extreme_value(extreme: Extreme, text: ir.StringValue, opened_ms: ir.IntegerValue) -> ir.Value:
    """The value of a text of this session; null when the greatest text is of a session before."""
    digits = len(str(TIME_DIGITS))
    if extreme.ordered:
        value = text.substr(digits + PREFIX).cast(extreme.kind)
    else:
        number = text.substr(digits).cast("int64")
        value = number - _NUMBER if extreme.how == "max" else _NUMBER - number
    own = text.substr(0, digits) == (opened_ms + TIME_DIGITS).cast("string")
    return ibis.ifelse(own, value, ibis.null(extreme.kind))

"""A plan as relations: events → ticks → tiles → changelog, as ibis tables that each engine compiles.

The law of the windows: a row stamped T holds exactly the events with `event_time` in `[T - W, T)`, T whole seconds. An
event at time e is therefore in every row from `floor(e) + 1 s` on, and out of it from `floor(e + W) + 1 s` on.
A *tick* is one of these two moments: `tick_ms = e` (+value) or `e + W` (-value). All ticks of one second fall into one
*tile*, stamped with the second's end; a running sum over the tiles of a key is the changelog.

Engines differ in the tiles, for which batch engines group by the truncated second and Flink uses a tumbling window; and
in what orders rows behind a sort, which in Flink is their arrival.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from functools import reduce
from operator import or_
from typing import Any, Literal

import ibis
import ibis.expr.datatypes as dt
import ibis.expr.types as ir

from playhead.expressions import resolve
from playhead.plan import Distinct, Extreme, Latest, Measure, Plan, SessionPlan, SlidingPlan, any_matches
from schemas.decode import SEPARATOR

T_MS = "event_timestamp_ms"
BATCH_ORDER = ("event_time_ms", "kafka_partition", "kafka_offset")
"""Total order of a key's events: by time, ties as they stand in Kafka."""

DAY_MS = 86_400_000
How = Literal["sum", "min", "max"]
_TIME_DIGITS = 10**15
_PARTITION_DIGITS = 10**6
_PREFIX = 16 + 7 + 16
_NUMBER = 4 * 10**18
"""Added to what is less than 3 * 10**18 either way, it makes 19 digits."""


def milliseconds(length: timedelta) -> int:
    """Whole milliseconds of a duration.

    >>> milliseconds(timedelta(minutes=1))
    60000
    """
    return length // timedelta(milliseconds=1)


def tile_columns(plan: SlidingPlan | SessionPlan) -> dict[str, How]:
    """The columns of a tile, beside key and time, and how ticks of one second combine."""
    if isinstance(plan, SlidingPlan):
        sums: dict[str, How] = {s.name: "sum" for s in plan.sums}
        sums |= {name: "sum" for distinct in plan.distincts for name, _ in distinct.windows}
        return sums | {e.name: e.how for e in plan.extremes} | {latest.name: "max" for latest in plan.latest}
    return dict.fromkeys(_session_columns(plan), "max")


def tiles(plan: SlidingPlan | SessionPlan, ticks: ir.Table) -> ir.Table:
    """One row per (key, second): the batch engines' form of the tumbling window."""
    keyed = ticks.mutate(second=_second_end(ticks.tick_ms))
    columns = {c: getattr(keyed[c], how)() for c, how in tile_columns(plan).items()}
    return keyed.group_by(plan.key, "second").agg(tick_ms=keyed.tick_ms.max(), **columns).drop("second")


def changelog(plan: SlidingPlan | SessionPlan, events: ir.Table) -> ir.Table:
    """The whole changelog of a group from its events, for a batch engine.

    Returns:
        One row per (key, event_timestamp_ms) at which a value changes: the key, `event_timestamp_ms`, the features.
        Every expiry is in it, also those after the last event.
    """
    on_time = keyed(plan, events)
    if isinstance(plan, SlidingPlan):
        pairs = [distinct_pairs(plan, distinct, on_time, BATCH_ORDER) for distinct in plan.distincts]
        ticks = sliding_ticks(plan, on_time, listed_events(plan, on_time), pairs, BATCH_ORDER)
        tile = tiles(plan, union(ticks))
        framed = framed_extremes(plan, tile.mutate(second=_second_end(tile.tick_ms)), "second", _before)
        return sliding_rows(plan, framed, ("tick_ms",))
    ticks = session_ticks(plan, on_time, session_pairs(plan, on_time, BATCH_ORDER), BATCH_ORDER)
    return session_rows(plan, tiles(plan, session_progress(plan, union(ticks), ("tick_ms",))))


def keyed(plan: SlidingPlan | SessionPlan, events: ir.Table) -> ir.Table:
    """The events that have the key. By day, the key is `key|the first millisecond of the event's UTC day`."""
    on_time = events.filter(events[plan.key].notnull())
    if isinstance(plan, SlidingPlan) and plan.by_day:
        day_ms = on_time.event_time_ms - on_time.event_time_ms % DAY_MS
        return on_time.mutate(**{plan.key: ibis.literal("|").join([on_time[plan.key], day_ms.cast("string")])})
    return on_time


def union(ticks: Sequence[ir.Table]) -> ir.Table:
    """All rows of all of them, duplicates too."""
    return reduce(lambda a, b: a.union(b), ticks)


# --- sliding windows -----------------------------------------------------------------------------------------------


def listed_events(plan: SlidingPlan, events: ir.Table) -> ir.Table:
    """The events that a last-K list may hold, none without a list. Lists ask for the events' order, sums do not."""
    return events.filter(any_matches(events, [latest.where for latest in plan.latest]) if plan.latest else False)


def distinct_pairs(plan: SlidingPlan, distinct: Distinct, events: ir.Table, order: Sequence[str]) -> ir.Table:
    """Each event that has a value to tell apart, with the time of the key's event before it that had the same one.

    Returns:
        The key, `event_time_ms`, and `previous_ms`: 0 without such an event.
    """
    valued = events.filter(distinct.matches(events)).mutate(distinct_value=resolve(distinct.value, events))
    window = ibis.window(group_by=[plan.key, "distinct_value"], order_by=list(order), preceding=1, following=0)
    previous_ms = valued.event_time_ms.sum().over(window) - valued.event_time_ms
    return valued.select(plan.key, "event_time_ms", previous_ms=previous_ms)


def sliding_ticks(
    plan: SlidingPlan, events: ir.Table, listed: ir.Table, pairs: Sequence[ir.Table], order: Sequence[str]
) -> list[ir.Table]:
    """Key, tick_ms, and what each window gains or loses there: one entry an event, one expiry a window it was in.

    They come as several tables of the same columns: the entries, the expiries of each length, the different values and
    the lists.

    Args:
        plan: the windows.
        events: with the key.
        listed: `listed_events` of the same events.
        pairs: `distinct_pairs` of the same events, for each of the plan's.
        order: columns that put a key's `listed` in `BATCH_ORDER`.
    """
    lengths = {s.length for s in plan.sums} | {length for e in plan.extremes for _, length in e.windows}
    entries = [_entries(plan, events)] if lengths else []
    expiries = [_expiries(plan, events, length) for length in sorted(filter(None, lengths))]
    different = [t for d, table in zip(plan.distincts, pairs, strict=True) for t in _different(plan, d, table)]
    return [*entries, *expiries, *different, *(_latest(plan, latest, listed, order) for latest in plan.latest)]


def framed_extremes(
    plan: SlidingPlan, tile: ir.Table, order: str, before: Callable[[timedelta], ir.Value | int]
) -> ir.Table:
    """The tiles with the extremes of each length: of the tiles of the last `length`, this one included.

    Args:
        plan: the windows.
        tile: `tiles`.
        order: the column by which a key's tiles are a whole second apart, or more.
        before: how far back a frame of this length reaches, in that column's terms: less than the length.
    """
    windows = [(e, name, length) for e in plan.extremes for name, length in e.windows if length is not None]
    for length in sorted({length for _, _, length in windows}):
        window = ibis.range_window(group_by=plan.key, order_by=order, preceding=before(length), following=0)
        found = {name: getattr(tile[e.name], e.how)().over(window) for e, name, own in windows if own == length}
        # In front: a projection that moved nothing would be left out by Flink, and the next frame's columns would then
        # have the names that Flink has given these.
        tile = tile.select(**found, **{name: tile[name] for name in tile.columns})
    return tile


def sliding_rows(plan: SlidingPlan, tile: ir.Table, order: Sequence[str]) -> ir.Table:
    """Running sums over the tiles: the features at every tick.

    Args:
        plan: the windows.
        tile: `framed_extremes`.
        order: columns that put a key's tiles in the order of time.
    """
    window = ibis.window(group_by=plan.key, order_by=list(order), preceding=None, following=0)
    framed = [name for e in plan.extremes for name, length in e.windows if length is not None]
    ever = {name: (e.name, e.how) for e in plan.extremes for name, length in e.windows if length is None}
    sums = {c: (c, how) for c, how in tile_columns(plan).items() if c not in {e.name for e in plan.extremes}}
    running = {name: getattr(tile[c], how)().over(window) for name, (c, how) in (sums | ever).items()}
    windows = tile.select(plan.key, "tick_ms", *framed, **running)
    values: dict[str, ir.Value] = {name: windows[name] for name in windows.columns}
    for extreme in plan.extremes:
        for name, _ in extreme.windows:
            values[name] = _placed_value(windows[name], extreme.kind) if extreme.ordered else windows[name]
    for latest in plan.latest:
        values[latest.name] = windows[latest.name].substr(_PREFIX).split(SEPARATOR)
    stamp = {T_MS: _second_end(windows.tick_ms)}
    return windows.select(plan.key, **stamp, **in_schema(plan, values))


def in_schema(plan: Plan, values: Mapping[str, ir.Value]) -> dict[str, ir.Value]:
    """The plan's features from its sums and lists, ratios divided."""
    found = dict(values)
    for computed in plan.derived:
        found[computed.name] = resolve(computed.value, found).cast(computed.kind)
    return {name: found[name] for name, _ in plan.schema}


def _entries(plan: SlidingPlan, events: ir.Table) -> ir.Table:
    counted = any_matches(events, [s.measure.where for s in plan.sums]) if plan.sums else ibis.literal(False)
    on = events.filter(reduce(or_, (e.matches(events) for e in plan.extremes), counted))
    sums = {s.name: s.measure.contribution(on) for s in plan.sums}
    return _tick(plan, on, on.event_time_ms, sums | {e.name: _extreme_of(e, on) for e in plan.extremes})


def _expiries(plan: SlidingPlan, events: ir.Table, length: timedelta) -> ir.Table:
    leaving = [s for s in plan.sums if s.length == length]
    counted = any_matches(events, [s.measure.where for s in leaving]) if leaving else ibis.literal(False)
    extremes = [e for e in plan.extremes if length in dict(e.windows).values()]
    on = events.filter(reduce(or_, (e.matches(events) for e in extremes), counted))
    sums = {s.name: -s.measure.contribution(on) for s in leaving}
    return _tick(plan, on, on.event_time_ms + milliseconds(length), sums)


def _different(plan: SlidingPlan, distinct: Distinct, pairs: ir.Table) -> list[ir.Table]:
    """A value is in the window from its event until its length later, whatever comes between.

    Each event enters as if its value was new, and expires. Where the value was in the window already, the entry adds
    nothing, and the expiry of the event before is taken back.
    """
    apart = pairs.event_time_ms - pairs.previous_ms
    one, none = ibis.literal(1, "int64"), ibis.literal(0, "int64")
    first = {
        name: ibis.ifelse(pairs.previous_ms == 0 if length is None else apart >= milliseconds(length), one, none)
        for name, length in distinct.windows
    }
    found = [_tick(plan, pairs, pairs.event_time_ms, first)]
    for name, length in distinct.windows:
        if length is not None:
            found.append(_tick(plan, pairs, pairs.event_time_ms + milliseconds(length), {name: -one}))
            again = pairs.filter(apart < milliseconds(length))
            found.append(_tick(plan, again, again.previous_ms + milliseconds(length), {name: one}))
    return found


def _latest(plan: SlidingPlan, latest: Latest, events: ir.Table, order: Sequence[str]) -> ir.Table:
    """A tick with the last-K list as text behind its place in the key's order, so that the newest is the maximum."""
    on = events.filter(latest.matches(events))
    value = resolve(latest.value, on)
    if order == BATCH_ORDER:
        newest_first = [ibis.desc(column) for column in order]
        window = ibis.window(group_by=plan.key, order_by=newest_first, preceding=0, following=latest.k - 1)
        collected = on.mutate(names=value.collect().over(window))
        names = collected.names.join(SEPARATOR)
    else:
        # A stream's frames only run from old to new: the joined names are turned, each of them turned before.
        window = ibis.window(group_by=plan.key, order_by=list(order), preceding=latest.k - 1, following=0)
        collected = on.mutate(names=value.reverse().collect().over(window))
        names = collected.names.join(SEPARATOR).reverse()
    time_ms = collected.event_time_ms.cast("int64")
    return _tick(plan, collected, time_ms, {latest.name: _placed(collected, names)})


def _placed(events: ir.Table, value: ir.StringValue) -> ir.StringValue:
    """A text behind its event's place in the key's order: as texts they compare as the events do."""
    time_ms, partition, offset = (events[c].cast("int64") for c in BATCH_ORDER)
    place = [time_ms + _TIME_DIGITS, partition + _PARTITION_DIGITS, offset + _TIME_DIGITS]
    return ibis.literal("").join([*(p.cast("string") for p in place), value])


def _placed_back(events: ir.Table, value: ir.StringValue) -> ir.StringValue:
    """The same, so that texts compare the other way round."""
    time_ms, partition, offset = (events[c].cast("int64") for c in BATCH_ORDER)
    place = [2 * _TIME_DIGITS - time_ms, 2 * _PARTITION_DIGITS - partition, 2 * _TIME_DIGITS - offset]
    return ibis.literal("").join([*(p.cast("string") for p in place), value])


def _placed_value(text: ir.StringValue, kind: dt.DataType) -> ir.Value:
    return text.substr(_PREFIX) if kind.is_string() else text.substr(_PREFIX).cast(kind)


def _extreme_of(extreme: Extreme, events: ir.Table) -> ir.Value:
    value = resolve(extreme.value, events)
    value = _placed(events, value.cast("string")) if extreme.ordered else value.cast("int64")
    return ibis.ifelse(extreme.matches(events), value, ibis.null(value.type()))


def _tick(plan: SlidingPlan, table: ir.Table, tick_ms: ir.IntegerValue, given: Mapping[str, ir.Value]) -> ir.Table:
    """Key, tick_ms and every column of a tile: what is given, else what changes nothing."""
    texts = {latest.name for latest in plan.latest} | {e.name for e in plan.extremes if e.ordered}
    nothing: dict[str, ir.Value] = {
        c: _zero() if how == "sum" else ibis.null("string" if c in texts else "int64")
        for c, how in tile_columns(plan).items()
    }
    return table.select(plan.key, tick_ms=tick_ms, **(nothing | dict(given)))


def _before(length: timedelta) -> int:
    return milliseconds(length) - 1


# --- sessions ------------------------------------------------------------------------------------------------------
#
# Per key, running totals over all its events, and the totals just before the event that opened the session. Both only
# grow, so their maximum is their latest value whatever the order of arrival, and a session's count is the difference.


#
# An extreme is the greatest of texts that begin with the session's first moment, so that a new session's text is
# greater than all before it, whatever they hold. A value is new in its session when it was last seen before that.


def _measured(plan: SessionPlan) -> list[Measure]:
    everything = Measure("events", ibis._.event_time_ms.notnull())
    return [everything, *plan.measures]


def _totals(plan: SessionPlan) -> list[str]:
    return [*(m.name for m in _measured(plan)), *(d.name for d in plan.distincts)]


def _session_columns(plan: SessionPlan) -> dict[str, ir.Value]:
    """The columns of ticks and tiles, each with its null."""
    names = _totals(plan)
    numbers = ["last_event_ms", "opened_ms", *(f"total_{n}" for n in names), *(f"before_{n}" for n in names)]
    texts = [f"extreme_{e.name}" for e in plan.extremes]
    return dict.fromkeys(numbers, ibis.null("int64")) | dict.fromkeys(texts, ibis.null("string"))


def session_pairs(plan: SessionPlan, events: ir.Table, order: Sequence[str]) -> ir.Table:
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


def session_ticks(plan: SessionPlan, events: ir.Table, seen: ir.Table, order: Sequence[str]) -> list[ir.Table]:
    """One entry an event with the running totals; and, as a table of its own, one expiry at event + gap.

    Args:
        plan: the sessions.
        events: with the key.
        seen: `session_pairs` of the same events.
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
    expiries = events.select(plan.key, tick_ms=events.event_time_ms + milliseconds(plan.gap), **_session_columns(plan))
    return [entries, expiries]


def _since_opened(plan: SessionPlan, opened: ir.Table, running: Any) -> ir.Table:
    """With what depends on the session's first moment: whether a value is new in it, and the extremes' texts."""
    since_ms = opened.opened_ms.max().over(running)
    # In front, as in `framed_extremes`.
    placed = opened.select(since_ms=since_ms, **{name: opened[name] for name in opened.columns})
    one, none = ibis.literal(1, "int64"), ibis.literal(0, "int64")
    new = {d.name: placed[f"same_{d.name}"] < placed.since_ms for d in plan.distincts}
    since = (placed.since_ms + _TIME_DIGITS).cast("string")
    return placed.mutate(
        **{f"own_{name}": ibis.ifelse(is_new, one, none) for name, is_new in new.items()},
        **{c: since.concat(placed[c]) for c in (f"extreme_{e.name}" for e in plan.extremes)},
    )


def session_progress(plan: SessionPlan, ticks: ir.Table, order: Sequence[str]) -> ir.Table:
    """The running maxima at each tick that is an event or `ends` a session."""
    # RANGE, so that an event at exactly the gap and the expiry it shares its moment with see each other.
    window = ibis.range_window(group_by=plan.key, order_by=list(order), preceding=None, following=0)
    columns = _session_columns(plan)
    kept = [c for c in order if c != "tick_ms"]
    is_entry = ticks.last_event_ms.notnull()
    running = ticks.select(
        plan.key, "tick_ms", *kept, is_entry=is_entry, **{c: ticks[c].max().over(window) for c in columns}
    )
    marked = running.mutate(
        ends=(~running.is_entry) & (running.tick_ms == running.last_event_ms + milliseconds(plan.gap))
    )
    return marked.filter(marked.is_entry | marked.ends).select(plan.key, "tick_ms", *kept, *columns, "ends")


def session_rows(plan: SessionPlan, tile: ir.Table) -> ir.Table:
    """The live session's features at every tick; all null once the gap has passed."""
    stamped = tile.mutate(**{T_MS: _second_end(tile.tick_ms)})
    live = stamped[T_MS] <= stamped.last_event_ms + milliseconds(plan.gap)
    values = _session_values(plan, stamped)
    nulled = {n: ibis.ifelse(live, v, ibis.null(v.type())) for n, v in values.items()}
    return stamped.select(plan.key, T_MS, **in_schema(plan, nulled))


def closed_sessions(plan: SessionPlan, ends: ir.Table) -> ir.Table:
    """One row per session that ended: key, its first and last event, number of events, and its features.

    Args:
        plan: the sessions.
        ends: `tiles` of those rows of `session_progress` that end a session. Events of one moment end it together.
    """
    values = _session_values(plan, ends)
    return ends.select(
        plan.key,
        session_start_ms=ends.opened_ms,
        session_end_ms=ends.last_event_ms,
        events=ends.total_events - ends.before_events,
        **{name: values[name] for name, _ in plan.made},
    )


def _session_values(plan: SessionPlan, table: ir.Table) -> dict[str, ir.Value]:
    counts = {n: table[f"total_{n}"] - table[f"before_{n}"] for n in _totals(plan)}
    extremes = {e.name: _extreme_value(e, table[f"extreme_{e.name}"], table.opened_ms) for e in plan.extremes}
    return {plan.start: table.opened_ms, **counts, **extremes}


def _extreme_text(extreme: Extreme, events: ir.Table) -> ir.Value:
    """An event's value as a text of which the greatest is the extreme; null where it has none."""
    value = resolve(extreme.value, events)
    up = extreme.how == "max"
    if extreme.ordered:
        text = (_placed if up else _placed_back)(events, value.cast("string"))
    else:
        text = (_NUMBER + value if up else _NUMBER - value).cast("string")
    return ibis.ifelse(extreme.matches(events), text, ibis.null("string"))


def _extreme_value(extreme: Extreme, text: ir.StringValue, opened_ms: ir.IntegerValue) -> ir.Value:
    """The value of a text of this session; null when the greatest text is of a session before."""
    digits = len(str(_TIME_DIGITS))
    if extreme.ordered:
        value = text.substr(digits + _PREFIX).cast(extreme.kind)
    else:
        number = text.substr(digits).cast("int64")
        value = number - _NUMBER if extreme.how == "max" else _NUMBER - number
    own = text.substr(0, digits) == (opened_ms + _TIME_DIGITS).cast("string")
    return ibis.ifelse(own, value, ibis.null(extreme.kind))


def _second_end(tick_ms: ir.IntegerValue) -> ir.IntegerValue:
    return tick_ms - tick_ms % 1000 + 1000


def _zero() -> ir.IntegerValue:
    return ibis.literal(0, "int64")

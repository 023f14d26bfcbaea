"""Sliding windows and lifetimes as relations: sums that give up what expires, extremes that look back, lists."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from functools import reduce
from operator import or_

import ibis
import ibis.expr.datatypes as dt
import ibis.expr.types as ir

from playhead.expressions import resolve
from playhead.gathered import LEVELS, Collect, bound_of, is_of, level_of, value_text
from playhead.nodes import Distinct, Extreme, Gathered, Latest
from playhead.plan import SlidingPlan, any_matches
from playhead.relations import BATCH_ORDER, PREFIX, T_MS, How, in_schema, milliseconds, placed, second_end
from schemas.decode import SEPARATOR


def columns(plan: SlidingPlan) -> dict[str, How]:
    """The columns of a tile, beside key and time, and how ticks of one second combine."""
    sums: dict[str, How] = {s.name: "sum" for s in plan.sums}
    sums |= {name: "sum" for distinct in plan.distincts for name, _ in distinct.windows}
    return sums | {e.name: e.how for e in plan.extremes} | dict.fromkeys(plan.texts, "max")


def listed_events(plan: SlidingPlan, events: ir.Table) -> ir.Table:
    """The events that lists and windows of the latest events may hold. These ask for the events' order, sums do not."""
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


def gathered_values(
    plan: SlidingPlan, together: Sequence[Gathered], events: ir.Table, order: Sequence[str]
) -> ir.Table:
    """Each event that has a value to gather; of what is counted by a sample, each value's first event only.

    Returns:
        The key, `BATCH_ORDER`, `order`, and by name each value as of `gathered.value_text`, null where it is none.
    """
    on = events.filter(reduce(or_, (each.matches(events) for each in together)))
    columns = dict.fromkeys((plan.key, *BATCH_ORDER, *order))
    if together[0].how == "counts":
        values = {each.name: value_text(resolve(each.value, on), each.how) for each in together}
        known = {each.name: ibis.ifelse(each.matches(on), values[each.name], ibis.null("string")) for each in together}
        return on.select(*columns, **known)
    (sampled,) = together
    valued = on.mutate(**{sampled.name: value_text(resolve(sampled.value, on), sampled.how)})
    window = ibis.window(group_by=[plan.key, sampled.name], order_by=list(order), preceding=1, following=0)
    previous_ms = valued.event_time_ms.sum().over(window) - valued.event_time_ms
    seen = valued.select(plan.key, *BATCH_ORDER, sampled.name, previous_ms=previous_ms)
    return seen.filter(seen.previous_ms == 0).drop("previous_ms")


def gathered_texts(
    plan: SlidingPlan, together: Sequence[Gathered], values: ir.Table, time: str, collect: Collect
) -> ir.Table:
    """The key, `BATCH_ORDER`, and by name what is gathered up to each moment.

    Args:
        plan: the windows.
        together: one of the plan's `together`.
        values: `gathered_values`.
        time: the column of their time.
        collect: the engine's.
    """
    # RANGE, so that events of one moment see each other, in whatever order they come.
    window = ibis.range_window(group_by=plan.key, order_by=time, preceding=None, following=0)
    if together[0].how == "counts":
        return collect(values, [each.name for each in together], window)
    (name,) = (each.name for each in together)
    one, none = ibis.literal(1, "int64"), ibis.literal(0, "int64")
    held = {f"held_{n}": ibis.ifelse(is_of(values[name], n), one, none).sum().over(window) for n in range(LEVELS)}
    counted = values.select(**held, **{column: values[column] for column in values.columns})
    levelled = counted.mutate(level=level_of(lambda n: counted[f"held_{n}"])).drop(*held)
    kept = ibis.ifelse(levelled[name] < bound_of(levelled.level), levelled[name], ibis.null("string"))
    found = collect(levelled.mutate(**{name: kept}), [name], window)
    return found.mutate(**{name: found.level.cast("string").concat(found[name])})


def ticks(
    plan: SlidingPlan,
    events: ir.Table,
    listed: ir.Table,
    pairs: Sequence[ir.Table],
    texts: Sequence[ir.Table],
    order: Sequence[str],
) -> list[ir.Table]:
    """Key, tick_ms, and what each window gains or loses there: one entry an event, one expiry a window it was in.

    They come as several tables of the same columns: the entries, the expiries of each length, the different values and
    the lists.

    Args:
        plan: the windows.
        events: with the key.
        listed: `listed_events` of the same events.
        pairs: `distinct_pairs` of the same events, for each of the plan's.
        texts: `gathered_texts` of the same events, for each of the plan's `together`.
        order: columns that put a key's `listed` in `BATCH_ORDER`.
    """
    lengths = {s.length for s in plan.sums} | {length for e in plan.extremes for _, length in e.windows}
    entries = [_entries(plan, events)] if lengths else []
    expiries = [_expiries(plan, events, length) for length in sorted(filter(None, lengths))]
    different = [t for d, table in zip(plan.distincts, pairs, strict=True) for t in _different(plan, d, table)]
    latest = [_latest(plan, bundle, listed, order) for bundle in plan.bundles]
    gathered = [_gathered(plan, own, table) for own, table in zip(plan.together, texts, strict=True)]
    return [*entries, *expiries, *different, *latest, *gathered]


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


def rows(plan: SlidingPlan, tile: ir.Table, order: Sequence[str]) -> ir.Table:
    """Running sums over the tiles: the features at every tick.

    Args:
        plan: the windows.
        tile: `framed_extremes`.
        order: columns that put a key's tiles in the order of time.
    """
    window = ibis.window(group_by=plan.key, order_by=list(order), preceding=None, following=0)
    framed = [name for e in plan.extremes for name, length in e.windows if length is not None]
    ever = {name: (e.name, e.how) for e in plan.extremes for name, length in e.windows if length is None}
    sums = {c: (c, how) for c, how in columns(plan).items() if c not in {e.name for e in plan.extremes}}
    running = {name: getattr(tile[c], how)().over(window) for name, (c, how) in (sums | ever).items()}
    windows = tile.select(plan.key, "tick_ms", *framed, **running)
    values: dict[str, ir.Value] = {name: windows[name] for name in windows.columns}
    for extreme in plan.extremes:
        for name, _ in extreme.windows:
            plain = not extreme.ordered or extreme.placed
            values[name] = windows[name] if plain else _placed_value(windows[name], extreme.kind)
    for bundle in plan.bundles:
        values |= _values_of_latest(bundle, windows[bundle[0].name].substr(PREFIX))
    values |= {each.name: windows[each.name].substr(PREFIX) for each in plan.gathered}
    stamp = {T_MS: second_end(windows.tick_ms)}
    return windows.select(plan.key, **stamp, **in_schema(plan, values))


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


def _latest(plan: SlidingPlan, bundle: list[Latest], events: ir.Table, order: Sequence[str]) -> ir.Table:
    """A tick with the last K as text behind its place in the key's order, so that the newest is the maximum."""
    on = events.filter(bundle[0].matches(events))
    held = on.mutate(held=_of_latest(plan, bundle, on, order))
    return _tick(plan, held, held.event_time_ms.cast("int64"), {bundle[0].name: placed(held, held.held)})


def _of_latest(plan: SlidingPlan, bundle: list[Latest], on: ir.Table, order: Sequence[str]) -> ir.StringValue:
    """What the last K events up to each give: their sums, or their values, newest first; joined."""
    preceding = before_latest(max(latest.k for latest in bundle))
    window = ibis.window(group_by=plan.key, order_by=list(order), preceding=preceding, following=0)
    if bundle[0].how != "list":
        own = [latest.own(on) for latest in bundle]
        # Flink has no frame of one row.
        sums = own if preceding == 0 else [value.sum().over(window) for value in own]
        return ibis.literal(SEPARATOR).join([total.cast("string") for total in sums])
    value = bundle[0].own(on)
    if preceding == 0:
        return value
    if order == BATCH_ORDER:
        newest_first = [ibis.desc(column) for column in order]
        backwards = ibis.window(group_by=plan.key, order_by=newest_first, preceding=0, following=preceding)
        return value.collect().over(backwards).join(SEPARATOR)
    # A stream's frames only run from old to new: the joined names are turned, each of them turned before.
    return value.reverse().collect().over(window).join(SEPARATOR).reverse()


def _gathered(plan: SlidingPlan, together: Sequence[Gathered], texts: ir.Table) -> ir.Table:
    """A tick with what is gathered, placed as of the latest."""
    placed_texts = {each.name: placed(texts, texts[each.name]) for each in together}
    return _tick(plan, texts, texts.event_time_ms.cast("int64"), placed_texts)


def _values_of_latest(bundle: list[Latest], text: ir.StringValue) -> dict[str, ir.Value]:
    """The features of a bundle from its text, whose place is cut off."""
    parts, longest = text.split(SEPARATOR), max(latest.k for latest in bundle)
    if bundle[0].how != "list":
        return {each.name: ibis.coalesce(parts[i].cast("int64"), 0) for i, each in enumerate(bundle)}
    return {each.name: parts if each.k == longest else parts[: each.k] for each in bundle}


def _placed_value(text: ir.StringValue, kind: dt.DataType) -> ir.Value:
    return text.substr(PREFIX) if kind.is_string() else text.substr(PREFIX).cast(kind)


def _extreme_of(extreme: Extreme, events: ir.Table) -> ir.Value:
    value = resolve(extreme.value, events)
    value = placed(events, value.cast("string")) if extreme.ordered else value.cast("int64")
    return ibis.ifelse(extreme.matches(events), value, ibis.null(value.type()))


def _tick(plan: SlidingPlan, table: ir.Table, tick_ms: ir.IntegerValue, given: Mapping[str, ir.Value]) -> ir.Table:
    """Key, tick_ms and every column of a tile: what is given, else what changes nothing."""
    texts = {*plan.texts, *(e.name for e in plan.extremes if e.ordered)}
    nothing: dict[str, ir.Value] = {
        c: _zero() if how == "sum" else ibis.null("string" if c in texts else "int64")
        for c, how in columns(plan).items()
    }
    return table.select(plan.key, tick_ms=tick_ms, **(nothing | dict(given)))


def before(length: timedelta) -> int:
    return milliseconds(length) - 1


def before_latest(count: int) -> int:
    return count - 1


def _zero() -> ir.IntegerValue:
    return ibis.literal(0, "int64")

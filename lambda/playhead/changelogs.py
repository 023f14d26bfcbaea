"""Events to the whole changelog of a group, for engines that see all events at once."""

from __future__ import annotations

import ibis.expr.types as ir

from playhead import sessions, sliding
from playhead.dimensions import enriched
from playhead.gathered import collected
from playhead.plan import SlidingPlan, SpeedPlan
from playhead.relations import BATCH_ORDER, How, keyed, second_end, union


def tile_columns(plan: SpeedPlan) -> dict[str, How]:
    """The columns of a tile, beside key and time, and how ticks of one second combine."""
    return sliding.columns(plan) if isinstance(plan, SlidingPlan) else dict.fromkeys(sessions.columns(plan), "max")


def tiles(plan: SpeedPlan, ticks: ir.Table) -> ir.Table:
    """One row per (key, second): the batch engines' form of the tumbling window."""
    keyed = ticks.mutate(second=second_end(ticks.tick_ms))
    columns = {c: getattr(keyed[c], how)() for c, how in tile_columns(plan).items()}
    return keyed.group_by(plan.key, "second").agg(tick_ms=keyed.tick_ms.max(), **columns).drop("second")


def changelog(plan: SpeedPlan, events: ir.Table) -> ir.Table:
    """The whole changelog of a group from its events and the dimensions it names, for a batch engine.

    Returns:
        One row per (key, event_timestamp_ms) at which a value changes: the key, `event_timestamp_ms`, the features.
        Every expiry is in it, also those after the last event.
    """
    on_time = keyed(plan, enriched(events, plan.dimensions))
    if isinstance(plan, SlidingPlan):
        pairs = [sliding.distinct_pairs(plan, distinct, on_time, BATCH_ORDER) for distinct in plan.distincts]
        values = [sliding.gathered_values(plan, each, on_time, BATCH_ORDER) for each in plan.together]
        texts = [
            sliding.gathered_texts(plan, each, own, "event_time_ms", collected)
            for each, own in zip(plan.together, values, strict=True)
        ]
        ticks = sliding.ticks(plan, on_time, sliding.listed_events(plan, on_time), pairs, texts, BATCH_ORDER)
        tile = tiles(plan, union(ticks))
        framed = sliding.framed_extremes(plan, tile.mutate(second=second_end(tile.tick_ms)), "second", sliding.before)
        return sliding.rows(plan, framed, ("tick_ms",))
    ticks = sessions.ticks(plan, on_time, sessions.pairs(plan, on_time, BATCH_ORDER), BATCH_ORDER)
    return sessions.rows(plan, tiles(plan, sessions.progress(plan, union(ticks), ("tick_ms",))))

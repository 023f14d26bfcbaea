"""The contract of DESIGN 4, read naively: O(events) per value, no windows, no state. For tests and `playhead eval`.

It shares nothing with the engines but the declarations: an ibis filter is evaluated here by walking its expression over
one event's Python dict.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from playhead.declare import (
    VALID_FROM_MS,
    Aggregate,
    Attribute,
    Count,
    CountDistinct,
    Days,
    Derived,
    Dimension,
    FeatureGroup,
    First,
    Last,
    LastK,
    LatestEvents,
    Lifetime,
    Max,
    Mean,
    Min,
    Ratio,
    Session,
    SessionStart,
    Sliding,
    Sum,
    TopK,
    Window,
    names_of,
)
from playhead.errors import UnsupportedError
from playhead.expressions import evaluate_over
from schemas.tables import event_ibis_schema

Event = Mapping[str, Any]

_DAY_MS = 86_400_000
Rows = Mapping[str, Sequence[Mapping[str, Any]]]
"""Dimension to its rows."""

_EVENT_TYPES = dict(event_ibis_schema())


def enriched(group: FeatureGroup, events: Sequence[Event], dimensions: Rows) -> Sequence[Event]:
    """The events with the columns of the group's dimensions, of the latest row of their key that is not after them."""
    for dimension in group.enrich:
        events = [
            {**event, **_held(dimension, event[dimension.key], event["event_time_ms"], dimensions)} for event in events
        ]
    return events


def attributes_at(group: FeatureGroup, entity: str, time_ms: int, dimensions: Rows) -> dict[str, Any]:
    """The features of a group of attributes as they hold at a moment, epoch milliseconds; null where nothing does."""
    (dimension,) = {f.of.name: f.of for f in group.features if isinstance(f, Attribute)}.values()
    held = _held(dimension, entity, time_ms, dimensions)
    return {name: held[f"{dimension.name}_{name}"] for name in group.feature_names}


def _held(dimension: Dimension, key: str | None, time_ms: int, dimensions: Rows) -> dict[str, Any]:
    rows = [r for r in dimensions.get(dimension.name, ()) if r[dimension.key] == key and r[VALID_FROM_MS] <= time_ms]
    row = max(rows, key=lambda r: r[VALID_FROM_MS], default={})
    return {f"{dimension.name}_{column}": row.get(column) for column in dimension.columns}


def values_at(group: FeatureGroup, events: Sequence[Event], entity: str, time_ms: int) -> dict[str, Any]:
    """The features of one entity as a training row at `time_ms` sees them.

    Args:
        group: the declared group.
        events: events of any entities, in any order, without duplicates, `enriched` if the group is.
        entity: value of the group's key.
        time_ms: epoch milliseconds; the latest row at or before it counts, so events of its own second do not.

    Returns:
        Every feature of the group. Counts are 0 and ratios null without events.
    """
    stamp = time_ms // 1000 * 1000
    seen = [e for e in events if e[group.entity.key] == entity and e["event_time_ms"] < stamp]
    seen.sort(key=lambda e: (e["event_time_ms"], e["kafka_partition"], e["kafka_offset"]))
    types = _EVENT_TYPES | {name: kind for d in group.enrich for name, kind in d.event_columns.items()}
    values: dict[str, Any] = {}
    for feature in group.features:
        if isinstance(feature, Attribute):
            raise UnsupportedError("attributes are no aggregates: see attributes_at")
        if isinstance(feature, Ratio):
            bottom = values[feature.denominator]
            top = values[feature.numerator]
            values[feature.name] = top / bottom if bottom and top is not None else None
        elif isinstance(feature, Derived):
            numbers = {n: v for n, v in values.items() if not isinstance(v, str | list)}
            kinds = {n: "float64" if isinstance(v, float) else "int64" for n, v in numbers.items()}
            values[feature.name] = evaluate_over(feature.value, numbers, kinds)
        elif isinstance(feature, LastK):
            matching = [e for e in seen if evaluate_over(feature.where, e, types)]
            known = [v for e in matching if (v := evaluate_over(feature.value, e, types)) is not None]
            values[feature.name] = known[::-1][: feature.k] or None
        else:
            for name, window in zip(names_of(feature), feature.over, strict=False):
                values[name] = _aggregate(feature, window, _inside(window, seen, stamp), types)
    return values


def sessions(events: Sequence[Event], key: str, gap_ms: int) -> list[list[Event]]:
    """All sessions of all keys, each the list of its events in order."""
    found: list[list[Event]] = []
    last: dict[str, list[Event]] = {}
    for event in sorted(events, key=lambda e: (e["event_time_ms"], e["kafka_partition"], e["kafka_offset"])):
        current = last.get(event[key])
        if current is None or event["event_time_ms"] - current[-1]["event_time_ms"] > gap_ms:
            current = last[event[key]] = []
            found.append(current)
        current.append(event)
    return found


def _inside(window: Any, seen: list[Event], stamp: int) -> list[Event] | None:
    if isinstance(window, Sliding):
        start = stamp - int(window.length.total_seconds() * 1000)
        return [e for e in seen if e["event_time_ms"] >= start]
    if isinstance(window, Lifetime | LatestEvents):
        return seen
    if isinstance(window, Session):
        gap_ms = int(window.gap.total_seconds() * 1000)
        if not seen or stamp - seen[-1]["event_time_ms"] > gap_ms:
            return None
        first = len(seen) - 1
        while first > 0 and seen[first]["event_time_ms"] - seen[first - 1]["event_time_ms"] <= gap_ms:
            first -= 1
        return seen[first:]
    if isinstance(window, Days):
        start = stamp // _DAY_MS * _DAY_MS - (window.count - 1) * _DAY_MS
        return [e for e in seen if e["event_time_ms"] >= start]
    raise UnsupportedError(f"the oracle does not read {type(window).__name__} windows")


def _aggregate(
    feature: Aggregate | SessionStart, window: Window, events: list[Event] | None, types: Mapping[str, Any]
) -> Any:
    """Of events in their order; None is a window that cannot be told."""
    if events is None:
        return None
    if isinstance(feature, SessionStart):
        return int(events[0]["event_time_ms"])
    matching = [e for e in events if evaluate_over(feature.where, e, types)]
    if isinstance(window, LatestEvents):
        matching = matching[-window.count :]
    if isinstance(feature, Count):
        return len(matching)
    known = [value for e in matching if (value := evaluate_over(feature.value, e, types)) is not None]
    if isinstance(feature, TopK):
        counts = Counter(known)
        return sorted(counts, key=lambda value: (-counts[value], value))[: feature.k] or None
    return _NAIVE[type(feature)](known)


_NAIVE: Mapping[type, Callable[[list[Any]], Any]] = {
    Sum: sum,
    Mean: lambda known: sum(known) / len(known) if known else None,
    Min: lambda known: min(known, default=None),
    Max: lambda known: max(known, default=None),
    First: lambda known: known[0] if known else None,
    Last: lambda known: known[-1] if known else None,
    CountDistinct: lambda known: len(set(known)),
}

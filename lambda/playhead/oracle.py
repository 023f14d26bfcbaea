"""The contract of DESIGN 4, read naively: O(events) per value, no windows, no state. For tests and `playhead eval`.

It shares nothing with the engines but the declarations: an ibis filter is evaluated here by walking its expression over
one event's Python dict.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from playhead.declare import (
    Aggregate,
    Count,
    CountDistinct,
    Days,
    Derived,
    FeatureGroup,
    First,
    Last,
    LastK,
    Lifetime,
    Max,
    Mean,
    Min,
    Ratio,
    Session,
    SessionStart,
    Sliding,
    Sum,
    names_of,
)
from playhead.errors import UnsupportedError
from playhead.expressions import evaluate_over
from schemas.tables import event_ibis_schema

Event = Mapping[str, Any]

_DAY_MS = 86_400_000
_EVENT_TYPES = dict(event_ibis_schema())


def values_at(group: FeatureGroup, events: Sequence[Event], entity: str, time_ms: int) -> dict[str, Any]:
    """The features of one entity as a training row at `time_ms` sees them.

    Args:
        group: the declared group.
        events: events of any entities, in any order, without duplicates.
        entity: value of the group's key.
        time_ms: epoch milliseconds; the latest row at or before it counts, so events of its own second do not.

    Returns:
        Every feature of the group. Counts are 0 and ratios null without events.
    """
    stamp = time_ms // 1000 * 1000
    seen = [e for e in events if e[group.entity.key] == entity and e["event_time_ms"] < stamp]
    seen.sort(key=lambda e: (e["event_time_ms"], e["kafka_partition"], e["kafka_offset"]))
    values: dict[str, Any] = {}
    for feature in group.features:
        if isinstance(feature, Ratio):
            bottom = values[feature.denominator]
            top = values[feature.numerator]
            values[feature.name] = top / bottom if bottom and top is not None else None
        elif isinstance(feature, Derived):
            numbers = {n: v for n, v in values.items() if not isinstance(v, str | list)}
            types = {n: "float64" if isinstance(v, float) else "int64" for n, v in numbers.items()}
            values[feature.name] = evaluate_over(feature.value, numbers, types)
        elif isinstance(feature, LastK):
            matching = [e for e in seen if _evaluate(feature.where, e) and _evaluate(feature.value, e) is not None]
            values[feature.name] = [_evaluate(feature.value, e) for e in reversed(matching)][: feature.k] or None
        else:
            for name, window in zip(names_of(feature), feature.over, strict=False):
                values[name] = _aggregate(feature, _inside(window, seen, stamp))
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
    if isinstance(window, Lifetime):
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


def _aggregate(feature: Aggregate | SessionStart, events: list[Event] | None) -> Any:
    """Of events in their order; None is a window that cannot be told."""
    if events is None:
        return None
    if isinstance(feature, SessionStart):
        return int(events[0]["event_time_ms"])
    matching = [e for e in events if _evaluate(feature.where, e)]
    if isinstance(feature, Count):
        return len(matching)
    known = [value for e in matching if (value := _evaluate(feature.value, e)) is not None]
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


def _evaluate(expression: Any, event: Event) -> Any:
    return evaluate_over(expression, event, _EVENT_TYPES)

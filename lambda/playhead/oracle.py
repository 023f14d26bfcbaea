"""The contract of DESIGN 4, read naively: O(events) per value, no windows, no state. For tests and `playhead eval`.

It shares nothing with the engines but the declarations: an ibis filter is evaluated here by walking its expression over
one event's Python dict.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import ibis.expr.operations as ops

from playhead.declare import (
    Count,
    Days,
    FeatureGroup,
    LastK,
    Mean,
    Ratio,
    Session,
    SessionStart,
    Sliding,
    Sum,
    names_of,
)
from playhead.errors import UnsupportedError
from playhead.plan import events_table

Event = Mapping[str, Any]

_DAY_MS = 86_400_000

_BINARY = {
    ops.Equals: lambda a, b: a == b,
    ops.NotEquals: lambda a, b: a != b,
    ops.Less: lambda a, b: a < b,
    ops.LessEqual: lambda a, b: a <= b,
    ops.Greater: lambda a, b: a > b,
    ops.GreaterEqual: lambda a, b: a >= b,
    ops.Add: lambda a, b: a + b,
    ops.Subtract: lambda a, b: a - b,
}


def values_at(group: FeatureGroup, events: Sequence[Event], entity: str, time_ms: int) -> dict[str, Any]:
    """The features of one entity as a training row at `time_ms` sees them.

    Args:
        group: the declared group.
        events: events of any entities, in any order, without duplicates.
        entity: value of the group's key.
        time_ms: epoch milliseconds; the latest row at or before it counts, so events of its own second do not.

    Returns:
        Every feature of the group. Counts are 0 and ratios null without events; those of calendar windows are null
        before the end of the first day with an event.
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
    if isinstance(window, Session):
        gap_ms = int(window.gap.total_seconds() * 1000)
        if not seen or stamp - seen[-1]["event_time_ms"] > gap_ms:
            return None
        first = len(seen) - 1
        while first > 0 and seen[first]["event_time_ms"] - seen[first - 1]["event_time_ms"] <= gap_ms:
            first -= 1
        return seen[first:]
    if isinstance(window, Days):
        end = stamp // _DAY_MS * _DAY_MS
        before = [e for e in seen if e["event_time_ms"] < end]
        return [e for e in before if e["event_time_ms"] >= end - window.count * _DAY_MS] if before else None
    raise UnsupportedError(f"the oracle does not read {type(window).__name__} windows")


def _aggregate(feature: Count | Sum | Mean | SessionStart, events: list[Event] | None) -> int | float | None:
    if events is None:
        return None
    if isinstance(feature, SessionStart):
        return int(events[0]["event_time_ms"])
    matching = [e for e in events if _evaluate(feature.where, e)]
    if isinstance(feature, Count):
        return len(matching)
    if isinstance(feature, Mean):
        known = [value for e in matching if (value := _evaluate(feature.value, e)) is not None]
        return sum(known) / len(known) if known else None
    return sum(_evaluate(feature.value, e) or 0 for e in matching)


def _evaluate(expression: Any, event: Event) -> Any:
    return _walk(_node(_ById(expression)), event)


class _ById:
    """An expression as a key: `==` between expressions makes another expression."""

    def __init__(self, expression: Any) -> None:
        self.expression = expression

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ById) and self.expression is other.expression

    def __hash__(self) -> int:
        return id(self.expression)


@functools.lru_cache(maxsize=1024)
def _node(key: _ById) -> Any:
    return key.expression.resolve(events_table()).op()


def _walk(node: Any, event: Event) -> Any:
    """SQL's three-valued logic on one event: None is null."""
    if isinstance(node, ops.Field):
        return event[node.name]
    if isinstance(node, ops.Literal):
        return node.value
    if isinstance(node, ops.Cast):
        return _walk(node.arg, event)
    if isinstance(node, ops.InValues):
        value = _walk(node.value, event)
        return None if value is None else value in [_walk(o, event) for o in node.options]
    if isinstance(node, ops.Not):
        value = _walk(node.arg, event)
        return None if value is None else not value
    if isinstance(node, ops.And | ops.Or):
        pair = (_walk(node.left, event), _walk(node.right, event))
        decisive = isinstance(node, ops.Or)
        if decisive in pair:
            return decisive
        return None if None in pair else not decisive
    if type(node) in _BINARY:
        left, right = _walk(node.left, event), _walk(node.right, event)
        return None if left is None or right is None else _BINARY[type(node)](left, right)
    raise UnsupportedError(f"the oracle does not evaluate {type(node).__name__}")

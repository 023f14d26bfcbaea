"""The plan: what a declared group means, said once for every engine.

A plan is data. `relations.py` turns it into ibis tables, which Flink, Spark and DuckDB run. Nulls, bounds and ties are
decided here and there, never in an engine's layer.
"""

from __future__ import annotations

import functools
import hashlib
import operator
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeAlias, cast

import ibis
import ibis.expr.datatypes as dt
import ibis.expr.types as ir

from playhead.declare import (
    Count,
    Days,
    Expression,
    FeatureGroup,
    LastK,
    Mean,
    Ratio,
    Session,
    SessionStart,
    Sliding,
    Sum,
    Window,
    names_of,
)
from playhead.errors import DeclarationError
from schemas.tables import event_ibis_schema, lake_ibis_schema

_SUM, _COUNT = "__sum", "__count"
"""Behind a mean's name: what it is made of. No declared name has two _ together."""

MEANING = 1
"""Raise it when the same declaration comes to mean another value: it is part of every fingerprint."""


def events_table() -> ir.Table:
    """The event table that declarations are written against."""
    return ibis.table(event_ibis_schema(), name="events")


def lake_table(name: str) -> ir.Table:
    """The master data as an engine knows it: the event's columns, and where it came from."""
    return ibis.table(lake_ibis_schema(), name=name)


@dataclass(frozen=True)
class Measure:
    """What one event adds to a sum: 1 or its `value` when it matches `where`, else 0."""

    name: str
    where: Expression
    value: Expression | None = None

    def contribution(self, events: ir.Table) -> ir.IntegerValue:
        """int64, never null."""
        one = ibis.literal(1, "int64")
        amount = one if self.value is None else ibis.coalesce(self.value.resolve(events), 0)
        return ibis.ifelse(self.matches(events), amount, ibis.literal(0, "int64"))

    def matches(self, events: ir.Table) -> ir.BooleanValue:
        """Whether the event counts; null (an absent field) counts as no."""
        return self.where.resolve(events)


@dataclass(frozen=True)
class WindowedSum:
    """A measure over one sliding window: the feature `name`."""

    name: str
    measure: Measure
    length: timedelta


@dataclass(frozen=True)
class Latest:
    """The last `k` values, most recent first."""

    name: str
    value: Expression
    where: Expression
    k: int


@dataclass(frozen=True)
class SlidingPlan:
    """Windows exact to the second, and the latest values.

    Here and in the other plans, what a mean is made of is a sum that is not in the schema.
    """

    name: str
    key: str
    sums: tuple[WindowedSum, ...]
    latest: tuple[Latest, ...]
    ratios: tuple[Ratio, ...]
    schema: tuple[tuple[str, dt.DataType], ...]
    fingerprint: str

    @property
    def empty(self) -> dict[str, int]:
        """Features that are not null without a row: an entity's windows are empty before its first event."""
        return {s.name: 0 for s in self.sums if s.name in dict(self.schema)}


@dataclass(frozen=True)
class SessionPlan:
    """The live session of a key. `start` is the feature that holds the session's first moment."""

    name: str
    key: str
    gap: timedelta
    start: str
    measures: tuple[Measure, ...]
    ratios: tuple[Ratio, ...]
    schema: tuple[tuple[str, dt.DataType], ...]
    fingerprint: str

    @property
    def empty(self) -> dict[str, int]:
        """None: without a row there is no session."""
        return {}


@dataclass(frozen=True)
class DailyPlan:
    """Calendar windows: partials per day, and their sums over `windows` days."""

    name: str
    key: str
    measures: tuple[Measure, ...]
    windows: tuple[tuple[str, str, int], ...]
    """(feature, measure, number of days)."""
    ratios: tuple[Ratio, ...]
    schema: tuple[tuple[str, dt.DataType], ...]
    fingerprint: str

    @property
    def empty(self) -> dict[str, int]:
        """None: without a row, no day of the entity may have been published."""
        return {}


Plan: TypeAlias = SlidingPlan | SessionPlan | DailyPlan


def compile_group(group: FeatureGroup) -> Plan:
    """The plan of a declared group.

    Raises:
        DeclarationError: an expression that names no column of the events, or whose type does not fit; it says where
            the group was declared.
    """
    kind = type(group.windows[0])
    _check(group)
    builders = {Sliding: _sliding, Session: _session, Days: _daily}
    return cast("Plan", builders[kind](group))


def _sliding(group: FeatureGroup) -> SlidingPlan:
    sums = tuple(
        WindowedSum(name, measure, window.length)
        for name, measure, window in _windowed(group)
        if isinstance(window, Sliding)
    )
    latest = tuple(Latest(f.name, f.value, f.where, f.k) for f in group.features if isinstance(f, LastK))
    return SlidingPlan(group.name, group.entity.key, sums, latest, _ratios(group), _schema(group), fingerprint(group))


def _session(group: FeatureGroup) -> SessionPlan:
    gaps = {w.gap for w in group.windows if isinstance(w, Session)}
    starts = [f.name for f in group.features if isinstance(f, SessionStart)]
    if len(gaps) != 1 or len(starts) != 1:
        raise DeclarationError(
            f"group {group.name!r} at {group.declared_at}: needs one session gap and one SessionStart"
        )
    measures = tuple(measure for _, measure, _ in _windowed(group))
    return SessionPlan(
        group.name,
        group.entity.key,
        gaps.pop(),
        starts[0],
        measures,
        _ratios(group),
        _schema(group),
        fingerprint(group),
    )


def _daily(group: FeatureGroup) -> DailyPlan:
    windowed = list(_windowed(group))
    windows = tuple((name, measure.name, w.count) for name, measure, w in windowed if isinstance(w, Days))
    measures = tuple({measure.name: measure for _, measure, _ in windowed}.values())
    return DailyPlan(
        group.name, group.entity.key, measures, windows, _ratios(group), _schema(group), fingerprint(group)
    )


def _windowed(group: FeatureGroup) -> Iterator[tuple[str, Measure, Window]]:
    """(name, measure, window) of every sum: of features, and of what means are made of."""
    for feature in group.features:
        if isinstance(feature, Count | Sum | Mean):
            for name, window in zip(names_of(feature), feature.over, strict=True):
                for part, measure in _measures(feature).items():
                    yield f"{name}{part}", measure, window


def _measures(feature: Count | Sum | Mean) -> dict[str, Measure]:
    """What is summed, by what is put behind the feature's name."""
    if isinstance(feature, Count):
        return {"": Measure(feature.name, feature.where)}
    if isinstance(feature, Sum):
        return {"": Measure(feature.name, feature.where, feature.value)}
    known = feature.where & feature.value.notnull()
    return {
        _SUM: Measure(f"{feature.name}{_SUM}", known, feature.value),
        _COUNT: Measure(f"{feature.name}{_COUNT}", known),
    }


def _ratios(group: FeatureGroup) -> tuple[Ratio, ...]:
    """Ratios and means, each of two sums; in the order of declaration, as a ratio may be of a mean before it."""
    found: list[Ratio] = []
    for feature in group.features:
        if isinstance(feature, Ratio):
            found.append(feature)
        elif isinstance(feature, Mean):
            found += [Ratio(name, f"{name}{_SUM}", f"{name}{_COUNT}") for name in names_of(feature)]
    return tuple(found)


def _schema(group: FeatureGroup) -> tuple[tuple[str, dt.DataType], ...]:
    types: dict[str, dt.DataType] = {f.name: dt.Array(dt.string) for f in group.features if isinstance(f, LastK)}
    types |= {ratio.name: dt.float64 for ratio in _ratios(group)}
    return tuple((name, types.get(name, dt.int64)) for name in group.feature_names)


def _check(group: FeatureGroup) -> None:
    events = events_table()
    if group.entity.key not in events.columns:
        raise DeclarationError(
            f"group {group.name!r} at {group.declared_at}: events have no column {group.entity.key!r}"
        )
    for feature in group.features:
        if isinstance(feature, Count | Sum | Mean | LastK):
            where = _resolve(group, feature.name, feature.where)
            _expect(group, feature.name, "where", where, dt.Boolean)
        if isinstance(feature, Sum | Mean):
            _expect(group, feature.name, "value", _resolve(group, feature.name, feature.value), dt.Integer)
        if isinstance(feature, LastK):
            _expect(group, feature.name, "value", _resolve(group, feature.name, feature.value), dt.String)


def _resolve(group: FeatureGroup, feature: str, expression: Expression) -> ir.Value:
    try:
        return expression.resolve(events_table())
    except (AttributeError, TypeError, ibis.common.exceptions.IbisError) as error:
        raise DeclarationError(
            f"feature {feature!r} of group {group.name!r} at {group.declared_at}: {error}",
            hint=f"columns: {', '.join(events_table().columns)}",
        ) from error


def _expect(group: FeatureGroup, feature: str, part: str, value: ir.Value, kind: type[dt.DataType]) -> None:
    if not isinstance(value.type(), kind):
        raise DeclarationError(
            f"feature {feature!r} of group {group.name!r} at {group.declared_at}: "
            f"its {part} is {value.type()}, expected {kind.__name__.lower()}"
        )


def any_matches(events: ir.Table, wheres: Iterable[Expression]) -> ir.BooleanValue:
    """True where at least one filter holds."""
    # By node, because expressions compare to expressions; a filter that several measures share is tested once.
    distinct = dict.fromkeys(w.resolve(events).op() for w in wheres)
    return functools.reduce(operator.or_, (node.to_expr() for node in distinct))


def fingerprint(group: FeatureGroup) -> str:
    """16 hex digits that change when the meaning of a group's values does, and not when only its text does.

    Shape: the group, its key, and of each output its aggregate, window and the SQL of its expressions.
    """
    events = events_table()
    parts: list[object] = [MEANING, group.name, group.entity.key]
    for feature in group.features:
        parts.append((type(feature).__name__, feature.name))
        for attribute, value in sorted(vars(feature).items()):
            if hasattr(value, "resolve"):
                value = ibis.to_sql(events.select(x=value.resolve(events)), dialect="duckdb")
            parts.append((attribute, str(value)))
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]

"""The plan: what a declared group means, said once for every engine.

A plan is data. `relations.py` turns it into ibis tables, which Flink, Spark and DuckDB run. Nulls, bounds and ties are
decided here and there, never in an engine's layer.
"""

from __future__ import annotations

import functools
import hashlib
import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, TypeAlias

import ibis
import ibis.expr.datatypes as dt
import ibis.expr.types as ir

from playhead.declare import (
    Aggregate,
    Count,
    CountDistinct,
    Days,
    Derived,
    Expression,
    FeatureGroup,
    First,
    Last,
    LastK,
    Max,
    Mean,
    Min,
    Ratio,
    Session,
    SessionStart,
    Sliding,
    Sum,
    Window,
    names_of,
)
from playhead.errors import DeclarationError, UnsupportedError, did_you_mean
from playhead.expressions import check, evaluate_over, resolve
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
    """What one event adds to a sum: 1 or its `value` when it matches `where`, else 0.

    Of calendar windows it may be to an extreme instead: its `value`, or null.
    """

    name: str
    where: Expression
    value: Expression | None = None
    how: Literal["sum", "min", "max"] = "sum"

    def contribution(self, events: ir.Table) -> ir.IntegerValue:
        """int64; never null to a sum."""
        amount: ir.Value = ibis.literal(1, "int64")
        if self.value is not None:
            amount = resolve(self.value, events)
            amount = ibis.coalesce(amount, 0) if self.how == "sum" else amount
        return ibis.ifelse(self.matches(events), amount.cast("int64"), self.nothing)

    @property
    def nothing(self) -> ir.IntegerValue:
        """What changes nothing: 0 in a sum, null in an extreme."""
        return ibis.literal(0, "int64") if self.how == "sum" else ibis.null("int64")

    def matches(self, events: ir.Table) -> ir.BooleanValue:
        """Whether the event counts; null (an absent field) counts as no."""
        return resolve(self.where, events)


@dataclass(frozen=True)
class WindowedSum:
    """A measure over one sliding window: the feature `name`. A lifetime has no length."""

    name: str
    measure: Measure
    length: timedelta | None


@dataclass(frozen=True)
class Valued:
    """A value of each event that matches `where`; null is none. `name` is the declared feature's."""

    name: str
    value: Expression
    where: Expression

    def matches(self, events: ir.Table) -> ir.BooleanValue:
        """Whether the event has a value that counts."""
        return resolve(self.where, events) & resolve(self.value, events).notnull()


@dataclass(frozen=True)
class Latest(Valued):
    """The last `k` values, most recent first."""

    k: int


@dataclass(frozen=True)
class Extreme(Valued):
    """The least or greatest of the values in windows: of the values themselves, or of the events in their order.

    Attributes:
        how: min (also of `First`) or max (also of `Last`).
        ordered: whether the events' order decides.
        kind: type of the value.
        windows: feature to length; None is a lifetime.
    """

    how: Literal["min", "max"]
    ordered: bool
    kind: dt.DataType
    windows: tuple[tuple[str, timedelta | None], ...]


@dataclass(frozen=True)
class Distinct(Valued):
    """How many different values are in windows; these as of `Extreme`."""

    windows: tuple[tuple[str, timedelta | None], ...]


@dataclass(frozen=True)
class Computed:
    """A feature from others of its group."""

    name: str
    value: Expression
    kind: dt.DataType


@dataclass(frozen=True)
class SlidingPlan:
    """Windows exact to the second, and the latest values.

    Here and in the other plans, what a mean is made of is a sum that is not in the schema.
    """

    name: str
    key: str
    sums: tuple[WindowedSum, ...]
    extremes: tuple[Extreme, ...]
    distincts: tuple[Distinct, ...]
    latest: tuple[Latest, ...]
    derived: tuple[Computed, ...]
    schema: tuple[tuple[str, dt.DataType], ...]
    fingerprint: str
    by_day: bool = False
    """Whether each UTC day of a key is a key of its own; see `relations.keyed`."""

    @property
    def lengths(self) -> set[timedelta | None]:
        """Of all its windows; None is a lifetime."""
        windows = [*(e.windows for e in self.extremes), *(d.windows for d in self.distincts)]
        return {s.length for s in self.sums} | {length for own in windows for _, length in own}

    @property
    def reach(self) -> timedelta | None:
        """How long before a row the events may lie that it holds; None: ever so long, as in lists and lifetimes."""
        lengths = [length for length in self.lengths if length is not None]
        return None if self.latest or None in self.lengths else max(lengths)

    @property
    def tail(self) -> timedelta:
        """How long after an event a row may come that it changes."""
        return max((length for length in self.lengths if length is not None), default=timedelta(0))

    @property
    def empty(self) -> dict[str, int | float]:
        """Features that are not null without a row: an entity's windows are empty before its first event."""
        names = [s.name for s in self.sums] + [name for d in self.distincts for name, _ in d.windows]
        values: dict[str, Any] = dict.fromkeys(names, 0) | {name: None for e in self.extremes for name, _ in e.windows}
        for computed in self.derived:
            types = {name: "float64" if isinstance(value, float) else "int64" for name, value in values.items()}
            values[computed.name] = evaluate_over(computed.value, values, types)
        return {name: values[name] for name, _ in self.schema if values.get(name) is not None}


@dataclass(frozen=True)
class SessionPlan:
    """The live session of a key. `start` is the feature that holds the session's first moment."""

    name: str
    key: str
    gap: timedelta
    start: str
    measures: tuple[Measure, ...]
    extremes: tuple[Extreme, ...]
    distincts: tuple[Distinct, ...]
    derived: tuple[Computed, ...]
    schema: tuple[tuple[str, dt.DataType], ...]
    fingerprint: str

    @property
    def empty(self) -> dict[str, int | float]:
        """None: without a row there is no session."""
        return {}

    @property
    def reach(self) -> timedelta | None:
        """As of `SlidingPlan`: a session may have begun ever so long before."""
        return None

    @property
    def tail(self) -> timedelta:
        """As of `SlidingPlan`: a session ends a gap after its last event."""
        return self.gap

    @property
    def made(self) -> tuple[tuple[str, dt.DataType], ...]:
        """What is counted and found, with its type; not what is derived from it, nor the session's start."""
        counted = [m.name for m in self.measures] + [d.name for d in self.distincts]
        return (*((name, dt.int64) for name in counted), *((e.name, e.kind) for e in self.extremes))


@dataclass(frozen=True)
class DailyPlan:
    """Calendar windows: partials per day, and their sums over `windows` days."""

    name: str
    key: str
    measures: tuple[Measure, ...]
    windows: tuple[tuple[str, str, int], ...]
    """(feature, measure, number of days)."""
    derived: tuple[Computed, ...]
    schema: tuple[tuple[str, dt.DataType], ...]
    fingerprint: str

    @property
    def empty(self) -> dict[str, int | float]:
        """None: without a row, no day of the entity may have been published."""
        return {}

    @property
    def today(self) -> SlidingPlan:
        """The running partials of each day of a key: what the speed layer knows of days that no batch has published.

        Its features are the measures; the last row of a day is that day's partial.
        """
        return SlidingPlan(
            name=f"{self.name}__today",
            key=self.key,
            sums=tuple(WindowedSum(m.name, m, None) for m in self.measures if m.how == "sum"),
            extremes=tuple(
                Extreme(m.name, m.value, m.where, m.how, False, dt.int64, ((m.name, None),))
                for m in self.measures
                if m.how != "sum"
            ),
            distincts=(),
            latest=(),
            derived=(),
            schema=tuple((measure.name, dt.int64) for measure in self.measures),
            fingerprint=self.fingerprint,
            by_day=True,
        )


Plan: TypeAlias = SlidingPlan | SessionPlan | DailyPlan


def compile_group(group: FeatureGroup) -> Plan:
    """The plan of a declared group.

    Raises:
        DeclarationError: an expression that names no column of the events, or whose type does not fit; it says where
            the group was declared.
    """
    _check(group)
    builders: Mapping[type[Window], Callable[[FeatureGroup], Plan]] = {
        Sliding: _sliding,
        Session: _session,
        Days: _daily,
    }
    return builders[group.kind](group)


def _sliding(group: FeatureGroup) -> SlidingPlan:
    sums = tuple(WindowedSum(name, measure, _length(window)) for name, measure, window in _windowed(group))
    latest = tuple(Latest(f.name, f.value, f.where, f.k) for f in group.features if isinstance(f, LastK))
    return SlidingPlan(
        group.name,
        group.entity.key,
        sums,
        _extremes(group),
        _distincts(group),
        latest,
        _derived(group),
        _schema(group),
        fingerprint(group),
    )


def _extremes(group: FeatureGroup) -> tuple[Extreme, ...]:
    return tuple(_extreme(group, f) for f in group.features if isinstance(f, Min | Max | First | Last))


def _distincts(group: FeatureGroup) -> tuple[Distinct, ...]:
    return tuple(
        Distinct(f.name, f.value, f.where, _lengths(f)) for f in group.features if isinstance(f, CountDistinct)
    )


def _extreme(group: FeatureGroup, feature: Min | Max | First | Last) -> Extreme:
    how: Literal["min", "max"] = "min" if isinstance(feature, Min | First) else "max"
    ordered = isinstance(feature, First | Last)
    kind = _kind(group, feature)
    return Extreme(feature.name, feature.value, feature.where, how, ordered, kind, _lengths(feature))


def _lengths(feature: Aggregate) -> tuple[tuple[str, timedelta | None], ...]:
    return tuple((name, _length(window)) for name, window in zip(names_of(feature), feature.over, strict=True))


def _length(window: Window) -> timedelta | None:
    return window.length if isinstance(window, Sliding) else None


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
        _extremes(group),
        _distincts(group),
        _derived(group),
        _schema(group),
        fingerprint(group),
    )


def _daily(group: FeatureGroup) -> DailyPlan:
    windowed = [*_windowed(group), *_windowed_extremes(group)]
    windows = tuple((name, measure.name, w.count) for name, measure, w in windowed if isinstance(w, Days))
    measures = tuple({measure.name: measure for _, measure, _ in windowed}.values())
    return DailyPlan(
        group.name, group.entity.key, measures, windows, _derived(group), _schema(group), fingerprint(group)
    )


def _windowed(group: FeatureGroup) -> Iterator[tuple[str, Measure, Window]]:
    """(name, measure, window) of every sum: of features, and of what means are made of."""
    for feature in group.features:
        if isinstance(feature, Count | Sum | Mean):
            for name, window in zip(names_of(feature), feature.over, strict=True):
                for part, measure in _measures(feature).items():
                    yield f"{name}{part}", measure, window


def _windowed_extremes(group: FeatureGroup) -> Iterator[tuple[str, Measure, Window]]:
    """The same of extremes."""
    for feature in group.features:
        if isinstance(feature, Min | Max):
            measure = Measure(feature.name, feature.where, feature.value, "min" if isinstance(feature, Min) else "max")
            for name, window in zip(names_of(feature), feature.over, strict=True):
                yield name, measure, window


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


def _derived(group: FeatureGroup) -> tuple[Computed, ...]:
    """Ratios, means and derived features, in the order of declaration: one may be of another before it.

    Raises:
        DeclarationError: a derived feature of what is no number before it.
    """
    zero = ibis.literal(0, "int64")
    known: dict[str, ir.Value] = {}
    found: list[Computed] = []

    def add(name: str, value: Expression, columns: Mapping[str, ir.Value]) -> None:
        resolved = _resolved(group, name, value, columns)
        _expect(group, name, "value", resolved, (dt.Integer, dt.Floating))
        computed = Computed(name, value, dt.int64 if resolved.type().is_integer() else dt.float64)
        known[name] = ibis.null(computed.kind)
        found.append(computed)

    for feature in group.features:
        if isinstance(feature, Ratio):
            add(feature.name, _quotient(feature), known)
        elif isinstance(feature, Derived):
            add(feature.name, feature.value, known)
        elif isinstance(feature, Mean):
            for name in names_of(feature):
                parts = {f"{name}{_SUM}": zero, f"{name}{_COUNT}": zero}
                add(name, ibis._[f"{name}{_SUM}"] / ibis._[f"{name}{_COUNT}"], parts)
        elif isinstance(feature, Count | Sum | Min | Max | CountDistinct | SessionStart):
            known |= dict.fromkeys(names_of(feature), zero)
    return tuple(found)


def _quotient(ratio: Ratio) -> Expression:
    return ibis._[ratio.numerator] / ibis._[ratio.denominator]


def _schema(group: FeatureGroup) -> tuple[tuple[str, dt.DataType], ...]:
    types: dict[str, dt.DataType] = {f.name: dt.Array(dt.string) for f in group.features if isinstance(f, LastK)}
    types |= {computed.name: computed.kind for computed in _derived(group)}
    for feature in group.features:
        if isinstance(feature, First | Last):
            types |= dict.fromkeys(names_of(feature), _kind(group, feature))
    return tuple((name, types.get(name, dt.int64)) for name in group.feature_names)


def _kind(group: FeatureGroup, feature: Min | Max | First | Last) -> dt.DataType:
    value = _resolved(group, feature.name, feature.value, events_table())
    return dt.string if value.type().is_string() else dt.int64


_VALUES: Mapping[type, tuple[type[dt.DataType], ...]] = {
    Sum: (dt.Integer,),
    Mean: (dt.Integer,),
    Min: (dt.Integer,),
    Max: (dt.Integer,),
    First: (dt.String, dt.Integer),
    Last: (dt.String, dt.Integer),
    CountDistinct: (dt.String, dt.Integer),
    LastK: (dt.String,),
}
"""Aggregate to the types its value may have."""


def _check(group: FeatureGroup) -> None:
    events = events_table()
    if group.entity.key not in events.columns:
        raise DeclarationError(
            f"group {group.name!r} at {group.declared_at}: events have no column {group.entity.key!r}",
            hint=did_you_mean(group.entity.key, events.columns),
        )
    for feature in group.features:
        if isinstance(feature, Aggregate | LastK):
            where = _resolved(group, feature.name, feature.where, events)
            _expect(group, feature.name, "where", where, (dt.Boolean,))
        if not isinstance(feature, Count | SessionStart | Ratio | Derived):
            value = _resolved(group, feature.name, feature.value, events)
            _expect(group, feature.name, "value", value, _VALUES[type(feature)])


def _resolved(
    group: FeatureGroup, feature: str, expression: Expression, columns: ir.Table | Mapping[str, ir.Value]
) -> ir.Value:
    """The expression over columns of events, or over features.

    Raises:
        DeclarationError: it names none of them, or holds what the engines do not compute alike.
    """
    names = list(columns) if isinstance(columns, Mapping) else columns.columns
    try:
        found = resolve(expression, columns)
        check(found)
    except (AttributeError, KeyError, TypeError, UnsupportedError, ibis.common.exceptions.IbisError) as error:
        missing = re.search(r"attribute '(\w+)'", str(error))
        raise DeclarationError(
            f"feature {feature!r} of group {group.name!r} at {group.declared_at}: {error}",
            hint=(missing and did_you_mean(missing[1], names)) or f"known: {', '.join(names)}",
        ) from error
    return found


def _expect(
    group: FeatureGroup, feature: str, part: str, value: ir.Value, kinds: tuple[type[dt.DataType], ...]
) -> None:
    if not isinstance(value.type(), kinds):
        raise DeclarationError(
            f"feature {feature!r} of group {group.name!r} at {group.declared_at}: "
            f"its {part} is {value.type()}, expected {' or '.join(kind.__name__.lower() for kind in kinds)}"
        )


def any_matches(events: ir.Table, wheres: Iterable[Expression]) -> ir.BooleanValue:
    """True where at least one filter holds."""
    # By node, because expressions compare to expressions; a filter that several measures share is tested once.
    distinct = dict.fromkeys(resolve(w, events).op() for w in wheres)
    return functools.reduce(operator.or_, (node.to_expr() for node in distinct))


def fingerprint(group: FeatureGroup) -> str:
    """16 hex digits that change when the meaning of one of the group's values does, or which values there are.

    Not when only their text or their order does.
    """
    return _digest(group.name, sorted(meanings(group).items()))


def meanings(group: FeatureGroup) -> dict[str, str]:
    """By feature 16 hex digits that change when its values come to mean something else; a new name does not.

    What goes in: the entity's key, the aggregate, the window, and the SQL of its expressions; of a ratio or a derived
    feature the meanings of those that it is made of.
    """
    found: dict[str, str] = {}
    types = dict(_schema(group))
    for feature in group.features:
        if isinstance(feature, Ratio | Derived):
            value = _quotient(feature) if isinstance(feature, Ratio) else feature.value
            # Under their meanings, so that a part's new name is none of the whole's.
            parts = ibis.table({f"m{meaning}": types[name] for name, meaning in found.items()}, name="features")
            columns = {name: parts[f"m{meaning}"] for name, meaning in found.items()}
            found[feature.name] = _digest(_sql(parts, resolve(value, columns)))
        else:
            found |= _meanings_of(group, feature)
    return found


def _meanings_of(group: FeatureGroup, feature: Aggregate | SessionStart | LastK) -> dict[str, str]:
    events = events_table()
    parts: list[object] = [MEANING, group.entity.key, type(feature).__name__]
    for attribute, value in sorted(vars(feature).items()):
        if attribute in ("where", "value"):
            parts.append(_sql(events, resolve(value, events)))
        elif attribute not in ("name", "over"):
            parts.append(value)
    windows = feature.over if not isinstance(feature, LastK) else ("",)
    return {name: _digest(*parts, window) for name, window in zip(names_of(feature), windows, strict=True)}


def _sql(table: ir.Table, value: ir.Value) -> str:
    return str(ibis.to_sql(table.select(x=value), dialect="duckdb"))


def _digest(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]

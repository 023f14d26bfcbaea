"""From a declared group to its plan: what is declared is checked, and each feature gets its meaning."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Literal

import ibis
import ibis.expr.datatypes as dt
import ibis.expr.operations as ops
import ibis.expr.types as ir

from playhead.checked import check_group, expect, resolved
from playhead.declare import (
    Aggregate,
    Attribute,
    Count,
    CountDistinct,
    Current,
    Days,
    Derived,
    Dimension,
    Expression,
    Feature,
    FeatureGroup,
    First,
    Last,
    LastK,
    LatestEvents,
    Max,
    Mean,
    Min,
    OnDemand,
    Ratio,
    Session,
    SessionStart,
    Sliding,
    Sum,
    TopK,
    Window,
    names_of,
)
from playhead.errors import DeclarationError
from playhead.expressions import resolve, text_of
from playhead.nodes import Computed, Distinct, Extreme, How, Latest, Measure, WindowedSum
from playhead.plan import AttributePlan, DailyPlan, Plan, SessionPlan, SlidingPlan, events_table

_SUM, _COUNT = "__sum", "__count"
"""Behind a mean's name: what it is made of. No declared name has two _ together."""

_MEANING: Mapping[type, int] = {Days: 2}
"""Of windows, where it is not 1. Raise it when the same declaration comes to mean another value: it is part of every
fingerprint."""


def compile_group(group: FeatureGroup) -> Plan:
    """The plan of a declared group.

    Raises:
        DeclarationError: an expression that names no column of the events, or whose type does not fit; it says where
            the group was declared.
    """
    check_group(group)
    builders: Mapping[type[Window], Callable[[FeatureGroup], Plan]] = {
        Sliding: _sliding,
        Session: _session,
        Days: _daily,
        Current: _attributes,
    }
    plan = builders[group.kind](group)
    return plan if group.ttl is None or isinstance(plan, DailyPlan) else replace(plan, ttl=group.ttl)


def _sliding(group: FeatureGroup) -> SlidingPlan:
    sums = tuple(WindowedSum(name, measure, _length(window)) for name, measure, window in _windowed(group))
    return SlidingPlan(
        group.name,
        group.entity.key,
        sums,
        _extremes(group),
        _distincts(group),
        tuple(_latest(group)),
        _derived(group),
        _schema(group),
        fingerprint(group),
        _dimensions(group),
    )


def _latest(group: FeatureGroup) -> Iterator[Latest]:
    """Lists, and what is summed over the last events."""
    for feature in group.features:
        if isinstance(feature, LastK):
            yield Latest(feature.name, feature.value, feature.where, feature.k)
        elif isinstance(feature, Sum | Mean):
            for name, window in zip(names_of(feature), feature.over, strict=True):
                if not isinstance(window, LatestEvents):
                    continue
                if isinstance(feature, Sum):
                    yield Latest(name, feature.value, feature.where, window.count, "sum")
                else:
                    yield Latest(f"{name}{_SUM}", feature.value, feature.where, window.count, "sum")
                    yield Latest(f"{name}{_COUNT}", feature.value, feature.where, window.count, "count")


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


def _attributes(group: FeatureGroup) -> AttributePlan:
    attributes = [feature for feature in group.features if isinstance(feature, Attribute)]
    return AttributePlan(group.name, group.entity.key, attributes[0].of, _schema(group), fingerprint(group))


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
        _dimensions(group),
    )


def _daily(group: FeatureGroup) -> DailyPlan:
    windowed = [*_windowed(group), *_windowed_values(group)]
    windows = tuple((name, measure.name, w.count) for name, measure, w in windowed if isinstance(w, Days))
    measures = tuple({measure.name: measure for _, measure, _ in windowed}.values())
    return DailyPlan(
        group.name,
        group.entity.key,
        measures,
        windows,
        tuple((name, f.k) for f in group.features if isinstance(f, TopK) for name in names_of(f)),
        _derived(group),
        _schema(group),
        fingerprint(group),
        _dimensions(group),
    )


def _dimensions(group: FeatureGroup) -> tuple[Dimension, ...]:
    """The group's dimensions, with those columns only that an expression names."""
    named = {name for f in group.features for name in _fields(group, f)}
    own = (
        replace(
            dimension,
            columns={
                column: dimension.columns[column]
                for event_column, column in zip(dimension.event_columns, dimension.columns, strict=True)
                if event_column in named
            },
        )
        for dimension in group.enrich
    )
    return tuple(dimension for dimension in own if dimension.columns)


def _fields(group: FeatureGroup, feature: Feature) -> set[str]:
    """The columns of events, its dimensions' too, that a feature is made from."""
    events = events_table(group.enrich)
    expressions = [vars(feature)[part] for part in ("where", "value") if part in vars(feature)]
    if isinstance(feature, Derived):
        return set()
    return {node.name for each in expressions for node in resolve(each, events).op().find(ops.Field, filter=ops.Value)}


def _windowed(group: FeatureGroup) -> Iterator[tuple[str, Measure, Window]]:
    """(name, measure, window) of every sum: of features, and of what means are made of."""
    for feature in group.features:
        if isinstance(feature, Count | Sum | Mean):
            for name, window in zip(names_of(feature), feature.over, strict=True):
                if isinstance(window, LatestEvents):
                    continue
                for part, measure in _measures(feature).items():
                    yield f"{name}{part}", measure, window


_MEASURED: Mapping[type, How] = {
    Min: "min",
    Max: "max",
    First: "first",
    Last: "last",
    CountDistinct: "distinct",
    TopK: "counts",
}
"""Aggregate to how its partials of days are merged."""


def _windowed_values(group: FeatureGroup) -> Iterator[tuple[str, Measure, Window]]:
    """The same of what is no sum."""
    for feature in group.features:
        if isinstance(feature, Min | Max | First | Last | CountDistinct | TopK):
            kind = _kind(group, feature)
            measure = Measure(feature.name, feature.where, feature.value, _MEASURED[type(feature)], kind)
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
        number = resolved(group, name, value, columns)
        expect(group, name, "value", number, (dt.Integer, dt.Floating))
        computed = Computed(name, value, dt.int64 if number.type().is_integer() else dt.float64)
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
    lists = [name for f in group.features if isinstance(f, LastK | TopK) for name in names_of(f)]
    types: dict[str, dt.DataType] = dict.fromkeys(lists, dt.Array(dt.string))
    types |= {computed.name: computed.kind for computed in _derived(group)}
    for feature in group.features:
        if isinstance(feature, First | Last):
            types |= dict.fromkeys(names_of(feature), _kind(group, feature))
        elif isinstance(feature, Attribute):
            types[feature.name] = dt.dtype(feature.of.types[feature.name])
    return tuple((name, types.get(name, dt.int64)) for name in group.feature_names)


def _kind(group: FeatureGroup, feature: Min | Max | First | Last | CountDistinct | TopK) -> dt.DataType:
    value = resolved(group, feature.name, feature.value, events_table(group.enrich))
    return dt.string if value.type().is_string() else dt.int64


def fingerprint(group: FeatureGroup) -> str:
    """16 hex digits that change when the meaning of one of the group's values does, or which values there are.

    Not when only their text or their order does.
    """
    return _digest(group.name, sorted(meanings(group).items()))


def meanings(group: FeatureGroup) -> dict[str, str]:
    """By feature 16 hex digits that change when its values come to mean something else; a new name does not.

    What goes in: the entity's key, the aggregate, the window, and its expressions; of a ratio or a derived
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
            found[feature.name] = _digest(text_of(resolve(value, columns)))
        else:
            found |= _meanings_of(group, feature)
    return found


def on_demand_meaning(view: OnDemand) -> str:
    """16 hex digits that change when an on-demand view comes to mean something else.

    What goes in: the text of the function's module, its inputs and their meanings, and the types of its features.

    Raises:
        DeclarationError: a function whose source cannot be found.
    """
    try:
        source = inspect.getsource(inspect.getmodule(view.function) or view.function)
    except (OSError, TypeError) as error:
        raise DeclarationError(f"on-demand view {view.name!r}: its function has no source: {error}") from error
    known = {f"{group.name}.{name}": meaning for group in view.of for name, meaning in meanings(group).items()}
    inputs = [known.get(each, each) for each in view.inputs]
    return _digest(source, view.function.__qualname__, inputs, sorted(view.features.items()))


def _meanings_of(group: FeatureGroup, feature: Aggregate | SessionStart | LastK | Attribute) -> dict[str, str]:
    if isinstance(feature, Attribute):
        return {feature.name: _digest(group.entity.key, _column(feature.of, feature.name))}
    events = events_table(group.enrich)
    parts: list[object] = [group.entity.key, type(feature).__name__]
    for attribute, value in sorted(vars(feature).items()):
        if attribute in ("where", "value"):
            parts.append(text_of(resolve(value, events)))
        elif attribute not in ("name", "over"):
            parts.append(value)
    named = _fields(group, feature)
    for dimension in group.enrich:
        found = zip(dimension.columns, dimension.event_columns, strict=True)
        parts += [_column(dimension, column) for column, own in found if own in named]
    windows = feature.over if not isinstance(feature, LastK) else ("",)
    return {
        name: _digest(_MEANING.get(type(window), 1), *parts, window)
        for name, window in zip(names_of(feature), windows, strict=True)
    }


def _column(dimension: Dimension, column: str) -> tuple[str, ...]:
    return dimension.name, dimension.key, column, dimension.columns[column]


def _digest(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]

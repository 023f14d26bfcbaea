"""What a declaration is checked for before it becomes a plan."""

from __future__ import annotations

import re
from collections.abc import Mapping

import ibis
import ibis.expr.datatypes as dt
import ibis.expr.types as ir

from playhead.declare import (
    Aggregate,
    Attribute,
    Count,
    CountDistinct,
    Derived,
    Dimension,
    Expression,
    FeatureGroup,
    First,
    Last,
    LastK,
    Max,
    Mean,
    Min,
    Ratio,
    SessionStart,
    Sum,
    TopK,
)
from playhead.errors import DeclarationError, UnsupportedError, did_you_mean
from playhead.expressions import check, resolve
from playhead.plan import events_table

_VALUES: Mapping[type, tuple[type[dt.DataType], ...]] = {
    Sum: (dt.Integer,),
    Mean: (dt.Integer,),
    Min: (dt.Integer,),
    Max: (dt.Integer,),
    First: (dt.String, dt.Integer),
    Last: (dt.String, dt.Integer),
    CountDistinct: (dt.String, dt.Integer),
    LastK: (dt.String,),
    TopK: (dt.String,),
}
"""Aggregate to the types its value may have."""


def check_group(group: FeatureGroup) -> None:
    """Refuse a group whose entity, dimensions or expressions do not fit the events.

    Raises:
        DeclarationError: it says where the group is declared, and what it names that is not there.
    """
    for dimension in group.enrich:
        _check_dimension(group, dimension)
    columns = [name for dimension in group.enrich for name in dimension.event_columns]
    for name in (name for name in columns if columns.count(name) > 1 or name in events_table().columns):
        raise _error(group, f"events have a column {name!r} already", None)
    events = events_table(group.enrich)
    if group.entity.key not in events.columns:
        problem = f"events have no column {group.entity.key!r}"
        raise _error(group, problem, did_you_mean(group.entity.key, events.columns))
    for feature in group.features:
        if isinstance(feature, Aggregate | LastK):
            where = resolved(group, feature.name, feature.where, events)
            expect(group, feature.name, "where", where, (dt.Boolean,))
        if not isinstance(feature, Count | SessionStart | Ratio | Derived | Attribute):
            value = resolved(group, feature.name, feature.value, events)
            expect(group, feature.name, "value", value, _VALUES[type(feature)])


def _check_dimension(group: FeatureGroup, dimension: Dimension) -> None:
    columns = events_table().columns
    if dimension.key not in columns:
        problem = f"dimension {dimension.name!r} is found by {dimension.key!r}, which events do not have"
        raise _error(group, problem, did_you_mean(dimension.key, columns))


def _error(group: FeatureGroup, problem: str, hint: str | None) -> DeclarationError:
    return DeclarationError(f"group {group.name!r} at {group.declared_at}: {problem}", hint=hint)


def resolved(
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


def expect(group: FeatureGroup, feature: str, part: str, value: ir.Value, kinds: tuple[type[dt.DataType], ...]) -> None:
    """Refuse a value, the `where` or `value` of a feature, that is of none of these types.

    Raises:
        DeclarationError: it names the feature, the type that it has, and those that it may have.
    """
    if not isinstance(value.type(), kinds):
        raise DeclarationError(
            f"feature {feature!r} of group {group.name!r} at {group.declared_at}: "
            f"its {part} is {value.type()}, expected {' or '.join(kind.__name__.lower() for kind in kinds)}"
        )

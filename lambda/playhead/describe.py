"""A declared group in words: what each feature is, of which type, over which window, for people and for JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import ibis
import ibis.expr.types as ir
import sqlglot
from sqlglot import expressions as sge

from playhead.compile import compile_group, on_demand_meaning
from playhead.declare import (
    Attribute,
    Days,
    Derived,
    Dimension,
    Feature,
    FeatureGroup,
    FeatureService,
    LastK,
    LatestEvents,
    Lifetime,
    OnDemand,
    Ratio,
    Session,
    Sliding,
    TopK,
    names_of,
)
from playhead.errors import UnknownName
from playhead.expressions import resolve
from playhead.plan import events_table


def described(group: FeatureGroup, services: Iterable[FeatureService], feature: str | None = None) -> dict[str, Any]:
    """A group, or one of its features, as plain values.

    Raises:
        UnknownName: the group has no such feature.
    """
    plan = compile_group(group)
    if feature is not None and feature not in group.feature_names:
        raise UnknownName(f"feature of {group.name!r}", feature, group.feature_names)
    words = {name: text for f in group.features for name, text in _words(f, group.enrich).items()}
    return {
        "group": group.name,
        "description": group.description,
        "entity": f"{group.entity.name} ({group.entity.key})",
        "windows": group.kind.__name__.lower(),
        "ttl": None if group.ttl is None else f"{group.ttl.total_seconds():,.0f} s",
        "fingerprint": plan.fingerprint,
        "declared_at": group.declared_at,
        "services": [
            service.name
            for service in services
            if group in service.groups and feature in (None, *service.features_of(group))
        ],
        "features": [
            {"feature": name, "type": str(kind), "empty": plan.empty.get(name), "is": words[name]}
            for name, kind in plan.schema
            if feature in (None, name)
        ],
    }


def described_on_demand(
    view: OnDemand, services: Iterable[FeatureService], feature: str | None = None
) -> dict[str, Any]:
    """An on-demand view, or one of its features, in the form of `described`.

    Raises:
        UnknownName: the view has no such feature.
    """
    if feature is not None and feature not in view.features:
        raise UnknownName(f"feature of {view.name!r}", feature, list(view.features))
    code = view.function.__code__
    made = f"{view.function.__name__}({', '.join(view.inputs)})"
    return {
        "group": view.name,
        "description": view.description,
        "entity": ", ".join(dict.fromkeys(f"{g.entity.name} ({g.entity.key})" for g in view.of)) or "the request",
        "windows": "on demand",
        "ttl": None,
        "fingerprint": on_demand_meaning(view),
        "declared_at": f"{code.co_filename}:{code.co_firstlineno}",
        "services": [s.name for s in services if view in s.on_demand and feature in (None, *s.features_of(view))],
        "features": [
            {"feature": name, "type": kind, "empty": None, "is": made}
            for name, kind in view.features.items()
            if feature in (None, name)
        ],
    }


def _words(feature: Feature, dimensions: Sequence[Dimension] = ()) -> Mapping[str, str]:
    """Output feature to what it is.

    >>> from ibis import _
    >>> from playhead.declare import Sum, sliding
    >>> _words(Sum("heard", _.ms_played, where=_.event_type == "STOP", over=sliding("1h")))
    {'heard_1h': "Sum of ms_played where event_type = 'STOP', last 1h"}
    """
    if isinstance(feature, Ratio):
        return {feature.name: f"{feature.numerator} / {feature.denominator}"}
    if isinstance(feature, Attribute):
        unit = _unit(feature.of.digits(feature.name))
        return {feature.name: f"{feature.name} of the dimension {feature.of.name}{unit}"}
    if isinstance(feature, Derived):
        return {feature.name: repr(feature.value).replace("_.", "")}
    what = type(feature).__name__
    if isinstance(feature, LastK | TopK):
        what = f"{'Last' if isinstance(feature, LastK) else 'Top'} {feature.k}"
    if hasattr(feature, "value"):
        column = _text(feature.value, dimensions)
        what += f" of {column}{_unit(_digits(column, dimensions))}"
    if hasattr(feature, "where"):
        what += f" where {_text(feature.where, dimensions)}"
    windows = [f", {_window(window)}" for window in getattr(feature, "over", ())] or [""]
    return {name: what + window for name, window in zip(names_of(feature), windows, strict=True)}


def _digits(column: str, dimensions: Sequence[Dimension]) -> int:
    """Digits behind the point of a dimension's column; 0 of what is none."""
    own = {e: d.digits(c) for d in dimensions for e, c in zip(d.event_columns, d.columns, strict=True)}
    return own.get(column, 0)


def _unit(digits: int) -> str:
    """
    >>> _unit(3), _unit(0)
    (' (a decimal, times 1,000)', '')
    """
    return f" (a decimal, times {10**digits:,})" if digits else ""


def _window(window: Sliding | Lifetime | LatestEvents | Session | Days) -> str:
    if isinstance(window, Sliding):
        return f"last {window.label}"
    if isinstance(window, Lifetime):
        return "all time"
    if isinstance(window, LatestEvents):
        return f"last {window.count} events"
    if isinstance(window, Session):
        return f"this session (gap {int(window.gap.total_seconds() // 60)} min)"
    return f"{window.count} UTC days, today so far included"


def _text(expression: Any, dimensions: Sequence[Dimension]) -> str:
    """An expression over events as SQL without the table."""
    events = events_table(dimensions)
    value: ir.Value = resolve(expression, events)
    query = sqlglot.parse_one(str(ibis.to_sql(events.select(x=value), dialect="duckdb")), read="duckdb")
    found = query.expressions[0].unalias()
    for column in found.find_all(sge.Column):
        column.replace(sge.column(column.name))
    return str(found.name if isinstance(found, sge.Column) else found.sql("duckdb"))

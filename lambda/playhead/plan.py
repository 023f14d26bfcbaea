"""The plan: what a declared group means, said once for every engine.

A plan is data; `compile.py` makes it; `sliding.py`, `sessions.py` and `days.py` turn it into ibis tables that Flink,
Spark and DuckDB run. Nulls, bounds and ties are decided here and there, never in an engine's layer.
"""

from __future__ import annotations

import dataclasses
import functools
import operator
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeAlias

import ibis
import ibis.expr.datatypes as dt
import ibis.expr.operations as ops
import ibis.expr.types as ir
import pyarrow as pa

from playhead.declare import Dimension, Expression
from playhead.expressions import evaluate_over, operation, resolve
from playhead.nodes import Computed, Distinct, Extreme, Gathered, Latest, Measure, WindowedSum
from schemas.tables import event_ibis_schema, lake_ibis_schema

_DAY = timedelta(days=1)


def events_table(dimensions: Sequence[Dimension] = ()) -> ir.Table:
    """The event table that declarations are written against, with the columns of the dimensions."""
    return ibis.table({**event_ibis_schema(), **_columns_of(dimensions)}, name="events")


def lake_table(name: str, dimensions: Sequence[Dimension] = ()) -> ir.Table:
    """The master data as an engine knows it: the event's columns, and where it came from; with dimensions the columns
    that it was enriched with.
    """
    return ibis.table({**lake_ibis_schema(), **_columns_of(dimensions)}, name=name)


def _columns_of(dimensions: Sequence[Dimension]) -> dict[str, str]:
    return {name: kind for dimension in dimensions for name, kind in dimension.event_columns.items()}


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
    dimensions: tuple[Dimension, ...] = ()
    gathered: tuple[Gathered, ...] = ()
    by_day: bool = False
    """Whether each UTC day of a key is a key of its own; see `relations.keyed`."""
    ttl: timedelta | None = None
    """How long a row holds after its event timestamp; None: until the next."""

    @property
    def lengths(self) -> set[timedelta | None]:
        """Of all its windows; None is a lifetime."""
        windows = [*(e.windows for e in self.extremes), *(d.windows for d in self.distincts)]
        return {s.length for s in self.sums} | {length for own in windows for _, length in own}

    @functools.cached_property
    def bundles(self) -> list[list[Latest]]:
        """What it has of the latest events, together where one frame gives it: lists of one value, as long as the
        longest; and the sums and counts of the last K that match one filter.
        """
        events = lake_table("events", self.dimensions)
        found: dict[tuple[object, ...], list[Latest]] = {}
        for latest in self.latest:
            where = resolve(latest.where, events).op()
            same = ("list", resolve(latest.value, events).op()) if latest.how == "list" else ("sums", latest.k)
            found.setdefault((where, *same), []).append(latest)
        return list(found.values())

    @property
    def together(self) -> list[list[Gathered]]:
        """What it gathers, together where one frame gives it: counts are, a sample is alone."""
        counts = [each for each in self.gathered if each.how == "counts"]
        return [*([counts] if counts else []), *([each] for each in self.gathered if each.how == "distinct")]

    @property
    def texts(self) -> list[str]:
        """Columns of a tile that are texts behind their event's place: a bundle's, and what is gathered."""
        return [*(bundle[0].name for bundle in self.bundles), *(each.name for each in self.gathered)]

    @property
    def reach(self) -> timedelta | None:
        """How long before a row the events may lie that it holds; None: ever so long, as in lists and lifetimes."""
        lengths = [length for length in self.lengths if length is not None]
        if self.by_day:
            return _DAY
        return None if self.latest or None in self.lengths else max(lengths)

    @property
    def tail(self) -> timedelta:
        """How long after an event a row may come that it changes."""
        if self.by_day:
            return _DAY
        return max((length for length in self.lengths if length is not None), default=timedelta(0))

    @property
    def empty(self) -> dict[str, int | float]:
        """Features that are not null without a row: an entity's windows are empty before its first event. None where
        rows have a time to live: whether one was there and is forgotten, or none was, nobody can tell."""
        if self.ttl is not None:
            return {}
        names = [s.name for s in self.sums] + [name for d in self.distincts for name, _ in d.windows]
        names += [latest.name for latest in self.latest if latest.how != "list"]
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
    dimensions: tuple[Dimension, ...] = ()
    ttl: timedelta | None = None
    """As of `SlidingPlan`."""

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
    """Windows of calendar days: partials per day, merged over `windows` days when they are read; see `merge.merge`."""

    name: str
    key: str
    measures: tuple[Measure, ...]
    windows: tuple[tuple[str, str, int], ...]
    """(feature, measure, number of days)."""
    tops: tuple[tuple[str, int], ...]
    """(feature, how many): of those windows that are lists of the most frequent."""
    derived: tuple[Computed, ...]
    schema: tuple[tuple[str, dt.DataType], ...]
    fingerprint: str
    dimensions: tuple[Dimension, ...] = ()
    ttl: None = None
    """None: they are made anew at every moment."""

    @property
    def empty(self) -> dict[str, int | float]:
        """None: what an entity without a row has depends on how far the batch layer has come; see `merge.merge`."""
        return {}

    @functools.cached_property
    def numbers(self) -> list[str]:
        """The features that are made of sums, and of the least and greatest, alone."""
        kinds = {measure.name: measure.kind for measure in self.measures}
        found = [name for name, measure, _ in self.windows if kinds[measure].is_integer()]
        for name, inputs in self.made_of.items():
            if inputs <= {*found}:
                found.append(name)
        return [name for name, _ in self.schema if name in found]

    @functools.cached_property
    def number_types(self) -> dict[str, dt.DataType]:
        """Features to their types, as derived ones may be made of them: of lists and texts they are not."""
        return {name: dt.int64 for name, _, _ in self.windows} | {each.name: each.kind for each in self.derived}

    @functools.cached_property
    def made_of(self) -> dict[str, set[str]]:
        """Derived features to those that they are made of, which come before them."""
        nodes = {each.name: operation(each.value, self.number_types) for each in self.derived}
        return {name: {field.name for field in node.find(ops.Field)} for name, node in nodes.items()}

    def only(self, names: Collection[str]) -> DailyPlan:
        """The plan of some of its features, of the same rows: without the windows that none of them is made of."""
        needed = {*names}
        for name, inputs in reversed(self.made_of.items()):
            if name in needed:
                needed |= inputs
        return dataclasses.replace(
            self,
            windows=tuple(window for window in self.windows if window[0] in needed),
            derived=tuple(computed for computed in self.derived if computed.name in needed),
            schema=tuple(field for field in self.schema if field[0] in names),
        )

    @functools.cached_property
    def arrow_schema(self) -> pa.Schema:
        """The features as Arrow's fields."""
        return pa.schema([(name, kind.to_pyarrow()) for name, kind in self.schema])

    @functools.cached_property
    def longest(self) -> int:
        """Days of the longest window."""
        return max(count for _, _, count in self.windows)

    @functools.cached_property
    def today(self) -> SlidingPlan:
        """The running partials of each day of a key: what the speed layer knows of days that no batch has published.

        Its features are the measures; the last row of a day is that day's partial.
        """
        return SlidingPlan(
            name=today_of(self.name),
            key=self.key,
            sums=tuple(WindowedSum(m.name, m, None) for m in self.measures if m.how == "sum"),
            extremes=tuple(_extreme_of_day(m) for m in self.measures if m.combined in ("min", "max")),
            distincts=(),
            latest=(),
            derived=(),
            schema=tuple((measure.name, measure.kind) for measure in self.measures),
            fingerprint=self.fingerprint,
            dimensions=self.dimensions,
            gathered=tuple(
                Gathered(m.name, m.value, m.where, m.how)
                for m in self.measures
                if m.how == "counts" or m.how == "distinct"
            ),
            by_day=True,
        )


def _extreme_of_day(measure: Measure) -> Extreme:
    ordered = measure.how in ("first", "last")
    window = ((measure.name, None),)
    return Extreme(
        measure.name,
        measure.value,
        measure.where,
        "min" if measure.combined == "min" else "max",
        ordered,
        measure.kind,
        window,
        placed=ordered,
    )


@dataclass(frozen=True)
class AttributePlan:
    """Columns of a dimension as features: its rows are the changelog, and no engine makes them."""

    name: str
    key: str
    dimension: Dimension
    schema: tuple[tuple[str, dt.DataType], ...]
    fingerprint: str
    ttl: timedelta | None = None
    """As of `SlidingPlan`."""

    @property
    def empty(self) -> dict[str, int | float]:
        """None: of what the dimension does not have nothing is known."""
        return {}


SpeedPlan: TypeAlias = SlidingPlan | SessionPlan
"""What the speed layer runs: a changelog."""

EventPlan: TypeAlias = SpeedPlan | DailyPlan
"""What is made from events."""

Plan: TypeAlias = EventPlan | AttributePlan


def speed_plan(plan: EventPlan) -> SpeedPlan:
    """The plan's changelog: of calendar windows, the partials of each day as it goes."""
    return plan.today if isinstance(plan, DailyPlan) else plan


def today_of(group: str) -> str:
    """The name of a group's changelog of days."""
    return f"{group}__today"


def any_matches(events: ir.Table, wheres: Iterable[Expression]) -> ir.BooleanValue:
    """True where at least one filter holds."""
    # By node, because expressions compare to expressions; a filter that several measures share is tested once.
    distinct = dict.fromkeys(resolve(w, events).op() for w in wheres)
    return functools.reduce(operator.or_, (node.to_expr() for node in distinct))

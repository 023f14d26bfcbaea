"""What a plan consists of: sums, values in windows, the latest, and what is computed from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

import ibis
import ibis.expr.datatypes as dt
import ibis.expr.types as ir

from playhead.declare import Expression
from playhead.expressions import resolve

How = Literal["sum", "min", "max", "first", "last", "counts", "distinct"]

_COMBINED: Mapping[How, Literal["sum", "min", "max", "collect"]] = {
    **{"sum": "sum", "min": "min", "max": "max"},
    # Of values behind their events' places.
    **{"first": "min", "last": "max"},
    **{"counts": "collect", "distinct": "collect"},
}


@dataclass(frozen=True)
class Measure:
    """What one event adds to a sum: 1 or its `value` when it matches `where`, else 0.

    Of calendar windows it may be to what `how` says instead: its `value`, or null. A partial of `first` and `last` is
    the value as a text behind its event's place (`relations.placed`), of `counts` and `distinct` a text of
    `playhead.gathered`; `of` is the type of the value.
    """

    name: str
    where: Expression
    value: Expression | None = None
    how: How = "sum"
    of: dt.DataType = dt.int64

    @property
    def kind(self) -> dt.DataType:
        """The type of a partial."""
        return dt.int64 if self.how in ("sum", "min", "max") else dt.string

    @property
    def combined(self) -> Literal["sum", "min", "max", "collect"]:
        """How the contributions of a day combine."""
        return _COMBINED[self.how]

    def contribution(self, events: ir.Table) -> ir.IntegerValue:
        """int64, of sums and the least and greatest; never null to a sum."""
        amount: ir.Value = ibis.literal(1, "int64")
        if self.value is not None:
            amount = resolve(self.value, events)
            amount = ibis.coalesce(amount, 0) if self.how == "sum" else amount
        return ibis.ifelse(self.matches(events), amount.cast("int64"), self.nothing)

    @property
    def nothing(self) -> ir.Value:
        """What changes nothing: 0 in a sum, else null."""
        return ibis.literal(0, "int64") if self.how == "sum" else ibis.null(self.kind)

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
    """Of the last `k` events: a list of their values, most recent first, the sum of their values, or how many have one.

    A list is of the last `k` that have a value.
    """

    k: int
    how: Literal["list", "sum", "count"] = "list"

    def matches(self, events: ir.Table) -> ir.BooleanValue:
        """Whether the event is one of them."""
        return super().matches(events) if self.how == "list" else resolve(self.where, events)

    def own(self, events: ir.Table) -> ir.Value:
        """What an event brings."""
        value = resolve(self.value, events)
        if self.how == "list":
            return value
        one, none = ibis.literal(1, "int64"), ibis.literal(0, "int64")
        known: ir.IntegerValue = value.cast("int64") if self.how == "sum" else one
        return ibis.ifelse(value.notnull(), known, none)


@dataclass(frozen=True)
class Extreme(Valued):
    """The least or greatest of the values in windows: of the values themselves, or of the events in their order.

    Attributes:
        how: min (also of `First`) or max (also of `Last`).
        ordered: whether the events' order decides.
        kind: type of the value.
        windows: feature to length; None is a lifetime.
        placed: whether the value stays behind its event's place, so that it can be merged.
    """

    how: Literal["min", "max"]
    ordered: bool
    kind: dt.DataType
    windows: tuple[tuple[str, timedelta | None], ...]
    placed: bool = False


@dataclass(frozen=True)
class Distinct(Valued):
    """How many different values are in windows; these as of `Extreme`."""

    windows: tuple[tuple[str, timedelta | None], ...]


@dataclass(frozen=True)
class Gathered(Valued):
    """The different values of all events so far, as a text of `playhead.gathered`."""

    how: Literal["counts", "distinct"]


@dataclass(frozen=True)
class Computed:
    """A feature from others of its group."""

    name: str
    value: Expression
    kind: dt.DataType

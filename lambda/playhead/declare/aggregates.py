"""Features: what is computed of events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeAlias

from playhead.declare.sources import Dimension
from playhead.declare.windows import (
    Current,
    Days,
    LatestEvents,
    Lifetime,
    Session,
    Sliding,
    Window,
)

Expression: TypeAlias = Any
"""An ibis deferred expression, such as `_.event_type == "PLAY"`."""


@dataclass(frozen=True)
class Count:
    """How many events match `where`. 0 when none does."""

    name: str
    where: Expression = field(kw_only=True)
    over: tuple[Window, ...] = field(kw_only=True)


@dataclass(frozen=True)
class _OfValue:
    name: str
    value: Expression
    where: Expression = field(kw_only=True)
    over: tuple[Window, ...] = field(kw_only=True)


@dataclass(frozen=True)
class Sum(_OfValue):
    """The sum of an integer `value` over the events that match `where`. A null adds nothing; 0 when none matches."""


@dataclass(frozen=True)
class Mean(_OfValue):
    """The mean of an integer `value` over the events that match `where` and have one; null when there is none.

    Over `latest(20)` it is that of those among the last 20 matching events which have one.

    It is their sum over their number, divided at the end, so it is the same however they arrived.
    """


@dataclass(frozen=True)
class Min(_OfValue):
    """The least integer `value` of the events that match `where`; null when none has one."""


@dataclass(frozen=True)
class Max(_OfValue):
    """The greatest integer `value` of the events that match `where`; null when none has one."""


@dataclass(frozen=True)
class First(_OfValue):
    """The `value`, a text or an integer, of the first event that matches `where` and has one; null when none does.

    Events of one moment are in the order of Kafka's partitions and offsets.
    """


@dataclass(frozen=True)
class Last(_OfValue):
    """The same of the last event."""


@dataclass(frozen=True)
class CountDistinct(_OfValue):
    """How many different values, texts or integers, the events that match `where` have. 0 when there is none.

    Exact; over days up to 1,024, and beyond with a relative standard error of 3.8 % (`playhead.gathered`).
    """


@dataclass(frozen=True)
class TopK(_OfValue):
    """The `k` texts that most of the events which match `where` have as `value`; null when there is none.

    The most frequent first, of equals the lesser first. A count is kept for every value of a day, so it is for what
    has few of them, like the genres of a listener.
    """

    k: int = field(kw_only=True)


@dataclass(frozen=True)
class SessionStart:
    """Time of the first event of the current session, epoch milliseconds."""

    name: str
    over: tuple[Window, ...] = field(kw_only=True)


@dataclass(frozen=True)
class LastK:
    """The last `k` values of the events that match `where`, most recent first; null before the first."""

    name: str
    value: Expression
    k: int = field(kw_only=True)
    where: Expression = field(kw_only=True)


@dataclass(frozen=True)
class Ratio:
    """One feature of the group over another; null when the denominator is 0."""

    name: str
    numerator: str
    denominator: str


@dataclass(frozen=True)
class Derived:
    """An ibis expression over numbers of the group that are declared before it: `_.skips_1h / (_.plays_1h + 1)`.

    A quotient is float64 and null when its denominator is 0; what is computed with a null is null.
    """

    name: str
    value: Expression


@dataclass(frozen=True)
class Attribute:
    """A column of a dimension, under its own name, as it holds at a moment; null where the dimension has no row.

    A group of attributes has nothing else; its entity's key is that of the dimension.
    """

    name: str
    of: Dimension = field(kw_only=True)

    @property
    def over(self) -> tuple[Window, ...]:
        """The moment itself."""
        return (Current(),)


Aggregate: TypeAlias = Count | Sum | Mean | Min | Max | First | Last | CountDistinct | TopK
Feature: TypeAlias = Aggregate | SessionStart | LastK | Ratio | Derived | Attribute

SUPPORTED: Mapping[type, tuple[type[Window], ...]] = MappingProxyType(
    {
        Count: (Sliding, Lifetime, Session, Days),
        Sum: (Sliding, Lifetime, LatestEvents, Session, Days),
        Mean: (Sliding, Lifetime, LatestEvents, Session, Days),
        Min: (Sliding, Lifetime, Session, Days),
        Max: (Sliding, Lifetime, Session, Days),
        First: (Sliding, Lifetime, Session, Days),
        Last: (Sliding, Lifetime, Session, Days),
        CountDistinct: (Sliding, Lifetime, Session, Days),
        TopK: (Days,),
        LastK: (Sliding, Lifetime, LatestEvents),
        SessionStart: (Session,),
        Ratio: (Sliding, Lifetime, LatestEvents, Session, Days),
        Derived: (Sliding, Lifetime, LatestEvents, Session, Days),
        Attribute: (Current,),
    }
)
"""Aggregate to the windows it may have."""


def names_of(feature: Feature) -> list[str]:
    """Output names of one declared feature.

    >>> from playhead.declare import sliding
    >>> names_of(Count("plays", where=True, over=sliding("1m", "1d")))
    ['plays_1m', 'plays_1d']
    """
    if isinstance(feature, Aggregate):
        return [f"{feature.name}_{w.label}" if hasattr(w, "label") else feature.name for w in feature.over]
    return [feature.name]

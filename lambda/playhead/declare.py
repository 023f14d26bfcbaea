"""The language of `features/`: entities, feature groups, features, services. Frozen data; imports no engine.

    listener = FeatureGroup(
        name="listener",
        entity=user,
        features=(
            Count("plays", where=_.event_type == "PLAY", over=sliding("1m", "1h", "1d")),
            Ratio("skip_rate_1h", "skips_1h", "plays_1h"),
        ),
    )

Filters and values are ibis deferred expressions over the columns of `schemas.tables.event_ibis_schema()`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from types import MappingProxyType
from typing import Any, NoReturn, TypeAlias

from playhead.errors import DeclarationError, did_you_mean

Expression: TypeAlias = Any
"""An ibis deferred expression, such as `_.event_type == "PLAY"`."""

Default: TypeAlias = int | float | str | list[str]
"""A feature's value where it would be null."""

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_NAME = re.compile(r"(?=.{1,63}$)[a-z][a-z0-9]*(_[a-z0-9]+)*")
_ALLOWED_NAMES = "allowed are words of a-z and 0-9 joined by single _, 63 characters"
_DECIMAL = re.compile(r"decimal\(([1-9])\)")
VALID_FROM_MS = "valid_from_ms"
"""The column of a dimension that says from when a row holds, epoch milliseconds."""
SECOND = timedelta(seconds=1)


@dataclass(frozen=True)
class Sliding:
    """The last `length` before a moment, exact to the second: at T the events in `[T - length, T)`."""

    length: timedelta
    label: str


@dataclass(frozen=True)
class Lifetime:
    """All events before a moment."""

    label: str = "lifetime"


@dataclass(frozen=True)
class Session:
    """The listener's current session; null once `gap` has passed without an event. A gap of exactly `gap` continues."""

    gap: timedelta


@dataclass(frozen=True)
class Days:
    """Calendar days in UTC: today so far, and the N - 1 whole days before."""

    count: int
    label: str


@dataclass(frozen=True)
class LatestEvents:
    """The last `count` events that match, however long ago they were."""

    count: int
    label: str


@dataclass(frozen=True)
class Current:
    """What a dimension says at a moment."""


Window: TypeAlias = Sliding | Lifetime | LatestEvents | Session | Days | Current


def sliding(*labels: str) -> tuple[Sliding, ...]:
    """Sliding windows from labels of a number and one of s, m, h, d; from 1 second to 1 day.

    Raises:
        DeclarationError: a label that is not of that form or out of these bounds.

    >>> [w.length.total_seconds() for w in sliding("1m", "1h")]
    [60.0, 3600.0]
    """
    return tuple(Sliding(_length(label), label) for label in labels)


def lifetime() -> tuple[Lifetime, ...]:
    """All events so far; it goes with sliding windows: `over=(*sliding("1d"), *lifetime())`."""
    return (Lifetime(),)


def latest(*counts: int) -> tuple[LatestEvents, ...]:
    """Windows of the last events that match `where`; they go with sliding ones.

    Raises:
        DeclarationError: a count that is not between 1 and 1,000.

    >>> [w.label for w in latest(20)]
    ['last_20']
    """
    for count in counts:
        if not 1 <= count <= 1_000:
            raise DeclarationError(f"a window of the latest {count} events is not between 1 and 1,000")
    return tuple(LatestEvents(count, f"last_{count}") for count in counts)


def session(*, gap: timedelta = timedelta(minutes=30)) -> tuple[Session, ...]:
    """The current session."""
    return (Session(gap),)


def days(*counts: int) -> tuple[Days, ...]:
    """Windows of calendar days in UTC, merged from both layers: today so far, and the whole days before.

    >>> [w.label for w in days(7, 30)]
    ['7d', '30d']
    """
    return tuple(Days(count, f"{count}d") for count in counts)


@dataclass(frozen=True, kw_only=True)
class Entity:
    """What a feature is about. `key` is the event column, and the join key in Feast."""

    name: str
    key: str


@dataclass(frozen=True, kw_only=True)
class Dimension:
    """A versioned table of what something is: each row holds from its `valid_from` until the next row of its key.

    A group that is declared with `enrich=(tracks,)` has its columns beside those of the events, as of the event's time,
    under the dimension's name: `_.track_genre`. Where the dimension knows nothing they are null.

    Attributes:
        name: of the table, and what its columns begin with.
        key: the column of the events, and of the table, that finds a row.
        columns: column to its type: `string`, `int64`, or `decimal(N)`: a number with N digits behind the point, which
            is kept and computed with as a whole number of its last digit, so that sums are exact: 0.5 of a decimal(3)
            is 500.

    Raises:
        DeclarationError: a name or a type that is not allowed.

    >>> tracks = Dimension(name="track", key="track_id", columns={"genre": "string", "valence": "decimal(3)"})
    >>> tracks.event_columns
    {'track_genre': 'string', 'track_valence': 'int64'}
    >>> tracks.digits("valence")
    3
    """

    name: str
    key: str
    columns: Mapping[str, str]

    def __post_init__(self) -> None:
        for name in (self.name, *self.columns):
            if not _NAME.fullmatch(name):
                raise DeclarationError(f"dimension {self.name!r}: name {name!r}: {_ALLOWED_NAMES}")
        for column, kind in self.columns.items():
            if kind not in ("string", "int64") and not _DECIMAL.fullmatch(kind):
                raise DeclarationError(
                    f"dimension {self.name!r}: column {column!r} is {kind!r}",
                    hint="allowed: string, int64, decimal(1…9)",
                )
        for column in sorted({*self.columns} & {*RESERVED, self.key}):
            raise DeclarationError(f"dimension {self.name!r}: {column!r} is a column that every table has")

    @property
    def types(self) -> dict[str, str]:
        """Column to the type that it is kept in: `string` or `int64`."""
        return {column: "string" if kind == "string" else "int64" for column, kind in self.columns.items()}

    @property
    def event_columns(self) -> dict[str, str]:
        """The same under the names that events have them by."""
        return {f"{self.name}_{column}": kind for column, kind in self.types.items()}

    def digits(self, column: str) -> int:
        """How many digits behind the point a column has; 0 of what is no decimal."""
        match = _DECIMAL.fullmatch(self.columns[column])
        return int(match[1]) if match else 0


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
        LastK: (Sliding, Lifetime),
        SessionStart: (Session,),
        Ratio: (Sliding, Lifetime, Session, Days),
        Derived: (Sliding, Lifetime, Session, Days),
        Attribute: (Current,),
    }
)
"""Aggregate to the windows it may have."""

RESERVED = frozenset(
    {
        "arrival",
        "copy",
        "created_at",
        "dt",
        "end_ms",
        "entity",
        "event_time_ms",
        "event_timestamp",
        "event_timestamp_ms",
    }
    | {"events", "fingerprint", "group", "last_event_ms", "opened_ms", "rowtime", "second", "session_end_ms"}
    | {"session_start_ms", "since_ms", "tick_ms", "valid_from_ms"}
)
"""Columns of tables beside the features."""


@dataclass(frozen=True, kw_only=True)
class FeatureGroup:
    """Features of one entity that change together: one row, one Redis key, one Feast view.

    The description is for people; it changes no value and no fingerprint.

    Raises:
        DeclarationError: a bad or repeated name, an unknown feature in a `Ratio`, or windows of different kinds.
    """

    name: str
    entity: Entity
    features: tuple[Feature, ...]
    enrich: tuple[Dimension, ...] = ()
    description: str = ""
    declared_at: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        frame = sys._getframe(2)
        object.__setattr__(self, "declared_at", f"{frame.f_code.co_filename}:{frame.f_lineno}")
        self._check_names()
        self._check_ratios()
        if len({kind_of(w) for w in self.windows}) > 1:
            raise self._error("mixes sliding, session and calendar windows, or attributes: declare a group for each")
        if not self.windows:
            raise self._error("has no windowed feature")
        self._check_attributes()
        for feature in self.features:
            for window in getattr(feature, "over", self.windows[:1]):
                if type(window) not in SUPPORTED[type(feature)]:
                    self._refuse(feature, window)

    @property
    def windows(self) -> tuple[Window, ...]:
        """Every window of every feature, repeats included."""
        return tuple(w for f in self.features if isinstance(f, Aggregate | SessionStart | Attribute) for w in f.over)

    @property
    def kind(self) -> type[Sliding] | type[Session] | type[Days] | type[Current]:
        """The kind of all its windows."""
        return kind_of(self.windows[0])

    @property
    def feature_names(self) -> list[str]:
        """Names of the features in order; an aggregate has one for each window (`plays_1m`, `plays_1h`)."""
        return [name for f in self.features for name in names_of(f)]

    def _check_names(self) -> None:
        names = self.feature_names
        for name in (self.name, *names):
            if not _NAME.fullmatch(name):
                raise self._error(f"name {name!r}: {_ALLOWED_NAMES}")
        for name in sorted({n for n in names if names.count(n) > 1}):
            raise self._error(f"feature {name!r} is declared twice")
        for feature in self.features:
            others = {name for other in self.features if other is not feature for name in names_of(other)}
            if feature.name in others:
                raise self._error(f"{feature.name!r} is the name of two declarations, of one with its window")
        for name in sorted({*names, *(f.name for f in self.features)} & {*RESERVED, self.entity.key}):
            raise self._error(f"name {name!r} is that of a column which every table has", hint="choose another")

    def _check_ratios(self) -> None:
        """Every part of a ratio is a number of the group that stands before it."""
        numbers: list[str] = []
        for feature in self.features:
            if isinstance(feature, Ratio):
                for part in (feature.numerator, feature.denominator):
                    if part not in numbers:
                        problem = f"{feature.name!r} is a ratio of {part!r}, which is no number before it"
                        raise self._error(problem, hint=did_you_mean(part, numbers))
            if not isinstance(feature, First | Last | LastK | TopK):
                numbers += names_of(feature)

    def _check_attributes(self) -> None:
        """Attributes are of one dimension, whose key is the entity's."""
        attributes = [feature for feature in self.features if isinstance(feature, Attribute)]
        for attribute in attributes:
            if attribute.of != attributes[0].of or attribute.of.key != self.entity.key:
                problem = f"{attribute.name!r} is of the dimension {attribute.of.name!r} with key {attribute.of.key!r}"
                raise self._error(problem, hint=f"a group's attributes are of one dimension, by {self.entity.key!r}")
            if attribute.name not in attribute.of.columns:
                problem = f"the dimension {attribute.of.name!r} has no column {attribute.name!r}"
                raise self._error(problem, hint=did_you_mean(attribute.name, attribute.of.columns))

    def _refuse(self, feature: Feature, window: Window) -> NoReturn:
        allowed = ", ".join(sorted(w.__name__.lower() for w in SUPPORTED[type(feature)]))
        raise self._error(
            f"has a {type(feature).__name__} over {type(window).__name__.lower()} windows, which no engine computes",
            hint=f"{type(feature).__name__} goes with {allowed} windows",
        )

    def _error(self, problem: str, hint: str | None = None) -> DeclarationError:
        return DeclarationError(f"group {self.name!r} at {self.declared_at}: {problem}", hint=hint)


MOMENT = "moment"
"""The input of an on-demand view that is the moment itself."""

_KINDS = ("int64", "float64", "string")


@dataclass(frozen=True, kw_only=True)
class OnDemand:
    """Features that are computed when they are asked for, from the moment and from other features, by one function.

    The function is called once for a row, with its inputs by the names of their features, and gives every feature of
    the view; a null is None on both sides. It must be pure: online and offline call it with the same values.

        def context(moment: datetime) -> dict[str, int]:
            return {"weekday": moment.isoweekday()}

        OnDemand(name="context", features={"weekday": "int64"}, inputs=(MOMENT,), function=context)

    Attributes:
        name: of the view.
        features: name to type: int64, float64 or string.
        inputs: `group.feature`, without the service's defaults; and `MOMENT`: an aware datetime in UTC, whole seconds.
        of: the groups of the inputs.
        function: see above.
        description: for people.

    Raises:
        DeclarationError: a bad name or type, or an input that the groups do not have.
    """

    name: str
    features: Mapping[str, str]
    inputs: tuple[str, ...]
    of: tuple[FeatureGroup, ...] = ()
    function: Callable[..., Mapping[str, Any]]
    description: str = ""

    def __post_init__(self) -> None:
        known = [MOMENT, *(f"{group.name}.{feature}" for group in self.of for feature in group.feature_names)]
        for each in self.inputs:
            if each not in known:
                raise self._error(f"input {each!r} is not known", hint=did_you_mean(each, known))
        short = [each.rpartition(".")[2] for each in self.inputs]
        for name in (self.name, *self.features):
            if not _NAME.fullmatch(name):
                raise self._error(f"name {name!r}: {_ALLOWED_NAMES}")
        # Feast takes a feature that is named like an input for that input.
        for name in sorted({*self.features} & {*short} | {name for name in short if short.count(name) > 1}):
            raise self._error(f"{name!r} is the name of two inputs, or of an input and a feature")
        for name, kind in self.features.items():
            if kind not in _KINDS:
                raise self._error(f"feature {name!r} is {kind!r}, expected {' or '.join(_KINDS)}")
        if not self.inputs or not self.features:
            raise self._error("needs at least one input and one feature")

    @property
    def feature_names(self) -> list[str]:
        """Names of its features, in order."""
        return list(self.features)

    def _error(self, problem: str, hint: str | None = None) -> DeclarationError:
        return DeclarationError(f"on-demand view {self.name!r}: {problem}", hint=hint)


@dataclass(frozen=True, kw_only=True)
class FeatureService:
    """What one model reads, by name and version (`listener_v1`).

    Attributes:
        name: of the scenario, with the version.
        groups: the feature groups it reads.
        on_demand: the on-demand views it reads. What they are computed from it need not read itself.
        features: of them, those it reads, as `group.feature`; all of them when empty.
        defaults: feature, as `group.feature`, to what stands in place of null, served and in training sets alike.

    Raises:
        DeclarationError: a feature that the groups do not have, a default of one that is not read, or a group of which
            nothing is read.
    """

    name: str
    groups: tuple[FeatureGroup, ...]
    on_demand: tuple[OnDemand, ...] = ()
    features: tuple[str, ...] = ()
    defaults: Mapping[str, Default] = field(default_factory=dict)

    def __post_init__(self) -> None:
        known = [f"{view.name}.{feature}" for view in self.views for feature in view.feature_names]
        self._check_known("reads", self.features, known)
        self._check_known("has a default for", self.defaults, self.features or known)
        for view in self.views:
            if not self.features_of(view):
                raise DeclarationError(f"service {self.name!r} reads nothing of its group {view.name!r}")

    @property
    def views(self) -> tuple[FeatureGroup | OnDemand, ...]:
        """What it reads: groups, then on-demand views."""
        return (*self.groups, *self.on_demand)

    @property
    def inputs(self) -> tuple[FeatureGroup, ...]:
        """The groups that have to be read for it: its own, and those that on-demand views are computed from."""
        found = {group.name: group for group in (*self.groups, *(g for view in self.on_demand for g in view.of))}
        return tuple(found.values())

    def _check_known(self, what: str, features: Iterable[str], known: Sequence[str]) -> None:
        for feature in features:
            if feature not in known:
                where = "its groups do not have" if what == "reads" else "it does not read"
                problem = f"service {self.name!r} {what} {feature!r}, which {where}"
                raise DeclarationError(problem, hint=did_you_mean(feature, known))

    def features_of(self, view: FeatureGroup | OnDemand) -> list[str]:
        """What it reads of a group or an on-demand view, in the order of the declarations."""
        if view.name not in {own.name for own in self.views}:
            return []
        return [name for name in view.feature_names if not self.features or f"{view.name}.{name}" in self.features]


def kind_of(window: Window) -> type[Sliding] | type[Session] | type[Days] | type[Current]:
    """Windows of one kind go into one group: a lifetime is a sliding window without an end."""
    return Sliding if isinstance(window, Lifetime | LatestEvents) else type(window)


def names_of(feature: Feature) -> list[str]:
    """Output names of one declared feature.

    >>> names_of(Count("plays", where=True, over=sliding("1m", "1d")))
    ['plays_1m', 'plays_1d']
    """
    if isinstance(feature, Aggregate):
        return [f"{feature.name}_{w.label}" if hasattr(w, "label") else feature.name for w in feature.over]
    return [feature.name]


def _length(label: str) -> timedelta:
    match = re.fullmatch(r"([1-9][0-9]*)([smhd])", label)
    if match is None:
        raise DeclarationError(f"window {label!r} is not a number and one of s, m, h, d", hint='"1m", "1h", "1d"')
    length = timedelta(**{_UNITS[match[2]]: int(match[1])})
    if not SECOND <= length <= timedelta(days=1):
        raise DeclarationError(f"window {label!r} is not between 1s and 1d", hint="days(7, 30) makes calendar windows")
    return length

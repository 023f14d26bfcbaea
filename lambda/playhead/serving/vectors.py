"""From entities to feature vectors: which rows a service needs, read in one round trip, merged where they are of
windows of days, and what is computed from them on demand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from playhead.columns import Column, Flags, Places, any_of
from playhead.declarations import Declarations
from playhead.declare import FeatureGroup, FeatureService, OnDemand
from playhead.errors import InputError, UnsupportedError
from playhead.on_demand import Computing, keys_of
from playhead.plan import Plan
from playhead.serving.fetched import STATUS_NAMES, Fetched, Lazy
from playhead.serving.online import OnlineStore
from playhead.serving.online_merge import online_group
from playhead.serving.packed import Value
from playhead.serving.reading import GroupRows, Status, Statuses, read_groups

REQUEST_KEYS = ("user_id",)
CANDIDATE_KEYS = ("track_id", "artist_id")
"""Entity keys that a request names once, and those that each of its candidates names."""

Entities = Mapping[str, str | None]
"""Entity key to entity; null when it is not known."""

Asked = Mapping[str, str | Sequence[str | None] | None]
"""Entity key to an entity for every row, or to one for each; null when it is not known."""


@dataclass
class Part:
    """What all vectors of a request share: the features of its own entities.

    Attributes:
        entities: entity key to entity, those not known left out.
        values: `view__feature` to value; all features of the service's views. Without a row they are those of an empty
            window, or null; so are those of windows that were refused.
        event_timestamps_ms: view to its row's event timestamp, the newest of those it was merged from; absent where
            there is no row.
        fingerprints: view to its row's fingerprint.
        statuses: view to `stale` or `refused`, where its row or one of its values is.
    """

    entities: dict[str, str]
    values: dict[str, Value] = field(default_factory=dict)
    event_timestamps_ms: dict[str, int] = field(default_factory=dict)
    fingerprints: dict[str, str] = field(default_factory=dict)
    statuses: dict[str, str] = field(default_factory=dict)


@dataclass
class Candidates:
    """What each candidate has of its own: the same in columns, a place for each, in order; null is absent.

    Attributes:
        count: how many there are.
        fingerprints: of the views of which one has a row.
    """

    count: int = 0
    entities: dict[str, list[str | None]] = field(default_factory=dict)
    values: dict[str, Column] = field(default_factory=dict)
    event_timestamps_ms: dict[str, Column] = field(default_factory=dict)
    fingerprints: dict[str, str] = field(default_factory=dict)
    statuses: dict[str, list[str | None]] = field(default_factory=dict)


@dataclass
class Vectors:
    """What a request gets: the part that all its candidates share, and what each of these has.

    `statuses` counts entities by view and status, a name of `Status` in small letters.
    """

    serve_time_ms: int
    shared: Part
    candidates: Candidates
    statuses: Counter[tuple[str, str]]


class _View:
    """A group's features as a service has them."""

    def __init__(self, service: FeatureService, group: FeatureGroup, plan: Plan) -> None:
        self.name, self.key, self.keys = plan.name, plan.key, (plan.key,)
        types = dict(plan.schema)
        self.columns = [(f"{plan.name}__{name}", name) for name in service.features_of(group)]
        self.kinds = {column: types[name].to_pyarrow() for column, name in self.columns}
        self.defaults = {name: service.defaults.get(f"{group.name}.{name}") for _, name in self.columns}
        asked = [each.partition(".") for view in service.on_demand for each in view.inputs]
        self.inputs = [(f"{plan.name}.{name}", name) for own, _, name in asked if own == plan.name]
        self.group = online_group(plan, {name for _, name in [*self.columns, *self.inputs]})


class _Computed:
    """An on-demand view as a service has it."""

    def __init__(self, service: FeatureService, view: OnDemand) -> None:
        self.name, self.keys = view.name, keys_of(view)
        self.columns = [(f"{view.name}__{name}", name) for name in service.features_of(view)]
        self.kinds = {column: pa.type_for_alias(view.features[name]) for column, name in self.columns}
        self.defaults = {name: service.defaults.get(f"{view.name}.{name}") for _, name in self.columns}
        self.computing = Computing(view)


class VectorService:
    """One feature service, compiled. Safe to share between threads.

    Args:
        service: the declared service.
        declarations: where its groups are declared.
    """

    def __init__(self, service: FeatureService, declarations: Declarations) -> None:
        self.name = service.name
        self.views = [_View(service, group, declarations.plan(group.name)) for group in service.inputs]
        self.computed = [_Computed(service, view) for view in service.on_demand]
        views: list[_View | _Computed] = [*self.views, *self.computed]
        self._of_candidates = [view for view in views if {*view.keys} & {*CANDIDATE_KEYS}]
        self._of_request = [view for view in views if not {*view.keys} & {*CANDIDATE_KEYS}]
        self._nobody = Candidates(
            entities={key: [] for key in CANDIDATE_KEYS},
            values={
                column: Column.nulls(0, kind) for view in self._of_candidates for column, kind in view.kinds.items()
            },
        )
        self.keys = list(dict.fromkeys(view.key for view in self.views))
        self.kinds = {column: kind for view in views for column, kind in view.kinds.items()}
        self.numbers = [column for column, kind in self.kinds.items() if _is_number(kind)]
        self._origins = {
            column: _Origin(view.name, name, view.defaults[name]) for view in views for column, name in view.columns
        }
        self._stamped = {view.name: view.name for view in self.views if view.columns}

    def fetch(self, store: OnlineStore, asked: Asked, clock_s: Callable[[], float]) -> Fetched:
        """Read all vectors in one round trip.

        Args:
            store: the online store.
            asked: the entities; lists are of one length. An entity key that is not in it is not known.
            clock_s: wall clock, Unix seconds.

        Raises:
            StackError: the store does not answer.
            InputError: an entity key that the service does not have, or lists of different lengths.
        """
        entities = {key: _Keyed(value) for key, value in asked.items()}
        lists = {key: each.rows for key, each in entities.items() if each.is_list}
        if len({*lists.values()}) > 1:
            raise InputError(
                f"entities: {', '.join(f'{rows} of {key}' for key, rows in lists.items())}: not one for each row"
            )
        rows = next(iter(lists.values()), 1)
        if unknown := [key for key in entities if key not in self.keys]:
            raise InputError(f"entities: {', '.join(unknown)}: service {self.name!r} has {', '.join(self.keys)}")
        known = [entities.get(view.key, _NOBODY) for view in self.views]
        found, at_ms = read_groups(
            store, [(view.group, keyed.unique) for view, keyed in zip(self.views, known, strict=True)], clock_s
        )
        groups: dict[str, _Read] = {}
        made: dict[str, _Made] = {}
        inputs: dict[str, Column] = {}
        counts: Counter[tuple[str, str]] = Counter()
        for view, keyed, group in zip(self.views, known, found, strict=True):
            groups[view.name] = own = _Read(keyed, group)
            inputs |= {each: own.column(name) for each, name in view.inputs}
            codes = group.status.tobytes()
            counts.update({(view.name, STATUS_NAMES[code]): codes.count(code) for code in {*codes}})
        for computed in self.computed:
            keys = [entities.get(key, _NOBODY) for key in computed.keys]
            made[computed.name] = _Made(*_computed(computed, keys, inputs, at_ms))
        read: dict[str, _Read | _Made] = {**groups, **made}
        return Fetched(
            serve_time_ms=at_ms,
            rows=rows,
            kinds=self.kinds,
            numbers=self.numbers,
            columns=Lazy(self._origins, lambda of: read[of.view].column(of.name).filled(of.default)),
            statuses=Lazy(self._origins, lambda of: read[of.view].status(of.name)),
            event_timestamps_ms=Lazy(self._stamped, lambda view: groups[view].stamps),
            counts=counts,
        )

    def vectors(
        self, store: OnlineStore, shared: Entities, candidates: Sequence[Entities], clock_s: Callable[[], float]
    ) -> Vectors:
        """What a request gets, in one round trip.

        Args:
            store: the online store.
            shared: the request's entities, of `REQUEST_KEYS`.
            candidates: each candidate's entities, of `CANDIDATE_KEYS`.
            clock_s: wall clock, Unix seconds.

        Raises:
            StackError: the store does not answer.
            UnsupportedError: the service is about an entity that a request does not name.
        """
        self._check_keys()
        one = {key: [shared.get(key)] for key in REQUEST_KEYS}
        each = {key: [own.get(key) for own in candidates] for key in CANDIDATE_KEYS}
        asked: dict[str, str | Sequence[str | None] | None] = {key: entity for key, (entity,) in one.items()}
        if candidates:
            asked |= each
        asked = {key: value for key, value in asked.items() if key in self.keys}
        fetched = self.fetch(store, asked, clock_s)
        own = _part(_columns(fetched, one, self._of_request))
        found = _columns(fetched, each, self._of_candidates) if candidates else self._nobody
        return Vectors(fetched.serve_time_ms, own, found, fetched.counts)

    def _check_keys(self) -> None:
        known = (*REQUEST_KEYS, *CANDIDATE_KEYS)
        for view in self.views:
            if view.key not in known:
                raise UnsupportedError(
                    f"service {self.name!r}: group {view.name!r} is about {view.key!r}",
                    hint=f"the server knows {', '.join(known)}",
                )


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _columns(fetched: Fetched, entities: dict[str, list[str | None]], views: Sequence[_View | _Computed]) -> Candidates:
    """What each of the entities has, from views that have a row for each."""
    count = len(next(iter(entities.values())))
    found = Candidates(
        count=count,
        entities=entities,
        values={column: fetched.columns[column] for view in views for column, _ in view.columns},
    )
    for view in views:
        if isinstance(view, _View) and view.columns:
            stamps = fetched.event_timestamps_ms[view.name]
            if any_of(stamps.valid):
                found.event_timestamps_ms[view.name] = stamps
                found.fingerprints[view.name] = view.group.fingerprint
            told = np.full(count, None, np.object_)
            for status in (Status.STALE, Status.REFUSED):
                name = status.name.lower()
                if fetched.counts[view.name, name]:
                    own = [fetched.statuses[column] == status.value for column, _ in view.columns]
                    told[np.logical_or.reduce(own)] = name
            if told.any():
                found.statuses[view.name] = told.tolist()
    return found


def _part(one: Candidates) -> Part:
    """Of the only one."""
    return Part(
        {key: entity for key, (entity,) in one.entities.items() if entity is not None},
        {name: column.to_list()[0] for name, column in one.values.items()},
        {view: column.to_list()[0] for view, column in one.event_timestamps_ms.items()},
        one.fingerprints,
        {view: status for view, (status,) in one.statuses.items() if status is not None},
    )


class _Origin(NamedTuple):
    """Where the values of a column come from, and what stands in place of null."""

    view: str
    name: str
    default: Value


class _Read:
    """A group's rows, brought to the rows of a request."""

    def __init__(self, keyed: _Keyed, group: GroupRows) -> None:
        self._keyed, self._group = keyed, group

    def column(self, name: str) -> Column:
        """A feature's values."""
        return self._keyed.spread(self._group.columns[name])

    def status(self, name: str) -> Statuses:
        """Of each of them."""
        return self._keyed.spread_status(self._group.status_of(name))

    @property
    def stamps(self) -> Column:
        """Event timestamps of the rows."""
        return self._keyed.spread(self._group.stamps)


class _Made:
    """The same of what was computed, and where all entities of its view are known."""

    def __init__(self, columns: Mapping[str, Column], there: Flags) -> None:
        self._columns, self._there = columns, there

    def column(self, name: str) -> Column:
        """As of `_Read`."""
        return self._columns[name]

    def status(self, _name: str) -> Statuses:
        """As of `_Read`."""
        return np.where(self._there, np.uint8(Status.PRESENT), np.uint8(Status.MISSING))


class _Keyed:
    """The entities of a key: each once, and which of them a row has, -1 where none is known."""

    def __init__(self, asked: str | Sequence[str | None] | None) -> None:
        self.is_list = not (asked is None or isinstance(asked, str))
        listed = [asked] if asked is None or isinstance(asked, str) else asked
        self.rows, self.unique = len(listed), [entity for entity in dict.fromkeys(listed) if entity is not None]
        self.places: Places = np.arange(self.rows)
        self._in_order = len(self.unique) == self.rows
        if not self._in_order:
            places: dict[str | None, int] = {entity: place for place, entity in enumerate(self.unique)}
            self.places = np.array([places.get(entity, -1) for entity in listed], np.int64)

    def spread(self, column: Column) -> Column:
        """A value for each row from one for each entity."""
        return column if self._in_order else column.take(self.places)

    def spread_status(self, status: Statuses) -> Statuses:
        """The same of statuses."""
        if self._in_order:
            return status
        return np.append(status, np.uint8(Status.MISSING))[self.places]


_NOBODY = _Keyed(None)


def _computed(
    own: _Computed, keys: Sequence[_Keyed], inputs: Mapping[str, Column], at_ms: int
) -> tuple[dict[str, Column], npt.NDArray[np.bool_]]:
    """The features of an on-demand view, and where all its entities are known."""
    there = np.ones(max((key.rows for key in keys), default=1), np.bool_)
    for key in keys:
        there &= key.places >= 0
    return own.computing.columns(inputs, at_ms, there), there

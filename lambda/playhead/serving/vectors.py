"""From a request to feature vectors: which rows a service needs, read in one round trip, merged where they are of
windows of days, and what is computed from them on demand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from playhead.declarations import Declarations
from playhead.declare import MOMENT, FeatureGroup, FeatureService, OnDemand
from playhead.errors import UnsupportedError
from playhead.on_demand import computed, keys_of
from playhead.plan import DailyPlan, Plan
from playhead.serving.online import OnlineStore
from playhead.serving.online_merge import Found, MergedRow, OnlineMerge, Status, read_rows
from playhead.serving.packed import PackedRow, Packer, Refused, Value

REQUEST_KEYS = ("user_id",)
CANDIDATE_KEYS = ("track_id", "artist_id")
"""Entity keys that a request names once, and those that each of its candidates names."""

Entities = Mapping[str, str | None]
"""Entity key to entity; null when it is not known."""


@dataclass
class Part:
    """The features of the entities of a request, or of one of its candidates.

    Attributes:
        entities: entity key to entity, those not known left out.
        values: `view__feature` to value; all features of the service's views. Without a row they are those of an empty
            window, or null; so are those of windows that were refused.
        event_timestamps_ms: view to its row's event timestamp, the newest of those it was merged from; absent where
            there is no row.
        fingerprints: view to its row's fingerprint.
    """

    entities: dict[str, str]
    values: dict[str, Value] = field(default_factory=dict)
    event_timestamps_ms: dict[str, int] = field(default_factory=dict)
    fingerprints: dict[str, str] = field(default_factory=dict)


@dataclass
class Vectors:
    """What a request gets: the part that all its candidates share, and a part for each candidate, in order.

    `statuses` counts entities by (view, status): `present`, `missing`, `refused`: a row that this service cannot read,
    or `stale`: a window that the batch layer is too far behind for.
    """

    serve_time_ms: int
    shared: Part
    candidates: list[Part]
    statuses: Counter[tuple[str, Status]]


class _View:
    """A group's features as a service has them."""

    def __init__(self, service: FeatureService, group: FeatureGroup, plan: Plan) -> None:
        self.name, self.key, self.fingerprint = plan.name, plan.key, plan.fingerprint
        self._empty = plan.empty
        self._columns = [(f"{plan.name}__{name}", name) for name in service.features_of(group)]
        self._defaults = {name: service.defaults.get(f"{group.name}.{name}") for _, name in self._columns}
        asked = [each.partition(".") for view in service.on_demand for each in view.inputs]
        self.inputs = [(f"{plan.name}.{name}", name) for own, _, name in asked if own == plan.name]
        self._merge = OnlineMerge(plan) if isinstance(plan, DailyPlan) else None
        self._packer = Packer.of(plan)

    @property
    def is_read(self) -> bool:
        """Whether the service reads features of it, and not only what is computed from them."""
        return bool(self._columns)

    def rows_of(self, entity: str, day_ms: int) -> list[tuple[Packer, str]]:
        """What to read of an entity on a day."""
        return self._merge.rows_of(entity, day_ms) if self._merge else [(self._packer, entity)]

    def read(self, entities: Sequence[str], at_ms: int, found: Found) -> list[MergedRow]:
        """Each entity's features at a moment, from what the store gave."""
        if self._merge:
            return self._merge.merged(entities, at_ms, found)
        return [self._row(found[self._packer, entity]) for entity in entities]

    def served(self, values: Mapping[str, Value]) -> Iterator[tuple[str, Value]]:
        """`view__feature` and value, with the service's defaults in place of null."""
        for column, name in self._columns:
            value = values.get(name)
            yield column, self._defaults[name] if value is None else value

    def _row(self, row: PackedRow | Refused | None) -> MergedRow:
        if isinstance(row, PackedRow):
            return MergedRow("present", row.values, row.event_timestamp_ms)
        # Absent is an empty window; a row that was refused says nothing.
        return MergedRow("missing", self._empty, None) if row is None else MergedRow("refused", {}, None)


class _Computed:
    """An on-demand view as a service has it."""

    def __init__(self, service: FeatureService, view: OnDemand) -> None:
        self.keys = {*keys_of(view)}
        self._view = view
        self._columns = [(f"{view.name}__{name}", name) for name in service.features_of(view)]
        self._defaults = {name: service.defaults.get(f"{view.name}.{name}") for _, name in self._columns}

    def add(
        self, parts: Sequence[Part], read: Sequence[Mapping[str, Value]], at_ms: int, shared: Mapping[str, str]
    ) -> None:
        """Compute the features of each part from what was read for it: `group.feature` to value; null where one of the
        view's entities is neither the part's nor shared.
        """
        known = [self.keys <= {*part.entities, *shared} for part in parts]
        inputs = {each: [own.get(each) for own in read] for each in self._view.inputs if each != MOMENT}
        found = computed(self._view, inputs, [at_ms if own else None for own in known])
        for column, name in self._columns:
            for part, value in zip(parts, found[name], strict=True):
                part.values[column] = self._defaults[name] if value is None else value


class VectorService:
    """One feature service, compiled: its views by the entity key that they hang on.

    Args:
        service: the declared service.
        declarations: where its groups are declared.

    Raises:
        UnsupportedError: a group whose entity is neither the request's nor a candidate's.
    """

    def __init__(self, service: FeatureService, declarations: Declarations) -> None:
        self.name = service.name
        views = []
        for group in service.inputs:
            plan = declarations.plan(group.name)
            if plan.key not in (*REQUEST_KEYS, *CANDIDATE_KEYS):
                raise UnsupportedError(
                    f"service {service.name!r}: group {group.name!r} is about {plan.key!r}",
                    hint=f"the server knows {', '.join((*REQUEST_KEYS, *CANDIDATE_KEYS))}",
                )
            views.append(_View(service, group, plan))
        self._shared = [view for view in views if view.key in REQUEST_KEYS]
        self._candidate = [view for view in views if view.key in CANDIDATE_KEYS]
        on_demand = [_Computed(service, view) for view in service.on_demand]
        self._shared_computed = [view for view in on_demand if not view.keys & {*CANDIDATE_KEYS}]
        self._candidate_computed = [view for view in on_demand if view.keys & {*CANDIDATE_KEYS}]

    def fetch(
        self, store: OnlineStore, shared: Entities, candidates: Sequence[Entities], clock_s: Callable[[], float]
    ) -> Vectors:
        """Read all vectors of a request in one round trip.

        Args:
            store: the online store.
            shared: the request's entities.
            candidates: each candidate's entities.
            clock_s: wall clock, Unix seconds.

        Raises:
            StackError: the store does not answer.
        """
        asked = [(self._shared, shared), *((self._candidate, entities) for entities in candidates)]
        wanted: dict[_View, dict[str, None]] = {}
        for views, entities in asked:
            for view in views:
                if (entity := entities.get(view.key)) is not None:
                    wanted.setdefault(view, {})[entity] = None
        pairs = [(view, entity) for view, own in wanted.items() for entity in own]
        found, serve_time_ms = read_rows(
            store, lambda day_ms: (key for view, entity in pairs for key in view.rows_of(entity, day_ms)), clock_s
        )
        rows = {
            (view, entity): row
            for view, own in wanted.items()
            for entity, row in zip(own, view.read(list(own), serve_time_ms, found), strict=True)
        }
        statuses = Counter((view.name, row.status) for (view, _), row in rows.items())
        parts = [_part(views, entities, rows) for views, entities in asked]
        read = [_read(views, entities, rows) for views, entities in asked]
        for shared_view in self._shared_computed:
            shared_view.add(parts[:1], read[:1], serve_time_ms, {})
        of_candidates = [read[0] | own for own in read[1:]]
        for candidate_view in self._candidate_computed:
            candidate_view.add(parts[1:], of_candidates, serve_time_ms, parts[0].entities)
        return Vectors(serve_time_ms, parts[0], parts[1:], statuses)


def _read(views: Sequence[_View], entities: Entities, rows: Mapping[tuple[_View, str], MergedRow]) -> dict[str, Value]:
    """What on-demand views are computed from: `group.feature` to value, without defaults."""
    found: dict[str, Value] = {}
    for view in views:
        entity = entities.get(view.key)
        if entity is not None and view.inputs:
            values = rows[view, entity].values
            found.update((each, values.get(name)) for each, name in view.inputs)
    return found


def _part(views: Sequence[_View], entities: Entities, rows: Mapping[tuple[_View, str], MergedRow]) -> Part:
    part = Part({key: entity for key, entity in entities.items() if entity is not None})
    for view in views:
        entity = entities.get(view.key)
        row = rows[view, entity] if entity is not None else None
        # An entity that is not known has no features, not those of an empty window.
        part.values.update(view.served(row.values if row else {}))
        if row and row.event_timestamp_ms is not None and view.is_read:
            part.event_timestamps_ms[view.name] = row.event_timestamp_ms
            part.fingerprints[view.name] = view.fingerprint
    return part

"""From a request to feature vectors: which rows a service needs, read in one round trip."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from playhead.declarations import Declarations
from playhead.declare import FeatureService
from playhead.errors import UnsupportedError
from playhead.serving.online import OnlineStore
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
            window, or null.
        event_timestamps_ms: view to its row's event timestamp; absent where there is no row.
        fingerprints: view to its row's fingerprint.
    """

    entities: dict[str, str]
    values: dict[str, Value] = field(default_factory=dict)
    event_timestamps_ms: dict[str, int] = field(default_factory=dict)
    fingerprints: dict[str, str] = field(default_factory=dict)


@dataclass
class Vectors:
    """What a request gets: the part that all its candidates share, and a part for each candidate, in order.

    `statuses` counts rows by (view, status): `present`, `missing`, or `refused`: a row that this service cannot read.
    """

    shared: Part
    candidates: list[Part]
    statuses: Counter[tuple[str, str]]


@dataclass(frozen=True)
class _View:
    packer: Packer
    key: str
    columns: tuple[tuple[str, str], ...]
    """(`view__feature`, feature)."""
    empty: Mapping[str, int | float]
    defaults: Mapping[str, Value]
    """Feature to what is served in place of null."""


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
        for group in service.groups:
            plan = declarations.plan(group.name)
            if plan.key not in (*REQUEST_KEYS, *CANDIDATE_KEYS):
                raise UnsupportedError(
                    f"service {service.name!r}: group {group.name!r} is about {plan.key!r}",
                    hint=f"the server knows {', '.join((*REQUEST_KEYS, *CANDIDATE_KEYS))}",
                )
            columns = tuple((f"{plan.name}__{name}", name) for name in service.features_of(group))
            defaults = {name: service.defaults.get(f"{group.name}.{name}") for name in service.features_of(group)}
            views.append(_View(Packer.of(plan), plan.key, columns, plan.empty, defaults))
        self._shared = [view for view in views if view.key in REQUEST_KEYS]
        self._candidate = [view for view in views if view.key in CANDIDATE_KEYS]

    def fetch(self, store: OnlineStore, shared: Entities, candidates: Sequence[Entities]) -> Vectors:
        """Read all vectors of a request in one round trip.

        Args:
            store: the online store.
            shared: the request's entities.
            candidates: each candidate's entities.

        Raises:
            StackError: the store does not answer.
        """
        asked = [(self._shared, shared), *((self._candidate, entities) for entities in candidates)]
        wanted = {
            (view.packer, entity): None
            for views, entities in asked
            for view in views
            if (entity := entities.get(view.key)) is not None
        }
        rows = dict(zip(wanted, store.read_many(list(wanted)), strict=True))
        statuses = Counter((packer.name, _status(row)) for (packer, _), row in rows.items())
        parts = [_part(views, entities, rows) for views, entities in asked]
        return Vectors(parts[0], parts[1:], statuses)


def _part(
    views: Sequence[_View], entities: Entities, rows: Mapping[tuple[Packer, str], PackedRow | Refused | None]
) -> Part:
    part = Part({key: entity for key, entity in entities.items() if entity is not None})
    for view in views:
        entity = entities.get(view.key)
        row = rows[view.packer, entity] if entity is not None else None
        if isinstance(row, PackedRow):
            part.values.update(_served(view, row.values))
            part.event_timestamps_ms[view.packer.name] = row.event_timestamp_ms
            part.fingerprints[view.packer.name] = view.packer.fingerprint
        else:
            # Absent is an empty window; a row that was refused, or of an entity that is not known, says nothing.
            known = view.empty if entity is not None and row is None else {}
            part.values.update(_served(view, known))
    return part


def _served(view: _View, values: Mapping[str, Value]) -> Iterator[tuple[str, Value]]:
    for column, name in view.columns:
        value = values.get(name)
        yield column, view.defaults[name] if value is None else value


def _status(row: PackedRow | Refused | None) -> str:
    if row is None:
        return "missing"
    return "present" if isinstance(row, PackedRow) else "refused"

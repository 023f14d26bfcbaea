"""Lineage: which event fields, dimension columns and features a feature is made of, and which services read it.

It is read from the declarations, so it is never behind them. A source is named as readings name it: `events.track_id`,
`track.genre` (a column of a dimension), `listener__plays_1h`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import ibis.expr.operations as ops

from playhead.declarations import Declarations
from playhead.declare import MOMENT, Attribute, Derived, Dimension, Expression, FeatureGroup, Ratio, names_of
from playhead.errors import InputError, UnknownName
from playhead.expressions import operation, resolve
from playhead.plan import events_table
from schemas.tables import event_columns

EVENTS = "events"

_EVERY_EVENT = ("event_id", "event_time_ms")
"""Without them no event counts: by the one it is told from its repeats, by the other it has its place."""


@dataclass(frozen=True, kw_only=True)
class Affected:
    """What something reaches: features as `view__feature` in the order of the declarations, and services."""

    features: tuple[str, ...] = ()
    services: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Lineage:
    """From event fields to services.

    Attributes:
        reads: feature, as `view__feature`, to all that it is made of: fields, columns and features, by name.
        services: feature to the services that read it.
    """

    reads: Mapping[str, tuple[str, ...]]
    services: Mapping[str, tuple[str, ...]]

    @property
    def sources(self) -> tuple[str, ...]:
        """Event fields and dimension columns that a feature is made of, by name."""
        found = {name for names in self.reads.values() for name in names}
        return tuple(sorted(found - self.reads.keys()))

    def of_subject(self, subject: str) -> Affected:
        """Whom a reading's subject concerns: nobody, when it is of no feature, field, view or service.

        Args:
            subject: `events`, `events.FIELD`, a dimension or its column, `view__feature`, a view, or a service.
        """
        if subject in {name for names in self.services.values() for name in names}:
            return Affected(services=(subject,))
        # A view may have the name of a dimension: what readings are of is the view.
        own = {name for name in self.reads if name == subject or name.startswith(f"{subject}__")}
        return self._reached(
            own or {name for name in self.sources if name == subject or name.startswith(f"{subject}.")}
        )

    def of_part(self, subject: str, part: str) -> Affected:
        """Whom it concerns when a part of something is wrong: a column, or a dimension that it is enriched with.

        Where the part is nothing that is declared, it is everything that the subject concerns.
        """
        for name in (f"{subject}.{part}", f"{subject}__{part}"):
            if name in self.reads or name in self.sources:
                return self._reached({name})
        column = {name for name in self.sources if name.startswith(f"{part}.")}
        return self._reached(column) if column else self.of_subject(subject)

    def of_subjects(self, subjects: Iterable[str]) -> Affected:
        """Whom any of the subjects concerns."""
        return self.together(self.of_subject(subject) for subject in subjects)

    def together(self, several: Iterable[Affected]) -> Affected:
        """All that any of them concerns, in the order of the declarations."""
        found = [*several]
        features = {name for each in found for name in each.features}
        services = {name for each in found for name in each.services}
        return Affected(
            features=tuple(name for name in self.reads if name in features), services=tuple(sorted(services))
        )

    def _reached(self, names: set[str]) -> Affected:
        features = tuple(name for name, own in self.reads.items() if name in names or not names.isdisjoint(own))
        services = {service for name in features for service in self.services[name]}
        return Affected(features=features, services=tuple(sorted(services)))


def affected(
    declarations: Declarations, *, field: str | None = None, group: str | None = None, feature: str | None = None
) -> Affected:
    """Which features and services are wrong when one thing is.

    Args:
        declarations: what is declared.
        field: of the events.
        group: a feature group or an on-demand view.
        feature: as `view__feature`.

    Returns:
        The features themselves, and all that are made of them, in the order of the declarations.

    Raises:
        InputError: not exactly one of them is given.
        UnknownName: nothing of that name is declared.

    >>> from ibis import _
    >>> from playhead.declare import Count, Entity, FeatureService, Ratio, sliding
    >>> user = Entity(name="user", key="user_id")
    >>> skips = Count("early_skips", where=_.ms_played < 5_000, over=sliding("1h"))
    >>> plays = Count("plays", where=_.event_type == "PLAY", over=sliding("1h"))
    >>> rate = Ratio("skip_rate", "early_skips_1h", "plays_1h")
    >>> group = FeatureGroup(name="listener", entity=user, features=(skips, plays, rate))
    >>> declared = Declarations((group,), (FeatureService(name="home_v1", groups=(group,)),))
    >>> affected(declared, field="ms_played")
    Affected(features=('listener__early_skips_1h', 'listener__skip_rate'), services=('home_v1',))
    """
    given = {"field": field, "group": group, "feature": feature}
    (kind, name), *more = [(kind, name) for kind, name in given.items() if name is not None] or [("", "")]
    if more or not kind:
        raise InputError("expected exactly one of field, group and feature")
    lineage = lineage_of(declarations)
    known = {
        "field": list(event_columns()),
        "group": [group.name for group in declarations.groups] + [view.name for view in declarations.on_demand],
        "feature": list(lineage.reads),
    }
    if name not in known[kind]:
        raise UnknownName(kind, name, known[kind])
    return lineage.of_subject(f"{EVENTS}.{name}" if kind == "field" else name)


def lineage_of(declarations: Declarations) -> Lineage:
    """The lineage of everything that is declared."""
    direct: dict[str, set[str]] = {}
    for group in declarations.groups:
        direct |= _of_group(declarations, group)
    for view in declarations.on_demand:
        inputs = {each.replace(".", "__", 1) for each in view.inputs if each != MOMENT}
        direct |= {f"{view.name}__{feature}": inputs for feature in view.features}
    reads: dict[str, set[str]] = {}
    # What a feature is made of is declared before it.
    for feature, own in direct.items():
        reads[feature] = own.union(*(reads[each] for each in own if each in reads))
    return Lineage(
        reads={feature: tuple(sorted(own)) for feature, own in reads.items()},
        services={feature: tuple(_services(declarations, feature)) for feature in reads},
    )


def _services(declarations: Declarations, feature: str) -> Iterator[str]:
    name, _, own = feature.partition("__")
    for service in declarations.services:
        view = next((view for view in service.views if view.name == name), None)
        if view is not None and own in service.features_of(view):
            yield service.name


def _of_group(declarations: Declarations, group: FeatureGroup) -> dict[str, set[str]]:
    """Feature to what it is made of at once, in the order of the declarations."""
    types = dict(declarations.plan(group.name).schema)
    columns = _columns(group.enrich)
    every = {f"{EVENTS}.{name}" for name in (*_EVERY_EVENT, group.entity.key)}
    found: dict[str, set[str]] = {}
    for feature in group.features:
        if isinstance(feature, Ratio):
            own = {f"{group.name}__{part}" for part in (feature.numerator, feature.denominator)}
        elif isinstance(feature, Derived):
            before = {name: kind for name, kind in types.items() if f"{group.name}__{name}" in found}
            own = {f"{group.name}__{name}" for name in _fields(operation(feature.value, before))}
        elif isinstance(feature, Attribute):
            own = {f"{feature.of.name}.{feature.name}"}
        else:
            own = every.union(*(columns[name] for name in _named(feature, group)))
        found |= {f"{group.name}__{name}": own for name in names_of(feature)}
    return found


def _named(feature: object, group: FeatureGroup) -> set[str]:
    """Columns that an aggregate's filter and value name."""
    events = events_table(group.enrich)
    declared: list[Expression] = [getattr(feature, part) for part in ("where", "value") if hasattr(feature, part)]
    return {name for each in declared for name in _fields(resolve(each, events).op())}


def _fields(node: ops.Node) -> set[str]:
    return {field.name for field in node.find(ops.Field, filter=ops.Value)}


def _columns(dimensions: Iterable[Dimension]) -> dict[str, set[str]]:
    """Column of an enriched event to where it is from."""
    found = {name: {f"{EVENTS}.{name}"} for name in event_columns()}
    for dimension in dimensions:
        for own, column in zip(dimension.event_columns, dimension.columns, strict=True):
            found[own] = {f"{dimension.name}.{column}", f"{EVENTS}.{dimension.key}"}
    return found

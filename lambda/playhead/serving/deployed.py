"""What is declared against what is deployed: what `features apply` would change, and what has to be computed again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from typing import Any, Literal

import feast

from playhead.compile import meanings, on_demand_meaning
from playhead.config import Settings
from playhead.declarations import Declarations
from playhead.declare import FeatureGroup
from playhead.local.lake import count_events
from playhead.serving.registry import features_of, open_feature_store
from playhead.serving.views import FINGERPRINT, MEANING, feast_objects, tags_of

Change = Literal["same", "added", "removed", "changed", "metadata", "renamed"]
"""Of a feature; of a group too, which is `changed` when one of its features is. `metadata` changes no value."""

Made = Literal["speed", "daily", "attributes", "on demand"]
"""Where a group's values come from: the speed layer, the batch layer, a dimension, or a function when they are asked
for."""


@dataclass(frozen=True, kw_only=True)
class GroupChange:
    """One group.

    Attributes:
        group: its name.
        change: what apply would do to it.
        features: to change, those only that do not stay as they are; a renamed one under `old → new`.
        made: where its values come from.
    """

    group: str
    change: Change
    features: Mapping[str, Change]
    made: Made

    @property
    def needs_backfill(self) -> bool:
        """Whether its values of the past have to be computed."""
        return self.made in ("speed", "daily") and self.change in ("added", "changed")


@dataclass(frozen=True, kw_only=True)
class Changes:
    """The difference between declarations and registry, and what a backfill would read.

    Attributes:
        groups: all groups and on-demand views, declared or deployed.
        services: name to change.
        first_day: of the master data; None without any. With it:
        last_day: of the master data.
        events: its rows.
    """

    groups: tuple[GroupChange, ...]
    services: Mapping[str, Change]
    first_day: date | None
    last_day: date | None
    events: int

    @property
    def any(self) -> bool:
        """Whether apply would change something."""
        return any(each != "same" for each in (*(g.change for g in self.groups), *self.services.values()))

    @property
    def backfilled(self) -> tuple[GroupChange, ...]:
        """The groups whose values of the past have to be computed; none when there is no past."""
        return tuple(group for group in self.groups if group.needs_backfill and self.events)

    @property
    def days(self) -> int:
        """Days of the master data, from the first to the last."""
        return (self.last_day - self.first_day).days + 1 if self.first_day and self.last_day else 0

    def payload(self) -> dict[str, Any]:
        """As JSON values."""
        groups = [asdict(group) | {"needs_backfill": group in self.backfilled} for group in self.groups]
        past = {"days": self.days, "events": self.events}
        return {"changes": self.any, "groups": groups, "services": dict(self.services), "backfill": past}


def compare(settings: Settings, declarations: Declarations) -> Changes:
    """Compare what is declared with what the registry holds; nothing is changed, and there need be no registry.

    Raises:
        InputError: a registry that cannot be read.
    """
    views, on_demand, services = _deployed(settings)
    declared = {group.name: group for group in declarations.groups}
    removed = [
        GroupChange(group=name, change="removed", features={}, made=_made(view))
        for name, view in views.items()
        if name not in declared
    ]
    expected = {
        each.name: each for each in feast_objects(declarations, settings) if isinstance(each, feast.FeatureView)
    }
    groups = [_group(group, views.get(group.name), expected[group.name]) for group in declared.values()]
    events = count_events(settings.lake)
    return Changes(
        groups=(*groups, *_on_demand(declarations, on_demand), *removed),
        services=dict(_services(declarations, services)),
        first_day=_day(events.first_ms),
        last_day=_day(events.last_ms),
        events=events.rows,
    )


def _deployed(
    settings: Settings,
) -> tuple[dict[str, feast.FeatureView], dict[str, str], dict[str, feast.FeatureService]]:
    """Views, on-demand views with their meaning, and services, by name."""
    if not settings.registry.is_file():
        return {}, {}, {}
    store = open_feature_store(settings)
    views = {view.name: view for view in store.list_feature_views()}
    on_demand = {view.name: view.tags.get(FINGERPRINT, "") for view in store.list_on_demand_feature_views()}
    return views, on_demand, {service.name: service for service in store.list_feature_services()}


def _made(view: feast.FeatureView) -> Made:
    kind = view.tags["kind"]
    return "daily" if kind == "daily" else "attributes" if kind == "attributes" else "speed"


def _on_demand(declarations: Declarations, deployed: Mapping[str, str]) -> Iterator[GroupChange]:
    changes: dict[str, Change] = dict.fromkeys(deployed, "removed")
    for view in declarations.on_demand:
        same = deployed.get(view.name) == on_demand_meaning(view)
        changes[view.name] = "same" if same else "changed" if view.name in deployed else "added"
    for name, change in changes.items():
        yield GroupChange(group=name, change=change, features={}, made="on demand")


def _group(group: FeatureGroup, view: feast.FeatureView | None, expected: feast.FeatureView) -> GroupChange:
    made = _made(expected)
    if view is None:
        return GroupChange(group=group.name, change="added", features={}, made=made)
    before = {field.name: field.tags.get(MEANING, "") for field in view.features}
    features = dict(_features(before, meanings(group)))
    described: Change = "same" if _described(view) == _described(expected) else "metadata"
    return GroupChange(group=group.name, change="changed" if features else described, features=features, made=made)


def _described(view: feast.FeatureView) -> tuple[Any, ...]:
    """What of a view changes no value: its text, its entity's name, and where its rows are."""
    return view.description, view.entities, view.batch_source.path


def _features(before: Mapping[str, str], now: Mapping[str, str]) -> Iterator[tuple[str, Change]]:
    gone = {name: meaning for name, meaning in before.items() if name not in now}
    for name, meaning in now.items():
        same = next((old for old, own in gone.items() if own == meaning), None)
        if name not in before and same is not None:
            del gone[same]
            yield f"{same} → {name}", "renamed"
        elif name not in before:
            yield name, "added"
        elif before[name] != meaning:
            yield name, "changed"
    for name in gone:
        yield name, "removed"


def _services(declarations: Declarations, deployed: Mapping[str, feast.FeatureService]) -> Iterator[tuple[str, Change]]:
    for service in declarations.services:
        if service.name not in deployed:
            yield service.name, "added"
            continue
        now = {view.name: sorted(service.features_of(view)) for view in service.views}
        was = deployed[service.name]
        yield service.name, "same" if features_of(was) == now and was.tags == tags_of(service) else "changed"
    for name in sorted(deployed.keys() - {service.name for service in declarations.services}):
        yield name, "removed"


def _day(time_ms: int | None) -> date | None:
    return None if time_ms is None else datetime.fromtimestamp(time_ms / 1_000, UTC).date()

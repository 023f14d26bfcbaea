"""What `features/` declares, as Feast objects: an entity, a view per feature group, a service per feature service."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, TypeAlias

import ibis.expr.datatypes as dt
from feast import Entity, FeatureService, FeatureView, Field, FileSource
from feast.data_format import DeltaFormat, ParquetFormat
from feast.data_source import RequestSource
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.transformation.pandas_transformation import PandasTransformation
from feast.types import Array, Float64, Int64, String, UnixTimestamp
from feast.value_type import ValueType

from playhead.compile import compile_group, meanings, on_demand_meaning
from playhead.config import Settings
from playhead.declarations import Declarations, load_declarations
from playhead.declare import MOMENT, FeatureGroup, OnDemand
from playhead.declare import FeatureService as DeclaredService
from playhead.dimensions import table_path
from playhead.errors import InputError, UnsupportedError
from playhead.plan import AttributePlan, DailyPlan, Plan, SessionPlan, SlidingPlan, SpeedPlan, speed_plan
from playhead.serving.feast_on_demand import frame_function, frame_function_source
from playhead.serving.spine import EVENT_TIMESTAMP

FeastObject: TypeAlias = Any
"""A Feast `Entity`, `FeatureView`, `OnDemandFeatureView` or `FeatureService`."""

FINGERPRINT = "fingerprint"
"""The tag of a view that holds its plan's fingerprint."""

MEANING = "meaning"
"""The tag of a feature that changes when its values come to mean something else."""

_EMPTY = "empty"
"""The tag of a feature that holds its value for an entity without a row."""

_KIND = "kind"
_KINDS = {SlidingPlan: "sliding", SessionPlan: "session", DailyPlan: "daily", AttributePlan: "attributes"}
_TYPES: dict[dt.DataType, Any] = {
    dt.int64: Int64,
    dt.float64: Float64,
    dt.string: String,
    dt.Array(dt.string): Array(String),
}


def feast_objects(declarations: Declarations, settings: Settings) -> list[FeastObject]:
    """Everything that is declared, with its rows in the lake of `settings`.

    Args:
        declarations: groups and services.
        settings: says where the lake is. It may be empty: a view whose rows do not exist yet has nulls.

    Returns:
        Entities, views (named like their group, tagged with `kind` and `fingerprint`), on-demand views and services.

    Raises:
        UnsupportedError: a feature's type that Feast does not have.
    """
    entities = {
        group.entity.name: Entity(name=group.entity.name, join_keys=[group.entity.key], value_type=ValueType.STRING)
        for group in declarations.groups
    }
    views = {group.name: _view(group, entities[group.entity.name], settings) for group in declarations.groups}
    on_demand = {view.name: _on_demand(view, views) for view in declarations.on_demand}
    services = [
        FeatureService(
            name=service.name,
            features=[(views | on_demand)[view.name][service.features_of(view)] for view in service.views],
            tags=tags_of(service),
        )
        for service in declarations.services
    ]
    return [*entities.values(), *views.values(), *on_demand.values(), *services]


def _on_demand(view: OnDemand, views: Mapping[str, FeatureView]) -> OnDemandFeatureView:
    meaning = on_demand_meaning(view)
    sources: list[Any] = [views[group.name] for group in view.of]
    if MOMENT in view.inputs:
        sources.append(RequestSource(name=MOMENT, schema=[Field(name=EVENT_TIMESTAMP, dtype=UnixTimestamp)]))
    return OnDemandFeatureView(
        name=view.name,
        description=view.description,
        schema=[Field(name=name, dtype=_TYPES[dt.dtype(kind)]) for name, kind in view.features.items()],
        sources=sources,
        mode="pandas",
        feature_transformation=PandasTransformation(
            udf=frame_function(view), udf_string=frame_function_source(view, meaning)
        ),
        tags={FINGERPRINT: meaning},
    )


def _view(group: FeatureGroup, entity: Entity, settings: Settings) -> FeatureView:
    plan, meaning = compile_group(group), meanings(group)
    features = [
        Field(name=name, dtype=_feast_type(plan, name, kind), tags=_field_tags(plan, name) | {MEANING: meaning[name]})
        for name, kind in plan.schema
    ]
    return FeatureView(
        name=plan.name,
        description=group.description,
        entities=[entity],
        schema=[Field(name=plan.key, dtype=String), *features],
        source=_source(plan, settings),
        # Feast takes 0 for: until the next.
        ttl=plan.ttl or timedelta(0),
        online=True,
        tags={_KIND: _KINDS[type(plan)], FINGERPRINT: plan.fingerprint},
    )


def tags_of(service: DeclaredService) -> dict[str, str]:
    """A service's tags: its defaults, as JSON."""
    return {"defaults": json.dumps(dict(service.defaults), sort_keys=True)} if service.defaults else {}


def is_merged(view: FeatureView) -> bool:
    """Whether the view's values are merged from both layers when they are read: windows of calendar days."""
    return bool(view.tags.get(_KIND) == _KINDS[DailyPlan])


def is_archived(view: FeatureView) -> bool:
    """Whether the view's rows are the speed layer's archive."""
    return view.tags.get(_KIND) in {_KINDS[SlidingPlan], _KINDS[SessionPlan]}


def merged_plan(view: FeatureView) -> DailyPlan | None:
    """The plan by which a view is merged; None when it is not.

    Raises:
        InputError: what is declared is not what was applied.
    """
    plan = _declared_plan(view.name, view.tags.get(FINGERPRINT, "")) if is_merged(view) else None
    return plan if isinstance(plan, DailyPlan) else None


def archived_plan(view: FeatureView) -> SpeedPlan | None:
    """The plan of the speed layer's rows that a view is read or merged from; None when there are none.

    Raises:
        InputError: what is declared is not what was applied.
    """
    if not (is_archived(view) or is_merged(view)):
        return None
    plan = _declared_plan(view.name, view.tags.get(FINGERPRINT, ""))
    return None if isinstance(plan, AttributePlan) else speed_plan(plan)


@functools.lru_cache(maxsize=1024)
def _declared_plan(name: str, fingerprint: str) -> Plan:
    declarations = load_declarations()
    plan = declarations.plan(name) if name in {group.name for group in declarations.groups} else None
    if plan is None or plan.fingerprint != fingerprint:
        raise InputError(
            f"view {name!r} was applied with another declaration than is there now",
            hint="`playhead features plan` says what differs, `playhead features apply` applies it",
        )
    return plan


def empty_value(field: Field) -> int | float | None:
    """The feature's value for an entity without a row, as the online and the offline store read it."""
    return json.loads(field.tags[_EMPTY]) if _EMPTY in field.tags else None


def _field_tags(plan: Plan, name: str) -> dict[str, str]:
    return {_EMPTY: json.dumps(plan.empty[name])} if name in plan.empty else {}


def _source(plan: Plan, settings: Settings) -> FileSource:
    lake = settings.lake.absolute()
    if isinstance(plan, AttributePlan):
        folder = table_path(lake, plan.dimension)
    else:
        folder = lake / ("views" if isinstance(plan, DailyPlan) else "speed") / plan.name
    return FileSource(
        name=plan.name,
        path=str(folder),
        file_format=DeltaFormat() if isinstance(plan, DailyPlan | AttributePlan) else ParquetFormat(),
        timestamp_field="event_timestamp",
        created_timestamp_column="created_at",
    )


def _feast_type(plan: Plan, name: str, kind: dt.DataType) -> Any:
    if kind not in _TYPES:
        raise UnsupportedError(
            f"Feast: feature {name!r} of group {plan.name!r} is {kind}; allowed: {', '.join(map(str, _TYPES))}"
        )
    return _TYPES[kind]

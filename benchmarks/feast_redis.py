"""Feast as it comes: its own Redis store, with views of the same final values as this project's groups have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import feast
import pandas as pd
import yaml

from benchmarks.vectors import NUMBERS, World
from playhead.config import Settings
from playhead.declarations import Declarations
from playhead.serving.online import OnlineStore
from playhead.serving.online_merge import online_group
from playhead.serving.reading import read_groups
from playhead.serving.views import feast_objects

DATABASE = 1
"""Of the same server; this project's rows are in 0."""

ROWS_AT_ONCE = 2_000
_STAMP = "event_timestamp"


def make_repo(folder: Path, settings: Settings) -> feast.FeatureStore:
    """A repo with an empty registry, whose online store is Feast's for Redis."""
    folder.mkdir()
    config = {
        "project": "bench",
        "provider": "local",
        "registry": str(folder / "registry.db"),
        "offline_store": {"type": "file"},
        "online_store": {
            "type": "redis",
            "connection_string": f"{settings.redis.host}:{settings.redis.port},db={DATABASE}",
        },
        "entity_key_serialization_version": 3,
    }
    (folder / "feature_store.yaml").write_text(yaml.safe_dump(config))
    return feast.FeatureStore(repo_path=str(folder))


def apply(store: feast.FeatureStore, folder: Path, declarations: Declarations, settings: Settings) -> None:
    """Register a view for each group of the service, with the same fields, and the service."""
    source = feast.FileSource(path=str(folder / "none.parquet"), timestamp_field=_STAMP)
    service = declarations.service(NUMBERS)
    read = {group.name for group in service.inputs}
    objects = feast_objects(declarations, settings)
    entities = [each for each in objects if isinstance(each, feast.Entity)]
    of_key = {entity.join_key: entity for entity in entities}
    views = [
        feast.FeatureView(
            name=view.name,
            entities=[of_key[declarations.plan(view.name).key]],
            schema=[feast.Field(name=field.name, dtype=field.dtype) for field in view.schema],
            source=source,
            ttl=None,
        )
        for view in objects
        if isinstance(view, feast.FeatureView) and view.name in read
    ]
    of_name = {view.name: view for view in views}
    features = [of_name[group.name][service.features_of(group)] for group in service.groups]
    store.apply([*entities, *views, feast.FeatureService(name=service.name, features=features)])


def fill(store: feast.FeatureStore, online: OnlineStore, declarations: Declarations, world: World, at_ms: int) -> None:
    """Write what this project's store gives now."""
    for group in declarations.service(NUMBERS).inputs:
        plan = declarations.plan(group.name)
        entities = world.entities(plan.key)
        (found,), _ = read_groups(online, [(online_group(plan), entities)], lambda: at_ms / 1_000)
        lists = {name: found.columns[name].to_list() for name, _ in plan.schema}
        write(store, plan.name, frame({plan.key: entities, **lists}, at_ms))


def frame(columns: Mapping[str, Sequence[Any]], at_ms: int) -> pd.DataFrame:
    """Rows as Feast takes them, all of one moment."""
    stamp = datetime.fromtimestamp(at_ms / 1_000, UTC)
    return pd.DataFrame({**columns, _STAMP: [stamp] * len(next(iter(columns.values())))})


def write(store: feast.FeatureStore, view: str, rows: pd.DataFrame) -> None:
    """What Feast's push does for its online store, in batches."""
    for start in range(0, len(rows), ROWS_AT_ONCE):
        store.write_to_online_store(view, rows.iloc[start : start + ROWS_AT_ONCE])


def entities(request: Mapping[str, Any]) -> dict[str, list[str]]:
    """A request as `get_online_features` takes it."""
    candidates = len(request["track_id"])
    return {key: [own] * candidates if isinstance(own, str) else own for key, own in request.items()}


def body(request: Mapping[str, Any]) -> dict[str, Any]:
    """A request as `feast serve` takes it."""
    return {"feature_service": NUMBERS, "entities": entities(request), "full_feature_names": True}

"""A program that knows Feast and not playhead runs unchanged: two lines of its configuration name other stores.

It runs once on Feast's own stores and once on these, and sees the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource, PushSource
from feast.data_source import PushMode
from feast.repo_config import RepoConfig
from feast.types import Array, Float64, Int64, String

from playhead.config import LOCALHOST, Settings

NOON = datetime(2025, 3, 3, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
ROWS = pd.DataFrame(
    {
        "driver": [1, 1, 2, 2, 3],
        "region": ["n", "n", "s", "s", None],
        "event_timestamp": [NOON, NOON + HOUR, NOON, NOON + HOUR, NOON],
        "created": [NOON + HOUR] * 5,
        "trips": [1, 2, None, 4, 5],
        "rate": [0.1, 0.2, 0.3, None, 0.5],
        "tags": [["a"], ["a", "b"], [], ["c"], ["d"]],
    }
).astype({"trips": "Int64"})


def program(repo: Path, stores: Mapping[str, Any]) -> dict[str, Any]:
    """What the program sees: training rows, and what is online after each step."""
    ROWS.to_parquet(repo / "rows.parquet", coerce_timestamps="us")
    source = FileSource(
        name="rows",
        path=str(repo / "rows.parquet"),
        timestamp_field="event_timestamp",
        created_timestamp_column="created",
    )
    pushed = PushSource(name="pushed", batch_source=source)
    driver = Entity(name="driver", join_keys=["driver"])
    schema = [
        Field(name="trips", dtype=Int64),
        Field(name="rate", dtype=Float64),
        Field(name="tags", dtype=Array(String)),
    ]
    view = FeatureView(name="stats", entities=[driver], schema=schema, source=pushed, ttl=timedelta(days=3_650))
    service = FeatureService(name="model_v1", features=[view[["trips", "rate"]]])
    store = FeatureStore(
        config=RepoConfig(
            project="plain",
            provider="local",
            registry=str(repo / "registry.db"),
            entity_key_serialization_version=3,
            **stores,
        )
    )
    store.apply([driver, source, pushed, view, service])
    spine = pd.DataFrame(
        {
            "driver": [1, 2, 9, 1],
            "event_timestamp": [NOON + HOUR / 2, NOON + HOUR, NOON, NOON - HOUR],
            "label": [1, 0, 1, 0],
        }
    )
    training = store.get_historical_features(spine, features=service).to_df()
    seen: dict[str, Any] = {"training": rows_of(training.sort_values(["driver", "event_timestamp"]))}
    names = ["stats:trips", "stats:rate", "stats:tags"]
    asked = [{"driver": 1}, {"driver": 2}, {"driver": 9}]
    store.materialize(NOON - HOUR, NOON + HOUR / 2)
    seen["materialized"] = store.get_online_features(names, asked).to_dict()
    store.materialize_incremental(NOON + 2 * HOUR)
    seen["caught up"] = store.get_online_features(names, asked).to_dict()
    newer = ROWS.head(1).assign(event_timestamp=NOON + 3 * HOUR, trips=7, tags=[["z"]]).drop(columns="region")
    store.push("pushed", newer, to=PushMode.ONLINE)
    seen["pushed"] = store.get_online_features(service, asked).to_dict()
    store.write_to_online_store("stats", newer.assign(driver=9, event_timestamp=NOON))
    seen["written"] = store.get_online_features(names, asked).to_dict()
    return seen


def rows_of(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{k: None if v is pd.NA or v != v else v for k, v in row.items()} for row in frame.to_dict("records")]


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    feasts, ours = tmp_path / "feasts", tmp_path / "ours"
    feasts.mkdir()
    ours.mkdir()
    return feasts, ours


def test_what_a_program_sees_is_the_same_on_either_stores(online: Settings, folders: tuple[Path, Path]) -> None:
    feasts, ours = folders
    expected = program(
        feasts,
        {"offline_store": {"type": "duckdb"}, "online_store": {"type": "sqlite", "path": str(feasts / "online.db")}},
    )
    found = program(
        ours,
        {
            "offline_store": {"type": "playhead.serving.feast_offline.PlayheadOfflineStore"},
            "online_store": {
                "type": "playhead.serving.feast_online.PlayheadOnlineStore",
                "host": LOCALHOST,
                "port": online.redis.port,
            },
        },
    )
    assert found == expected
    assert found["written"]["trips"] == [7, 4, 7]

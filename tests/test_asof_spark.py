"""Spark equals DuckDB: the as-of join, windows of days, on-demand views; training sets by `offline.engine`."""

from __future__ import annotations

import dataclasses
import random
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import write_deltalake
from pyspark.sql import SparkSession

from playhead.batch import asof as on_spark
from playhead.batch.merged import PLACE
from playhead.config import OfflineSettings, Settings
from playhead.days import DAY, begin_ms_of
from playhead.declarations import Declarations, load_declarations
from playhead.declare import Default, FeatureService
from playhead.errors import UnsupportedError
from playhead.relations import DAY_MS
from playhead.serving.asof import as_of
from playhead.serving.lake_rows import Feature
from playhead.serving.registry import apply
from playhead.serving.spine import EVENT_TIMESTAMP, KNOWN_AT, MOMENT
from playhead.serving.training_set import build_again, build_training_set
from tests.archive import at, write_rows
from tests.lake import write_events
from tests.spark import spark
from tests.test_asof_oracle import TEXT, TTL, rows_of, spine_of, spine_table, view, write
from tests.world import DAYS, DECLARED, FIRST, listening, world_of

__all__ = ["spark"]
pytestmark = pytest.mark.spark

NOON = 1_700_049_600_000
ENGINES: tuple[Literal["duckdb", "spark"], ...] = ("duckdb", "spark")


@pytest.mark.parametrize("ttl", [None, TTL])
def test_the_join_equals_that_on_duckdb(spark: SparkSession, tmp_path: Path, ttl: timedelta | None) -> None:
    rows = [row | {"created_at": None if row["n"] == 7 else row["created_at"]} for row in rows_of(1)]
    points = spine_of(2, rows)
    points += [points[0] | {"one": None}, points[0] | {"event_timestamp": None}, points[0] | {"two": None}]
    spine = spine_table(points, TEXT).append_column(PLACE, pa.array(range(len(points))))
    pq.write_table(spine, tmp_path / "spine")
    write_deltalake(tmp_path / "delta", pq.read_table(write(rows, tmp_path / "rows", TEXT)))
    changes: dict[str, Any] = {"ttl": ttl, "features": (Feature("n", "n", pa.int64(), 0), Feature("x", "x", TEXT))}
    views = [
        view(tmp_path / "rows", **changes),
        view(tmp_path / "delta", format="delta", version=0),
        view(tmp_path / "absent", features=(Feature("n", "absent", pa.int64(), 0),)),
    ]
    found = on_spark.as_of(spark, spark.read.parquet(str(tmp_path / "spine")), "event_timestamp", views)
    expected = as_of(spine, "event_timestamp", views)
    made = found.toArrow().sort_by(PLACE)
    assert made.column_names == expected.column_names
    for name in ("one", "n", "x", "absent", "v__n"):
        assert made[name].to_pylist() == expected[name].to_pylist(), name


def test_a_training_set_by_setting(spark: SparkSession, settings: Settings, tmp_path: Path) -> None:
    declared = load_declarations()
    defaults: dict[str, Default] = {"listener.skip_rate_1h": -1.0, "listener.last_5_tracks": ["none"]}
    # Of days there is nothing in the lake.
    groups = declared.group("listener"), declared.group("track_daily")
    service = FeatureService(name="small_v1", groups=groups, defaults=defaults)
    declared = dataclasses.replace(declared, services=(service,))
    row = {"user_id": "u0", "event_timestamp_ms": NOON, "plays_1h": 1, "last_5_tracks": ["t"]}
    write_rows(settings.lake, declared.plan("listener"), [row])
    apply(settings, declared)
    stamps = pa.array([at(NOON + 1), at(NOON - 1)] * 2, MOMENT)
    keys = {"user_id": ["u0"] * 3 + ["u9"], "track_id": ["t", "t", None, "t"]}
    spine = pa.table(keys | {"n": range(4), EVENT_TIMESTAMP: stamps})
    made = on_both(settings, declared, "small_v1", spine, tmp_path)
    assert made["n"].to_pylist() == [0, 1, 2, 3]
    assert made["listener__last_5_tracks"].to_pylist() == [["t"], ["none"]] * 2
    far = settings.model_copy(update={"offline": OfflineSettings(engine="spark")})
    with pytest.raises(UnsupportedError, match="of spark cannot be made again"):
        build_again(settings, declared, tmp_path / "spark.parquet.json", tmp_path / "again.parquet")
    pq.write_table(spine.append_column(KNOWN_AT, stamps), tmp_path / "known.parquet")
    with pytest.raises(UnsupportedError, match=r'on Spark: no column .known_at.*set offline.engine to "duckdb"'):
        build_training_set(far, declared, "small_v1", tmp_path / "known.parquet", tmp_path / "other.parquet")


def test_windows_of_days_and_on_demand_views_equal_those_on_duckdb(
    spark: SparkSession, settings: Settings, tmp_path: Path
) -> None:
    events = listening()
    # A day of which there are no partials: on the day before the first, windows of 30 days are refused.
    missing_ms = begin_ms_of(FIRST - 30 * DAY)
    write_events(settings.lake, [{"event_time_ms": missing_ms}])
    stamp = pa.array([at(0)] * 12, MOMENT)
    tracks = {"track_id": [f"t{n}" for n in range(12)], "artist_id": [f"a{n % 5}" for n in range(12)]}
    more = {"genre": ["pop", "jazz", None] * 4, "tempo": range(500, 2_300, 150)}
    tracks_table = pa.table(tracks | more | {EVENT_TIMESTAMP: stamp, "created_at": stamp})
    write_deltalake(settings.lake / "dimensions" / "track", tracks_table)
    world_of(settings, events)
    spine = around_midnights(300)
    made = on_both(settings, DECLARED, "listener_v1", spine, tmp_path)
    assert made.select(spine.column_names).to_pylist() == spine.to_pylist()
    # The test has what it is about.
    for name in ("listener_daily__plays_30d", "listener_daily__top_artists_30d", "affinity__artist_affinity"):
        assert 0 < made[name].null_count < made.num_rows - 20, name
    assert made["track_daily__plays_30d"].null_count > made["track_daily__plays_7d"].null_count


def around_midnights(size: int) -> pa.Table:
    """Moments from before the first event to long after the last, of known, unknown and null entities."""
    rng = random.Random(3)
    begin_ms, days = begin_ms_of(FIRST), range(-1, DAYS + 5)
    near = [begin_ms + rng.choice(days) * DAY_MS + rng.choice([-1, 0, 1, 999, 1_000]) for _ in range(size // 2)]
    far = [begin_ms + rng.randrange(DAYS * DAY_MS) for _ in range(size - len(near))]
    moments = [ms * 1_000 + rng.choice([0, 999]) for ms in near + far]
    rng.shuffle(moments)
    counts = {"user_id": 8, "track_id": 12, "artist_id": 5}
    keys = {
        key: [rng.choice([None, "nobody", *(f"{key[0]}{n}" for n in range(count))]) for _ in moments]
        for key, count in counts.items()
    }
    return pa.table(keys | {EVENT_TIMESTAMP: pa.array(moments, MOMENT), "n": range(size)})


def on_both(settings: Settings, declared: Declarations, service: str, spine: pa.Table, folder: Path) -> pa.Table:
    """The training set, which is the same on either engine."""
    pq.write_table(spine, folder / "spine.parquet")
    tables, nulls = [], []
    for engine in ENGINES:
        far = settings.model_copy(update={"offline": OfflineSettings(engine=engine)})
        made = build_training_set(far, declared, service, folder / "spine.parquet", folder / f"{engine}.parquet")
        tables.append(pq.read_table(made.output))
        nulls.append(made.nulls)
    assert tables[0].column_names == tables[1].column_names
    for column in tables[0].column_names:
        assert tables[0][column].to_pylist() == tables[1][column].to_pylist(), column
    assert nulls[0] == nulls[1]
    return tables[1]

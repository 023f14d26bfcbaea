"""The as-of join on Spark equals that on DuckDB; training sets by the setting `offline.engine`."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import write_deltalake
from pyspark.sql import SparkSession

from playhead.batch import asof as on_spark
from playhead.config import OfflineSettings, Settings
from playhead.declarations import load_declarations
from playhead.declare import FeatureService
from playhead.errors import UnsupportedError
from playhead.serving.asof import as_of
from playhead.serving.lake_rows import Feature
from playhead.serving.registry import apply
from playhead.serving.training_set import build_again, build_training_set
from tests.archive import at, write_rows
from tests.spark import spark
from tests.test_asof_oracle import TEXT, TTL, rows_of, spine_of, spine_table, view, write

__all__ = ["spark"]
pytestmark = pytest.mark.spark

NOON = 1_700_049_600_000


@pytest.mark.parametrize("ttl", [None, TTL])
def test_the_join_equals_that_on_duckdb(spark: SparkSession, tmp_path: Path, ttl: timedelta | None) -> None:
    rows = [row | {"created_at": None if row["n"] == 7 else row["created_at"]} for row in rows_of(1)]
    points = spine_of(2, rows)
    points += [points[0] | {"one": None}, points[0] | {"event_timestamp": None}, points[0] | {"two": None}]
    spine = spine_table(points, TEXT).append_column(on_spark.PLACE, pa.array(range(len(points))))
    pq.write_table(spine, tmp_path / "spine")
    write_deltalake(tmp_path / "delta", pq.read_table(write(rows, tmp_path / "rows", TEXT)))
    changes: dict[str, Any] = {"ttl": ttl, "features": (Feature("n", "n", pa.int64(), 0), Feature("x", "x", TEXT))}
    views = [
        view(tmp_path / "rows", **changes),
        view(tmp_path / "delta", format="delta", version=0),
        view(tmp_path / "absent", features=(Feature("n", "absent", pa.int64(), 0),)),
    ]
    nulls = on_spark.write_as_of(spark, tmp_path / "spine", "event_timestamp", views, {"v__n": -1}, tmp_path / "made")
    expected = as_of(spine.drop_columns(on_spark.PLACE), "event_timestamp", views)
    assert nulls == {name: expected[name].null_count for name in ("n", "x", "v__n", "absent")}
    made = pq.read_table(tmp_path / "made")
    assert made.column_names == expected.column_names
    for name in ("one", "n", "x", "absent"):
        assert made[name].to_pylist() == expected[name].to_pylist(), name
    assert made["v__n"].to_pylist() == [-1 if n is None else n for n in expected["v__n"].to_pylist()]


def test_a_training_set_by_setting(spark: SparkSession, settings: Settings, tmp_path: Path) -> None:
    declared = load_declarations()
    services = [FeatureService(name=f"{g}_v1", groups=(declared.group(g),)) for g in ("listener", "track_daily")]
    declared = dataclasses.replace(declared, services=tuple(services))
    row = {"user_id": "u0", "event_timestamp_ms": NOON, "plays_1h": 1, "last_5_tracks": ["t"]}
    write_rows(settings.lake, declared.plan("listener"), [row])
    apply(settings, declared)
    far = settings.model_copy(update={"offline": OfflineSettings(engine="spark")})
    moments = pa.array([at(NOON + 1), at(NOON - 1)] * 2, pa.timestamp("us", "UTC"))
    spine = pa.table({"user_id": ["u0"] * 3 + ["u9"], "track_id": ["t"] * 4, "event_timestamp": moments})
    pq.write_table(spine, tmp_path / "spine.parquet")
    tables = []
    for name, engine in (("one", settings), ("other", far)):
        made = build_training_set(
            engine, declared, "listener_v1", tmp_path / "spine.parquet", tmp_path / f"{name}.parquet"
        )
        tables.append(pq.read_table(made.output))
    assert tables[0].schema.names == tables[1].schema.names
    for column in tables[0].schema.names:
        assert tables[0][column].to_pylist() == tables[1][column].to_pylist(), column
    with pytest.raises(UnsupportedError, match="of spark cannot be made again"):
        build_again(settings, declared, Path(made.manifest), tmp_path / "again.parquet")
    with pytest.raises(UnsupportedError, match=r'track_daily: no windows of days.*set offline.engine to "duckdb"'):
        build_training_set(far, declared, "track_daily_v1", tmp_path / "spine.parquet", tmp_path / "days.parquet")

"""The suite `asof`: a training set of three views, by playhead's offline store, by Feast's and by a hand-written join.

Every engine is a process of its own, so that its memory is its own, and starts from the same files and the same data
frame; both stores are asked through Feast. The values of all three must be equal, or the suite fails.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig
from feast.types import Float64, Int64
from feast.value_type import ValueType

from benchmarks.ground import Say
from benchmarks.options import Options
from playhead.config import PROJECT
from playhead.errors import StackError

VIEWS = ("plays", "skips", "sessions")
FEATURES: Mapping[str, Any] = MappingProxyType({"a": Int64, "b": Int64, "c": Float64, "d": Float64})
ROWS_PER_VIEW = 4
"""Rows of each view, for one of the spine."""
_ROUNDS = 2
"""Every engine runs so often, in turn with the others; its best run counts."""

_START_US, _SPAN_US = 1_700_000_000_000_000, 30 * 86_400_000_000
_STAMP = pa.timestamp("us", tz="UTC")
_GOAL_FEAST, _GOAL_ASOF = 3.0, 1.3


def run(say: Say, options: Options) -> dict[str, Any]:
    """Measure; returns the figures by name, as JSON values.

    Raises:
        StackError: an engine failed, or the values of two differ.
    """
    with tempfile.TemporaryDirectory(prefix="playhead-bench-") as name:
        folder = Path(name)
        say(f"asof: making {options.asof_rows:,} spine rows, {len(VIEWS)} x {options.asof_rows * ROWS_PER_VIEW:,} rows")
        _make(folder, options.asof_rows)
        runs: dict[str, list[dict[str, Any]]] = {engine: [] for engine in ENGINES}
        for _ in range(_ROUNDS):
            for engine in ENGINES:
                runs[engine].append(made := _in_process(engine, folder))
                cost = f"{made['seconds']:.1f} s, {made['cpu_seconds']:.1f} CPU s"
                say(f"asof: {engine}: {cost}, at most {made['peak_rss_mb']:,} MB")
    if len({each["digest"] for own in runs.values() for each in own}) > 1:
        raise StackError(f"asof: the engines' values differ: {runs}")
    best = {engine: min(each["seconds"] for each in own) for engine, own in runs.items()}
    cpu = {engine: min(each["cpu_seconds"] for each in own) for engine, own in runs.items()}
    peak = {engine: max(each["peak_rss_mb"] for each in own) for engine, own in runs.items()}
    to_feast, to_asof = best["feast_duckdb"] / best["playhead"], best["playhead"] / best["duckdb_asof"]
    return {
        "seconds": best["playhead"],
        "feast_duckdb_seconds": best["feast_duckdb"],
        "duckdb_asof_seconds": best["duckdb_asof"],
        "ratio_to_feast_duckdb": round(to_feast, 2),
        "ratio_to_duckdb_asof": round(to_asof, 2),
        "cpu_seconds": cpu["playhead"],
        "feast_duckdb_cpu_seconds": cpu["feast_duckdb"],
        "duckdb_asof_cpu_seconds": cpu["duckdb_asof"],
        "peak_rss_mb": peak["playhead"],
        "feast_duckdb_peak_rss_mb": peak["feast_duckdb"],
        "duckdb_asof_peak_rss_mb": peak["duckdb_asof"],
        "goals": {
            "ratio_to_feast_duckdb": to_feast >= _GOAL_FEAST,
            "ratio_to_duckdb_asof": to_asof <= _GOAL_ASOF,
        },
    }


def _make(folder: Path, rows: int) -> None:
    """The spine and the views' files: a tenth as many entities as rows of the spine, and some that no view knows."""
    rng = np.random.default_rng(1)
    entities = max(1, rows // 10)
    spine = {"user_id": _users(rng, entities + entities // 20, rows), "event_timestamp": _moments(rng, rows)}
    pq.write_table(pa.table(spine | {"place": pa.array(range(rows))}), folder / "spine.parquet")
    for view in VIEWS:
        number = rows * ROWS_PER_VIEW
        moments = _moments(rng, number)
        columns = {"user_id": _users(rng, entities, number), "event_timestamp": moments}
        for name, kind in FEATURES.items():
            values = rng.integers(1_000, size=number) if kind is Int64 else rng.random(number)
            columns[name] = pa.array(values, mask=rng.random(number) < 0.05)
        pq.write_table(pa.table(columns | {"created_at": moments}), folder / f"{view}.parquet")


def _users(rng: np.random.Generator, entities: int, number: int) -> pa.Array:
    names = pa.array([f"user-{i:08}" for i in range(entities)])
    return names.take(pa.array(rng.integers(entities, size=number)))


def _moments(rng: np.random.Generator, number: int) -> pa.Array:
    return pa.array(_START_US + rng.integers(_SPAN_US, size=number)).cast(_STAMP)


def _in_process(engine: str, folder: Path) -> dict[str, Any]:
    path = os.pathsep.join(map(str, (PROJECT, PROJECT / "lambda")))
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.asof", engine, str(folder)],
        env=os.environ | {"PYTHONPATH": path, "FEAST_USAGE": "False"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise StackError(f"asof: {engine} ended with {done.returncode}: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _by_playhead(folder: Path) -> Callable[[pd.DataFrame], pa.Table]:
    return _by_feast(folder, "playhead.serving.feast_offline.PlayheadOfflineStore")


def _by_feast_duckdb(folder: Path) -> Callable[[pd.DataFrame], pa.Table]:
    return _by_feast(folder, "duckdb")


def _by_feast(folder: Path, kind: str) -> Callable[[pd.DataFrame], pa.Table]:
    user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.STRING)
    views = [_feast_view(folder, view, user) for view in VIEWS]
    home = Path(tempfile.mkdtemp(dir=folder))
    store = FeatureStore(
        config=RepoConfig(
            project="asof",
            provider="local",
            registry=str(home / "registry.db"),
            offline_store={"type": kind},
            online_store=None,
            repo_path=home,
            entity_key_serialization_version=3,
        )
    )
    store.apply([user, *views])
    refs = [f"{view}:{name}" for view in VIEWS for name in FEATURES]
    return lambda spine: store.get_historical_features(spine, features=refs, full_feature_names=True).to_arrow()


def _feast_view(folder: Path, name: str, user: Entity) -> FeatureView:
    source = FileSource(
        name=name,
        path=str(folder / f"{name}.parquet"),
        timestamp_field="event_timestamp",
        created_timestamp_column="created_at",
    )
    schema = [Field(name=feature, dtype=kind) for feature, kind in FEATURES.items()]
    return FeatureView(name=name, entities=[user], schema=schema, source=source, ttl=timedelta(0))


def _by_hand(folder: Path) -> Callable[[pd.DataFrame], pa.Table]:
    connection = duckdb.connect()
    connection.sql("SET TimeZone = 'UTC'")
    for view in VIEWS:
        connection.read_parquet(str(folder / f"{view}.parquet")).create_view(view)
    values = ", ".join(f"{view}.{name} AS {view}__{name}" for view in VIEWS for name in FEATURES)
    joins = " ".join(
        f"ASOF LEFT JOIN {view} ON {view}.user_id = spine.user_id AND {view}.event_timestamp <= spine.event_timestamp"
        for view in VIEWS
    )
    query = f"SELECT spine.*, {values} FROM spine {joins}"  # noqa: S608 - of the names above

    def join(spine: pd.DataFrame) -> pa.Table:
        connection.register("spine", spine)
        return connection.sql(query).to_arrow_table()

    return join


ENGINES: Mapping[str, Callable[[Path], Callable[[pd.DataFrame], pa.Table]]] = MappingProxyType(
    {"playhead": _by_playhead, "feast_duckdb": _by_feast_duckdb, "duckdb_asof": _by_hand}
)


def _digest(joined: pa.Table) -> str:
    """Of the values in the spine's order; an engine may give the rows in another, and floats for integers."""
    columns = [f"{view}__{name}" for view in VIEWS for name in FEATURES]
    ordered = joined.sort_by("place").select(columns)
    hashed = hashlib.sha256(str(ordered.num_rows).encode())
    for column in ordered.columns:
        values = column.cast(pa.float64()).to_numpy()
        hashed.update(np.where(np.isnan(values), np.nan, values).tobytes())
    return hashed.hexdigest()


def _peak_rss_mb() -> int:
    # Not getrusage: it begins with what the process had that started this one.
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) // 1024


def main(engine: str, folder: Path) -> None:
    """Run one engine once, and print its figures as one line of JSON."""
    spine = pq.read_table(folder / "spine.parquet").to_pandas()
    join = ENGINES[engine](folder)
    began, cpu_began = time.perf_counter(), time.process_time()
    joined = join(spine)
    figures = {
        "seconds": round(time.perf_counter() - began, 2),
        "cpu_seconds": round(time.process_time() - cpu_began, 2),
        "peak_rss_mb": _peak_rss_mb(),
    }
    print(json.dumps(figures | {"digest": _digest(joined)}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))

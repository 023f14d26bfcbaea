"""The suite `backfill`: what an event costs to make a changelog of it, beside a plain group-by of the same events."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import ibis
import ibis.expr.types as ir
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from ibis import _
from pyspark.sql import SparkSession

from benchmarks.ground import Say
from benchmarks.measuring import cpu_seconds
from benchmarks.options import Options
from playhead.batch.session import spark_session
from playhead.batch.sql import run as run_on_spark
from playhead.changelogs import changelog
from playhead.compile import compile_group
from playhead.config import load_settings
from playhead.declare import Count, Entity, FeatureGroup, sliding
from playhead.plan import lake_table, speed_plan
from schemas.tables import lake_arrow_schema

FEW_KEYS, MANY_KEYS = 10_000, 1_000_000
TWO, FIVE = ("1h", "1d"), ("1m", "5m", "1h", "6h", "1d")
_START_MS, _SPAN_MS = 1_541_030_400_000, 3 * 86_400_000
_WARM_UP = 20
"""The first run of each query reads so many times fewer events, and is not counted."""

Run = Callable[[ir.Table, Path, Path], None]
"""An engine: a relation over `events`, the file of events, the file or folder to write."""


def run(say: Say, options: Options) -> dict[str, Any]:
    """Measure; returns by engine the figures by name, as JSON values."""
    with tempfile.TemporaryDirectory(prefix="playhead-bench-") as name:
        folder = Path(name)
        say(f"backfill: making {options.backfill_events:,} events, of {FEW_KEYS:,} and of {MANY_KEYS:,} keys")
        few, many = (_events(folder, options.backfill_events, keys) for keys in (FEW_KEYS, MANY_KEYS))
        with _spark(folder) as on_spark:
            engines = {"duckdb": _on_duckdb, "spark": on_spark}
            return {name: _figures(say, name, engine, few, many) for name, engine in engines.items()}


def _figures(say: Say, name: str, engine: Run, few: Path, many: Path) -> dict[str, Any]:
    def rate(what: str, query: ir.Table, events: Path) -> float:
        _cpu(engine, query, _small(events))
        found: float = pq.read_metadata(events).num_rows / _cpu(engine, query, events)
        say(f"backfill: {name}, {what}: {found:,.0f} events a CPU second")
        return found

    two, five = _changelog(TWO), _changelog(FIVE)
    plain = rate("group-by", _group_by(), few)
    base = rate(f"2 windows, {FEW_KEYS:,} keys", two, few)
    wide = rate(f"5 windows, {FEW_KEYS:,} keys", five, few)
    sparse = rate(f"2 windows, {MANY_KEYS:,} keys", two, many)
    return {
        "group_by_events_per_cpu_s": round(plain),
        "events_per_cpu_s": round(base),
        "ratio_to_group_by": round(base / plain, 3),
        "us_per_event": {
            "10000_keys_2_windows": round(1e6 / base, 2),
            "1000000_keys_2_windows": round(1e6 / sparse, 2),
            "10000_keys_5_windows": round(1e6 / wide, 2),
        },
        "cost_of_1000000_keys": round(base / sparse, 2),
        "cost_of_5_windows": round(base / wide, 2),
    }


def _changelog(windows: tuple[str, ...]) -> ir.Table:
    plays = Count("plays", where=_.event_type == "PLAY", over=sliding(*windows))
    group = FeatureGroup(name="plays", entity=Entity(name="user", key="user_id"), features=(plays,))
    return changelog(speed_plan(compile_group(group)), lake_table("events"))


def _group_by() -> ir.Table:
    events = lake_table("events")
    plays = ibis.ifelse(events.event_type == "PLAY", 1, 0)
    return events.mutate(plays=plays).group_by("user_id").agg(plays=_.plays.sum())


def _events(folder: Path, number: int, keys: int) -> Path:
    """A file of as many events at random moments of three days; every one of them plays."""
    rng = np.random.default_rng(keys)
    schema, file = lake_arrow_schema(), folder / f"events-{keys}.parquet"
    columns: dict[str, pa.Array] = {f.name: pa.nulls(number, f.type) for f in schema}
    columns["user_id"] = pa.array(np.char.add("u", rng.integers(keys, size=number).astype(str)))
    columns["event_time_ms"] = pa.array(np.sort(_START_MS + rng.integers(_SPAN_MS, size=number)))
    columns["event_type"] = pa.array(np.full(number, "PLAY"))
    columns["kafka_partition"] = pa.array(np.zeros(number, np.int32))
    columns["kafka_offset"] = pa.array(np.arange(number))
    pq.write_table(pa.table(columns, schema=schema), file)
    pq.write_table(pa.table(columns, schema=schema).slice(0, max(1, number // _WARM_UP)), _small(file))
    return file


def _small(events: Path) -> Path:
    return events.with_name(f"warm-up-{events.name}")


def _cpu(engine: Run, query: ir.Table, events: Path) -> float:
    """CPU seconds of this process and of the JVM that it has started."""
    before = cpu_seconds(os.getpid())
    engine(query, events, events.with_name("rows"))
    return cpu_seconds(os.getpid()) - before


def _on_duckdb(query: ir.Table, events: Path, output: Path) -> None:
    file = output.with_suffix(".parquet")
    with duckdb.connect() as connection:
        connection.read_parquet(str(events)).create_view("events")
        connection.sql(str(ibis.to_sql(query, dialect="duckdb"))).write_parquet(str(file))


@contextmanager
def _spark(folder: Path) -> Iterator[Run]:
    with spark_session(load_settings(folder / "home")) as session:
        yield lambda query, events, output: _on_spark(session, query, events, output)


def _on_spark(session: SparkSession, query: ir.Table, events: Path, output: Path) -> None:
    frame = session.read.parquet(str(events))
    run_on_spark(session, query, events=frame).write.mode("overwrite").parquet(str(output))

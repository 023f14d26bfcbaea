"""Declarations and events → values at the moments of a spine, without a stack: to try a feature, and to test it."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TypeAlias

import ibis.expr.types as ir
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from playhead import days, oracle
from playhead.changelogs import changelog
from playhead.compile import compile_group
from playhead.config import Settings
from playhead.declare import FeatureGroup, FeatureService
from playhead.errors import UnknownName
from playhead.plan import DailyPlan, Plan, lake_table
from playhead.relations import T_MS, milliseconds
from playhead.serving.asof import Feature, ViewRows, as_of
from playhead.serving.spine import EVENT_TIMESTAMP, columns_of, keys_of
from schemas.decode import Row, decode
from schemas.tables import event_columns, lake_arrow_schema

Run: TypeAlias = Callable[..., pa.Table]
"""An engine: a relation, and the Arrow tables it reads by name → its rows."""

_STAMP = pa.timestamp("ms", tz="UTC")


@dataclass(frozen=True, kw_only=True)
class EventFile:
    """Events of files, as the master data would have them.

    Attributes:
        events: the columns of `schemas.tables.lake_arrow_schema`, by time; each event once.
        rows: rows read from the files.
        duplicates: valid events whose id came before.
        invalid: reason to number of events that the speed job would dead-letter.
        skipped: reason to number of rows that made no event.
    """

    events: pa.Table
    rows: int = 0
    duplicates: int = 0
    invalid: Mapping[str, int] = field(default_factory=dict)
    skipped: Mapping[str, int] = field(default_factory=dict)


def read_events(paths: Sequence[Path], format_name: str, settings: Settings, *, user: str | None = None) -> EventFile:
    """Read files as `playhead replay` does, and decode, validate and de-duplicate as the speed job does.

    Args:
        paths: the files; together they are one log.
        format_name: native, eventsim or spotify.
        settings: says how far ahead a time may be and how large an event.
        user: the user_id for a format whose files hold none.

    Raises:
        ConfigError, InputError, UnknownName: see `playhead.ingest.source.file_source`.
    """
    from playhead.ingest.source import file_source

    now_ms = round(datetime.now(UTC).timestamp() * 1_000)
    latest_ms = now_ms + milliseconds(settings.stream.clock_skew)
    source = file_source(paths, format_name, user=user, latest_ms=latest_ms)
    rows: dict[str, Row] = {}
    invalid: Counter[str] = Counter()
    duplicates = 0
    for record in source.records:
        row = decode(record.value, latest_ms=latest_ms, max_bytes=settings.stream.max_message_bytes)
        if isinstance(row, str):
            invalid[row] += 1
        elif str(row[0]) in rows:
            duplicates += 1
        else:
            rows[str(row[0])] = row
    return EventFile(
        events=master_data(dict(zip(event_columns(), row, strict=True)) for row in rows.values()),
        rows=source.rows,
        duplicates=duplicates,
        invalid=dict(sorted(invalid.items())),
        skipped=source.skipped,
    )


def master_data(events: Iterable[Mapping[str, object]]) -> pa.Table:
    """Events as the master data has them: none is late, and their order is Kafka's.

    Args:
        events: column of the event to value; an absent column is null.
    """
    place = enumerate(events)
    rows = [{**event, "kafka_partition": 0, "kafka_offset": offset, "late": False} for offset, event in place]
    return pa.Table.from_pylist(rows, schema=lake_arrow_schema())


def evaluate(service: FeatureService, events: pa.Table, spine: pa.Table, engine: str = "duckdb") -> pa.Table:
    """The service's features at each moment of the spine.

    Calendar windows are taken as published at the end of each day.

    Args:
        service: what to compute.
        events: the columns of `schemas.tables.lake_arrow_schema`, each event once.
        spine: the service's keys and `event_timestamp` (timestamp[us, UTC]).
        engine: a key of `ENGINES`, or oracle.

    Returns:
        `view__feature` of the service, a row per row of the spine, in its order; without the service's defaults.

    Raises:
        UnknownName: no such engine.
    """
    if engine == "oracle":
        return _by_oracle(service, events, spine)
    if engine not in ENGINES:
        raise UnknownName("engine", engine, [*ENGINES, "oracle"])
    plans = [compile_group(group) for group in service.groups]
    with tempfile.TemporaryDirectory(prefix="playhead-eval-") as folder:
        views = [_view(plan, Path(folder)) for plan in plans]
        for view, rows in zip(views, ENGINES[engine](plans, events, _last_day(spine)), strict=True):
            stamps = rows[T_MS].cast(_STAMP)
            pq.write_table(rows.drop_columns(T_MS).append_column(EVENT_TIMESTAMP, stamps), view.path)
        found = as_of(spine.select([*keys_of(service), EVENT_TIMESTAMP]), EVENT_TIMESTAMP, views)
        return found.select(columns_of(service))


def changelogs(plans: Sequence[Plan], events: pa.Table, last: date, run: Run) -> list[pa.Table]:
    """The changelog of each plan.

    Args:
        plans: of feature groups.
        events: the columns of `schemas.tables.lake_arrow_schema`.
        last: the last day whose calendar windows are wanted.
        run: the engine.

    Returns:
        For each plan its key, `event_timestamp_ms` and its features, a row per (key, event_timestamp_ms).
    """
    moments = events["event_time_ms"].cast(_STAMP)
    dated = events.append_column("dt", pc.strftime(moments, "%Y-%m-%d"))
    return [run(relation_of(plan), events=dated, **_days(plan, dated, last)) for plan in plans]


def relation_of(plan: Plan) -> ir.Table:
    """The relation that makes a plan's changelog from `events`."""
    if isinstance(plan, DailyPlan):
        return days.changelog(plan, days.dated_events())
    return changelog(plan, lake_table("events"))


def _days(plan: Plan, dated: pa.Table, last: date) -> dict[str, pa.Table]:
    """The table `days` of a plan of calendar windows: every day from the first event to the last one asked for."""
    if not isinstance(plan, DailyPlan):
        return {}
    first = date.fromisoformat(pc.min(dated["dt"]).as_py() or last.isoformat())
    every = tuple(first + n * days.DAY for n in range((last - first).days + 1))
    lengths = days.lengths_of(plan)
    schema = days.days_table(lengths).schema().to_pyarrow()
    return {"days": pa.Table.from_pylist(days.BatchDays(every, max(lengths)).rows(lengths), schema=schema)}


def _last_day(spine: pa.Table) -> date:
    last: datetime | None = pc.max(spine[EVENT_TIMESTAMP]).as_py()
    return (last or datetime.now(UTC)).date()


def _view(plan: Plan, folder: Path) -> ViewRows:
    return ViewRows(
        name=plan.name,
        path=folder / f"{plan.name}.parquet",
        format="parquet",
        keys=((plan.key, plan.key),),
        features=tuple(
            Feature(name, f"{plan.name}__{name}", kind.to_pyarrow(), plan.empty.get(name)) for name, kind in plan.schema
        ),
    )


def _on_duckdb(plans: Sequence[Plan], events: pa.Table, last: date) -> list[pa.Table]:
    from playhead.local.changelog import run

    return changelogs(plans, events, last, run)


def _on_spark(plans: Sequence[Plan], events: pa.Table, last: date) -> list[pa.Table]:
    from playhead.batch.session import spark_session
    from playhead.batch.sql import run
    from playhead.config import load_settings

    # A home for Spark's log and files: what is tried here leaves nothing in the user's.
    with tempfile.TemporaryDirectory(prefix="playhead-spark-", ignore_cleanup_errors=True) as home:
        settings = load_settings().model_copy(update={"home": Path(home)})
        with spark_session(settings) as spark:

            def on_spark(table: ir.Table, **inputs: pa.Table) -> pa.Table:
                frames = {name: spark.createDataFrame(rows) for name, rows in inputs.items()}
                return run(spark, table, **frames).toArrow().cast(table.schema().to_pyarrow())

            return changelogs(plans, events, last, on_spark)


def _on_flink(plans: Sequence[Plan], events: pa.Table, last: date) -> list[pa.Table]:
    """Calendar windows, which the speed job does not keep, in Flink's batch mode."""
    from playhead.speed import evaluate as flink

    streamed = [plan for plan in plans if not isinstance(plan, DailyPlan)]
    made = iter(flink.changelogs(streamed, events) if streamed else [])
    return [changelogs([p], events, last, flink.run)[0] if isinstance(p, DailyPlan) else next(made) for p in plans]


ENGINES: Mapping[str, Callable[[Sequence[Plan], pa.Table, date], list[pa.Table]]] = {
    "duckdb": _on_duckdb,
    "spark": _on_spark,
    "flink": _on_flink,
}
"""Engine to what makes the changelogs of plans on it."""


def _by_oracle(service: FeatureService, events: pa.Table, spine: pa.Table) -> pa.Table:
    """Row by row, from the events of the row's entity."""
    columns: dict[str, pa.Array] = {}
    moments = pc.floor_temporal(spine[EVENT_TIMESTAMP], unit="millisecond").cast(_STAMP).cast(pa.int64()).to_pylist()
    rows = events.to_pylist()
    for group in service.groups:
        own: dict[str | None, list[Mapping[str, object]]] = {}
        for row in rows:
            own.setdefault(row[group.entity.key], []).append(row)
        keys = spine[group.entity.key].to_pylist()
        values = [_oracles(group, own.get(key, []), key, moment) for key, moment in zip(keys, moments, strict=True)]
        for name, kind in compile_group(group).schema:
            columns[f"{group.name}__{name}"] = pa.array([value[name] for value in values], kind.to_pyarrow())
    return pa.table(columns).select(columns_of(service))


def _oracles(group: FeatureGroup, events: Sequence[oracle.Event], key: str | None, moment: int) -> dict[str, object]:
    if key is None:
        return dict.fromkeys(group.feature_names)
    return oracle.values_at(group, events, key, moment)

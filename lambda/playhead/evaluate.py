"""Declarations and events → values at the moments of a spine, without a stack: to try a feature, and to test it."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from playhead import oracle
from playhead.changelogs import changelog
from playhead.compile import compile_group
from playhead.config import Settings
from playhead.declare import VALID_FROM_MS, Current, FeatureGroup, FeatureService
from playhead.dimensions import Tables, rows_of, table_name, together
from playhead.errors import UnknownName, UnsupportedError
from playhead.on_demand import with_on_demand
from playhead.plan import AttributePlan, DailyPlan, EventPlan, Plan, SpeedPlan, lake_table, speed_plan
from playhead.relations import BY_DAY, T_MS, milliseconds
from playhead.serving.lake_rows import Feature, ViewRows
from playhead.serving.offline_merge import MergedRows, joined, measures_of
from playhead.serving.spine import EVENT_TIMESTAMP, columns_of, keys_of
from schemas.decode import Row, decode
from schemas.tables import event_columns, lake_arrow_schema

_FOR_EVER_MS = 2**52
"""The E of partials that have every day."""

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
    names = [*event_columns()]
    return EventFile(
        events=master_data(dict(zip(names, row, strict=True)) for row in rows.values()),
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


def evaluate(
    service: FeatureService,
    events: pa.Table,
    spine: pa.Table,
    engine: str = "duckdb",
    dimensions: Tables = MappingProxyType({}),
) -> pa.Table:
    """The service's features at each moment of the spine.

    Calendar windows are merged from the partials of the days before the moment's, and the day so far.

    Args:
        service: what to compute.
        events: the columns of `schemas.tables.lake_arrow_schema`, each event once.
        spine: the service's keys and `event_timestamp` (timestamp[us, UTC]).
        engine: a key of `ENGINES`, or oracle.
        dimensions: the rows of dimensions, in the columns of `playhead.dimensions.arrow_schema`; none of those that are
            not in it.

    Returns:
        `view__feature` of the service, a row per row of the spine, in its order; without the service's defaults.

    Raises:
        UnknownName: no such engine.
        UnsupportedError: the oracle is asked for a group whose rows have a time to live.
    """
    if engine == "oracle":
        return _by_oracle(service, events, spine, dimensions)
    if engine not in ENGINES:
        raise UnknownName("engine", engine, [*ENGINES, "oracle"])
    plans = [compile_group(group) for group in service.inputs]
    with tempfile.TemporaryDirectory(prefix="playhead-eval-") as folder:
        speed = [speed_plan(plan) for plan in plans if not isinstance(plan, AttributePlan)]
        rows = ENGINES[engine](speed, events, dimensions) if speed else []
        made = dict(zip((plan.name for plan in speed), rows, strict=True))
        views = [
            _attributes(plan, dimensions, Path(folder))
            if isinstance(plan, AttributePlan)
            else _view(plan, made[speed_plan(plan).name], Path(folder))
            for plan in plans
        ]
        found = joined(spine.select([*keys_of(service), EVENT_TIMESTAMP]), EVENT_TIMESTAMP, views)
        return with_on_demand(service, found, spine[EVENT_TIMESTAMP]).select(columns_of(service))


def _attributes(plan: AttributePlan, dimensions: Tables, folder: Path) -> ViewRows:
    rows = rows_of([plan.dimension], dimensions)[table_name(plan.dimension)]
    stamped = rows.append_column(EVENT_TIMESTAMP, rows[VALID_FROM_MS].cast(_STAMP))
    return _written(stamped, plan.name, plan.key, _features(plan), folder, plan.ttl)


def _features(plan: Plan) -> tuple[Feature, ...]:
    return tuple(
        Feature(name, f"{plan.name}__{name}", kind.to_pyarrow(), plan.empty.get(name)) for name, kind in plan.schema
    )


def _view(plan: EventPlan, rows: pa.Table, folder: Path) -> ViewRows | MergedRows:
    """The rows as files, and how to read them."""
    features = _features(plan)
    stamped = rows.drop_columns(T_MS).append_column(EVENT_TIMESTAMP, rows[T_MS].cast(_STAMP))
    if not isinstance(plan, DailyPlan):
        return _written(stamped, plan.name, plan.key, features, folder, plan.ttl)
    return MergedRows(
        plan=plan,
        key=plan.key,
        features=features,
        partials=_written(_last_of_days(rows, plan), plan.name, plan.key, measures_of(plan), folder),
        today=_written(stamped, plan.today.name, plan.key, measures_of(plan), folder),
        end_ms=_FOR_EVER_MS,
    )


def _last_of_days(rows: pa.Table, plan: DailyPlan) -> pa.Table:
    """A day's partials: its last row."""
    names = [measure.name for measure in plan.measures]
    last = rows.sort_by(T_MS).group_by(plan.key, use_threads=False).aggregate([(name, "last") for name in names])
    values = {name: last[f"{name}_last"] for name in names}
    parts = pc.split_pattern(last[plan.key], BY_DAY, max_splits=1, reverse=True)
    days_ms = pc.list_element(parts, 1).cast(pa.int64()).cast(_STAMP)
    return pa.table({plan.key: pc.list_element(parts, 0), EVENT_TIMESTAMP: days_ms, **values})


def _written(
    rows: pa.Table, name: str, key: str, features: tuple[Feature, ...], folder: Path, ttl: timedelta | None = None
) -> ViewRows:
    path = folder / f"{name}.parquet"
    pq.write_table(rows, path)
    return ViewRows(name=name, path=path, format="parquet", keys=((key, key),), features=features, ttl=ttl)


def _on_duckdb(plans: Sequence[SpeedPlan], events: pa.Table, dimensions: Tables) -> list[pa.Table]:
    from playhead.local.changelog import changelogs_of

    return changelogs_of(plans, events, dimensions)


def _on_spark(plans: Sequence[SpeedPlan], events: pa.Table, dimensions: Tables) -> list[pa.Table]:
    from playhead.batch.session import spark_session
    from playhead.batch.sql import run
    from playhead.config import load_settings

    # A home for Spark's log and files: what is tried here leaves nothing in the user's.
    with tempfile.TemporaryDirectory(prefix="playhead-spark-", ignore_cleanup_errors=True) as home:
        settings = load_settings().model_copy(update={"home": Path(home)})
        with spark_session(settings) as spark:
            frame = spark.createDataFrame(events)
            named = together(dimension for plan in plans for dimension in plan.dimensions)
            rows = {name: spark.createDataFrame(own) for name, own in rows_of(named, dimensions).items()}
            relations = [changelog(plan, lake_table("events")) for plan in plans]
            return [run(spark, r, events=frame, **rows).toArrow().cast(r.schema().to_pyarrow()) for r in relations]


def _on_flink(plans: Sequence[SpeedPlan], events: pa.Table, dimensions: Tables) -> list[pa.Table]:
    from playhead.speed.evaluate import changelogs

    return changelogs(plans, events, dimensions)


ENGINES: Mapping[str, Callable[[Sequence[SpeedPlan], pa.Table, Tables], list[pa.Table]]] = {
    "duckdb": _on_duckdb,
    "spark": _on_spark,
    "flink": _on_flink,
}
"""Engine to what makes the changelogs of plans on it, each from all events and the dimensions: the key,
`event_timestamp_ms` and the features, a row per (key, event_timestamp_ms)."""


def _by_oracle(service: FeatureService, events: pa.Table, spine: pa.Table, dimensions: Tables) -> pa.Table:
    """Row by row, from the events of the row's entity."""
    columns: dict[str, pa.Array] = {key: spine[key] for key in (*keys_of(service), EVENT_TIMESTAMP)}
    moments = pc.floor_temporal(spine[EVENT_TIMESTAMP], unit="millisecond").cast(_STAMP).cast(pa.int64()).to_pylist()
    rows = events.to_pylist()
    known = {name: table.to_pylist() for name, table in dimensions.items()}
    for group in service.inputs:
        if group.ttl is not None:
            raise UnsupportedError(
                f"group {group.name!r} has a ttl, which is of rows: the oracle has none", hint="use another engine"
            )
        own: dict[str | None, list[Mapping[str, object]]] = {}
        for row in oracle.enriched(group, rows, known):
            own.setdefault(row[group.entity.key], []).append(row)
        keys = spine[group.entity.key].to_pylist()
        values = [
            _oracles(group, own.get(key, []), key, moment, known) for key, moment in zip(keys, moments, strict=True)
        ]
        for name, kind in compile_group(group).schema:
            columns[f"{group.name}__{name}"] = pa.array([value[name] for value in values], kind.to_pyarrow())
    return with_on_demand(service, pa.table(columns), spine[EVENT_TIMESTAMP]).select(columns_of(service))


def _oracles(
    group: FeatureGroup, events: Sequence[oracle.Event], key: str | None, moment: int, dimensions: oracle.Rows
) -> dict[str, object]:
    if key is None:
        return dict.fromkeys(group.feature_names)
    if group.kind is Current:
        return oracle.attributes_at(group, key, moment, dimensions)
    return oracle.values_at(group, events, key, moment)

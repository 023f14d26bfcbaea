"""Where the job writes: Kafka topics and the lake."""

from __future__ import annotations

from pyflink.table import StreamTableEnvironment

from playhead.config import Settings
from playhead.plan import SessionPlan, SpeedPlan
from playhead.relations import T_MS, milliseconds
from playhead.speed import sql
from playhead.speed.decode import KEPT_BYTES
from schemas.decode import CLOCK_HEADER
from schemas.tables import lake_columns

LAKE_TYPES = {"string": "STRING", "int64": "BIGINT", "int32": "INT", "bool": "BOOLEAN"}
"""Flink's names of the types of `schemas.tables.lake_columns`."""

_PARQUET = {
    "format": "parquet",
    "parquet.compression": "ZSTD",
    # Each open file holds buffers of a page's size, and a replay of a month has hundreds of hours open at once.
    "parquet.page.size": "65536",
    "parquet.dictionary.page.size": "65536",
    # Milliseconds as int64 in UTC: what Spark, DuckDB and Arrow read as a timestamp of the same moment.
    "parquet.write.int64.timestamp": "true",
    "parquet.timestamp.time.unit": "millis",
    "parquet.utc-timezone": "true",
}


def dead_letters(tables: StreamTableEnvironment, settings: Settings) -> str:
    """`INSERT` of the bad rows: the original bytes as value, where and why as a JSON key, and the clock that the event
    was judged by as a header, by which it can be judged again."""
    kafka = settings.kafka
    types = {
        "reason": "STRING",
        "topic": "STRING",
        "partition": "INT",
        "offset": "BIGINT",
        "payload": "BYTES",
        "headers": "MAP<STRING, BYTES> METADATA",
    }
    options = _kafka(settings, kafka.dead_letter_topic) | {
        "key.format": "json",
        "key.fields": "reason;topic;partition;offset",
        "value.format": "raw",
        "value.fields-include": "EXCEPT_KEY",
        # What is too large is a dead letter too: the client's own limit of 1 MiB would stop the job.
        "properties.max.request.size": str(2 * KEPT_BYTES),
        # As events come: what they fitted into, their dead letters fit into.
        "properties.compression.type": "gzip",
    }
    _create(tables, "dead_letter_sink", types, options)
    clock = f"CAST(`bad_latest_ms` - {milliseconds(settings.stream.clock_skew)} AS STRING)"
    return (
        f"INSERT INTO dead_letter_sink SELECT `reason`, {sql.text(kafka.events_topic)}, `bad_partition`, `bad_offset`, "
        f"`bad_payload`, MAP[{sql.text(CLOCK_HEADER)}, ENCODE({clock}, 'UTF-8')] "
        "FROM decoded_rows WHERE `reason` IS NOT NULL"
    )


def lake_events(tables: StreamTableEnvironment, settings: Settings, view: str) -> str:
    """`INSERT` of every valid event, late ones too, into the master data by the day and hour of its event time."""
    types = {name: LAKE_TYPES[kind] for name, kind in lake_columns().items()}
    _create(
        tables, "lake_events_sink", types | {"dt": "STRING", "hour": "STRING"}, _lake(settings, "events"), "dt", "hour"
    )
    names = ", ".join(map(sql.name, types))
    return (
        f"INSERT INTO lake_events_sink SELECT {names}, {_day('event_time_ms')}, "
        f"{_hour('event_time_ms')} FROM {sql.name(view)}"
    )


def feature_rows(tables: StreamTableEnvironment, settings: Settings, plan: SpeedPlan, view: str) -> str:
    """`INSERT` of a group's changelog into the topic that the online writer reads."""
    sink = f"{plan.name}_topic_sink"
    features = ", ".join(f"{sql.name(n)} {sql.flink_type(kind)}" for n, kind in plan.schema)
    types = {
        "key": "STRING",
        "group": "STRING",
        "fingerprint": "STRING",
        "entity": "STRING",
        T_MS: "BIGINT",
        "values": f"ROW<{features}>",
    }
    options = _kafka(settings, settings.kafka.feature_rows_topic) | {
        "key.format": "raw",
        "key.fields": "key",
        "value.format": "json",
        "value.fields-include": "EXCEPT_KEY",
    }
    _create(tables, sink, types, options)
    key, group = sql.name(plan.key), sql.text(plan.name)
    values = ", ".join(sql.name(n) for n, _ in plan.schema)
    return (
        f"INSERT INTO {sql.name(sink)} SELECT CONCAT({group}, '|', {key}), {group}, "
        f"{sql.text(plan.fingerprint)}, {key}, {sql.name(T_MS)}, ROW({values}) FROM {sql.name(view)}"
    )


def archive(tables: StreamTableEnvironment, settings: Settings, plan: SpeedPlan, view: str) -> str:
    """`INSERT` of a group's changelog into `lake/speed/<group>`: what online knew, and when."""
    sink = f"{plan.name}_archive_sink"
    features = {n: sql.flink_type(kind) for n, kind in plan.schema}
    types = {plan.key: "STRING", "event_timestamp": "TIMESTAMP_LTZ(3)", **features, "created_at": "TIMESTAMP_LTZ(3)"}
    _create(tables, sink, types | {"dt": "STRING"}, _lake(settings, f"speed/{plan.name}"), "dt")
    values = ", ".join(map(sql.name, features))
    return (
        f"INSERT INTO {sql.name(sink)} SELECT {sql.name(plan.key)}, TO_TIMESTAMP_LTZ({sql.name(T_MS)}, 3), {values}, "
        f"CURRENT_TIMESTAMP, {_day(T_MS)} FROM {sql.name(view)}"
    )


def closed_sessions(tables: StreamTableEnvironment, settings: Settings, plan: SessionPlan, view: str) -> str:
    """`INSERT` of sessions that ended into the lake, by the day they ended."""
    counts = {"session_start_ms": "BIGINT", "session_end_ms": "BIGINT", "events": "BIGINT"}
    types = {plan.key: "STRING", **counts, **{n: sql.flink_type(k) for n, k in plan.made}}
    _create(tables, "closed_session_sink", types | {"dt": "STRING"}, _lake(settings, "sessions"), "dt")
    names = ", ".join(map(sql.name, types))
    ended = _day("session_end_ms")
    return f"INSERT INTO closed_session_sink SELECT {names}, {ended} FROM {sql.name(view)}"


def _create(
    tables: StreamTableEnvironment, name: str, types: dict[str, str], options: dict[str, str], *partitions: str
) -> None:
    partitioned = f"PARTITIONED BY ({', '.join(map(sql.name, partitions))}) " if partitions else ""
    tables.execute_sql(
        f"CREATE TEMPORARY TABLE {sql.name(name)} ({sql.columns(types)}) {partitioned}WITH ({sql.options(options)})"
    )


def _kafka(settings: Settings, topic: str) -> dict[str, str]:
    # At least once: a transaction would hide rows until the next checkpoint. Rows are absolute: a repeat is harmless.
    return {
        "connector": "kafka",
        "topic": topic,
        "sink.delivery-guarantee": "at-least-once",
        "properties.linger.ms": "50",
        # Each batch has compression buffers of its own, of a fixed size: the default's small batches cost more of them.
        "properties.batch.size": "131072",
        "properties.compression.type": "lz4",
    } | {f"properties.{k}": v for k, v in settings.kafka.jvm_client().items()}


def _lake(settings: Settings, folder: str) -> dict[str, str]:
    return {"connector": "filesystem", "path": (settings.lake / folder).absolute().as_uri(), **_PARQUET}


def _day(column: str) -> str:
    """The UTC date of epoch milliseconds as text. By days: a formatter would run for every row."""
    days = f"CAST({sql.name(column)} / 86400000 AS INT)"
    return f"CAST(TIMESTAMPADD(DAY, {days}, DATE '1970-01-01') AS STRING)"


def _hour(column: str) -> str:
    return f"LPAD(CAST(MOD({sql.name(column)} / 3600000, 24) AS STRING), 2, '0')"

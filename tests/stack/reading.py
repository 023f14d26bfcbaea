"""What the speed job wrote, as tables and rows to compare."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from playhead.config import Settings
from playhead.dimensions import Tables
from playhead.local.changelog import changelog
from playhead.plan import SessionPlan, SlidingPlan
from playhead.relations import T_MS
from schemas.tables import lake_arrow_schema
from tests.polling import PATIENCE


@dataclass(frozen=True)
class DeadLetter:
    """A record of the dead letter topic: why, and the original record's place and bytes."""

    reason: str
    topic: str
    partition: int
    offset: int
    payload: bytes


def lake_events(settings: Settings) -> pa.Table:
    """The master data, by Kafka partition and offset, in the contract's columns."""
    table = _files(settings, "events").select(lake_arrow_schema().names).cast(lake_arrow_schema())
    return table.sort_by([("kafka_partition", "ascending"), ("kafka_offset", "ascending")])


def closed_sessions(settings: Settings) -> list[dict[str, Any]]:
    """Closed sessions, by user and start."""
    rows = _files(settings, "sessions").drop_columns("dt").to_pylist()
    return sorted(rows, key=lambda row: (row["user_id"], row["session_start_ms"]))


def archived_rows(settings: Settings, plan: SlidingPlan | SessionPlan) -> pa.Table:
    """A group's changelog as archived: key, `event_timestamp_ms` and features in the plan's types, by key and time."""
    table = _files(settings, f"speed/{plan.name}")
    stamps = table["event_timestamp"].cast(pa.timestamp("ms")).cast(pa.int64())
    return _in_order(plan, table.append_column(T_MS, stamps))


def expected_rows(plan: SlidingPlan | SessionPlan, events: pa.Table, dimensions: Tables, watermark_ms: int) -> pa.Table:
    """A group's changelog on DuckDB from master data, up to a watermark; late events do not count."""
    rows = changelog(plan, events.filter(pc.invert(events["late"])), dimensions)
    # A row stamped T is out when the watermark has passed the last millisecond of its second.
    return _in_order(plan, rows.filter(pc.less_equal(rows[T_MS], watermark_ms + 1)))


def topic_rows(settings: Settings, plan: SlidingPlan | SessionPlan) -> pa.Table:
    """A group's changelog as in the feature topic, like `archived_rows`; repeats that are equal count once.

    Raises:
        AssertionError: two records of one entity and second differ, or one is of another form.
    """
    found: dict[tuple[str, int], dict[str, Any]] = {}
    for message in records(settings, settings.kafka.feature_rows_topic):
        value = json.loads(message.value())
        if value["group"] != plan.name:
            continue
        assert message.key() == f"{plan.name}|{value['entity']}".encode()
        assert value["fingerprint"] == plan.fingerprint
        assert set(value) == {"group", "fingerprint", "entity", T_MS, "values"}
        row = {plan.key: value["entity"], T_MS: value[T_MS], **value["values"]}
        assert found.setdefault((value["entity"], value[T_MS]), row) == row
    return _in_order(plan, pa.Table.from_pylist(list(found.values()), schema=row_schema(plan)))


def dead_letters(settings: Settings) -> list[DeadLetter]:
    """Dead letters, by the place of the record."""
    found = [
        DeadLetter(**json.loads(message.key()), payload=message.value() or b"")
        for message in records(settings, settings.kafka.dead_letter_topic)
    ]
    return sorted(found, key=lambda letter: (letter.partition, letter.offset))


def records(settings: Settings, topic: str) -> Iterator[Any]:
    """Every record of a topic that is there when the reading starts."""
    from confluent_kafka import Consumer, KafkaError, TopicPartition

    limits = {"fetch.message.max.bytes": 16_000_000, "enable.partition.eof": True}
    consumer = Consumer(settings.kafka.client() | limits | {"group.id": "tests", "enable.auto.commit": False})
    try:
        partitions = [TopicPartition(topic, number, 0) for number in range(settings.kafka.partitions)]
        left = {p.partition: consumer.get_watermark_offsets(p, timeout=PATIENCE)[1] for p in partitions}
        consumer.assign(partitions)
        while any(left.values()):
            message = consumer.poll(PATIENCE)
            assert message is not None, f"{topic}: nothing came"
            if message.error() is not None:
                # A partition may end with what only Kafka reads, a transaction's end.
                assert message.error().code() == KafkaError._PARTITION_EOF, f"{topic}: {message.error()}"
                left[message.partition()] = 0
                continue
            if message.offset() < left[message.partition()]:
                yield message
            if message.offset() + 1 >= left[message.partition()]:
                left[message.partition()] = 0
    finally:
        consumer.close()


def row_schema(plan: SlidingPlan | SessionPlan) -> pa.Schema:
    """Arrow schema of a group's changelog."""
    import ibis

    features = {name: ibis.dtype(kind).to_pyarrow() for name, kind in plan.schema}
    return pa.schema({plan.key: pa.string(), T_MS: pa.int64(), **features})


def _in_order(plan: SlidingPlan | SessionPlan, table: pa.Table) -> pa.Table:
    schema = row_schema(plan)
    return table.select(schema.names).cast(schema).sort_by([(plan.key, "ascending"), (T_MS, "ascending")])


def _files(settings: Settings, folder: str) -> pa.Table:
    return ds.dataset(settings.lake / folder, format="parquet", partitioning=ds.HivePartitioning.discover()).to_table()

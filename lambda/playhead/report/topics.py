"""What Kafka holds: records by topic, how far the consumer groups are, dead letters by reason. Commits nothing."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from playhead.config import KafkaSettings
from playhead.dlq.letters import letter_of
from playhead.errors import StackError
from playhead.report.facts import DeadLetters, Kafka, Lag, Reason

MOST_DEAD_LETTERS = 100_000
"""So many of the newest are looked at."""

_GROUPS = "playhead-"
_ANSWER_SECONDS = 5.0
_READ_SECONDS = 15.0
_POLL_SECONDS = 1.0

Offsets = Mapping[TopicPartition, int]


def read_kafka(kafka: KafkaSettings) -> Kafka:
    """Ask the broker.

    Raises:
        StackError: it does not answer.
    """
    quiet = logging.Logger("librdkafka", level=logging.CRITICAL)
    try:
        admin = AdminClient(kafka.client(), logger=quiet)
        partitions = _partitions(admin, kafka)
        first, end = (_offsets(admin, partitions, spec) for spec in (OffsetSpec.earliest(), OffsetSpec.latest()))
        topics = Counter[str](dict.fromkeys(sorted({each.topic for each in partitions}), 0))
        for each in partitions:
            topics[each.topic] += end[each] - first[each]
        ours = {each: (first[each], end[each]) for each in partitions if each.topic == kafka.dead_letter_topic}
        return Kafka(topics=dict(topics), lags=_lags(admin, first, end), dead_letters=_dead_letters(kafka, ours, quiet))
    except KafkaException as error:
        raise StackError(f"Kafka at {kafka.servers}: {error.args[0].str()}") from error


def _partitions(admin: Any, kafka: KafkaSettings) -> list[TopicPartition]:
    """Of our topics, those that exist."""
    known = admin.list_topics(timeout=_ANSWER_SECONDS).topics
    ours = (kafka.events_topic, kafka.dead_letter_topic, kafka.feature_rows_topic, kafka.served_topic)
    return [TopicPartition(topic, number) for topic in ours if topic in known for number in known[topic].partitions]


def _offsets(admin: Any, partitions: list[TopicPartition], spec: Any) -> Offsets:
    asked = admin.list_offsets(dict.fromkeys(partitions, spec), request_timeout=_ANSWER_SECONDS) if partitions else {}
    return {partition: int(answer.result().offset) for partition, answer in asked.items()}


def _lags(admin: Any, first: Offsets, end: Offsets) -> tuple[Lag, ...]:
    groups = admin.list_consumer_groups(request_timeout=_ANSWER_SECONDS).result().valid
    found = Counter[tuple[str, str]]()
    for group in sorted(each.group_id for each in groups if each.group_id.startswith(_GROUPS)):
        asked = admin.list_consumer_group_offsets(
            [ConsumerGroupTopicPartitions(group)], request_timeout=_ANSWER_SECONDS
        )
        committed = {(c.topic, c.partition): c.offset for c in asked[group].result().topic_partitions}
        topics = {topic for topic, _ in committed}
        for each in (each for each in end if each.topic in topics):
            # A partition without a committed offset is read from its beginning.
            offset = max(committed.get((each.topic, each.partition), 0), first[each])
            found[group, each.topic] += max(0, end[each] - offset)
    return tuple(Lag(group=group, topic=topic, records=records) for (group, topic), records in found.items())


def _dead_letters(kafka: KafkaSettings, held: Mapping[TopicPartition, tuple[int, int]], quiet: Any) -> DeadLetters:
    """The newest dead letters by reason; each bad record once, however often a restart wrote it."""
    records = sum(end - first for first, end in held.values())
    share = MOST_DEAD_LETTERS // max(1, len(held))
    wanted = {each: (max(first, end - share), end) for each, (first, end) in held.items() if end > first}
    seen: dict[tuple[Any, ...], tuple[int, str]] = {}
    read = 0
    for message in _read(kafka, wanted, quiet) if wanted else ():
        read += 1
        letter = letter_of(message)
        seen[letter.place] = (message.timestamp()[1], letter.reason)
    return DeadLetters(records=records, read=read, repeated=read - len(seen), reasons=_by_reason(seen))


def _by_reason(seen: Mapping[tuple[Any, ...], tuple[int, str]]) -> tuple[Reason, ...]:
    counts = Counter(reason for _, reason in seen.values())
    newest = {reason: (at_ms, place) for place, (at_ms, reason) in sorted(seen.items(), key=lambda item: item[1][0])}
    return tuple(
        Reason(
            name=reason,
            records=records,
            newest=datetime.fromtimestamp(at_ms / 1_000, UTC) if at_ms > 0 else None,
            example="/".join(map(str, place)),
        )
        for reason, records in counts.most_common()
        for at_ms, place in [newest[reason]]
    )


def _read(kafka: KafkaSettings, wanted: Mapping[TopicPartition, tuple[int, int]], quiet: Any) -> Any:
    """The records of these offsets, as far as they come in time. One at a time: each may be as large as Kafka takes."""
    conf = {
        **kafka.client(),
        "group.id": "playhead-report",
        "enable.auto.commit": False,
        "queued.max.messages.kbytes": 16_384,
    }
    consumer = Consumer(conf, logger=quiet)
    try:
        consumer.assign([TopicPartition(each.topic, each.partition, first) for each, (first, _) in wanted.items()])
        open_ends = {each.partition: end for each, (_, end) in wanted.items()}
        deadline = time.monotonic() + _READ_SECONDS
        while open_ends and time.monotonic() < deadline:
            message = consumer.poll(_POLL_SECONDS)
            if message is None or message.error() is not None or message.partition() not in open_ends:
                continue
            yield message
            if message.offset() + 1 >= open_ends[message.partition()]:
                del open_ends[message.partition()]
    finally:
        consumer.close()

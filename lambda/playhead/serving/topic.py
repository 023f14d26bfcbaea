"""Reading a topic: batches of records, how far it has been read, and whether its end came."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient

from playhead.config import KafkaSettings
from playhead.errors import StackError
from playhead.serving.kafka_errors import reporting

log = structlog.get_logger()

_ANSWER_SECONDS = 10.0
_POLL_RECORDS = 1_000
_POLL_SECONDS = 1.0


@dataclass(frozen=True)
class Bounds:
    """The offset of a partition's first record, and the one that its next record will have."""

    first: int
    end: int


class TopicReader:
    """One topic. Not for several threads.

    Args:
        consumer: a confluent-kafka `Consumer` that reports the ends of partitions and commits nothing by itself.
        topic: what to read.
    """

    def __init__(self, consumer: Any, topic: str) -> None:
        self._consumer = consumer
        self._topic = topic
        self._ended: dict[int, bool] = {}
        self._uncommitted = False

    def join(self) -> None:
        """Share the topic with the other members of the consumer group, and start where the group is."""
        self._consumer.subscribe(
            [self._topic], on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._revoked
        )

    def start_at(self, offsets: Mapping[int, int]) -> None:
        """Read all of the topic: each partition from its offset."""
        partitions = [TopicPartition(self._topic, partition, offset) for partition, offset in offsets.items()]
        self._consumer.assign(partitions)
        self._assigned(self._consumer, partitions)

    def poll(self, limit: int, seconds: float) -> list[Message]:
        """The next records: at most `limit`, and those that come within `seconds`.

        Raises:
            StackError: the consumer cannot go on.
        """
        try:
            polled = self._consumer.consume(num_messages=limit, timeout=seconds)
        except KafkaException as error:
            raise StackError(f"Kafka: {error.args[0].str()}") from error
        records = [message for message in polled if message.error() is None]
        if len(records) < len(polled):
            for message in polled:
                if message.error() is not None:
                    self._note(message)
        self._uncommitted = self._uncommitted or bool(records)
        return records

    @property
    def caught_up(self) -> bool:
        """Whether each partition (in a group: of this member) has been read to its end at least once."""
        return bool(self._ended) and all(self._ended.values())

    def commit(self) -> bool:
        """Commit everything polled so far; False when the broker refuses it: a next run then reads it again."""
        if not self._uncommitted:
            return True
        try:
            self._consumer.commit(asynchronous=False)
        except KafkaException as error:
            log.warning("offsets not committed", error=error.args[0].str())
            return False
        self._uncommitted = False
        return True

    def lag(self) -> dict[int, int]:
        """Partition to the number of records that are still to be read; without those not known yet."""
        behind = {}
        try:
            for position in self._consumer.position(self._consumer.assignment()):
                _, high = self._consumer.get_watermark_offsets(position, cached=True)
                if position.offset >= 0 and high >= 0:
                    behind[position.partition] = max(0, high - position.offset)
        except KafkaException as error:
            log.warning("lag unknown", error=error.args[0].str())
        return behind

    def _assigned(self, _consumer: Any, partitions: list[Any]) -> None:
        self._ended |= {each.partition: False for each in partitions}

    def _revoked(self, _consumer: Any, partitions: list[Any]) -> None:
        for each in partitions:
            self._ended.pop(each.partition, None)

    def _note(self, message: Message) -> None:
        error = message.error()
        if error.code() == KafkaError._PARTITION_EOF:
            self._ended[message.partition()] = True
        else:
            log.warning("kafka", topic=message.topic(), partition=message.partition(), error=error.str())


@contextlib.contextmanager
def open_topic(
    settings: KafkaSettings, topic: str, group: str, *, start: Mapping[int, int] | None = None
) -> Iterator[TopicReader]:
    """Read a topic.

    Args:
        settings: where Kafka is.
        topic: an existing topic.
        group: the consumer group's id.
        start: partition to the offset to start from, its first one when it is not named. None shares the topic among
            the members of the group, and starts where the group is, or at the beginning.

    Raises:
        StackError: no broker answers, or there is no such topic.
    """
    conf = {
        **settings.client(),
        "group.id": group,
        "enable.auto.commit": False,
        "auto.offset.reset": "earliest",
        "enable.partition.eof": True,
        "isolation.level": "read_committed",
    }
    consumer = Consumer({**conf, **reporting()})
    try:
        partitions = partitions_of(consumer, settings, topic)
        reader = TopicReader(consumer, topic)
        if start is None:
            reader.join()
        else:
            reader.start_at({partition: start.get(partition, 0) for partition in partitions})
        yield reader
    finally:
        consumer.close()


def partitions_of(client: Any, settings: KafkaSettings, topic: str) -> list[int]:
    """The partitions of a topic.

    Raises:
        StackError: no broker answers, or there is no such topic.
    """
    try:
        metadata = client.list_topics(topic, timeout=_ANSWER_SECONDS).topics[topic]
    except KafkaException as error:
        raise StackError(f"Kafka at {settings.servers}: {error.args[0].str()}", hint="`playhead up`") from error
    if metadata.error is not None:
        raise StackError(
            f"topic {topic} at {settings.servers}: {metadata.error.str()}", hint="`playhead up` creates it"
        )
    return sorted(metadata.partitions)


def bounds_of(settings: KafkaSettings, topic: str, since_ms: int | None = None) -> dict[int, Bounds]:
    """Partition to its bounds.

    Args:
        settings: where Kafka is.
        topic: an existing topic.
        since_ms: the first record is the first of this time or later, UTC epoch ms; of all when None.

    Raises:
        StackError: no broker answers, or there is no such topic.
    """
    consumer = Consumer({**settings.client(), "group.id": topic, "enable.auto.commit": False, **reporting()})
    try:
        numbers = partitions_of(consumer, settings, topic)
        limits = {
            number: consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=_ANSWER_SECONDS)
            for number in numbers
        }
        if since_ms is not None:
            asked = [TopicPartition(topic, number, since_ms) for number in numbers]
            for found in consumer.offsets_for_times(asked, timeout=_ANSWER_SECONDS):
                end = limits[found.partition][1]
                # No record is as new: there is nothing to read.
                limits[found.partition] = (end if found.offset < 0 else found.offset, end)
        return {number: Bounds(*own) for number, own in limits.items()}
    except KafkaException as error:
        raise StackError(f"topic {topic} at {settings.servers}: {error.args[0].str()}", hint="`playhead up`") from error
    finally:
        consumer.close()


def last_records(settings: KafkaSettings, topic: str, group: str, limit: int) -> list[Message]:
    """The last records of each partition of a topic, each partition's in their order; commits nothing.

    Args:
        settings: where Kafka is.
        topic: an existing topic.
        group: the consumer's id.
        limit: how many of each partition.

    Raises:
        StackError: as of `open_topic`.
    """
    bounds = bounds_of(settings, topic)
    found: list[Message] = []
    starts = {partition: max(own.first, own.end - limit) for partition, own in bounds.items()}
    with open_topic(settings, topic, group, start=starts) as reader:
        while not reader.caught_up:
            found += reader.poll(_POLL_RECORDS, _POLL_SECONDS)
    return found


def records_at(settings: KafkaSettings, topic: str, group: str, offsets: Mapping[int, int]) -> list[Message]:
    """The record at an offset of each of some partitions, or the first behind it; commits nothing.

    Raises:
        StackError: as of `open_topic`.
    """
    found: dict[int, Message] = {}
    # The other partitions from their ends: nothing of them is read.
    starts = {partition: own.end for partition, own in bounds_of(settings, topic).items()} | dict(offsets)
    with open_topic(settings, topic, group, start=starts) as reader:
        while found.keys() < offsets.keys() and not reader.caught_up:
            for record in reader.poll(1, _POLL_SECONDS):
                if record.partition() in offsets:
                    found.setdefault(record.partition(), record)
    return list(found.values())


def topic_id(settings: KafkaSettings, topic: str) -> str:
    """The id that the broker gave a topic when it was created.

    Raises:
        StackError: no broker answers, or there is no such topic.
    """
    admin = AdminClient({**settings.client(), **reporting()})
    partitions_of(admin, settings, topic)
    try:
        described = admin.describe_topics(TopicCollection([topic]), request_timeout=_ANSWER_SECONDS)
        return str(described[topic].result().topic_id)
    except KafkaException as error:
        raise StackError(f"topic {topic} at {settings.servers}: {error.args[0].str()}") from error

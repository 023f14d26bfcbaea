"""The report on a running stack: what Kafka, Redis and Flink say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from playhead.config import KafkaSettings, Settings
from playhead.declarations import load_declarations
from playhead.dlq.letters import UNREADABLE
from playhead.report import topics
from playhead.report.facts import Lag, Reason
from playhead.report.gather import gather
from playhead.report.page import render
from playhead.report.problems import problems_of
from playhead.report.topics import read_kafka
from playhead.stack.kafka import create_topics
from tests.polling import PATIENCE

pytestmark = pytest.mark.stack

AT_MS = 1_741_003_200_000


@pytest.fixture
def kafka(stack: Settings, request: pytest.FixtureRequest) -> Iterator[KafkaSettings]:
    """Settings whose topics are this test's own, two partitions each."""
    suffix = f"report-{abs(hash(request.node.name))}"
    roles = ("events", "dead_letter", "replayed", "feature_rows", "served", "retrain")
    names = {f"{role}_topic": f"{role}-{suffix}" for role in roles}
    settings = stack.kafka.model_copy(update={**names, "partitions": 2})
    # Returns when they have leaders: a topic that is new answers "not leader" for a moment.
    assert set(create_topics(settings)) == set(names.values())
    yield settings
    admin = AdminClient(settings.client())
    for deleted in admin.delete_topics(list(names.values())).values():
        deleted.result(PATIENCE)


def send(kafka: KafkaSettings, topic: str, *records: tuple[Any, int]) -> None:
    """Records of a key (JSON unless it is bytes) and a partition, a second apart."""
    producer = Producer(kafka.client())
    for number, (key, partition) in enumerate(records):
        text = key if isinstance(key, bytes) else json.dumps(key).encode()
        producer.produce(topic, b"bytes", key=text, partition=partition, timestamp=AT_MS + number * 1_000)
    assert producer.flush(PATIENCE) == 0


def bad(reason: str, offset: int) -> dict[str, Any]:
    return {"reason": reason, "topic": "playback-events", "partition": 1, "offset": offset}


def test_dead_letters_are_counted_by_reason_and_each_once(kafka: KafkaSettings) -> None:
    keys = [bad("malformed", 5), bad("malformed", 5), bad("too_large", 6), bad("malformed", 7), b"no JSON"]
    send(kafka, kafka.dead_letter_topic, *((key, number % 2) for number, key in enumerate(keys)))
    letters = read_kafka(kafka).dead_letters
    assert (letters.records, letters.read, letters.repeated) == (5, 5, 1)
    newest = datetime(2025, 3, 3, 12, 0, 3, tzinfo=UTC)
    assert letters.reasons[0] == Reason(name="malformed", records=2, newest=newest, example="playback-events/1/7")
    assert {reason.name: reason.records for reason in letters.reasons[1:]} == {"too_large": 1, UNREADABLE: 1}


def test_of_many_dead_letters_the_newest_are_read(kafka: KafkaSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topics, "MOST_DEAD_LETTERS", 4)
    keys = [bad("old" if offset < 6 else "new", offset) for offset in range(10)]
    send(kafka, kafka.dead_letter_topic, *((key, key["offset"] % 2) for key in keys))
    letters = read_kafka(kafka).dead_letters
    assert (letters.records, letters.read) == (10, 4)
    assert [(reason.name, reason.records) for reason in letters.reasons] == [("new", 4)]


def test_a_group_is_behind_by_what_it_has_not_committed(kafka: KafkaSettings) -> None:
    group = f"playhead-{kafka.events_topic}"
    send(kafka, kafka.events_topic, *((b"u", number % 2) for number in range(10)))
    consumer = Consumer({**kafka.client(), "group.id": group})
    consumer.commit(offsets=[TopicPartition(kafka.events_topic, 0, 3)], asynchronous=False)
    consumer.close()
    found = read_kafka(kafka)
    assert found.topics[kafka.events_topic] == 10
    assert [lag for lag in found.lags if lag.group == group] == [Lag(group=group, topic=kafka.events_topic, records=7)]


def test_a_running_stack_is_asked(stack: Settings) -> None:
    facts = gather(stack, load_declarations())
    assert facts.silent == ()
    assert facts.unread == ()
    assert facts.kafka is not None
    assert facts.online is not None
    assert facts.online.keys() == {group.name for group in facts.groups}
    assert facts.flink is not None
    if facts.flink.job is None:
        assert "The speed job is not running" in [problem.title for problem in problems_of(facts)]
    assert "6 of 6 topics" in render(facts)

"""One record for whoever waits for it: sent, and known to have arrived."""

from __future__ import annotations

from typing import Any

from confluent_kafka import KafkaException, Producer

from playhead.config import KafkaSettings
from playhead.errors import StackError
from playhead.serving.kafka_errors import reporting
from playhead.serving.topic import partitions_of

_DELIVERY_SECONDS = 30.0


def send_notice(settings: KafkaSettings, topic: str, key: str, value: bytes) -> None:
    """Send a record to an existing topic, and wait until the broker has it.

    Raises:
        StackError: no broker answers, there is no such topic, or the record was not taken within 30 s.
    """
    conf = {
        **settings.client(),
        "enable.idempotence": True,
        "message.timeout.ms": round(_DELIVERY_SECONDS * 1_000),
    }
    failures: list[Any] = []
    producer = Producer({**conf, **reporting()})
    partitions_of(producer, settings, topic)
    try:
        producer.produce(topic, value, key, on_delivery=lambda error, _: failures.append(error))
        # A little longer than the record may take: then it has failed, and says why.
        left = producer.flush(_DELIVERY_SECONDS + 1)
    except KafkaException as error:
        raise StackError(f"topic {topic} at {settings.servers}: {error.args[0].str()}") from error
    problems = [error.str() for error in failures if error is not None] + ["no answer"] * left
    if problems:
        raise StackError(f"topic {topic} at {settings.servers}: {', '.join(problems)}")

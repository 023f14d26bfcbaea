"""The log of what was served: each vector as a `ServedFeatures` message, sent off the request's path."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import structlog
from confluent_kafka import KafkaException, Producer
from prometheus_client import CollectorRegistry, Counter

from playhead.config import KafkaSettings
from playhead.serving.kafka_errors import ErrorLog, reporting
from playhead.serving.packed import Value
from playhead.serving.vectors import Part, Vectors
from schemas.features_pb2 import ServedFeatures

log = structlog.get_logger()

_FLUSH_SECONDS = 30.0
_QUEUE_MESSAGES = 100_000
_VALUE_FIELDS = {int: "int_value", float: "double_value", str: "string_value"}


class ServedLog:
    """Sends served vectors to a topic, keyed by user. Safe to share between threads.

    Args:
        producer: a confluent-kafka `Producer`.
        topic: where to send.
        registry: where to count.

    A vector is counted when it is sent and once more when its fate is known: `delivered`, `dropped` (the queue is full)
    or `failed` (the broker did not take it in time).
    """

    def __init__(self, producer: Any, topic: str, registry: CollectorRegistry) -> None:
        self._producer = producer
        self._topic = topic
        self._errors = ErrorLog()
        self.vectors = Counter("playhead_served_vectors", "Vectors by what became of them", ["fate"], registry=registry)

    def record(self, request_id: str, service: str, serve_time_ms: int, vectors: Vectors) -> None:
        """Send each vector: one per candidate, or the request's own when it has no candidates."""
        dropped = 0
        for message in messages(request_id, service, serve_time_ms, vectors):
            self.vectors.labels("sent").inc()
            try:
                self._producer.produce(
                    self._topic,
                    message.SerializeToString(),
                    key=message.entities["user_id"].encode(),
                    timestamp=serve_time_ms,
                    on_delivery=self._delivered,
                )
            except (BufferError, KafkaException):
                dropped += 1
            self._producer.poll(0)
        if dropped:
            self.vectors.labels("dropped").inc(dropped)
            log.warning("served vectors dropped", request_id=request_id, vectors=dropped)

    def flush(self) -> None:
        """Wait until the fate of everything sent is known."""
        left = self._producer.flush(_FLUSH_SECONDS)
        if left:
            self.vectors.labels("failed").inc(left)
            log.error("served vectors lost", vectors=left)

    def fates(self) -> dict[str, int]:
        """Fate to number of vectors."""
        samples = (sample for metric in self.vectors.collect() for sample in metric.samples)
        return {s.labels["fate"]: int(s.value) for s in samples if s.name.endswith("_total")}

    def _delivered(self, error: Any, _message: Any) -> None:
        self.vectors.labels("failed" if error else "delivered").inc()
        if error:
            self._errors(error)


def messages(request_id: str, service: str, serve_time_ms: int, vectors: Vectors) -> Iterator[ServedFeatures]:
    """The vectors of a request as messages."""
    shared = ServedFeatures(request_id=request_id, service=service, serve_time_ms=serve_time_ms)
    _add(shared, vectors.shared)
    if not vectors.candidates:
        yield shared
    for candidate in vectors.candidates:
        message = ServedFeatures()
        message.CopyFrom(shared)
        _add(message, candidate)
        yield message


@contextlib.contextmanager
def open_served_log(settings: KafkaSettings, registry: CollectorRegistry) -> Iterator[ServedLog]:
    """A log to the served topic, flushed at the end. It does not wait for the broker: serving goes on without it."""
    conf = {
        **settings.client(),
        "enable.idempotence": True,
        "compression.type": "lz4",
        "linger.ms": 50,
        # The Java client's partitioner, so that a user is in one partition whoever sends.
        "partitioner": "murmur2_random",
        "queue.buffering.max.messages": _QUEUE_MESSAGES,
    }
    served = ServedLog(Producer({**conf, **reporting()}), settings.served_topic, registry)
    try:
        yield served
    finally:
        served.flush()


def _add(message: ServedFeatures, part: Part) -> None:
    message.entities.update(part.entities)
    message.event_timestamps_ms.update(part.event_timestamps_ms)
    message.fingerprints.update(part.fingerprints)
    for name, value in part.values.items():
        _set(message.values[name], value)


def _set(message: Any, value: Value) -> None:
    if isinstance(value, list):
        message.string_list.SetInParent()  # an empty list is not null
        message.string_list.values.extend(value)
    elif value is not None:
        setattr(message, _VALUE_FIELDS[type(value)], value)

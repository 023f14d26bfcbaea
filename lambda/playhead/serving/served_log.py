"""The log of what was served: each vector as a `ServedFeatures` message, made and sent off the request's path."""

from __future__ import annotations

import contextlib
import functools
import queue
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from threading import Lock, Thread
from types import TracebackType
from typing import Any, Self

import structlog
from confluent_kafka import KafkaException, Producer
from prometheus_client import CollectorRegistry
from prometheus_client import Counter as Metric

from playhead.config import KafkaSettings
from playhead.serving.kafka_errors import ErrorLog, reporting
from playhead.serving.vectors import Part, Vectors
from schemas.features_pb2 import ServedFeatures

log = structlog.get_logger()

FATES = ("sent", "delivered", "dropped", "failed")

_FLUSH_SECONDS = 7.0
_WAITING_VECTORS = 20_000
_QUEUE_MESSAGES = 100_000
_QUEUE_KILOBYTES = 262_144
_IDLE_SECONDS = 0.1
_REPEAT_SECONDS = 10.0
_KNOWN_VALUES = 2**16
_VALUE_FIELDS = {int: "int_value", float: "double_value", str: "string_value"}


@dataclass(frozen=True, slots=True)
class _Served:
    """One request's vectors, on their way to the topic."""

    request_id: str
    service: str
    vectors: Vectors
    fallback: str | None

    @property
    def count(self) -> int:
        return max(1, len(self.vectors.candidates))


class ServedLog:
    """Sends served vectors to a topic, keyed by user, while its context lasts; on leaving it everything was sent.

    Args:
        producer: a confluent-kafka `Producer`.
        topic: where to send.
        registry: where to count.
        room: how many vectors may wait for the thread that sends them.

    A vector is counted when it is `sent`, and once more when its fate is known: `delivered`, `dropped` (too many were
    waiting) or `failed` (the broker did not take it in time).
    """

    def __init__(self, producer: Any, topic: str, registry: CollectorRegistry, *, room: int = _WAITING_VECTORS) -> None:
        self._producer, self._topic, self._room = producer, topic, room
        self._errors = ErrorLog()
        metric = Metric("playhead_served_vectors", "Vectors by what became of them", ["fate"], registry=registry)
        self._metrics = {fate: metric.labels(fate) for fate in FATES}
        self._queue: queue.SimpleQueue[_Served | None] = queue.SimpleQueue()
        self._waiting, self._lock = 0, Lock()
        self._fates: Counter[str] = Counter()
        self._warned_s = float("-inf")
        self._thread = Thread(target=self._work, name="served-log")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._queue.put(None)
        self._thread.join()

    def record(self, request_id: str, service: str, vectors: Vectors, fallback: str | None = None) -> None:
        """Take a request's vectors: one per candidate, or its own when it has no candidates. Never waits.

        Args:
            request_id: of the request.
            service: its feature service.
            vectors: what was answered.
            fallback: why these are the service's defaults; None when they are what the store has.
        """
        served = _Served(request_id, service, vectors, fallback)
        with self._lock:
            fits = self._waiting + served.count <= self._room
            if fits:
                self._waiting += served.count
        self._metrics["sent"].inc(served.count)
        if fits:
            self._queue.put(served)
        else:
            self._metrics["dropped"].inc(served.count)

    def _work(self) -> None:
        while True:
            try:
                served = self._queue.get(timeout=_IDLE_SECONDS)
            except queue.Empty:
                self._producer.poll(0)
                self._count()
                continue
            if served is None:
                break
            self._send(served)
            with self._lock:
                self._waiting -= served.count
            self._count()
        self._flush()

    def _send(self, served: _Served) -> None:
        key, at_ms = served.vectors.shared.entities["user_id"].encode(), served.vectors.serve_time_ms
        made = messages(served.request_id, served.service, served.vectors, served.fallback)
        for place in range(served.count):
            try:
                message = next(made)
            except (KeyError, TypeError, ValueError) as error:
                # A value that the schema has no kind for: an on-demand function gave it.
                self._fates["failed"] += served.count - place
                log.error("served vectors not logged", request_id=served.request_id, error=repr(error))
                return
            try:
                self._producer.produce(self._topic, message, key=key, timestamp=at_ms, on_delivery=self._delivered)
            except (BufferError, KafkaException):
                self._fates["dropped"] += 1
                self._warn()
            # It also lets go of the interpreter: requests come first.
            self._producer.poll(0)

    def _flush(self) -> None:
        """Wait until the fate of everything sent is known."""
        left = self._producer.flush(_FLUSH_SECONDS)
        self._fates["failed"] += left
        self._count()
        if left:
            log.error("served vectors lost", vectors=left)

    def _count(self) -> None:
        """Bring what has gathered to the metrics: one by one it would cost as much as sending."""
        for fate, vectors in self._fates.items():
            self._metrics[fate].inc(vectors)
        self._fates.clear()

    def _warn(self) -> None:
        now_s = time.monotonic()
        if now_s >= self._warned_s + _REPEAT_SECONDS:
            self._warned_s = now_s
            log.warning("served vectors dropped", hint="the broker is away or too slow; playhead_served_vectors_total")

    def _delivered(self, error: Any, _message: Any) -> None:
        self._fates["failed" if error else "delivered"] += 1
        if error:
            self._errors(error)


def messages(request_id: str, service: str, vectors: Vectors, fallback: str | None = None) -> Iterator[bytes]:
    """The vectors of a request as serialised `ServedFeatures`.

    Protobuf merges what is put one behind the other, maps by entry: so what vectors share is serialised once, and a
    value that was seen before not again.
    """
    of_all = ServedFeatures(
        request_id=request_id, service=service, serve_time_ms=vectors.serve_time_ms, fallback=fallback or ""
    )
    shared = of_all.SerializeToString() + _serialized(vectors.shared)
    if not vectors.candidates:
        yield shared
    for candidate in vectors.candidates:
        yield shared + _serialized(candidate)


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
        "queue.buffering.max.kbytes": _QUEUE_KILOBYTES,
    }
    with ServedLog(Producer({**conf, **reporting()}), settings.served_topic, registry) as served:
        yield served


def _serialized(part: Part) -> bytes:
    own = ServedFeatures(entities=part.entities, event_timestamps_ms=part.event_timestamps_ms)
    values = [tuple(value) if isinstance(value, list) else value for value in part.values.values()]
    return b"".join(
        (own.SerializeToString(), _fingerprints(tuple(part.fingerprints.items())), *map(_entry, part.values, values))
    )


@functools.lru_cache
def _fingerprints(of_views: tuple[tuple[str, str], ...]) -> bytes:
    return bytes(ServedFeatures(fingerprints=dict(of_views)).SerializeToString())


# By type too: 1 and 1.0 are equal.
@functools.lru_cache(_KNOWN_VALUES, typed=True)
def _entry(name: str, value: int | float | str | tuple[str, ...] | None) -> bytes:
    """One entry of the map `values`; without a kind it is null."""
    message = ServedFeatures()
    entry = message.values[name]
    if isinstance(value, tuple):
        entry.string_list.SetInParent()  # an empty list is not null
        entry.string_list.values.extend(value)
    elif value is not None:
        setattr(entry, _VALUE_FIELDS[type(value)], value)
    return bytes(message.SerializeToString())

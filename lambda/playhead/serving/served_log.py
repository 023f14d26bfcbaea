"""The log of what was served: each request's vectors as `ServedFeatures`, made and sent off the request's path."""

from __future__ import annotations

import contextlib
import functools
import queue
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock, Thread
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
import structlog
from confluent_kafka import KafkaException, Producer
from prometheus_client import CollectorRegistry
from prometheus_client import Counter as Metric

from playhead.columns import Column, all_of
from playhead.config import KafkaSettings
from playhead.serving.kafka_errors import ErrorLog, reporting
from playhead.serving.packed import Value
from playhead.serving.vectors import Vectors
from schemas.features_pb2 import ServedFeatures, StringList

log = structlog.get_logger()

FATES = ("sent", "delivered", "dropped", "failed")

_FLUSH_SECONDS = 7.0
_WAITING_VECTORS = 20_000
_QUEUE_MESSAGES = 100_000
_QUEUE_KILOBYTES = 262_144
_IDLE_SECONDS = 0.1
_REPEAT_SECONDS = 10.0
_CANDIDATES = 250
"""How many go into a message: a broker takes a megabyte."""
_VALUE_FIELDS = {int: "int_value", float: "double_value", str: "string_value"}
_COLUMN_FIELDS = {np.dtype(np.int64): "int_values", np.dtype(np.float64): "double_values"}


@dataclass(frozen=True, slots=True)
class _Served:
    """One request's vectors, on their way to the topic."""

    request_id: str
    service: str
    vectors: Vectors
    fallback: str | None

    @property
    def count(self) -> int:
        return max(1, self.vectors.candidates.count)


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
        self._on_their_way = 0
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
            self._warn()

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
        left = served.count
        try:
            for message in messages(served.request_id, served.service, served.vectors, served.fallback):
                vectors = max(1, message.candidates.count)
                left -= vectors
                self._produce(message.SerializeToString(), key, at_ms, vectors)
        except (KeyError, TypeError, ValueError) as error:
            # A value that the schema has no kind for: an on-demand function gave it.
            self._fates["failed"] += left
            log.error("served vectors not logged", request_id=served.request_id, error=repr(error))

    def _produce(self, message: bytes, key: bytes, at_ms: int, vectors: int) -> None:
        told = functools.partial(self._delivered, vectors)
        try:
            self._producer.produce(self._topic, message, key=key, timestamp=at_ms, on_delivery=told)
            self._on_their_way += vectors
        except (BufferError, KafkaException):
            self._fates["dropped"] += vectors
            self._warn()
        self._producer.poll(0)

    def _flush(self) -> None:
        """Wait until the fate of everything sent is known."""
        self._producer.flush(_FLUSH_SECONDS)
        lost = self._on_their_way
        self._fates["failed"] += lost
        self._count()
        if lost:
            log.error("served vectors lost", vectors=lost)

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

    def _delivered(self, vectors: int, error: Any, _message: Any) -> None:
        self._on_their_way -= vectors
        self._fates["failed" if error else "delivered"] += vectors
        if error:
            self._errors(error)


def messages(request_id: str, service: str, vectors: Vectors, fallback: str | None = None) -> Iterator[ServedFeatures]:
    """The vectors of a request as messages, each with as many candidates as it may have.

    In columns, as they are: a hundred candidates, made into messages of their own, cost more than answering them.
    """
    shared, candidates = vectors.shared, vectors.candidates
    for start in range(0, max(1, candidates.count), _CANDIDATES):
        end = min(start + _CANDIDATES, candidates.count)
        message = ServedFeatures(
            request_id=request_id,
            service=service,
            serve_time_ms=vectors.serve_time_ms,
            fallback=fallback or "",
            entities=shared.entities,
            event_timestamps_ms=shared.event_timestamps_ms,
            statuses=shared.statuses,
            fingerprints=shared.fingerprints | candidates.fingerprints,
        )
        for name, value in shared.values.items():
            _set(message.values[name], value)
        if candidates.count:
            own = message.candidates
            own.count = end - start
            _add(own.entities, _texts(candidates.entities), start, end)
            _add(own.values, candidates.values, start, end)
            _add(own.event_timestamps_ms, candidates.event_timestamps_ms, start, end)
            _add(own.statuses, _texts(candidates.statuses), start, end)
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
        "queue.buffering.max.kbytes": _QUEUE_KILOBYTES,
    }
    with ServedLog(Producer({**conf, **reporting()}), settings.served_topic, registry) as served:
        yield served


def _set(message: Any, value: Value) -> None:
    if isinstance(value, list):
        message.string_list.SetInParent()  # an empty list is not null
        message.string_list.values.extend(value)
    elif value is not None:
        setattr(message, _VALUE_FIELDS[type(value)], value)


def _add(columns: Any, made: Mapping[str, Column], start: int, end: int) -> None:
    """Add the values of candidates from `start` to `end`."""
    for name, whole in made.items():
        values, valid, column = whole.values[start:end], whole.valid[start:end], columns[name]
        if not all_of(valid):
            column.places.extend(np.flatnonzero(valid).tolist())
            values = values[valid]
        found = values.tolist()
        if values.dtype != np.object_:
            getattr(column, _COLUMN_FIELDS[values.dtype]).extend(found)
        elif found and isinstance(found[0], list):
            column.string_lists.extend(StringList(values=each) for each in found)
        else:
            column.string_values.extend(found)


def _texts(lists: Mapping[str, Sequence[str | None]]) -> dict[str, Column]:
    return {name: Column.of_list(texts, pa.string()) for name, texts in lists.items()}

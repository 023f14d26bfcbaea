"""Traced events: real ones, of listeners that nobody is, to see how long the way is.

A trace goes the whole way, so it is in the data. What it can change is kept least:

- It is a SEARCH of a reserved listener, `playhead-trace-0` to `playhead-trace-15`: of no track and no artist, and of no
  play that a window counts. It opens a session of that listener; nobody else's values change. The lake tells it by its
  `user_id`.
- Its time is that of the newest record of its partition, also in a replay of the past: it moves no watermark, and so
  makes no event late.
- Where nobody sends, nothing would end its second. Then it brings the heartbeats that end a replay, 2 seconds of time.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from playhead.config import Settings
from playhead.errors import InputError, StackError
from playhead.ingest.replay import HEARTBEAT_SECONDS, past_second, producer_of
from playhead.serving.events_tail import Tail, read_tails
from playhead.serving.topic import bounds_of
from schemas.decode import CLOCK_HEADER, HEARTBEAT_HEADER, encode

PREFIX = "playhead-trace-"
"""How the `user_id` and the `event_id` of every traced event begin."""

LISTENERS = 16

_DELIVERY_SECONDS = 10.0
_QUIET_SECONDS = 2 * HEARTBEAT_SECONDS
_POLL_SECONDS = 0.2


@dataclass(frozen=True, kw_only=True)
class Traced:
    """An event that was sent: who and when it is, and when it was handed over, in seconds of a clock that never goes
    back."""

    event_id: str
    user_id: str
    time_ms: int
    sent_s: float


def listener_of(number: int) -> str:
    """The listener of a traced event.

    >>> listener_of(3), listener_of(17)
    ('playhead-trace-3', 'playhead-trace-1')
    """
    return f"{PREFIX}{number % LISTENERS}"


class Tracer:
    """Sends traced events.

    Args:
        settings: where Kafka is.
        producer: of events.
        beats: bring heartbeats, because nobody else sends.
    """

    def __init__(self, settings: Settings, producer: Any, *, beats: bool) -> None:
        self._settings, self._producer, self._beats = settings, producer, beats
        self._failure: Any = None

    def send(self, number: int) -> Traced:
        """Send one; its listener, and so its partition, follow from its number.

        Raises:
            InputError: the topic has no record, so that there is no time for it to be of.
            StackError: Kafka does not answer or does not take it.
        """
        tails = read_tails(self._settings)
        partition = number % LISTENERS % len(tails)
        time_ms, clock = _moment(tails, partition, self._settings.kafka.events_topic)
        traced = Traced(
            event_id=f"{PREFIX}{uuid4().hex}",
            user_id=listener_of(number),
            time_ms=time_ms,
            sent_s=time.monotonic(),
        )
        self._produce(_payload(traced), partition, time_ms, clock, traced.user_id)
        if self._beats:
            for each in tails:
                headers = [*clock, (HEARTBEAT_HEADER, b"1")]
                self._produce(None, each, past_second(time_ms, self._settings.stream), headers)
        left = self._producer.flush(_DELIVERY_SECONDS)
        if left or self._failure is not None:
            why = self._failure.str() if self._failure is not None else "no answer"
            raise StackError(f"Kafka at {self._settings.kafka.servers} did not take a traced event: {why}")
        return traced

    def _produce(self, value: bytes | None, partition: int, time_ms: int, headers: Any, key: str | None = None) -> None:
        self._producer.produce(
            self._settings.kafka.events_topic,
            value,
            key=key,
            partition=partition,
            timestamp=time_ms,
            headers=headers,
            on_delivery=self._failed,
        )

    def _failed(self, error: Any, _message: Any) -> None:
        """Called for what was not delivered only (`delivery.report.only.error`)."""
        self._failure = error


@contextmanager
def open_tracer(settings: Settings) -> Iterator[Tracer]:
    """A tracer; looks for two seconds whether anybody else sends.

    Raises:
        StackError: Kafka does not answer, or the topic is not there.
    """
    beats = _is_quiet(settings)
    producer = producer_of(settings, paced=True)
    try:
        yield Tracer(settings, producer, beats=beats)
    finally:
        producer.flush(_DELIVERY_SECONDS)


def _is_quiet(settings: Settings) -> bool:
    kafka = settings.kafka
    before, deadline = bounds_of(kafka, kafka.events_topic), time.monotonic() + _QUIET_SECONDS
    while time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
        if bounds_of(kafka, kafka.events_topic) != before:
            return False
    return True


def _moment(tails: Mapping[int, Tail], partition: int, topic: str) -> tuple[int, list[tuple[str, bytes]]]:
    """The newest time of a partition, or of the topic when nothing is in the partition, and its clock as headers."""
    known = {n: (tail.newest_ms, tail.clock) for n, tail in tails.items() if tail.newest_ms is not None}
    if not known:
        raise InputError(
            f"topic {topic} has no record: a traced event has no time to be of",
            hint="send events first: an event of now would make those of the past late",
        )
    newest_ms, clock = known.get(partition) or max(known.values(), key=lambda own: own[0])
    return newest_ms, [] if clock is None else [(CLOCK_HEADER, clock)]


def _payload(traced: Traced) -> bytes:
    event = {"event_id": traced.event_id, "user_id": traced.user_id, "event_time_ms": traced.time_ms}
    payload: bytes = encode(event | {"event_type": "SEARCH", "content_type": "SONG"})
    return payload

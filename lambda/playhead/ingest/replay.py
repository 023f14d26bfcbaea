"""Sending a source to the events topic, with the heartbeats and the clock that the speed job needs.

Every record carries the header `playhead-clock`, the end of the source's time: an old recording is judged by its own
clock, not by today's. A heartbeat is a record without a value, with the header `playhead-heartbeat`; it moves the
watermark of a partition in which nothing happens. The last ones move it just past the last event, and no further:
expiries that still lie in the future stay there.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from typing import Any

import structlog

from playhead.config import Settings, StreamSettings
from playhead.errors import ConfigError, StackError
from playhead.ingest.source import Record, Source
from schemas.decode import CLOCK_HEADER, HEARTBEAT_HEADER

log = structlog.get_logger()

HEARTBEAT_SECONDS = 1.0
LARGEST_MESSAGE_BYTES = 16_000_000
"""Larger ones are not sent. The speed job's own limit is far lower: what is between is for it to dead-letter."""

_ANSWER_SECONDS = 10.0
_DELIVERY_SECONDS = 60
_PROGRESS_RECORDS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast to send; as fast as the broker takes it when neither is given.

    Attributes:
        rate: records per second.
        speedup: seconds of event time per second: 60 sends an hour in a minute.

    Raises:
        ConfigError: both are given, or one is not above zero.
    """

    rate: float | None = None
    speedup: float | None = None

    def __post_init__(self) -> None:
        if self.rate is not None and self.speedup is not None:
            raise ConfigError(f"rate {self.rate} and speedup {self.speedup}: one of them can be given")
        for name, value in (("rate", self.rate), ("speedup", self.speedup)):
            if value is not None and not value > 0:
                raise ConfigError(f"{name}: got {value}, allowed: above 0")

    @property
    def given(self) -> bool:
        """Whether there is a pace at all."""
        return self.rate is not None or self.speedup is not None

    def due_s(self, number: int, ahead_ms: int) -> float:
        """When to send a record, in seconds after the start.

        Args:
            number: records sent before it.
            ahead_ms: its event time after that of the first record.

        >>> Pace(rate=100).due_s(50, 0), Pace(speedup=60).due_s(50, 60_000), Pace().due_s(50, 60_000)
        (0.5, 1.0, 0.0)
        """
        if self.rate is not None:
            return number / self.rate
        return ahead_ms / 1_000 / self.speedup if self.speedup is not None else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaySummary:
    """What a replay did.

    Attributes:
        rows: rows read from files (0 when events were generated).
        skipped: reason to number of rows that made no event.
        problems: the first few broken rows, as `file:row: reason: detail`.
        events: records that were to be sent, heartbeats aside.
        sent: records that the broker has.
        not_sent: reason to number of records that it does not have.
        heartbeats: heartbeat records.
        first_event_ms: first event time, UTC epoch ms; null when nothing was sent. Clocks years ahead do not count.
        last_event_ms: last event time.
        clock_ms: the end of the source's time.
        seconds: how long sending took.
        interrupted: Ctrl-C ended it before the source's end; the last heartbeats were not sent.
    """

    rows: int = 0
    skipped: Mapping[str, int]
    problems: tuple[str, ...] = ()
    events: int = 0
    sent: int = 0
    not_sent: Mapping[str, int]
    heartbeats: int = 0
    first_event_ms: int | None = None
    last_event_ms: int | None = None
    clock_ms: int = 0
    seconds: float = 0.0
    interrupted: bool = False

    @property
    def events_per_s(self) -> float:
        """Records sent per second."""
        return self.sent / self.seconds if self.seconds else 0.0

    def to_json(self) -> dict[str, Any]:
        """The summary as JSON values."""
        return {**asdict(self), "seconds": round(self.seconds, 3), "events_per_s": round(self.events_per_s, 1)}


Progress = Callable[[int, int | None], None]
"""Called now and then with the number of records handed over and the newest event time, UTC epoch ms."""


def replay(
    source: Source,
    settings: Settings,
    *,
    pace: Pace = Pace(),
    progress: Progress = lambda _sent, _time_ms: None,
    now_s: Callable[[], float] = time.monotonic,
) -> ReplaySummary:
    """Send a source to the events topic, then a heartbeat to every partition.

    Args:
        source: what to send; it is read to its end.
        settings: where Kafka is, and what the speed job allows.
        pace: how fast.
        progress: told how far it is.
        now_s: a clock that never goes back, in seconds.

    Returns:
        The summary, also when Ctrl-C ended it early.

    Raises:
        StackError: Kafka does not answer, the topic is not there, or records could not be delivered.
    """
    producer = producer_of(settings, paced=pace.given)
    sender = _Sender(source, settings, pace, now_s, producer, _partitions(producer, settings))
    interrupted = False
    try:
        for record in source.records:
            sender.send(record)
            if sender.events % _PROGRESS_RECORDS == 0:
                progress(sender.events, sender.newest_ms)
        sender.finish()
    except KeyboardInterrupt:
        interrupted = True
    summary = replace(sender.close(), interrupted=interrupted)
    progress(sender.events, sender.newest_ms)
    log.info("replayed", topic=settings.kafka.events_topic, sent=summary.sent, not_sent=dict(summary.not_sent))
    return summary


class _Sender:
    """A producer, and the account of what it was given."""

    def __init__(
        self,
        source: Source,
        settings: Settings,
        pace: Pace,
        now_s: Callable[[], float],
        producer: Any,
        partitions: Sequence[int],
    ) -> None:
        self.source, self.settings, self.pace, self.now_s = source, settings, pace, now_s
        self.producer, self.partitions = producer, partitions
        self.topic = settings.kafka.events_topic
        self.headers = [(CLOCK_HEADER, str(source.clock_ms).encode())]
        # What is later comes from a clock that is wrong: it sets neither the pace nor a heartbeat's time.
        self.latest_ms = source.clock_ms + _milliseconds(settings.stream.clock_skew)
        self.events = self.heartbeats = 0
        self.first_ms: int | None = None
        self.newest_ms: int | None = None
        self.not_sent: Counter[str] = Counter()
        self.failure: Any = None
        self.start_s = now_s()
        self.beaten_s = self.start_s

    def send(self, record: Record) -> None:
        """Send a record when it is due."""
        known = record.time_ms <= self.latest_ms
        if known and self.first_ms is None:
            self.first_ms = record.time_ms
        if self.pace.given:
            self._wait(record)
        self.events += 1
        self._produce(record.value, key=record.key, timestamp=record.time_ms, headers=self.headers)
        if known:
            self.newest_ms = max(record.time_ms, self.newest_ms or 0)

    def finish(self) -> None:
        """Move the watermark of every partition past the second of the last event, which ends the last window row."""
        if self.newest_ms is not None:
            self._beat(past_second(self.newest_ms, self.settings.stream))

    def close(self) -> ReplaySummary:
        """Wait until everything is delivered, and sum up."""
        left = self.producer.flush(_DELIVERY_SECONDS)
        self._check()
        if left:
            raise StackError(f"{left} records could not be delivered to {self.settings.kafka.servers}")
        return ReplaySummary(
            rows=self.source.rows,
            skipped=dict(self.source.skipped),
            problems=tuple(map(str, self.source.problems)),
            events=self.events,
            sent=self.events - self.not_sent.total(),
            not_sent=dict(self.not_sent),
            heartbeats=self.heartbeats,
            first_event_ms=self.first_ms,
            last_event_ms=self.newest_ms,
            clock_ms=self.source.clock_ms,
            seconds=self.now_s() - self.start_s,
        )

    def _wait(self, record: Record) -> None:
        """Wait until the record is due; every second, tell the partitions how late it is."""
        first_ms, newest_ms = self.first_ms or 0, self.newest_ms or 0
        ahead_ms = max(newest_ms, record.time_ms if record.time_ms <= self.latest_ms else 0) - first_ms
        due_s = self.start_s + self.pace.due_s(self.events, max(0, ahead_ms))
        while True:
            now_s = self.now_s()
            if now_s >= self.beaten_s + HEARTBEAT_SECONDS and self.newest_ms is not None:
                self.beaten_s = now_s
                self._beat(self._event_clock_ms(now_s, record))
            if now_s >= due_s:
                return
            self.producer.poll(min(due_s, self.beaten_s + HEARTBEAT_SECONDS) - now_s)

    def _event_clock_ms(self, now_s: float, following: Record) -> int:
        """The event time up to which everything is sent. It goes on through silence when event time has a pace."""
        newest_ms, first_ms = self.newest_ms or 0, self.first_ms or 0
        if self.pace.speedup is None:
            return newest_ms
        passed_ms = first_ms + int((now_s - self.start_s) * self.pace.speedup * 1_000)
        return max(newest_ms, min(passed_ms, following.time_ms, self.latest_ms))

    def _beat(self, time_ms: int) -> None:
        headers = [*self.headers, (HEARTBEAT_HEADER, b"1")]
        for partition in self.partitions:
            self._produce(None, partition=partition, timestamp=time_ms, headers=headers)
            self.heartbeats += 1

    def _produce(self, value: bytes | None, **fields: Any) -> None:
        from confluent_kafka import KafkaException

        while True:
            try:
                self.producer.produce(self.topic, value, on_delivery=self._delivered, **fields)
                self.producer.poll(0)
                break
            except BufferError:
                self.producer.poll(0.1)
            except KafkaException as error:
                self._delivered(error.args[0], None)
                break
        self._check()

    def _delivered(self, error: Any, _message: Any) -> None:
        """Called for what was not delivered only (`delivery.report.only.error`)."""
        from confluent_kafka import KafkaError

        if error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
            self.not_sent["larger_than_the_broker_takes"] += 1
        elif self.failure is None:
            self.failure = error

    def _check(self) -> None:
        if self.failure is not None:
            raise StackError(
                f"Kafka at {self.settings.kafka.servers} did not take a record for {self.topic}: {self.failure.str()}",
                hint=f"after {self.events} records; event ids come from the content, so sending again is harmless",
            )


def past_second(time_ms: int, stream: StreamSettings) -> int:
    """The time of a heartbeat that ends the last second of events up to a time, UTC epoch ms."""
    return time_ms + _milliseconds(stream.allowed_lateness) + 1_001


def producer_of_events(settings: Settings) -> dict[str, Any]:
    """Settings of a confluent-kafka producer for the events topic."""
    return {
        **settings.kafka.client(),
        "enable.idempotence": True,
        "compression.type": "gzip",
        # The Java client's partitioner, so that a key is in one partition whoever sends it.
        "partitioner": "murmur2_random",
        "message.max.bytes": LARGEST_MESSAGE_BYTES,
    }


def producer_of(settings: Settings, *, paced: bool) -> Any:
    """A producer of events, which reports what is not delivered; paced: what comes is sent soon."""
    from confluent_kafka import Producer

    conf = {
        **producer_of_events(settings),
        "linger.ms": 5 if paced else 50,
        "message.timeout.ms": _DELIVERY_SECONDS * 1_000,
        "delivery.report.only.error": True,
    }
    # Refused connections are reported as errors; librdkafka would also write them to stderr.
    return Producer(conf, logger=logging.Logger("librdkafka", level=logging.CRITICAL))


def _partitions(producer: Any, settings: Settings) -> list[int]:
    from confluent_kafka import KafkaException

    topic, servers = settings.kafka.events_topic, settings.kafka.servers
    try:
        metadata = producer.list_topics(topic, timeout=_ANSWER_SECONDS).topics[topic]
    except KafkaException as error:
        raise StackError(f"Kafka at {servers} does not answer: {error.args[0].str()}", hint="playhead up") from error
    if metadata.error is not None:
        raise StackError(f"topic {topic} at {servers}: {metadata.error.str()}", hint="playhead up creates it")
    return sorted(metadata.partitions)


def _milliseconds(span: timedelta) -> int:
    return span // timedelta(milliseconds=1)

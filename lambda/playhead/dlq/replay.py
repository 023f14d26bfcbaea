"""Sending dead letters again after a fix: those that are valid now, each exactly once.

A batch of events and, for each of their letters, a marker in the topic `kafka.replayed_topic` are one Kafka
transaction: either both are there or none is. A letter whose event came in by another way has a marker too. Markers are
read before anything is sent, and after `init_transactions`, which ends what an earlier replay left open and refuses
everything more from one that still runs. So whatever was sent has its marker, what has a marker is not sent again, and
the speed job, which reads committed records only, never sees half a batch.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from typing import Any

import structlog
from confluent_kafka import KafkaException, Producer

from playhead.config import KafkaSettings, Settings
from playhead.dlq.judge import Judge
from playhead.dlq.letters import Letter, Marker, Progress, Selection, read_letters, read_markers
from playhead.dlq.places import Places
from playhead.dlq.repair import Repair, repaired
from playhead.errors import StackError
from playhead.ingest.replay import producer_of_events
from playhead.local.lake import known_events
from playhead.serving.kafka_errors import reporting
from schemas.decode import CLOCK_HEADER, HEARTBEAT_HEADER, Row
from schemas.tables import event_columns

log = structlog.get_logger()

BATCH_LETTERS = 5_000
BATCH_BYTES = 16_000_000
"""A batch is sent when it has so many letters, or so many bytes."""

_OPEN_MS = 20_000
"""How long a crashed replay can hold the speed job back: after that the broker ends its transaction."""

_SECONDS = 30.0
_AGAIN = "run it again: what has been sent is not sent twice"
_EVENT_ID, _USER_ID, _TIME = (list(event_columns()).index(name) for name in ("event_id", "user_id", "event_time_ms"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """A letter that is an event now."""

    letter: Letter
    payload: bytes
    row: Row

    @property
    def event_id(self) -> str:
        """The event's id."""
        return str(self.row[_EVENT_ID])

    @property
    def time_ms(self) -> int:
        """The event's time, UTC epoch ms."""
        return int(self.row[_TIME] or 0)


@dataclass(kw_only=True)
class Replayed:
    """What became of the letters, each counted once.

    Attributes:
        sent: the reason they had to the number of letters that were sent (in a dry run: would be).
        repaired: how many of them a repair has made right.
        done_before: letters that an earlier replay has sent, or found to be in the lake.
        in_lake: letters whose event is in the lake: its producer has sent it again.
        same_event: letters whose event another letter had, which was sent in this replay or an earlier one.
        invalid: the reason they have by today's rules to the number of letters that stay.
        first_event_ms: the first event time that was sent, UTC epoch ms; null without one.
        last_event_ms: the last.
        dry_run: nothing was sent.
        interrupted: Ctrl-C ended it; what was counted was sent.
    """

    sent: Counter[str] = field(default_factory=Counter)
    repaired: int = 0
    done_before: int = 0
    in_lake: int = 0
    same_event: int = 0
    invalid: Counter[str] = field(default_factory=Counter)
    first_event_ms: int | None = None
    last_event_ms: int | None = None
    dry_run: bool = False
    interrupted: bool = False

    @property
    def letters(self) -> int:
        """Letters that were looked at."""
        counted = self.done_before + self.in_lake + self.same_event
        return self.sent.total() + counted + self.invalid.total()

    def to_json(self) -> dict[str, Any]:
        """The account as JSON values."""
        by_reason = {"sent": dict(sorted(self.sent.items())), "invalid": dict(sorted(self.invalid.items()))}
        return {"letters": self.letters, **asdict(self), **by_reason}


def replay_letters(
    settings: Settings,
    selection: Selection = Selection(),
    *,
    repair: Repair | None = None,
    dry_run: bool = False,
    now_ms: int | None = None,
    progress: Progress = lambda _read, _total: None,
) -> Replayed:
    """Send the letters that are valid now to the events topic again.

    An event keeps its key, its time and the clock that it is judged by. A replay that runs at the same time is ended.

    Args:
        settings: where Kafka and the lake are, and today's limits: the job must run with the same.
        selection: which letters.
        repair: makes right what is not valid as it is.
        dry_run: only say what would be sent.
        now_ms: the clock for letters without their own, UTC epoch ms; the wall clock when None.
        progress: told how far it is.

    Raises:
        StackError: Kafka does not answer or take the events, or a topic is missing.
        InputError: the repair fails.
    """
    judge = Judge(stream=settings.stream, now_ms=round(time.time() * 1_000) if now_ms is None else now_ms)
    account = Replayed(dry_run=dry_run)
    with _sender(settings, dry_run=dry_run) as sender:
        batches = _Batches(settings, account, sender, read_markers(settings.kafka))
        try:
            for letter in read_letters(settings.kafka, selection, progress=progress):
                batches.take(letter, judge, repair)
            batches.send()
        except KeyboardInterrupt:
            account.interrupted = True
    log.info("dead letters replayed", sent=account.sent.total(), stay=account.invalid.total(), dry_run=dry_run)
    return account


class _Batches:
    """Letters on their way into batches, and the account of them."""

    def __init__(
        self, settings: Settings, account: Replayed, sender: _Sender | None, markers: Iterable[Marker]
    ) -> None:
        self._lake, self._account, self._sender = settings.lake, account, sender
        self._seen, self._done = Places(), Places()
        self._ids: set[str] = set()
        for marker in markers:
            self._done.add(marker.place)
            self._ids.add(marker.event_id)
        self._batch: list[Event] = []
        self._bytes = 0

    def take(self, letter: Letter, judge: Judge, repair: Repair | None) -> None:
        """Judge a letter; send the batch when it is full."""
        if not self._seen.add(letter.place):
            return  # a restart of the job has written it twice
        if letter.place in self._done:
            self._account.done_before += 1
            return
        payload, row = letter.payload, judge.judge(letter, letter.payload)
        if isinstance(row, str) and repair is not None:
            made = repaired(repair, letter)
            if made is not None:
                payload, row = made, judge.judge(letter, made)
        if isinstance(row, str):
            self._account.invalid[row] += 1
            return
        self._batch.append(Event(letter=letter, payload=payload, row=row))
        self._bytes += len(payload)
        if len(self._batch) >= BATCH_LETTERS or self._bytes >= BATCH_BYTES:
            self.send()

    def send(self) -> None:
        """Send what is in the batch and was not yet anywhere."""
        known = known_events(self._lake, [event.event_id for event in self._batch])
        events: list[Event] = []
        in_lake = same = 0
        ids = set(self._ids)
        for event in self._batch:
            if event.event_id in known:
                in_lake += 1
            elif event.event_id in ids:
                same += 1
            else:
                ids.add(event.event_id)
                events.append(event)
        if self._batch and self._sender is not None:
            self._sender.send(events, done=self._batch)
        # Only what is committed is counted: Ctrl-C may come before.
        self._ids, self._batch, self._bytes = ids, [], 0
        self._account.in_lake += in_lake
        self._account.same_event += same
        _count(self._account, events)


def _count(account: Replayed, events: list[Event]) -> None:
    if not events:
        return
    account.sent.update(event.letter.reason for event in events)
    account.repaired += sum(event.payload != event.letter.payload for event in events)
    times = [event.time_ms for event in events]
    account.first_event_ms = min(times) if account.first_event_ms is None else min(account.first_event_ms, *times)
    account.last_event_ms = max(times) if account.last_event_ms is None else max(account.last_event_ms, *times)


class _Sender:
    """A producer whose transactions go on where an earlier one's ended."""

    def __init__(self, kafka: KafkaSettings, producer: Any) -> None:
        self._kafka, self._producer = kafka, producer
        self.newest_ms: dict[int, int] = {}

    def send(self, events: list[Event], *, done: list[Event]) -> None:
        """Send events, and markers of all letters that are done with them, in one transaction."""
        with _explained(self._kafka):
            self._producer.begin_transaction()
            try:
                for event in events:
                    self._produce(event)
                for event in done:
                    marker = Marker(place=event.letter.place, reason=event.letter.reason, event_id=event.event_id)
                    self._producer.produce(self._kafka.replayed_topic, **marker.record())
                self._producer.commit_transaction(_SECONDS)
            except BaseException:
                # When this fails too, the broker or the next replay ends it.
                with suppress(KafkaException):
                    self._producer.abort_transaction(_SECONDS)
                raise

    def _produce(self, event: Event) -> None:
        clock_ms = event.letter.clock_ms
        self._producer.produce(
            self._kafka.events_topic,
            event.payload,
            key=str(event.row[_USER_ID]).encode(),
            timestamp=event.time_ms,
            headers=[] if clock_ms is None else [(CLOCK_HEADER, str(clock_ms).encode())],
            on_delivery=self._delivered,
        )

    def _delivered(self, error: Any, message: Any) -> None:
        if error is None:
            partition, time_ms = message.partition(), message.timestamp()[1]
            self.newest_ms[partition] = max(time_ms, self.newest_ms.get(partition, time_ms))


@contextmanager
def _sender(settings: Settings, *, dry_run: bool) -> Iterator[_Sender | None]:
    """A sender after all that earlier ones did; none in a dry run."""
    if dry_run:
        yield None
        return
    sender = _Sender(settings.kafka, _take_over(settings))
    try:
        yield sender
    finally:
        _beat(settings, sender.newest_ms)


def _take_over(settings: Settings) -> Any:
    """A producer for transactions, when those of every earlier one have ended, and their ends are written."""
    kafka = settings.kafka
    own = {"transactional.id": kafka.replayed_topic, "transaction.timeout.ms": _OPEN_MS, "linger.ms": 50}
    producer = Producer({**producer_of_events(settings), **own, **reporting()})
    with _explained(kafka):
        producer.init_transactions(_SECONDS)
    return producer


def _beat(settings: Settings, newest_ms: Mapping[int, int]) -> None:
    """A heartbeat behind each partition's transactions, of a time that has been there: it moves nothing.

    A transaction ends with a record that no reader is given. As the last of its partition it would leave everyone who
    waits for its end, and every lag, one record short for as long as no other comes.
    """
    if not newest_ms:
        return
    # A commit returns before the broker has written that record.
    _take_over(settings)
    producer = Producer({**producer_of_events(settings), **reporting()})
    headers = [(HEARTBEAT_HEADER, b"1")]
    with _explained(settings.kafka):
        for partition, time_ms in newest_ms.items():
            producer.produce(settings.kafka.events_topic, None, partition=partition, timestamp=time_ms, headers=headers)
        if producer.flush(_SECONDS):
            raise StackError(f"Kafka at {settings.kafka.servers} did not take the heartbeats", hint=_AGAIN)


@contextmanager
def _explained(kafka: KafkaSettings) -> Iterator[None]:
    try:
        yield
    except KafkaException as error:
        raise StackError(f"Kafka at {kafka.servers}: {error.args[0].str()}", hint=_AGAIN) from error

"""Reading dead letters: one at a time, since each may be as large as Kafka takes, up to where the topic ends now.

An end that stays where it was matters: what is sent again and refused again comes back as a new letter, and a reader
that ran after the end would read on for ever. Nothing is committed.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from playhead.config import KafkaSettings
from playhead.dlq.places import Place
from playhead.errors import StackError
from playhead.ingest.events import END_OF_TIME_MS
from playhead.serving.topic import bounds_of, open_topic
from playhead.speed.decode import KEPT_BYTES
from schemas.decode import CLOCK_HEADER

UNREADABLE = "(no reason in its key)"
"""Stands for the reason of a record whose key is not the speed job's."""

_GROUP = "playhead-dlq"
_REASON = re.compile(r"[a-z][a-z0-9_]{0,63}(:[a-z][a-z0-9_]{0,63})?")
_CLOCK = re.compile(rb"-?\d{1,18}")
_ANSWER_SECONDS = 10.0
_POLL_SECONDS = 1.0
_SILENCE_SECONDS = 30.0

Progress = Callable[[int, int], None]
"""Told how many records have been read, and of how many."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Letter:
    """A dead letter.

    Attributes:
        reason: why the speed job refused the record; `UNREADABLE` when the key does not tell.
        place: where the record was; the letter's own place when its key does not tell.
        payload: the record's value, of which at most `KEPT_BYTES` were kept.
        written_ms: when the letter was written, UTC epoch ms; null when Kafka does not know.
        clock_ms: the clock that the event was judged by, UTC epoch ms; null when the letter does not have it.
    """

    reason: str
    place: Place
    payload: bytes
    written_ms: int | None
    clock_ms: int | None

    @property
    def may_be_cut(self) -> bool:
        """Whether bytes may be missing at its end."""
        return len(self.payload) >= KEPT_BYTES


@dataclass(frozen=True, kw_only=True, slots=True)
class Marker:
    """That a letter is done with: its event was sent again, or has come in by another way.

    Attributes:
        place: the letter's.
        reason: that it had.
        event_id: of its event.
    """

    place: Place
    reason: str
    event_id: str

    def record(self) -> dict[str, bytes]:
        """Key and value of its record in the topic `kafka.replayed_topic`."""
        value = {"reason": self.reason, "event_id": self.event_id}
        return {"key": orjson.dumps([*self.place]), "value": orjson.dumps(value)}


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which letters.

    Attributes:
        reasons: of any of these reasons; `out_of_range` takes `out_of_range:country` too. Empty: of all.
        since: written at this moment or later, aware; null: from the first.
        until: written before this moment, aware; null: to the last.
    """

    reasons: frozenset[str] = frozenset()
    since: datetime | None = None
    until: datetime | None = None

    def takes(self, letter: Letter) -> bool:
        """Whether the letter is one of them."""
        if self.reasons and not self.reasons & {letter.reason, letter.reason.partition(":")[0]}:
            return False
        if self.since is None and self.until is None:
            return True
        if letter.written_ms is None:
            return False
        after = self.since is None or _epoch_ms(self.since) <= letter.written_ms
        return after and (self.until is None or letter.written_ms < _epoch_ms(self.until))


def read_letters(
    kafka: KafkaSettings, selection: Selection = Selection(), *, progress: Progress = lambda _read, _total: None
) -> Iterator[Letter]:
    """The dead letters that are there now; one may come twice, because a restart of the job may write it twice.

    Raises:
        StackError: Kafka does not answer, or there is no such topic.
    """
    since_ms = None if selection.since is None else _epoch_ms(selection.since)
    for message in _records(kafka, kafka.dead_letter_topic, since_ms, progress):
        letter = letter_of(message)
        if selection.takes(letter):
            yield letter


def read_markers(kafka: KafkaSettings) -> Iterator[Marker]:
    """A marker of each letter that is done with.

    Raises:
        StackError: Kafka does not answer, or there is no such topic.
    """
    for message in _records(kafka, kafka.replayed_topic, None, lambda _read, _total: None):
        yield Marker(place=Place(*orjson.loads(message.key())), **orjson.loads(message.value()))


def letter_of(message: Any) -> Letter:
    """The letter in a record of the dead letter topic, whatever it is."""
    reason, place = UNREADABLE, Place(message.topic(), message.partition(), message.offset())
    try:
        key = orjson.loads(message.key() or b"")
        if _REASON.fullmatch(key["reason"]):
            reason, place = key["reason"], Place(str(key["topic"]), int(key["partition"]), int(key["offset"]))
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        pass  # any client can write any key; the letter keeps its own place
    kind, written_ms = message.timestamp()
    clock = dict(message.headers() or []).get(CLOCK_HEADER) or b""
    return Letter(
        reason=reason,
        place=place,
        payload=message.value() or b"",
        written_ms=written_ms if kind and 0 <= written_ms < END_OF_TIME_MS else None,
        clock_ms=int(clock) if _CLOCK.fullmatch(clock) else None,
    )


def _records(kafka: KafkaSettings, topic: str, since_ms: int | None, progress: Progress) -> Iterator[Any]:
    """The records of a topic, from the first that is not older, to where it ends now."""
    bounds = bounds_of(kafka, topic, since_ms)
    starts = {partition: own.first for partition, own in bounds.items()}
    ends = {partition: own.end for partition, own in bounds.items()}
    left = {partition for partition, end in ends.items() if end > starts[partition]}
    total, read = sum(ends[partition] - starts[partition] for partition in left), 0
    with open_topic(kafka, topic, _GROUP, start=starts) as reader:
        heard_s = time.monotonic()
        while left and not reader.caught_up:
            for message in reader.poll(1, _POLL_SECONDS):
                heard_s, partition = time.monotonic(), message.partition()
                if partition in left and message.offset() < ends[partition]:
                    read += 1
                    progress(read, total)
                    yield message
                if message.offset() + 1 >= ends[partition]:
                    left.discard(partition)
            if time.monotonic() > heard_s + _SILENCE_SECONDS:
                raise StackError(f"topic {topic} at {kafka.servers}: nothing came after {read:,} of {total:,} records")
    progress(total, total)


def _epoch_ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1_000)

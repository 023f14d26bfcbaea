"""How far the events topic has come: the newest times of each partition, as the speed job believes them."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from playhead.config import Settings
from playhead.relations import milliseconds
from playhead.serving.topic import bounds_of, last_records
from schemas.decode import CLOCK_HEADER, decode
from schemas.tables import event_columns

RECORDS = 1_000
"""So many of a partition's last records are looked at: heartbeats and dead letters are no events."""

_GROUP = "playhead-freshness"
_CLOCK = re.compile(rb"-?\d{1,18}")
_EVENT_TIME = list(event_columns()).index("event_time_ms")


@dataclass(frozen=True, kw_only=True)
class Tail:
    """The end of a partition.

    Attributes:
        end: the offset that its next record will have.
        newest_ms: the newest time of a record, UTC epoch ms, those ahead of their clock aside; null when there is none.
        newest_event_ms: the newest time of a valid event; null when there is none among the last records.
        clock: the clock header of the record of `newest_ms`; null when it has none, and the wall clock counts.
    """

    end: int
    newest_ms: int | None = None
    newest_event_ms: int | None = None
    clock: bytes | None = None


def clock_ms(clock: bytes | None, wall_ms: int) -> int:
    """The clock that a record is judged by, UTC epoch ms: its own, or the wall's when it brings none.

    >>> clock_ms(b"1500", 9), clock_ms(b"soon", 9), clock_ms(None, 9)
    (1500, 9, 9)
    """
    return int(clock) if clock and _CLOCK.fullmatch(clock) else wall_ms


def read_tails(settings: Settings, *, now_ms: int | None = None) -> dict[int, Tail]:
    """Partition of the events topic to its end.

    Raises:
        StackError: Kafka does not answer, or the topic is not there.
    """
    wall_ms = round(time.time() * 1_000) if now_ms is None else now_ms
    kafka = settings.kafka
    own: dict[int, list[Any]] = {}
    for record in last_records(kafka, kafka.events_topic, _GROUP, RECORDS):
        own.setdefault(record.partition(), []).append(record)
    ends = {partition: bounds.end for partition, bounds in bounds_of(kafka, kafka.events_topic).items()}
    return {partition: _tail(own.get(partition, ()), end, settings, wall_ms) for partition, end in ends.items()}


def newest(times: Iterable[int | None]) -> int | None:
    """The greatest of those that are known; None when none is."""
    return max((each for each in times if each is not None), default=None)


def _tail(records: Iterable[Any], end: int, settings: Settings, wall_ms: int) -> Tail:
    skew, longest = milliseconds(settings.stream.clock_skew), settings.stream.max_message_bytes
    newest_ms, newest_event_ms, newest_clock = None, None, None
    for record in records:
        headers: Mapping[str, bytes] = dict(record.headers() or ())
        clock, at_ms = headers.get(CLOCK_HEADER), record.timestamp()[1]
        latest_ms = clock_ms(clock, wall_ms) + skew
        if at_ms <= latest_ms and (newest_ms is None or at_ms > newest_ms):
            newest_ms, newest_clock = at_ms, clock
        row = decode(record.value() or b"", latest_ms=latest_ms, max_bytes=longest)
        if not isinstance(row, str):
            newest_event_ms = newest((newest_event_ms, row[_EVENT_TIME]))
    return Tail(end=end, newest_ms=newest_ms, newest_event_ms=newest_event_ms, clock=newest_clock)

"""Made-up listeners, and everything that goes wrong between them and Kafka, in known amounts.

Each event has an arrival: its event time, plus a delay when it is disturbed. Records are sent by arrival. A delay is at
most `MOST_OF_LATENESS` of the allowed lateness, so when an event is sent no event is more than that ahead of it, in its
own partition or another one: nothing that is generated is ever behind the watermark.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from itertools import count, pairwise

from playhead.errors import ConfigError, UnknownName
from playhead.ingest.catalogue import Catalogue, make_catalogue
from playhead.ingest.events import EventRow
from playhead.ingest.faults import make_fault
from playhead.ingest.listening import DAY_MS, Listener, listen, make_listener, session_starts
from playhead.ingest.planted import DEFECTS, planted
from playhead.ingest.source import Record
from schemas.decode import encode

MOST_OF_LATENESS = 0.9
FIRST_DAY = date(2001, 1, 1)
"""Safely after `schemas.decode.EARLIEST_MS`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratorConfig:
    """What to make up. The same configuration makes the same bytes.

    Attributes:
        users: number of listeners.
        tracks: number of tracks.
        start: first day, UTC.
        days: number of days.
        seed: of all randomness.
        duplicates: share of events that are sent twice.
        late: share of events that are sent after a newer event of the same listener, so of the same partition, as far
            as there are events close enough to each other.
        out_of_order: the same with a newer event of other listeners only.
        malformed: broken messages, as a share of the events; they come on top.
        allowed_lateness_ms: how far behind the newest event of its partition an event may come.
        max_message_bytes: the largest message that is read.
        planted: what goes wrong on the last day, names of `playhead.ingest.planted.DEFECTS`.

    Raises:
        ConfigError: a number or a share that is not allowed.
        UnknownName: a defect that there is not.
    """

    users: int = 300
    tracks: int = 2_000
    start: date = date(2025, 3, 1)
    days: int = 3
    seed: int = 1
    duplicates: float = 0.0
    late: float = 0.0
    out_of_order: float = 0.0
    malformed: float = 0.0
    allowed_lateness_ms: int = 1_000
    max_message_bytes: int = 65_536
    planted: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("users", "tracks", "days"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}: got {getattr(self, name)}, allowed: 1 or more")
        if self.start < FIRST_DAY:
            raise ConfigError(f"start: got {self.start}, allowed: {FIRST_DAY} or later")
        for name in ("duplicates", "late", "out_of_order", "malformed"):
            if not 0 <= getattr(self, name) <= 0.5:
                raise ConfigError(f"{name}: got {getattr(self, name)}, allowed: a share from 0 to 0.5")
        for name in self.planted:
            if name not in DEFECTS:
                raise UnknownName("defect", name, DEFECTS)

    @property
    def start_ms(self) -> int:
        """The first instant, UTC epoch ms."""
        return int(datetime.combine(self.start, time(), UTC).timestamp()) * 1_000

    @property
    def end_ms(self) -> int:
        """The end: every event is before it, UTC epoch ms."""
        return self.start_ms + self.days * DAY_MS


@dataclass(frozen=True, slots=True)
class Sent:
    """A record and what must become of it.

    Attributes:
        record: to send.
        event: the event that it brings; null for a duplicate and a broken message.
        fault: `duplicate`, or the reason why the message is refused; null when it brings an event.
    """

    record: Record
    event: EventRow | None
    fault: str | None


@dataclass(frozen=True, slots=True)
class _Timed:
    """An event, and how long after it the same listener's next one comes (null: not in this session)."""

    event: EventRow
    time_ms: int
    gap_ms: int | None


def generate(config: GeneratorConfig, catalogue: Catalogue | None = None) -> Iterator[Sent]:
    """Make up what arrives, in sending order. Holds one day's sessions and what is on its way, not the whole.

    Args:
        config: what to make up.
        catalogue: the tracks; `make_catalogue` of the configuration when None.
    """
    events = _by_time(config, catalogue or make_catalogue(config.tracks, config.seed))
    arriving: list[tuple[int, int, Sent]] = []
    number = count()
    for timed, arrivals in _arrivals(config, events):
        while arriving and arriving[0][0] <= timed.time_ms:
            yield heapq.heappop(arriving)[2]
        for arrival_ms, sent in arrivals:
            heapq.heappush(arriving, (arrival_ms, next(number), sent))
    while arriving:
        yield heapq.heappop(arriving)[2]


def _by_time(config: GeneratorConfig, catalogue: Catalogue) -> Iterator[_Timed]:
    """The events of all listeners by event time; one listener's in the order in which they happen."""
    happening: list[tuple[int, int, _Timed]] = []
    number = count()
    for start_ms, session in _sessions(config, catalogue):
        while happening and happening[0][0] < start_ms:
            yield heapq.heappop(happening)[2]
        for timed in session:
            heapq.heappush(happening, (timed.time_ms, next(number), timed))
    while happening:
        yield heapq.heappop(happening)[2]


def _sessions(config: GeneratorConfig, catalogue: Catalogue) -> Iterator[tuple[int, list[_Timed]]]:
    """Sessions by their start. A session that would start before the listener's last one ended does not happen."""
    listeners = [make_listener(number, config.seed) for number in range(1, config.users + 1)]
    ends_ms = [0] * len(listeners)
    for day_ms in range(config.start_ms, config.end_ms, DAY_MS):
        rng = random.Random(f"{config.seed}/day/{day_ms}")
        starts = sorted((at, i) for i, one in enumerate(listeners) for at in session_starts(one, day_ms, rng))
        for start_ms, i in starts:
            if start_ms > ends_ms[i]:
                session = _session(config, catalogue, listeners[i], start_ms)
                ends_ms[i] = session[-1].time_ms
                yield start_ms, session


def _session(config: GeneratorConfig, catalogue: Catalogue, listener: Listener, start_ms: int) -> list[_Timed]:
    rng = random.Random(f"{config.seed}/session/{listener.user_id}/{start_ms}")
    events = listen(listener, start_ms, catalogue, rng)
    times = [int(event["event_time_ms"] or 0) for event in events]
    gaps = [*(after - before for before, after in pairwise(times)), None]
    rows = zip(events, times, gaps, strict=True)
    return [_Timed(event, time_ms, gap) for event, time_ms, gap in rows if time_ms < config.end_ms]


class _Quota:
    """Gives out a share of turns: a turn that cannot be used is owed until one can."""

    def __init__(self, share: float, rng: random.Random) -> None:
        self._share, self._owed = share, rng.random()

    def take(self, possible: bool = True) -> bool:
        self._owed += self._share
        if not possible or self._owed < 1:
            return False
        self._owed -= 1
        return True


def _arrivals(config: GeneratorConfig, events: Iterator[_Timed]) -> Iterator[tuple[_Timed, list[tuple[int, Sent]]]]:
    """Each event with the records that it causes and when they arrive, UTC epoch ms."""
    rng, wrong = random.Random(f"{config.seed}/way"), random.Random(f"{config.seed}/wrong")
    most_ms = int(config.allowed_lateness_ms * MOST_OF_LATENESS)
    late, out_of_order, duplicates, malformed = (
        _Quota(share, rng) for share in (config.late, config.out_of_order, config.duplicates, config.malformed)
    )
    last = _Timed({}, config.end_ms + DAY_MS, None)
    for timed, following in pairwise(_and(events, last)):
        # To come after the next event it must be on its way for longer than the gap.
        own_ms, any_ms = timed.gap_ms, following.time_ms - timed.time_ms
        before_own_ms = most_ms if own_ms is None else min(most_ms, own_ms)
        delay_ms = 0
        if late.take(own_ms is not None and 0 < own_ms < most_ms):
            delay_ms = rng.randint((own_ms or 0) + 1, most_ms)
        elif out_of_order.take(0 < any_ms < before_own_ms):
            delay_ms = rng.randint(any_ms + 1, before_own_ms)
        arrival_ms = timed.time_ms + delay_ms
        key = str(timed.event["user_id"]).encode()
        arrivals: list[tuple[int, Sent]] = []
        for made in planted(timed.event, timed.time_ms, config.end_ms - DAY_MS, config.planted, wrong):
            if isinstance(made, bytes):
                arrivals.append((arrival_ms, Sent(Record(key, made, timed.time_ms), None, "malformed")))
                continue
            record = Record(key, encode(made), timed.time_ms)
            arrivals.append((arrival_ms, Sent(record, made, None)))
            if duplicates.take():
                again_ms = rng.randint(arrival_ms, timed.time_ms + most_ms)
                arrivals.append((again_ms, Sent(record, None, "duplicate")))
        if malformed.take():
            copy = {**timed.event, "event_id": f"{rng.getrandbits(128):032x}"}
            fault = make_fault(copy, rng, config.max_message_bytes)
            broken = Record(key, fault.payload, fault.time_ms or timed.time_ms)
            arrivals.append((arrival_ms, Sent(broken, None, fault.reason)))
        yield timed, arrivals


def _and(events: Iterator[_Timed], last: _Timed) -> Iterator[_Timed]:
    yield from events
    yield last

"""Does every record have its place? The topic is read once more, naively, and held against the lake and the DLQ.

And are too many refused? Of a producer that breaks, the last day's records tell.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from playhead.checks import readings, results
from playhead.checks.readings import Reading
from playhead.config import Settings
from playhead.dlq.letters import read_markers
from playhead.dlq.places import Place
from playhead.dlq.summary import count_letters
from playhead.local.lake import count_events
from playhead.pushed import pushed
from playhead.relations import milliseconds
from playhead.serving.events_tail import clock_ms
from playhead.serving.topic import open_topic
from schemas.decode import CLOCK_HEADER, HEARTBEAT_HEADER, decode
from schemas.tables import event_columns

CHECK = "accounts"
ADDS_UP, REFUSED = "adds_up", "refused"
"""What is measured: whether every record has its place, and the share of the last day's that are dead letters."""

_GROUP = "playhead-accounts"
_BATCH = 10_000
_WAIT_SECONDS = 1.0
_HOUR_MS = 3_600_000
_HOURS = 24
_EVENT_TIME = list(event_columns()).index("event_time_ms")
_FEWEST = 5
"""Dead letters that an hour must have at least for a producer to have broken in it."""


@dataclass(frozen=True, kw_only=True)
class Accounts:
    """Where the records of the events topic went.

    Attributes:
        records: records of the topic, heartbeats aside.
        events: distinct valid events among them, counted here.
        duplicates: valid records whose event came before in the topic, counted here.
        dead_letters: reason to number of invalid records, counted here. One that was replayed after a fix counts by the
            reason that it had, whatever today's rules say of it: its event has a record of its own since.
        lake_rows: events in the master data.
        late: of them, those that came behind the watermark.
        dlq: reason to number of dead letters; one that a restart of the job has written twice counts once.
        refused: share of invalid records of the last 24 hours of event time.
        refused_since: the hour in which more were refused than may be; None when no hour has more.
        max_refused: the share that may be.
    """

    records: int
    events: int
    duplicates: int
    dead_letters: Mapping[str, int]
    lake_rows: int
    late: int
    dlq: Mapping[str, int]
    refused: float
    refused_since: datetime | None
    max_refused: float

    @property
    def adds_up(self) -> bool:
        """Whether the engine has exactly what the naive count has."""
        return self.lake_rows == self.events and dict(self.dlq) == dict(self.dead_letters)

    def to_json(self) -> dict[str, Any]:
        """The accounts as JSON values."""
        since = None if self.refused_since is None else self.refused_since.isoformat()
        return {**asdict(self), "refused_since": since, "adds_up": self.adds_up}

    @property
    def findings(self) -> int:
        """How many readings are not as they should be."""
        return sum(not each.ok for each in self.readings)

    @property
    def readings(self) -> tuple[Reading, ...]:
        """For the history."""
        counts = f"{self.records:,} records, {self.lake_rows:,} rows, {sum(self.dlq.values()):,} dead letters"
        return (
            Reading(check=CHECK, subject="events", measure=ADDS_UP, ok=self.adds_up, detail=counts),
            Reading(
                check=CHECK,
                subject="events",
                measure=REFUSED,
                value=self.refused,
                allowed=self.max_refused,
                ok=self.refused <= self.max_refused,
                since=self.refused_since,
                detail=f"{self.refused:.1%} of the last {_HOURS} hours' records are dead letters",
            ),
        )


class Refused:
    """How many of the last hours' records are refused. These may have any time: each counts where its partition is.

    Args:
        most: the share that may be.
    """

    def __init__(self, most: float) -> None:
        self._most = most
        self._records: Counter[int] = Counter()
        self._refused: Counter[int] = Counter()
        self._reached: dict[int, int] = {}

    def note(self, partition: int, time_ms: int | None) -> None:
        """Count a record of a partition, in order: an event's, with its time, or a refused one, None."""
        if time_ms is not None:
            self._reached[partition] = time_ms // _HOUR_MS
        hour = self._reached.get(partition)
        if hour is not None:
            self._records[hour] += 1
            self._refused[hour] += time_ms is None

    @property
    def share(self) -> float:
        """Of the last hours' records."""
        records, refused = (sum(of[hour] for hour in self._hours) for of in (self._records, self._refused))
        return refused / max(1, records)

    @property
    def since(self) -> datetime | None:
        """The first of the last hours with more than may be; None while all of them together have not."""
        broken = (h for h in self._hours if self._refused[h] >= max(_FEWEST, self._most * self._records[h]))
        first = next(broken, None)
        if first is None or self.share <= self._most:
            return None
        return datetime.fromtimestamp(first * _HOUR_MS / 1_000, UTC)

    @property
    def _hours(self) -> list[int]:
        last = max(self._records, default=0)
        return [hour for hour in sorted(self._records) if hour > last - _HOURS]


@pushed(
    "check_accounts", lambda found: {"rows": found.records, "findings": sum(not each.ok for each in found.readings)}
)
def check_accounts(settings: Settings, *, now_ms: int | None = None) -> Accounts:
    """Count the topic, the lake and the dead letters; the result is kept as `accounts`.

    Only right while the job keeps up and no event is being sent; a running job makes rows visible at its checkpoints.

    Args:
        settings: where they are, and how many may be refused (`checks.max_refused`).
        now_ms: the clock of records that bring none, UTC epoch ms; the wall clock when None.

    Raises:
        StackError: Kafka does not answer.
    """
    wall_ms = round(time.time() * 1000) if now_ms is None else now_ms
    seen: set[str] = set()
    duplicates, invalid, refused = 0, Counter[str](), Refused(settings.checks.max_refused)
    skew, longest = milliseconds(settings.stream.clock_skew), settings.stream.max_message_bytes
    replayed = {marker.place: marker.reason for marker in read_markers(settings.kafka)}
    for record in _records(settings, settings.kafka.events_topic):
        headers = dict(record.headers() or [])
        if record.value() is None and HEARTBEAT_HEADER in headers:
            continue
        latest_ms = clock_ms(headers.get(CLOCK_HEADER), wall_ms) + skew
        row = decode(record.value() or b"", latest_ms=latest_ms, max_bytes=longest)
        row = replayed.get(Place(record.topic(), record.partition(), record.offset()), row)
        refused.note(record.partition(), None if isinstance(row, str) else int(row[_EVENT_TIME] or 0))
        if isinstance(row, str):
            invalid[row] += 1
        elif row[0] in seen:
            duplicates += 1
        else:
            seen.add(str(row[0]))
    lake = count_events(settings.lake)
    accounts = Accounts(
        records=len(seen) + duplicates + invalid.total(),
        events=len(seen),
        duplicates=duplicates,
        dead_letters=dict(sorted(invalid.items())),
        lake_rows=lake.rows,
        late=lake.late,
        dlq=dict(sorted((count.reason, count.letters) for count in count_letters(settings.kafka))),
        refused=refused.share,
        refused_since=refused.since,
        max_refused=settings.checks.max_refused,
    )
    results.save(settings, "accounts", accounts.to_json())
    readings.record(settings, accounts.readings)
    return accounts


def _records(settings: Settings, topic: str) -> Any:
    with open_topic(settings.kafka, topic, _GROUP, start={}) as reader:
        while not reader.caught_up:
            yield from reader.poll(_BATCH, _WAIT_SECONDS)

"""Does every record have its place? The topic is read once more, naively, and held against the lake and the DLQ."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from playhead.checks import results
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

_GROUP = "playhead-accounts"
_BATCH = 10_000
_WAIT_SECONDS = 1.0


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
    """

    records: int
    events: int
    duplicates: int
    dead_letters: Mapping[str, int]
    lake_rows: int
    late: int
    dlq: Mapping[str, int]

    @property
    def adds_up(self) -> bool:
        """Whether the engine has exactly what the naive count has."""
        return self.lake_rows == self.events and dict(self.dlq) == dict(self.dead_letters)

    def to_json(self) -> dict[str, Any]:
        """The accounts as JSON values."""
        return {**asdict(self), "adds_up": self.adds_up}


@pushed("check_accounts", lambda found: {"rows": found.records, "findings": int(not found.adds_up)})
def check_accounts(settings: Settings, *, now_ms: int | None = None) -> Accounts:
    """Count the topic, the lake and the dead letters; the result is kept as `accounts`.

    Only right while the job keeps up and no event is being sent; a running job makes rows visible at its checkpoints.

    Args:
        settings: where they are.
        now_ms: the clock of records that bring none, UTC epoch ms; the wall clock when None.

    Raises:
        StackError: Kafka does not answer.
    """
    wall_ms = round(time.time() * 1000) if now_ms is None else now_ms
    seen: set[str] = set()
    duplicates, invalid = 0, Counter[str]()
    skew, longest = milliseconds(settings.stream.clock_skew), settings.stream.max_message_bytes
    replayed = {marker.place: marker.reason for marker in read_markers(settings.kafka)}
    for record in _records(settings, settings.kafka.events_topic):
        headers = dict(record.headers() or [])
        if record.value() is None and HEARTBEAT_HEADER in headers:
            continue
        latest_ms = clock_ms(headers.get(CLOCK_HEADER), wall_ms) + skew
        row = decode(record.value() or b"", latest_ms=latest_ms, max_bytes=longest)
        row = replayed.get(Place(record.topic(), record.partition(), record.offset()), row)
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
    )
    results.save(settings, "accounts", accounts.to_json())
    return accounts


def _records(settings: Settings, topic: str) -> Any:
    with open_topic(settings.kafka, topic, _GROUP, start={}) as reader:
        while not reader.caught_up:
            yield from reader.poll(_BATCH, _WAIT_SECONDS)

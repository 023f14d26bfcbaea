"""The lander: served vectors from Kafka to the lake, each exactly once.

The tables themselves know how far the topic has landed (`ServedTable.append`), so a crash or a repeat neither loses nor
doubles a vector, and a table that is new or was deleted gets everything that the topic still holds.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from threading import Event
from typing import Any

import structlog
from google.protobuf.message import DecodeError

from playhead.checks import results
from playhead.config import Settings
from playhead.declarations import load_declarations
from playhead.errors import InputError, StackError
from playhead.serving.delta import delta_table
from playhead.serving.served_table import ServedTable, served_schema
from playhead.serving.topic import TopicReader, bounds_of, open_topic, records_at, topic_id
from schemas.features_pb2 import ServedFeatures

log = structlog.get_logger()

_CLIENT = "playhead-served-lander"
_COMMIT_ROWS = 50_000
_COMMIT_SECONDS = 30.0
_POLL_RECORDS = 500
_POLL_SECONDS = 0.2
_PATIENCE_SECONDS = 60.0


@dataclass(frozen=True)
class LandSummary:
    """What a lander did.

    Attributes:
        landed: service to vectors that were added to its table.
        repeated: vectors that were there already, and were passed over.
        skipped: reason to records that are no vector of a declared service: `malformed`, `bad_value`,
            `unknown_service`.
        undeclared: feature to values that were left out because their service no longer has it.
    """

    landed: Mapping[str, int]
    repeated: int
    skipped: Mapping[str, int]
    undeclared: Mapping[str, int]


def land_served(settings: Settings, stop: Event, *, until_caught_up: bool = True) -> LandSummary:
    """Bring served vectors to `lake/served`.

    Args:
        settings: where Kafka and the lake are.
        stop: set it to end; what was read is landed first.
        until_caught_up: end when everything that was in the topic has landed; else go on, with a commit at least every
            30 seconds while vectors come.

    Returns:
        What was done, also saved as the result `land_served`.

    Raises:
        StackError: Kafka does not answer, the topic is not there, a table cannot be written, or no progress.
    """
    topic, tables = settings.kafka.served_topic, _tables(settings)
    for table in tables.values():
        table.create()
    with open_topic(settings.kafka, topic, _CLIENT, start=_start(tables.values())) as reader:
        lander = Lander(reader, tables, stop, _PATIENCE_SECONDS if until_caught_up else None)
        lander.run(until_caught_up=until_caught_up)
    summary = lander.summary()
    log.info("lander stopped", **asdict(summary))
    results.save(settings, "land_served", asdict(summary))
    return summary


@dataclass(frozen=True)
class Behind:
    """How far the lake is behind the topic: records that have not landed, and how much older the first of them is than
    the newest; 0 when all have."""

    records: int
    seconds: float


def behind(settings: Settings) -> Behind:
    """How far a lander would have to go.

    Raises:
        StackError: Kafka does not answer, or the topic is not there.
    """
    kafka, topic = settings.kafka, settings.kafka.served_topic
    landed = _start([table for table in _tables(settings).values() if delta_table(table.path) is not None])
    bounds = bounds_of(kafka, topic)
    starts = {number: max(own.first, landed.get(number, 0)) for number, own in bounds.items()}
    left = {number: start for number, start in starts.items() if start < bounds[number].end}
    if not left:
        return Behind(0, 0.0)
    lasts = {number: bounds[number].end - 1 for number in left}
    first_ms, last_ms = (
        [record.timestamp()[1] for record in records_at(kafka, topic, _CLIENT, offsets)] for offsets in (left, lasts)
    )
    records = sum(bounds[number].end - start for number, start in left.items())
    return Behind(records, max(0.0, (max(last_ms) - min(first_ms)) / 1_000))


def _tables(settings: Settings) -> dict[str, ServedTable]:
    """Service to its table, which may not be there yet."""
    declarations, topic = load_declarations(), settings.kafka.served_topic
    # By the topic's id: offsets of a topic that was deleted and made again mean something else.
    source = f"{topic}/{topic_id(settings.kafka, topic)}"
    return {
        service.name: ServedTable(settings.lake / "served" / service.name, served_schema(service, declarations), source)
        for service in declarations.services
    }


class Lander:
    """The loop: gather vectors, append them to their tables, commit.

    Args:
        reader: the topic.
        tables: service to its table.
        stop: set it to end.
        patience_s: seconds without progress after which to give up; None waits for ever.
    """

    def __init__(
        self, reader: TopicReader, tables: Mapping[str, ServedTable], stop: Event, patience_s: float | None
    ) -> None:
        self._reader, self._tables, self._stop, self._patience_s = reader, tables, stop, patience_s
        self._rows: dict[str, list[dict[str, Any]]] = {service: [] for service in tables}
        self._ends: dict[int, int] = {}
        self._since = time.monotonic()
        self._landed: Counter[str] = Counter(dict.fromkeys(tables, 0))
        self._skipped: Counter[str] = Counter()
        self._repeated = 0

    def run(self, *, until_caught_up: bool) -> None:
        """Go on until told to stop, or until what was in the topic has landed; what was read is landed in any case."""
        while not (self._stop.is_set() or (until_caught_up and self._reader.caught_up)):
            records = self._reader.poll(_POLL_RECORDS, _POLL_SECONDS)
            if records and not self._ends:
                self._since = time.monotonic()
            for record in records:
                self._take(record)
            waited_s, vectors = time.monotonic() - self._since, sum(map(len, self._rows.values()))
            if vectors >= _COMMIT_ROWS or (self._ends and waited_s > _COMMIT_SECONDS):
                self.land()
            elif not self._ends and self._patience_s is not None and waited_s > self._patience_s:
                raise StackError(f"no served vectors and no end of the topic for {self._patience_s:.0f} s")
        self.land()

    def land(self) -> None:
        """Append what was read to the tables."""
        if not self._ends:
            return
        for service, table in self._tables.items():
            rows = self._rows[service]
            landed = table.append(rows, self._ends)
            self._landed[service] += landed
            self._repeated += len(rows) - landed
            log.info("landed", service=service, vectors=landed, repeated=len(rows) - landed)
            rows.clear()
        self._ends, self._since = {}, time.monotonic()

    def summary(self) -> LandSummary:
        """What was done so far."""
        undeclared = sum((table.undeclared for table in self._tables.values()), Counter[str]())
        return LandSummary(dict(self._landed), self._repeated, dict(self._skipped), dict(undeclared))

    def _take(self, record: Any) -> None:
        self._ends[record.partition()] = record.offset() + 1
        try:
            message = ServedFeatures.FromString(record.value() or b"")
            table = self._tables[message.service]
            self._rows[message.service] += table.rows(message, record.partition(), record.offset())
        except (DecodeError, KeyError, InputError) as error:
            self._skip(record, error)

    def _skip(self, record: Any, error: Exception) -> None:
        reasons = {DecodeError: "malformed", KeyError: "unknown_service", InputError: "bad_value"}
        reason = reasons[type(error)]
        self._skipped[reason] += 1
        where = f"{record.topic()}/{record.partition()}/{record.offset()}"
        log.warning("served vector skipped", reason=reason, record=where, error=str(error))


def _start(tables: Iterable[ServedTable]) -> dict[int, int]:
    """Partition to the first offset that is not in every table."""
    landed = [table.following() for table in tables]
    return {partition: min(each.get(partition, 0) for each in landed) for partition in set().union(*landed)}

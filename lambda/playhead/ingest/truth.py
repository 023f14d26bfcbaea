"""What must come out of generated records: the events once each, and how many of the rest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson

from playhead.ingest.catalogue import make_catalogue, write_catalogue
from playhead.ingest.events import EventRow
from playhead.ingest.generator import GeneratorConfig, Sent, generate
from playhead.ingest.source import Record, Source
from schemas.tables import event_arrow_schema

_BATCH_ROWS = 20_000


class Truth:
    """The account of generated records; complete when the source has been read to its end.

    Attributes:
        events: distinct right events.
        duplicates: records that repeat one.
        dead_letters: reason to number of broken messages.
        late: events sent after a newer one of the same listener.
        out_of_order: events sent after a newer one of other listeners only.
    """

    def __init__(self, config: GeneratorConfig) -> None:
        self.config = config
        self.events = self.duplicates = self.late = self.out_of_order = 0
        self.dead_letters: Counter[str] = Counter()
        self.first_event_ms: int | None = None
        self.last_event_ms: int | None = None
        self._newest_of: dict[bytes | None, int] = {}

    def note(self, sent: Sent) -> None:
        """Count a record, in sending order."""
        if sent.fault == "duplicate":
            self.duplicates += 1
        elif sent.fault is not None:
            self.dead_letters[sent.fault] += 1
        else:
            self._note_event(sent.record)

    def _note_event(self, record: Record) -> None:
        time_ms = record.time_ms
        self.events += 1
        newest_ms = self._newest_of.get(record.key, 0)
        self._newest_of[record.key] = max(newest_ms, time_ms)
        if time_ms < newest_ms:
            self.late += 1
        elif self.last_event_ms is not None and time_ms < self.last_event_ms:
            self.out_of_order += 1
        self.first_event_ms = min(time_ms, self.first_event_ms or time_ms)
        self.last_event_ms = max(time_ms, self.last_event_ms or 0)

    def to_json(self) -> dict[str, Any]:
        """The account and the configuration as JSON values."""
        return {
            "records": self.events + self.duplicates + self.dead_letters.total(),
            "events": self.events,
            "duplicates": self.duplicates,
            "dead_letters": dict(sorted(self.dead_letters.items())),
            "late": self.late,
            "out_of_order": self.out_of_order,
            "first_event_ms": self.first_event_ms,
            "last_event_ms": self.last_event_ms,
            "clock_ms": self.config.end_ms,
            "config": {
                **asdict(self.config),
                "start": self.config.start.isoformat(),
                "planted": list(self.config.planted),
            },
        }


@contextmanager
def generated_source(
    config: GeneratorConfig, *, catalogue: Path | None = None, truth: Path | None = None
) -> Iterator[tuple[Source, Truth]]:
    """A source of made-up records, and their truth.

    Args:
        config: what to make up.
        catalogue: Parquet file for the tracks, one row per track; not written when None.
        truth: folder for `events.parquet` (each right event once, in the columns of `schemas.tables.event_columns`)
            and `summary.json` (`Truth.to_json`); not written when None. They are complete when the context ends.
    """
    tracks = make_catalogue(config.tracks, config.seed)
    if catalogue is not None:
        write_catalogue(tracks, catalogue)
    account = Truth(config)
    sent = generate(config, tracks)
    if truth is None:
        yield Source(records=_records(sent, account, None), clock_ms=config.end_ms), account
        return
    truth.mkdir(parents=True, exist_ok=True)
    with _parquet(truth / "events.parquet") as rows:
        yield Source(records=_records(sent, account, rows), clock_ms=config.end_ms), account
    (truth / "summary.json").write_bytes(orjson.dumps(account.to_json(), option=orjson.OPT_INDENT_2))


def _records(items: Iterable[Sent], account: Truth, rows: _Rows | None) -> Iterator[Record]:
    for sent in items:
        account.note(sent)
        if rows is not None and sent.event is not None:
            rows.add(sent.event)
        yield sent.record


class _Rows:
    """Events on their way into a Parquet file."""

    def __init__(self, writer: Any) -> None:
        self._writer, self._rows = writer, list[EventRow]()

    def add(self, event: EventRow) -> None:
        self._rows.append(event)
        if len(self._rows) >= _BATCH_ROWS:
            self.flush()

    def flush(self) -> None:
        import pyarrow as pa

        self._writer.write_table(pa.Table.from_pylist(self._rows, self._writer.schema))
        self._rows.clear()


@contextmanager
def _parquet(path: Path) -> Iterator[_Rows]:
    import pyarrow.parquet as pq

    with pq.ParquetWriter(path, event_arrow_schema()) as writer:
        rows = _Rows(writer)
        yield rows
        rows.flush()

"""A source: records to send, in the order to send them, and the end of their time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from playhead.errors import ConfigError, InputError, UnknownName
from playhead.ingest.events import END_OF_TIME_MS, EventRow, Import, Problem
from playhead.ingest.eventsim import read_eventsim
from playhead.ingest.native import read_native
from playhead.ingest.spotify import read_spotify
from schemas.decode import EARLIEST_MS, encode


@dataclass(frozen=True, slots=True)
class Record:
    """One record for the events topic.

    Attributes:
        key: the user_id; the partition follows from it. Null when the event has none.
        value: an encoded `PlaybackEvent`, or what a broken client sends in its place.
        time_ms: the record's timestamp, UTC epoch ms.
    """

    key: bytes | None
    value: bytes
    time_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What a replay sends.

    Attributes:
        records: in sending order; can be read once.
        clock_ms: the end of the source's time, UTC epoch ms: no right event is later.
        total: number of records, when it is known beforehand.
        rows: rows read from files.
        skipped: reason to number of rows that made no event.
        problems: the first few broken rows.
    """

    records: Iterable[Record]
    clock_ms: int
    total: int | None = None
    rows: int = 0
    skipped: Mapping[str, int] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()


def _read_spotify(paths: Sequence[Path], user: str | None) -> Import:
    if not user:
        raise ConfigError("format spotify: the files do not say whose history it is", hint="give it with --user")
    return read_spotify(paths, user)


FORMATS: Mapping[str, Callable[[Sequence[Path], str | None], Import]] = {
    "native": lambda paths, _user: read_native(paths),
    "eventsim": lambda paths, _user: read_eventsim(paths),
    "spotify": _read_spotify,
}
"""Format to its reader, which takes the files and the user_id for files that hold none."""


def file_source(paths: Sequence[Path], format_name: str, *, user: str | None = None, latest_ms: int) -> Source:
    """Read files into a source.

    All events are held in memory (about 1 GB for a million) because they are sorted by time: files are rarely in order
    across listeners, and the end of a song is known only from what follows.

    Args:
        paths: the files; together they are one log.
        format_name: a key of `FORMATS`.
        user: the user_id for a format whose files hold none.
        latest_ms: the latest time that an event of a right clock can have, UTC epoch ms: now plus the allowed skew.
            An event after it is sent, but does not move the source's clock.

    Returns:
        The events by time, those of the same time in the order of the import.

    Raises:
        ConfigError: the format needs a user and there is none.
        InputError: a file cannot be read or used, or there is no event in any.
        UnknownName: no such format.
    """
    if format_name not in FORMATS:
        raise UnknownName("format", format_name, FORMATS)
    read = FORMATS[format_name](paths, user)
    timed = sorted(_with_times(read.events), key=lambda pair: pair[0])
    if not timed:
        names = ", ".join(map(str, paths))
        raise InputError(f"{names}: no events; {read.rows} rows, skipped: {dict(read.skipped) or 'none'}")
    return Source(
        records=(_record(event, time_ms) for time_ms, event in timed),
        clock_ms=max((time_ms for time_ms, _ in timed if time_ms <= latest_ms), default=EARLIEST_MS),
        total=len(timed),
        rows=read.rows,
        skipped=read.skipped,
        problems=read.problems,
    )


def _with_times(events: Sequence[EventRow]) -> Iterator[tuple[int, EventRow]]:
    """The time of each event; one without a usable time has that of the one before it, or else of the first usable."""
    times = [_usable(event.get("event_time_ms")) for event in events]
    last = next((time_ms for time_ms in times if time_ms is not None), EARLIEST_MS)
    for time_ms, event in zip(times, events, strict=True):
        last = last if time_ms is None else time_ms
        yield last, event


def _usable(time_ms: str | int | None) -> int | None:
    """The time, if a broker and an engine can hold it."""
    return time_ms if isinstance(time_ms, int) and EARLIEST_MS < time_ms < END_OF_TIME_MS else None


def _record(event: EventRow, time_ms: int) -> Record:
    user = event.get("user_id")
    return Record(key=str(user).encode() if user else None, value=encode(event), time_ms=time_ms)

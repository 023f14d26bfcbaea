"""Sources from files: order, clock, record timestamps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from playhead.errors import ConfigError, InputError, UnknownName
from playhead.ingest.source import Record, Source, file_source
from schemas.decode import encode
from schemas.playback_pb2 import PlaybackEvent

START_MS = 1_541_000_000_000
LATEST_MS = 1_600_000_000_000


def source_of(path: Path, *rows: dict[str, Any]) -> Source:
    path.write_bytes(b"\n".join(map(orjson.dumps, rows)))
    return file_source([path], "native", latest_ms=LATEST_MS)


def ids_and_times(source: Source) -> list[tuple[str, int]]:
    return [(PlaybackEvent.FromString(record.value).event_id, record.time_ms) for record in source.records]


def test_a_record_is_keyed_by_user_and_stamped_with_the_event_time(tmp_path: Path) -> None:
    row: dict[str, str | int | None] = {"event_id": "e", "user_id": "ü", "event_time_ms": START_MS}
    source = source_of(tmp_path / "f", row)
    assert list(source.records) == [Record("ü".encode(), encode(row), START_MS)]
    assert (source.total, source.rows, source.clock_ms) == (1, 1, START_MS)


def test_events_are_sent_by_time_and_ties_in_the_order_of_the_file(tmp_path: Path) -> None:
    times = {"a": START_MS + 2, "b": START_MS + 1, "c": START_MS + 2, "d": START_MS}
    source = source_of(tmp_path / "f", *({"event_id": i, "event_time_ms": at} for i, at in times.items()))
    assert [event_id for event_id, _ in ids_and_times(source)] == ["d", "b", "a", "c"]


def test_a_clock_years_ahead_is_sent_but_does_not_set_the_sources_clock(tmp_path: Path) -> None:
    times = {"a": START_MS, "b": LATEST_MS, "c": LATEST_MS + 1}
    source = source_of(tmp_path / "f", *({"event_id": i, "event_time_ms": at} for i, at in times.items()))
    assert source.clock_ms == LATEST_MS
    assert ids_and_times(source)[-1] == ("c", LATEST_MS + 1)


def test_an_event_without_a_usable_time_is_stamped_as_the_one_before_it(tmp_path: Path) -> None:
    times = {"a": None, "b": START_MS + 5, "c": -1, "d": 2**62, "e": START_MS}
    source = source_of(tmp_path / "f", *({"event_id": i, "event_time_ms": at} for i, at in times.items()))
    assert ids_and_times(source) == [
        ("e", START_MS),
        ("a", START_MS + 5),
        ("b", START_MS + 5),
        ("c", START_MS + 5),
        ("d", START_MS + 5),
    ]


def test_an_event_without_a_user_has_no_key(tmp_path: Path) -> None:
    assert [record.key for record in source_of(tmp_path / "f", {"event_id": "e"}).records] == [None]


def test_files_without_any_event_are_an_error_that_says_what_they_hold(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b'{"page": "Home"}')
    with pytest.raises(InputError, match=r"no events; 1 rows, skipped: {'other_page': 1}"):
        file_source([path], "eventsim", latest_ms=LATEST_MS)


def test_an_unknown_format_is_named_with_the_known_ones() -> None:
    with pytest.raises(UnknownName, match=r"'eventsin'; known: eventsim, native, spotify"):
        file_source([], "eventsin", latest_ms=LATEST_MS)


def test_spotify_needs_a_user() -> None:
    with pytest.raises(ConfigError, match="--user"):
        file_source([Path("history.json")], "spotify", latest_ms=LATEST_MS)

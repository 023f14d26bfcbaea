"""eventsim logs: the rules by which plays and their ends follow from `NextSong` rows."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from playhead.errors import InputError
from playhead.ingest.events import EventRow, Import
from playhead.ingest.eventsim import read_eventsim

START_MS = 1_541_000_000_000
Read = Callable[..., Import]


def row(ts_ms: int, song: str | None = "s", length_s: float | None = 100.0, **other: Any) -> dict[str, Any]:
    values = {"ts": START_MS + ts_ms, "userId": "8", "page": "NextSong", "artist": "a", "song": song}
    return values | {"length": length_s} | other


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def read_rows(*rows: dict[str, Any]) -> Import:
        path = tmp_path / "log.jsonl"
        path.write_bytes(b"\n".join(map(orjson.dumps, rows)))
        return read_eventsim([path])

    return read_rows


def shown(events: list[EventRow]) -> list[tuple[Any, ...]]:
    return [(e["event_type"], e["track_id"], int(e["event_time_ms"] or 0) - START_MS, e["ms_played"]) for e in events]


def test_a_song_cut_by_the_next_one_is_skipped(read: Read) -> None:
    assert shown(read(row(0, "s"), row(40_000, "t")).events)[:2] == [
        ("PLAY", "a/s", 0, None),
        ("SKIP", "a/s", 40_000, 40_000),
    ]


def test_the_last_song_of_a_user_is_completed(read: Read) -> None:
    assert shown(read(row(0)).events) == [("PLAY", "a/s", 0, None), ("COMPLETE", "a/s", 100_000, 100_000)]


def test_a_song_ends_with_its_length_when_the_next_one_is_later(read: Read) -> None:
    assert shown(read(row(0), row(500_000, "t")).events)[1] == ("COMPLETE", "a/s", 100_000, 100_000)


@pytest.mark.parametrize(("next_ms", "end"), [(98_999, "SKIP"), (99_000, "COMPLETE"), (100_000, "COMPLETE")])
def test_a_song_cut_within_its_last_second_is_completed(read: Read, next_ms: int, end: str) -> None:
    assert shown(read(row(0), row(next_ms, "t")).events)[1] == (end, "a/s", next_ms, next_ms)


def test_lengths_are_rounded_to_the_millisecond(read: Read) -> None:
    events = read(row(0, length_s=246.3086)).events
    assert [(e["duration_ms"], e["ms_played"]) for e in events] == [(246_309, None), (246_309, 246_309)]


def test_the_end_stands_before_the_next_play_at_the_same_instant(read: Read) -> None:
    events = read(row(0, "s"), row(100_000, "t")).events
    assert [(e["event_type"], e["track_id"]) for e in events][1:3] == [("COMPLETE", "a/s"), ("PLAY", "a/t")]


def test_of_two_songs_at_the_same_instant_the_first_is_skipped_at_once(read: Read) -> None:
    assert shown(read(row(0, "s"), row(0, "t")).events) == [
        ("PLAY", "a/s", 0, None),
        ("SKIP", "a/s", 0, 0),
        ("PLAY", "a/t", 0, None),
        ("COMPLETE", "a/t", 100_000, 100_000),
    ]


def test_only_the_users_own_next_song_ends_a_song(read: Read) -> None:
    events = read(row(0), row(10_000, userId="9")).events
    assert [e["event_type"] for e in events] == ["PLAY", "COMPLETE", "PLAY", "COMPLETE"]


def test_rows_need_not_be_in_order(read: Read) -> None:
    assert shown(read(row(40_000, "t"), row(0, "s")).events)[:2] == [
        ("PLAY", "a/s", 0, None),
        ("SKIP", "a/s", 40_000, 40_000),
    ]


def test_rows_that_are_no_plays_are_counted_by_reason(read: Read) -> None:
    result = read(
        row(0, page="Home"),
        row(0, userId=""),
        row(0, userId=None),
        row(0, length_s=None),
        row(1, song=None),
        row(2, artist=""),
    )
    assert (result.events, result.rows) == ([], 6)
    assert result.skipped == {"other_page": 1, "no_user": 2, "no_length": 1, "no_track": 2}


def test_a_song_without_a_length_still_ends_the_one_before(read: Read) -> None:
    assert shown(read(row(0), row(5_000, "t", None)).events)[1] == ("SKIP", "a/s", 5_000, 5_000)


def test_the_same_row_again_makes_no_event(read: Read) -> None:
    result = read(row(0), row(0))
    assert (len(result.events), result.skipped) == (2, {"repeated_row": 1})


def test_users_may_be_numbers(read: Read) -> None:
    assert {event["user_id"] for event in read(row(0, userId=8)).events} == {"8"}


def test_ids_come_from_the_content(read: Read) -> None:
    rows = [row(0, "s"), row(5_000, "t"), row(5_000, "s"), row(9_000, "s", userId="9")]
    ids = [event["event_id"] for event in read(*rows).events]
    assert len(set(ids)) == len(ids) == 8
    assert [event["event_id"] for event in read(*reversed(rows[:2]), *rows[2:]).events] == ids


def test_two_plays_of_a_track_that_end_at_the_same_instant_have_two_ends(read: Read) -> None:
    events = read(row(0, "s"), row(5_000, "s"), row(5_000, "t")).events
    skips = [event for event in events if event["event_type"] == "SKIP"]
    assert len({event["event_id"] for event in skips}) == 2


def test_names_with_a_slash_do_not_meet(read: Read) -> None:
    events = read(row(0, "b/c", artist="a"), row(1, "c", artist="a/b")).events
    assert {(e["track_id"], e["artist_id"]) for e in events} == {("a/b%2Fc", "a"), ("a%2Fb/c", "a/b")}


def test_names_longer_than_an_id_keep_different_ids(read: Read) -> None:
    events = read(row(0, "x" * 300), row(1, "x" * 301)).events
    ids = {str(event["track_id"]) for event in events}
    assert len(ids) == 2
    assert max(map(len, ids)) <= 256


def test_gzipped_files_and_several_files_are_one_log(tmp_path: Path) -> None:
    first, second = tmp_path / "1.jsonl", tmp_path / "2.jsonl.gz"
    first.write_bytes(orjson.dumps(row(0, "s")))
    second.write_bytes(gzip.compress(orjson.dumps(row(5_000, "t"))))
    assert shown(read_eventsim([first, second]).events)[1] == ("SKIP", "a/s", 5_000, 5_000)


def test_broken_lines_are_counted_and_the_first_are_shown_with_their_line(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    good = orjson.dumps(row(0))
    path.write_bytes(b"\n".join([good, b'{"ts": 15', b"", b"[1]", b"\xff\xfe", *[b"{}"] * 9]))
    result = read_eventsim([path])
    assert len(result.events) == 2
    assert result.skipped == {"not_json": 3, "bad_value": 9}
    assert [(problem.row, problem.reason) for problem in result.problems][:4] == [
        (2, "not_json"),
        (4, "not_json"),
        (5, "not_json"),
        (6, "bad_value"),
    ]
    assert str(result.problems[0]).startswith(f"{path}:2: not_json: got '{{\"ts\": 15'")


@pytest.mark.parametrize(
    "broken",
    [
        {"ts": "yesterday"},
        {"ts": 1.5},
        {"ts": -1},
        {"ts": 10**18},
        {"length": "long"},
        {"length": -1},
        {"length": 1e300},
        {"userId": ["8"]},
        {"song": 7},
        {"page": None},
    ],
)
def test_a_value_of_the_wrong_kind_is_refused_with_its_name(read: Read, broken: dict[str, Any]) -> None:
    result = read(row(0), row(1) | broken)
    assert result.skipped == {"bad_value": 1}
    assert next(iter(broken)) in result.problems[0].detail


@pytest.mark.parametrize("content", [b"", b"\n\n"])
def test_an_empty_file_has_no_events(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "empty"
    path.write_bytes(content)
    assert read_eventsim([path]).events == []


def test_a_file_of_another_format_is_refused_naming_file_line_value_and_format(tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    path.write_text("event_id,user_id\n1,2\n")
    with pytest.raises(InputError, match=r"events\.csv:1: not_json: got 'event_id,user_id'.*eventsim"):
        read_eventsim([path])


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.jsonl: cannot be read: No such file"):
        read_eventsim([tmp_path / "absent.jsonl"])


def test_a_damaged_gzip_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cut.gz"
    path.write_bytes(gzip.compress(b"\n".join([orjson.dumps(row(i)) for i in range(1_000)]))[:-20])
    with pytest.raises(InputError, match=r"cut\.gz.*cannot be read"):
        read_eventsim([path])

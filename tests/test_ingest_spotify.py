"""Spotify's extended streaming history: one row is a play and its end."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from playhead.errors import InputError
from playhead.ingest.events import Import
from playhead.ingest.spotify import read_spotify

DATA = Path(__file__).parent / "data"
END_MS = 1_541_106_106_000
Read = Callable[..., Import]


def row(**other: Any) -> dict[str, Any]:
    values = {
        "ts": "2018-11-01T21:01:46Z",
        "platform": "ios",
        "ms_played": 60_000,
        "conn_country": "SE",
        "master_metadata_track_name": "You Gotta Be",
        "master_metadata_album_artist_name": "Des'ree",
        "spotify_track_uri": "spotify:track:1",
        "spotify_episode_uri": None,
        "reason_start": "clickrow",
        "reason_end": "trackdone",
    }
    return values | other


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def read_rows(*rows: Any) -> Import:
        path = tmp_path / "history.json"
        path.write_text(json.dumps(rows, indent=1))
        return read_spotify([path], "me")

    return read_rows


def test_a_row_is_a_play_at_its_start_and_an_end_at_its_ts(read: Read) -> None:
    play, end = read(row()).events
    assert (play["event_type"], play["event_time_ms"], play.get("ms_played")) == ("PLAY", END_MS - 60_000, None)
    assert (end["event_type"], end["event_time_ms"], end["ms_played"]) == ("COMPLETE", END_MS, 60_000)
    same = {"user_id": "me", "track_id": "spotify:track:1", "artist_id": "Des'ree", "content_type": "SONG"}
    for event in (play, end):
        assert event.items() >= (same | {"device": "ios", "country": "SE"}).items()


@pytest.mark.parametrize(
    ("reason", "end"),
    [
        ("trackdone", "COMPLETE"),
        ("fwdbtn", "SKIP"),
        ("backbtn", "SKIP"),
        ("clickrow", "SKIP"),
        ("playbtn", "SKIP"),
        ("remote", "SKIP"),
        ("endplay", "STOP"),
        ("logout", "STOP"),
        ("unexpected-exit-while-paused", "STOP"),
        ("", "STOP"),
        (None, "STOP"),
    ],
)
def test_the_reason_says_how_it_ended(read: Read, reason: str | None, end: str) -> None:
    assert read(row(reason_end=reason)).events[1]["event_type"] == end


def test_episodes_and_chapters_have_their_own_content_type(read: Read) -> None:
    none = {"spotify_track_uri": None, "master_metadata_album_artist_name": None}
    episode = row(**none, spotify_episode_uri="spotify:episode:1", episode_show_name="Show")
    chapter = row(**none, audiobook_chapter_uri="spotify:episode:2", audiobook_title="Book")
    events = read(episode, chapter).events
    assert [(e["content_type"], e["artist_id"]) for e in events[::2]] == [
        ("PODCAST_EPISODE", "Show"),
        ("AUDIOBOOK_CHAPTER", "Book"),
    ]


def test_rows_are_taken_by_their_end_and_an_end_stands_before_the_next_play(read: Read) -> None:
    later = row(ts="2018-11-01T21:02:46Z", spotify_track_uri="spotify:track:2")
    events = read(later, row()).events
    assert [(e["event_type"], e["track_id"]) for e in events] == [
        ("PLAY", "spotify:track:1"),
        ("COMPLETE", "spotify:track:1"),
        ("PLAY", "spotify:track:2"),
        ("COMPLETE", "spotify:track:2"),
    ]
    assert events[1]["event_time_ms"] == events[2]["event_time_ms"]


def test_a_play_of_no_time_begins_and_ends_at_the_same_instant(read: Read) -> None:
    events = read(row(ms_played=0, reason_end="fwdbtn")).events
    assert [(e["event_type"], e["event_time_ms"]) for e in events] == [("PLAY", END_MS), ("SKIP", END_MS)]


def test_a_row_that_names_nothing_is_counted(read: Read) -> None:
    result = read(row(), row(spotify_track_uri=None))
    assert (len(result.events), result.skipped) == (2, {"no_uri": 1})


def test_a_row_that_the_export_holds_twice_counts_once(read: Read) -> None:
    result = read(row(), row(), row(ms_played=0))
    assert (len(result.events), result.skipped) == (4, {"repeated_row": 1})


def test_ids_come_from_the_content_and_the_user(tmp_path: Path) -> None:
    path = tmp_path / "history.json"
    path.write_text(json.dumps([row()]))
    mine, again, yours = (
        [event["event_id"] for event in read_spotify([path], user).events] for user in ("me", "me", "you")
    )
    assert mine == again
    assert not {*mine} & {*yours}


@pytest.mark.parametrize(
    "broken",
    [
        {"ts": None},
        {"ts": "last week"},
        {"ms_played": -1},
        {"ms_played": None},
        {"ms_played": 1.5},
        {"spotify_track_uri": 7},
        {"reason_end": 7},
    ],
)
def test_a_broken_row_is_counted_with_its_number_and_name(read: Read, broken: dict[str, Any]) -> None:
    result = read(row(), row(**broken))
    assert result.skipped == {"bad_value": 1}
    assert (result.problems[0].row, next(iter(broken)) in result.problems[0].detail) == (2, True)


def test_a_row_that_is_no_object_is_counted(read: Read) -> None:
    assert read(row(), 5).skipped == {"not_a_row": 1}


def test_a_long_device_is_cut_to_what_the_schema_takes(read: Read) -> None:
    assert read(row(platform="x" * 500)).events[0]["device"] == "x" * 128


def test_an_export_as_it_comes() -> None:
    result = read_spotify([DATA / "spotify_history.json"], "me")
    assert [event["event_type"] for event in result.events] == ["PLAY", "SKIP", "PLAY", "STOP"]
    assert (result.rows, result.skipped) == (3, {"no_uri": 1})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", r"other\.json:1: got '{}'; expected one JSON array"),
        ("[\n{]", r"other\.json:2: not JSON"),
        ("", r"other\.json:1: not JSON"),
        ('[{"event_id": "1"}]', r"other\.json:1: bad_value: ts: got None, allowed: .*Spotify's"),
    ],
)
def test_a_file_of_another_format_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_spotify([path], "me")

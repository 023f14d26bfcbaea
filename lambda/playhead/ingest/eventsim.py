"""Import of eventsim's logs: JSON lines, of which the `NextSong` pages are plays.

A `NextSong` is a PLAY at `ts`. The log has no ends, so they follow from what comes next: a play ends at the earlier of
the user's next `NextSong` and `ts` + length. The end is a COMPLETE when at most a second of the song was left, else a
SKIP.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from playhead.ingest.events import END_OF_TIME_MS, EventRow, Import, Tally, event_id, name_id
from playhead.ingest.files import read_json_lines

COMPLETE_WITHIN_MS = 1_000
EXPECTED = "eventsim's JSON lines with ts, userId, page, artist, song, length"


@dataclass(frozen=True, slots=True)
class _Song:
    """One `NextSong`. Without track or length it makes no event, and still ends the song before it."""

    ts_ms: int
    artist: str | None
    title: str | None
    length_ms: int | None


def read_eventsim(paths: Sequence[Path]) -> Import:
    """Read eventsim logs; several files are one log.

    Rows that make no event are counted as `other_page`, `no_user`, `no_track`, `no_length`, `repeated_row` (the same
    song at the same instant again), and, when broken, `not_json` or `bad_value`.

    Returns:
        PLAY and SKIP or COMPLETE events, user by user; an end stands before a PLAY at the same instant.

    Raises:
        InputError: a file cannot be read, or no row is eventsim's.
    """
    tally = Tally()
    songs: defaultdict[str, dict[_Song, None]] = defaultdict(dict)
    for file, line, row in read_json_lines(paths, tally):
        fault = _fault(row)
        if fault:
            tally.refuse(file, line, "bad_value", fault)
        elif row["page"] != "NextSong":
            tally.skip("other_page")
        elif row.get("userId") in (None, ""):
            tally.skip("no_user")
        else:
            song = _song(row)
            listened = songs[str(row["userId"])]
            if song in listened:
                tally.skip("repeated_row")
            listened[song] = None
    events = [event for user, listened in songs.items() for event in _events(user, list(listened), tally)]
    return tally.close(events, EXPECTED)


def _fault(row: dict[str, Any]) -> str | None:
    """What is wrong with the row's types, or None."""
    if not isinstance(row.get("page"), str):
        return f"page: got {row.get('page')!r}, allowed: a page's name"
    if row["page"] != "NextSong":
        return None
    if type(row.get("ts")) is not int or not 0 < row["ts"] < END_OF_TIME_MS:
        return f"ts: got {row.get('ts')!r}, allowed: epoch milliseconds"
    if not isinstance(row.get("userId"), str | int | None):
        return f"userId: got {row['userId']!r}, allowed: a string or a number"
    for name in ("artist", "song"):
        if not isinstance(row.get(name), str | None):
            return f"{name}: got {row[name]!r}, allowed: a string or null"
    length = row.get("length")
    if length is not None and (type(length) not in (int, float) or not 0 <= length < END_OF_TIME_MS / 1_000):
        return f"length: got {length!r}, allowed: seconds or null"
    return None


def _song(row: dict[str, Any]) -> _Song:
    length = row.get("length")
    return _Song(
        ts_ms=row["ts"],
        artist=row.get("artist") or None,
        title=row.get("song") or None,
        length_ms=None if length is None else round(length * 1_000),
    )


def _events(user: str, songs: list[_Song], tally: Tally) -> list[EventRow]:
    songs.sort(key=lambda song: song.ts_ms)
    events: list[EventRow] = []
    for song, following in pairwise([*songs, None]):
        if song is None:
            break
        if song.artist is None or song.title is None:
            tally.skip("no_track")
        elif song.length_ms is None:
            tally.skip("no_length")
        else:
            heard_ms = song.length_ms if following is None else min(song.length_ms, following.ts_ms - song.ts_ms)
            end = "COMPLETE" if heard_ms >= song.length_ms - COMPLETE_WITHIN_MS else "SKIP"
            events += [_event(user, song, "PLAY", None), _event(user, song, end, heard_ms)]
    return events


def _event(user: str, song: _Song, event_type: str, heard_ms: int | None) -> EventRow:
    track_id = name_id(str(song.artist), str(song.title))
    return {
        # The start, not the end, tells two plays of one track apart that end at the same instant.
        "event_id": event_id("eventsim", user, event_type, song.ts_ms, track_id),
        "user_id": user,
        "track_id": track_id,
        "artist_id": name_id(str(song.artist)),
        "event_type": event_type,
        "event_time_ms": song.ts_ms + (heard_ms or 0),
        "ms_played": heard_ms,
        "duration_ms": song.length_ms,
        "content_type": "SONG",
    }

"""Import of a listener's own "extended streaming history" from Spotify: files of one JSON array each.

A row is a whole play: `ts` is its end in UTC, `ms_played` how long it was heard. It becomes a PLAY at `ts - ms_played`
and an end at `ts`, whose kind follows from `reason_end`. Device, country and names are taken where they are told.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from playhead.errors import InputError
from playhead.ingest.events import EventRow, Import, Tally, event_id, name_id
from playhead.ingest.files import read_json_array

ENDS = {
    "trackdone": "COMPLETE",
    "fwdbtn": "SKIP",
    "backbtn": "SKIP",
    "clickrow": "SKIP",
    "playbtn": "SKIP",
    "remote": "SKIP",
}
"""`reason_end` to event type; every other reason is a STOP."""

DAY_MS = 86_400_000
LONGEST_DEVICE = 128
EXPECTED = "Spotify's extended streaming history with ts, ms_played, reason_end and spotify_track_uri"


class _Kind(NamedTuple):
    uri: str
    content_type: str
    artist: str


KINDS = (
    _Kind("spotify_track_uri", "SONG", "master_metadata_album_artist_name"),
    _Kind("spotify_episode_uri", "PODCAST_EPISODE", "episode_show_name"),
    _Kind("audiobook_chapter_uri", "AUDIOBOOK_CHAPTER", "audiobook_title"),
)
TEXTS = (*(kind.uri for kind in KINDS), *(kind.artist for kind in KINDS), "reason_end", "platform", "conn_country")


def read_spotify(paths: Sequence[Path], user: str) -> Import:
    """Read the history of one listener; several files are one history.

    Rows that make no event are counted as `no_uri` (a local file), `repeated_row` (exports hold some rows twice) and,
    when broken, `not_a_row` or `bad_value`.

    Args:
        paths: the files.
        user: the listener's user_id; the files do not hold it.

    Returns:
        PLAY and COMPLETE, SKIP or STOP of each row, in the order of the rows' ends.

    Raises:
        InputError: a file cannot be read, or no row is of this format.
    """
    tally = Tally()
    plays: list[tuple[int, list[EventRow]]] = []
    seen: set[str] = set()
    for path in paths:
        for number, row in enumerate(read_json_array(path), start=1):
            tally.rows += 1
            try:
                pair = _events(row, user)
            except InputError as error:
                tally.refuse(path, number, "bad_value" if isinstance(row, dict) else "not_a_row", error.message)
                continue
            if not pair:
                tally.skip("no_uri")
            elif str(pair[0]["event_id"]) in seen:
                tally.skip("repeated_row")
            else:
                seen.add(str(pair[0]["event_id"]))
                plays.append((int(pair[1]["event_time_ms"] or 0), pair))
    plays.sort(key=lambda play: play[0])
    return tally.close([event for _, pair in plays for event in pair], EXPECTED)


def _events(row: Any, user: str) -> list[EventRow]:
    """PLAY and end of one row; empty when the row names nothing that was played."""
    if not isinstance(row, dict):
        raise InputError(f"got {row!r:.60}, allowed: an object")
    end_ms, ms_played = _end_ms(row), row.get("ms_played")
    if type(ms_played) is not int or not 0 <= ms_played <= DAY_MS:
        raise InputError(f"ms_played: got {ms_played!r}, allowed: 0 to {DAY_MS}")
    for name in TEXTS:
        if not isinstance(row.get(name), str | None):
            raise InputError(f"{name}: got {row[name]!r}, allowed: a string or null")
    kind = next((kind for kind in KINDS if row.get(kind.uri)), None)
    if kind is None:
        return []
    start_ms, track_id = end_ms - ms_played, row[kind.uri]
    play: EventRow = {
        "event_id": event_id("spotify", user, "PLAY", start_ms, track_id, ms_played),
        "user_id": user,
        "track_id": track_id,
        "artist_id": name_id(row[kind.artist]) if row.get(kind.artist) else None,
        "event_type": "PLAY",
        "event_time_ms": start_ms,
        "content_type": kind.content_type,
        "device": (row.get("platform") or "")[:LONGEST_DEVICE] or None,
        "country": row.get("conn_country") or None,
    }
    event_type = ENDS.get(row.get("reason_end") or "", "STOP")
    end: EventRow = {
        **play,
        "event_id": event_id("spotify", user, event_type, start_ms, track_id, ms_played),
        "event_type": event_type,
        "event_time_ms": end_ms,
        "ms_played": ms_played,
    }
    return [play, end]


def _end_ms(row: dict[str, Any]) -> int:
    """`ts` as epoch milliseconds. A stamp without a zone is UTC."""
    try:
        stamp = datetime.fromisoformat(row["ts"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"ts: got {row.get('ts')!r}, allowed: 2018-11-01T21:01:46Z") from error
    aware = stamp if stamp.tzinfo else stamp.replace(tzinfo=UTC)
    return round(aware.timestamp() * 1_000)

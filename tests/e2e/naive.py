"""What eventsim's file says, read by hand: no schema, plan, engine or importer of ours has a part in it."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
SESSION_GAP = 30 * MINUTE


@dataclass(frozen=True)
class Heard:
    """One event: who, what, when; `played` of those that end a play."""

    user: str
    kind: str
    at: int
    song: tuple[str, str]
    played: int | None


def read(path: Path) -> list[Heard]:
    """Events in the order in which they are sent: by time, an end before the play that it makes way for."""
    songs: dict[str, list[dict[str, Any]]] = {}
    with gzip.open(path, "rt") as file:
        for row in map(json.loads, file):
            if row["page"] == "NextSong" and row["userId"]:
                songs.setdefault(row["userId"], []).append(row)
    events: list[Heard] = []
    for user, rows in songs.items():
        rows.sort(key=lambda row: row["ts"])
        for row, following in zip(rows, [*rows[1:], None], strict=True):
            song, length = (row["artist"], row["song"]), round(row["length"] * 1000)
            whole = row["ts"] + length
            end = whole if following is None else min(whole, following["ts"])
            kind = "COMPLETE" if end >= whole - 1000 else "SKIP"
            events += [Heard(user, "PLAY", row["ts"], song, None), Heard(user, kind, end, song, end - row["ts"])]
    return sorted(events, key=lambda e: (e.at, e.kind == "PLAY"))


def sessions(events: list[Heard]) -> set[tuple[str, int, int, int]]:
    """User, first and last event, number of events of every session by the 30-minute rule."""
    found: list[list[Heard]] = []
    current: dict[str, list[Heard]] = {}
    for event in events:
        mine = current.get(event.user)
        if mine is None or event.at - mine[-1].at > SESSION_GAP:
            mine = current[event.user] = []
            found.append(mine)
        mine.append(event)
    return {(one[0].user, one[0].at, one[-1].at, len(one)) for one in found}


def listener(events: list[Heard], user: str, now: int) -> dict[str, Any]:
    """The `listener` and `session` features at a moment."""
    stamp = now // 1000 * 1000
    mine = [e for e in events if e.user == user and e.at < stamp]

    def within(span: int, *kinds: str) -> list[Heard]:
        return [e for e in mine if e.at >= stamp - span and e.kind in kinds]

    plays, skips = len(within(HOUR, "PLAY")), len(within(HOUR, "SKIP"))
    ended = within(HOUR, "SKIP", "COMPLETE", "STOP")
    kept = sum((e.played or 0) >= 30_000 for e in ended)
    completes, early = len(within(HOUR, "COMPLETE")), sum((e.played or 0) < 5000 for e in within(HOUR, "SKIP"))
    recent = [e.song for e in reversed(mine) if e.kind == "PLAY"][:5]
    return {
        "listener__plays_1m": len(within(MINUTE, "PLAY")),
        "listener__plays_1h": plays,
        "listener__plays_1d": len(within(DAY, "PLAY")),
        "listener__skips_1h": skips,
        "listener__early_skips_1h": early,
        "listener__pauses_1h": 0,
        "listener__completes_1h": completes,
        "listener__listen_ms_1h": sum(e.played or 0 for e in ended),
        "listener__ends_1h": len(ended),
        "listener__kept_30s_1h": kept,
        "listener__artists_1h": len({e.song[0] for e in within(HOUR, "PLAY")}),
        "listener__skip_rate_1h": skips / plays if plays else None,
        "listener__early_skip_rate_1h": early / plays if plays else None,
        "listener__completion_rate_1h": completes / plays if plays else None,
        "listener__retention_30s_1h": kept / len(ended) if ended else None,
        "listener__last_5_tracks": recent or None,
        **_session(mine, stamp),
    }


def content(events: list[Heard], song: tuple[str, str], now: int) -> dict[str, Any]:
    """The `track` and `artist` features at a moment."""
    stamp = now // 1000 * 1000

    def count(span: int, kind: str, *, by_artist: bool) -> int:
        return sum(
            e.kind == kind and stamp - span <= e.at < stamp and (e.song[0] == song[0] if by_artist else e.song == song)
            for e in events
        )

    return {
        "track__plays_1m": count(MINUTE, "PLAY", by_artist=False),
        "track__plays_1h": count(HOUR, "PLAY", by_artist=False),
        "track__plays_1d": count(DAY, "PLAY", by_artist=False),
        "track__skips_1h": count(HOUR, "SKIP", by_artist=False),
        "artist__plays_1m": count(MINUTE, "PLAY", by_artist=True),
        "artist__plays_1h": count(HOUR, "PLAY", by_artist=True),
        "artist__plays_1d": count(DAY, "PLAY", by_artist=True),
    }


def daily(events: list[Heard], user: str, now: int, days: int) -> dict[str, int]:
    """Plays, skips and listening time of today so far and the `days` - 1 UTC days before."""
    stamp = now // 1000 * 1000
    since = stamp // DAY * DAY - (days - 1) * DAY
    mine = [e for e in events if e.user == user and since <= e.at < stamp]
    return {
        f"listener_daily__plays_{days}d": sum(e.kind == "PLAY" for e in mine),
        f"listener_daily__skips_{days}d": sum(e.kind == "SKIP" for e in mine),
        f"listener_daily__listen_ms_{days}d": sum(e.played or 0 for e in mine),
    }


def _session(mine: list[Heard], stamp: int) -> dict[str, Any]:
    names = ("session_start", "session_plays", "session_skips", "session_listen_ms")
    if not mine or stamp - mine[-1].at > SESSION_GAP:
        return dict.fromkeys((f"session__{n}" for n in names), None)
    first = len(mine) - 1
    while first and mine[first].at - mine[first - 1].at <= SESSION_GAP:
        first -= 1
    live = mine[first:]
    values = (
        live[0].at,
        sum(e.kind == "PLAY" for e in live),
        sum(e.kind == "SKIP" for e in live),
        sum(e.played or 0 for e in live),
    )
    return {f"session__{n}": v for n, v in zip(names, values, strict=True)}

"""Random event streams for the parity tests."""

from __future__ import annotations

import os
import random
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from features.entities import tracks
from playhead.dimensions import arrow_schema
from playhead.serving.spine import EVENT_TIMESTAMP
from schemas.tables import lake_arrow_schema

KEYS = ("user_id", "track_id", "artist_id")
_OWN = (*KEYS, "event_id")
DAY_MS = 86_400_000
START_MS = 1_541_030_399_000
"""A second before midnight UTC on the last of October 2018: day and month boundaries are near."""

TYPES = ["PLAY", "PAUSE", "RESUME", "SKIP", "COMPLETE", "STOP", "SEEK", "LIKE", "SEARCH", "IMPRESSION"]
STEPS = [0, 0, 1, 999, 1_000, 4_999, 29_000, 59_000, 60_000, 60_001, 1_799_999, 1_800_000, 1_800_001, 3_599_000]
STEPS += [3_599_999, 3_600_000, 86_400_000]


def random_events(seed: int, size: int, users: int = 3) -> list[dict[str, Any]]:
    """Events of a few users on few tracks, with gaps that sit on the windows' and sessions' bounds, and ties."""
    rng = random.Random(seed)
    now = START_MS + rng.randrange(2_000)
    events = _falling(now, size)
    for offset in range(size - len(events)):
        now += rng.choice(STEPS) if rng.random() < 0.6 else rng.randrange(200_000)
        if rng.random() < 0.2:
            now = -(-now // 1_000) * 1_000 + rng.choice([0, 0, 999])
        kind = rng.choice(TYPES)
        has_track = kind != "SEARCH"
        user, track = f"u{rng.randrange(users)}", f"t{rng.randrange(4)}" if has_track else None
        artist = f"a{rng.randrange(2)}" if has_track and rng.random() < 0.9 else None
        ms_played = rng.choice([0, 4_999, 5_000, 200_000]) if kind in ("SKIP", "COMPLETE", "STOP") else None
        events.append(_event(offset, user, kind, now, track, artist, ms_played))
    return events


def _users(seed: int) -> int:
    return {0: 1, 5: 500}.get(seed % 10, 3)


def random_tracks(seeds: range) -> pa.Table:
    """Versions of the tracks of `many_streams`: some from the beginning, some from about an event's moment on, one
    track not at all; nulls in them."""
    rows = []
    for seed in seeds:
        rng = random.Random(f"{seed}/tracks")
        times = [event["event_time_ms"] for event in random_events(seed, 60, _users(seed))]
        for track in range(3):
            moments = {0} if rng.random() < 0.5 else set()
            moments |= {rng.choice(times) + rng.choice([-1, 0, 0, 1]) for _ in range(3)}
            for moment in moments:
                genre = rng.choice(["pop", "jazz", "metal", None])
                own = {
                    "artist_id": f"a{rng.randrange(3)}",
                    "genre": genre,
                    "tempo": rng.randrange(600, 2_000),
                    "duration_ms": 1,
                }
                sound = {"valence": rng.randrange(1_001), "energy": rng.choice([None, rng.randrange(1_001)])}
                rows.append({"track_id": f"{seed}/t{track}", "valid_from_ms": moment, **own, **sound})
    return pa.Table.from_pylist(rows, schema=arrow_schema(tracks))


def seeds(few: int, many: int, at_once: int) -> list[range]:
    """Seeds of random streams, in parts: `few`, or with `make parity` `many`, from `PARITY_SEED` on."""
    first = int(os.environ.get("PARITY_SEED", "0"))
    end = first + (many if os.environ.get("PARITY") == "full" else few)
    return [range(start, min(start + at_once, end)) for start in range(first, end, at_once)]


def many_streams(seeds: range, size: int) -> list[dict[str, Any]]:
    """Random streams at once: the listeners, tracks and artists of one are in no other. Every tenth has one listener,
    every other tenth hundreds; they come in no order."""
    events = []
    for seed in seeds:
        for event in random_events(seed, size, _users(seed)):
            own = {name: f"{seed}/{event[name]}" for name in _OWN if event[name] is not None}
            events.append(event | own | {"kafka_offset": 100_000 * seed + event["kafka_offset"]})
    random.Random(seeds.start).shuffle(events)
    return events


def spine_of(events: list[dict[str, Any]], seed: int, size: int) -> pa.Table:
    """Random rows at `moments`, each of the listener, track and artist of one event."""
    rng = random.Random(seed)
    known = [e for e in events if e["artist_id"] is not None]
    rows = []
    for _ in range(size):
        event = rng.choice(known)
        [moment] = moments([event], rng.randrange(2**31), 1)
        rows.append({key: event[key] for key in KEYS} | {EVENT_TIMESTAMP: datetime.fromtimestamp(moment / 1_000, UTC)})
    schema = pa.schema([*((key, pa.string()) for key in KEYS), (EVENT_TIMESTAMP, pa.timestamp("us", "UTC"))])
    return pa.Table.from_pylist(rows, schema=schema)


def _event(
    offset: int, user: str, kind: str, time_ms: int, track: str | None, artist: str | None, ms_played: int | None
) -> dict[str, Any]:
    return dict.fromkeys(lake_arrow_schema().names) | {
        "event_id": f"e{offset}",
        "user_id": user,
        "track_id": track,
        "artist_id": artist,
        "event_type": kind,
        "event_time_ms": time_ms,
        "ms_played": ms_played,
        "content_type": "SONG",
        "kafka_partition": 0,
        "kafka_offset": offset,
        "late": False,
    }


def _falling(start_ms: int, size: int) -> list[dict[str, Any]]:
    """Plays of a listener of their own that end a second less than a window apart, each heard shorter than before."""
    times = [start_ms + n * 59_000 for n in range(min(6, size // 4))]
    return [_event(10_000 + n, "falling", "STOP", time_ms, "t0", "a0", 9_000 - n) for n, time_ms in enumerate(times)]


def as_table(events: list[dict[str, Any]]) -> pa.Table:
    """The events as the master data's Arrow table."""
    return pa.Table.from_pylist(events, schema=lake_arrow_schema())


def moments(events: list[dict[str, Any]], seed: int, size: int) -> list[int]:
    """Times to ask at: around each event, each expiry's bound, the session's end and midnight, to the millisecond."""
    rng = random.Random(seed)
    shifts = [0, 60_000, 3_600_000, 86_400_000, 1_800_000]
    near = [-1_000, -1, 0, 1, 999, 1_000, 1_001]
    found = [rng.choice(events)["event_time_ms"] + rng.choice(shifts) for _ in range(size)]
    midnights = [time_ms if rng.random() < 0.8 else -(-time_ms // DAY_MS) * DAY_MS for time_ms in found]
    return [time_ms + rng.choice(near) for time_ms in midnights]

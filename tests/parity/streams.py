"""Random event streams for the parity tests."""

from __future__ import annotations

import random
from typing import Any

import pyarrow as pa

from schemas.tables import lake_arrow_schema

START_MS = 1_541_030_399_000
"""A second before midnight UTC on the last of October 2018: day and month boundaries are near."""

TYPES = ["PLAY", "PAUSE", "RESUME", "SKIP", "COMPLETE", "STOP", "SEEK", "LIKE", "SEARCH", "IMPRESSION"]
STEPS = [0, 0, 1, 999, 1_000, 4_999, 60_000, 60_001, 1_799_999, 1_800_000, 1_800_001, 3_600_000, 86_400_000]


def random_events(seed: int, size: int, users: int = 3) -> list[dict[str, Any]]:
    """Events of a few users on few tracks, with gaps that sit on the windows' and sessions' bounds, and ties."""
    rng = random.Random(seed)
    now = START_MS + rng.randrange(2_000)
    events = []
    for offset in range(size):
        now += rng.choice(STEPS) if rng.random() < 0.6 else rng.randrange(200_000)
        kind = rng.choice(TYPES)
        has_track = kind != "SEARCH"
        events.append(
            dict.fromkeys(lake_arrow_schema().names)
            | {
                "event_id": f"e{offset}",
                "user_id": f"u{rng.randrange(users)}",
                "track_id": f"t{rng.randrange(4)}" if has_track else None,
                "artist_id": f"a{rng.randrange(2)}" if has_track and rng.random() < 0.9 else None,
                "event_type": kind,
                "event_time_ms": now,
                "ms_played": rng.choice([0, 4_999, 5_000, 200_000]) if kind in ("SKIP", "COMPLETE", "STOP") else None,
                "content_type": "SONG",
                "kafka_partition": 0,
                "kafka_offset": offset,
                "late": False,
            }
        )
    return events


def as_table(events: list[dict[str, Any]]) -> pa.Table:
    """The events as the master data's Arrow table."""
    return pa.Table.from_pylist(events, schema=lake_arrow_schema())


def moments(events: list[dict[str, Any]], seed: int, size: int) -> list[int]:
    """Times to ask at: around each event, each expiry's bound and the session's end, to the millisecond."""
    rng = random.Random(seed)
    shifts = [0, 60_000, 3_600_000, 86_400_000, 1_800_000]
    near = [-1_000, -1, 0, 1, 999, 1_000, 1_001]
    return [rng.choice(events)["event_time_ms"] + rng.choice(shifts) + rng.choice(near) for _ in range(size)]

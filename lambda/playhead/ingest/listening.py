"""How a made-up listener behaves: when sessions start, and what happens in one."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from playhead.ingest.catalogue import GENRES, Catalogue, Track
from playhead.ingest.events import EventRow

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS

RHYTHM = (3, 2, 1, 1, 1, 2, 5, 9, 10, 8, 7, 7, 8, 8, 7, 7, 8, 10, 11, 12, 13, 12, 9, 5)
"""How often a session starts in each hour of the listener's day."""

COUNTRIES = {"US": -6, "BR": -3, "GB": 0, "SE": 1, "DE": 1, "IN": 5, "JP": 9}
"""Country to its hours ahead of UTC."""

DEVICES = ("ios", "android", "web", "desktop", "speaker", "car")
VERSIONS = ("8.9.10", "8.9.12", "9.0.0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """One listener.

    Attributes:
        user_id: `user-00001`, ….
        country: ISO 3166 alpha-2; sets the hours of the day.
        device: what the listener uses.
        client_version: of the player.
        sessions_per_day: on average.
        genres: the two that are listened to most.
    """

    user_id: str
    country: str
    device: str
    client_version: str
    sessions_per_day: float
    genres: tuple[str, str]


def make_listener(number: int, seed: int) -> Listener:
    """Make up a listener; the same number and seed make the same one."""
    rng = random.Random(f"{seed}/listener/{number}")
    first, second = rng.sample(list(GENRES), 2)
    return Listener(
        user_id=f"user-{number:05d}",
        country=rng.choice(list(COUNTRIES)),
        device=rng.choice(DEVICES),
        client_version=rng.choice(VERSIONS),
        sessions_per_day=min(8.0, rng.lognormvariate(0.5, 0.6)),
        genres=(first, second),
    )


def session_starts(listener: Listener, day_ms: int, rng: random.Random) -> list[int]:
    """When the listener's sessions of one UTC day start, UTC epoch ms."""
    number = int(listener.sessions_per_day + rng.random())
    hours = rng.choices(range(24), RHYTHM, k=number)
    ahead = COUNTRIES[listener.country]
    return sorted(day_ms + (hour - ahead) % 24 * HOUR_MS + rng.randrange(HOUR_MS) for hour in hours)


def listen(listener: Listener, start_ms: int, catalogue: Catalogue, rng: random.Random) -> list[EventRow]:
    """Make up one session.

    Args:
        listener: whose.
        start_ms: when it starts, UTC epoch ms.
        catalogue: what can be played.
        rng: makes the session; the same state makes the same one.

    Returns:
        One event or more, in the order in which they happen; an end stands before a PLAY at the same instant.
    """
    return _Session(listener, start_ms, catalogue, rng).events()


class _Session:
    """A session while it is made up: the time that it is now, and what has happened."""

    def __init__(self, listener: Listener, start_ms: int, catalogue: Catalogue, rng: random.Random) -> None:
        self._listener, self._catalogue, self._rng = listener, catalogue, rng
        self._now_ms = start_ms
        self._events: list[EventRow] = []

    def events(self) -> list[EventRow]:
        """Let it happen, once."""
        offers = self._open()
        context, request_id = ("recommendation", self._name("request")) if offers else (self._context(), None)
        if request_id:
            self._show(offers, request_id)
        for track in self._queue(offers):
            if not self._play(track, context=context, request_id=request_id):
                break
            # A player that starts the next track itself does so within the same millisecond.
            self._now_ms += self._rng.choice((0, 0, self._rng.randint(1, 900), self._rng.randint(900, 20_000)))
        return self._events

    def _open(self) -> list[Track]:
        """What the session starts with: a search, or recommendations to choose from, or neither."""
        chance = self._rng.random()
        if chance < 0.2:
            self._add("SEARCH", content_type="SONG", context="search")
            self._now_ms += self._rng.randint(300, 8_000)
        return [self._pick() for _ in range(self._rng.randint(4, 8))] if chance > 0.6 else []

    def _show(self, offers: list[Track], request_id: str) -> None:
        for track in offers:
            self._add("IMPRESSION", track, context="recommendation", request_id=request_id)
            self._now_ms += self._rng.randint(5, 120)
        self._now_ms += self._rng.randint(200, 15_000)

    def _queue(self, offers: list[Track]) -> Iterator[Track]:
        """What is played. Who was offered something may play nothing."""
        yield from self._rng.sample(offers, self._rng.randint(0, 2)) if offers else [self._pick()]
        while self._rng.random() < 0.9:
            yield self._pick()

    def _play(self, track: Track, **fields: Any) -> bool:
        """Play one track; false when the session ends with it."""
        end, heard_ms = self._outcome(track)
        self._add("PLAY", track, position_ms=0, **fields)
        position_ms = 0
        for act, at_ms in self._acts(heard_ms):
            self._now_ms += at_ms - position_ms
            position_ms = at_ms
            self._add(act, track, position_ms=position_ms, **fields)
            if act == "PAUSE":
                self._now_ms += self._rng.randint(500, 240_000)
                self._add("RESUME", track, position_ms=position_ms, **fields)
        self._now_ms += heard_ms - position_ms
        if end is None:
            return False
        self._add(end, track, position_ms=heard_ms, ms_played=heard_ms, **fields)
        return end != "STOP"

    def _outcome(self, track: Track) -> tuple[str | None, int]:
        """How the play ends, and after how many milliseconds of listening. No end: the app was closed."""
        length_ms = track.duration_ms or self._rng.randint(60_000, 2 * HOUR_MS)
        chance = self._rng.random()
        if chance < 0.12:
            return "SKIP", self._rng.randint(300, 4_999)
        if chance < 0.30:
            return "SKIP", self._rng.randint(5_000, int(length_ms * 0.7))
        if chance < 0.36 or track.duration_ms is None:
            return "STOP", self._rng.randint(2_000, length_ms)
        if chance < 0.39:
            return None, self._rng.randint(1_000, length_ms)
        return "COMPLETE", length_ms - self._rng.randint(0, 800)

    def _acts(self, heard_ms: int) -> list[tuple[str, int]]:
        """What the listener does while the track plays, and at which position."""
        acts = [act for act, chance in (("PAUSE", 0.08), ("SEEK", 0.04), ("LIKE", 0.06)) if self._rng.random() < chance]
        return sorted(((act, self._rng.randint(0, heard_ms)) for act in acts), key=lambda act: act[1])

    def _pick(self) -> Track:
        chance = self._rng.random()
        first, second = self._listener.genres
        return self._catalogue.pick(self._rng, first if chance < 0.5 else second if chance < 0.75 else "")

    def _context(self) -> str:
        return self._rng.choice(("search", "album", f"playlist:{self._rng.randint(1, 50)}"))

    def _name(self, kind: str) -> str:
        return f"{kind}-{self._rng.getrandbits(64):016x}"

    def _add(self, event_type: str, track: Track | None = None, **fields: Any) -> None:
        listener = self._listener
        event: dict[str, str | int | None] = {
            "event_id": f"{self._rng.getrandbits(128):032x}",
            "user_id": listener.user_id,
            "event_type": event_type,
            "event_time_ms": self._now_ms,
            "device": listener.device,
            "country": listener.country,
            "client_version": listener.client_version,
        }
        if track is not None:
            event["track_id"], event["artist_id"] = track.track_id, track.artist_id
            event["duration_ms"], event["content_type"] = track.duration_ms, track.content_type
        self._events.append(event | fields)

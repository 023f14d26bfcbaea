"""Records that no right client sends, each with what must become of it."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from playhead.config import Settings
from schemas.decode import encode

KEY = b"o'clock`;--"
"""A user whose name is a test of its own, and the partition of all these records."""

YEAR_2099_MS = 4_070_908_800_000
_DELIVERY_SECONDS = 60


@dataclass(frozen=True)
class Poison:
    """A record and its fate.

    Attributes:
        name: what is wrong with it.
        value: the payload.
        time_ms: the record's timestamp.
        reason: of its dead letter; null when it brings an event.
        headers: of the record; the clock of a replay when null.
    """

    name: str
    value: bytes | None
    time_ms: int
    reason: str | None = None
    headers: Sequence[tuple[str, bytes | None]] | None = None


def event(event_id: str, time_ms: int, **values: Any) -> dict[str, Any]:
    """A play by the user of `KEY`."""
    return {
        "event_id": event_id,
        "user_id": KEY.decode(),
        "track_id": "t\n\u00e9'\"",
        "artist_id": "\U0001f3b8",
        "event_type": "PLAY",
        "event_time_ms": time_ms,
        "content_type": "SONG",
    } | values


def poison(at_ms: int) -> Iterator[Poison]:
    """Each kind of it, in a replay whose end is `at_ms`; every one that is an event is of that time."""
    rng = random.Random(1)
    good = encode(event("cut", at_ms))
    yield Poison("random bytes", b"\x07" + rng.randbytes(300), at_ms, "malformed")
    yield Poison("truncated", good[:3], at_ms, "malformed")
    yield Poison("empty", b"", at_ms, "missing_field:event_id")
    yield Poison("tombstone without the heartbeat's header", None, at_ms, "missing_field:event_id")
    yield Poison("unknown enum", encode(event("x", at_ms, event_type=99)), at_ms, "unknown_event_type")
    yield Poison(
        "greatest integer", encode(event("x", at_ms, position_ms=2**63 - 1)), at_ms, "out_of_range:position_ms"
    )
    yield Poison("a list's separator", encode(event("x", at_ms, track_id="a\x1fb")), at_ms, "out_of_range:track_id")
    yield Poison("10 MB", rng.randbytes(10_000_000), at_ms, "too_large")
    yield Poison("20 MB of nothing", bytes(20_000_000), at_ms, "too_large")
    years_ahead = encode(event("x", YEAR_2099_MS))
    yield Poison("event years ahead", years_ahead, at_ms, "time_out_of_range")
    yield Poison("event and record years ahead", years_ahead, YEAR_2099_MS, "time_out_of_range")
    yield Poison("record years ahead", encode(event("record ahead", at_ms)), YEAR_2099_MS)
    yield Poison("heartbeat of the year 2099", None, YEAR_2099_MS, None, _clock(at_ms, heartbeat=True))
    yield Poison("heartbeat with an event", encode(event("beats", at_ms)), at_ms, None, _clock(at_ms, heartbeat=True))
    yield from _clocks(at_ms)


def _clocks(at_ms: int) -> Iterator[Poison]:
    """Without a clock of its own a record is judged by the wall clock, which is years after a replay's end."""
    for value in (b"soon", b"", b"\xff\xfe", b"9" * 30, b"1e3", None):
        name = f"clock {value!r}"
        yield Poison(name, encode(event(name, at_ms)), at_ms, None, [("playhead-clock", value)])
    yield Poison("no clock", encode(event("no clock", at_ms)), at_ms, None, [])
    past = [("playhead-clock", b"-5")]
    yield Poison("clock before 1970", encode(event("x", at_ms)), at_ms, "time_out_of_range", past)
    tomorrow_ms = round(time.time() * 1_000) + 86_400_000
    yield Poison("ahead of the wall clock", encode(event("x", tomorrow_ms)), tomorrow_ms, "time_out_of_range", [])


def _clock(at_ms: int, *, heartbeat: bool = False) -> list[tuple[str, bytes | None]]:
    clock: list[tuple[str, bytes | None]] = [("playhead-clock", str(at_ms).encode())]
    return [*clock, ("playhead-heartbeat", b"1")] if heartbeat else clock


def send_poison(settings: Settings, records: Sequence[Poison], at_ms: int) -> None:
    """Send records in their order to the partition of `KEY`."""
    from confluent_kafka import Producer

    failures: list[Any] = []
    conf = {"compression.type": "gzip", "partitioner": "murmur2_random", "message.max.bytes": 100_000_000}
    producer = Producer(settings.kafka.client() | conf)
    for one in records:
        headers = _clock(at_ms) if one.headers is None else list(one.headers)
        producer.produce(
            settings.kafka.events_topic,
            one.value,
            key=KEY,
            timestamp=one.time_ms,
            headers=headers,
            on_delivery=lambda error, _: failures.append(error),
        )
    assert producer.flush(_DELIVERY_SECONDS) == 0
    assert set(failures) == {None}

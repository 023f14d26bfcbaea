"""Messages that a broken client might send: from a seed, of six kinds."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from playhead.config import Settings
from schemas.decode import CLOCK_HEADER, encode
from schemas.features_pb2 import FeatureRow, ServedFeatures

_USERS = 20
_DELIVERY_SECONDS = 60
_UNKNOWN_FIELD = b"\xa2\x06"
"""The tag of field 100, of bytes: the schema has none, so that it is skipped."""


@dataclass(frozen=True)
class Fuzzed:
    """A message: what kind of it, who sent it, when, and its bytes; None is a record without a value."""

    kind: str
    user: str
    time_ms: int
    value: bytes | None


def fuzzed(rng: random.Random, count: int, end_ms: int, max_bytes: int) -> Iterator[Fuzzed]:
    """Messages a tenth of a second apart, the last of `end_ms`; oversize ones are events larger than `max_bytes`."""
    for number in range(count):
        time_ms = end_ms - 100 * (count - 1 - number)
        user, kind = f"user-{rng.randrange(_USERS)}", rng.choice(list(KINDS))
        event = _event(rng, number, user, time_ms)
        yield Fuzzed(kind, user, time_ms, KINDS[kind](rng, event, max_bytes))


def send_fuzzed(settings: Settings, messages: list[Fuzzed], clock_ms: int) -> dict[tuple[int, int], Fuzzed]:
    """Send messages in their order; where each is, by partition and offset."""
    from confluent_kafka import Producer

    sent: dict[tuple[int, int], Fuzzed] = {}
    producer = Producer(settings.kafka.client() | {"compression.type": "gzip", "partitioner": "murmur2_random"})

    def delivered(message: Fuzzed) -> Callable[[Any, Any], None]:
        def note(error: Any, record: Any) -> None:
            assert error is None, error
            sent[record.partition(), record.offset()] = message

        return note

    for message in messages:
        producer.produce(
            settings.kafka.events_topic,
            message.value,
            key=message.user.encode(),
            timestamp=message.time_ms,
            headers=[(CLOCK_HEADER, str(clock_ms).encode())],
            on_delivery=delivered(message),
        )
        producer.poll(0)
    assert producer.flush(_DELIVERY_SECONDS) == 0
    assert len(sent) == len(messages)
    return sent


def _event(rng: random.Random, number: int, user: str, time_ms: int) -> bytes:
    kind = rng.choice(["PLAY", "PAUSE", "SKIP", "COMPLETE", "SEARCH", "LIKE"])
    ended = {"ms_played": rng.randint(0, 300_000), "duration_ms": 300_000} if kind in ("SKIP", "COMPLETE") else {}
    track = {} if kind == "SEARCH" else {"track_id": f"träck-{rng.randrange(50)}", "artist_id": "a\u202e\U0001f3b8"}
    return encode(
        {
            "event_id": f"fuzz-{number}",
            "user_id": user,
            "event_type": kind,
            "event_time_ms": time_ms,
            "content_type": rng.choice(["SONG", "PODCAST_EPISODE"]),
            "country": rng.choice(["SE", "", "DE"]),
            "client_version": "1.2.3",
        }
        | track
        | ended
    )


def _random(rng: random.Random, _event: bytes, _max_bytes: int) -> bytes:
    return rng.randbytes(rng.randrange(1, 200))


def _truncated(rng: random.Random, event: bytes, _max_bytes: int) -> bytes:
    return event[: rng.randrange(1, len(event))]


def _bit_flipped(rng: random.Random, event: bytes, _max_bytes: int) -> bytes:
    bits = bytearray(event)
    for _ in range(rng.choice([1, 1, 2, 8])):
        bits[rng.randrange(len(bits))] ^= 1 << rng.randrange(8)
    return bytes(bits)


def _wrong_schema(rng: random.Random, event: bytes, _max_bytes: int) -> bytes:
    row = FeatureRow(
        group="listener", fingerprint="f", entity=f"u{rng.random()}", event_timestamp_ms=rng.getrandbits(40)
    )
    served = ServedFeatures(request_id=f"r{rng.random()}", service="s", serve_time_ms=1, entities={"user_id": "u"})
    text = b'{"event_id": "%d", "user_id": "u", "event_type": "PLAY"}' % rng.getrandbits(60)
    wrapped = b"\x00\x00\x00\x00\x07" + event  # a schema registry's magic byte and schema id
    return rng.choice([row.SerializeToString(), served.SerializeToString(), text, wrapped, event.hex().encode()])


def _empty(rng: random.Random, _event: bytes, _max_bytes: int) -> bytes | None:
    return rng.choice([b"", None])


def _oversize(rng: random.Random, event: bytes, max_bytes: int) -> bytes:
    extra = max_bytes + rng.randrange(1_000)
    length = bytes([extra & 0x7F | 0x80, extra >> 7])
    return event + _UNKNOWN_FIELD + length + bytes(extra)


KINDS: dict[str, Callable[[random.Random, bytes, int], bytes | None]] = {
    "random": _random,
    "truncated": _truncated,
    "bit-flipped": _bit_flipped,
    "wrong schema": _wrong_schema,
    "empty": _empty,
    "oversize": _oversize,
}

"""Broken messages, each made so that its reason is certain without asking the decoder."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from playhead.ingest.events import EventRow
from schemas.decode import encode

AHEAD_MS = 74 * 365 * 86_400_000
"""How far ahead a broken clock is: 2025 becomes 2099."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A broken message.

    Attributes:
        payload: the bytes.
        reason: why the decoder must refuse them.
        time_ms: the record's timestamp, when it is not that of the moment.
    """

    payload: bytes
    reason: str
    time_ms: int | None = None


def _cut(event: EventRow, rng: random.Random, _max_bytes: int) -> Fault:
    # The first field is the event_id: a tag, a length, then so many bytes. A cut before their end leaves no message.
    return Fault(encode(event)[: 2 + rng.randrange(len(str(event["event_id"])))], "malformed")


def _noise(_event: EventRow, rng: random.Random, _max_bytes: int) -> Fault:
    # 7 is no wire type of protobuf.
    return Fault(b"\x07" + rng.randbytes(rng.randint(0, 200)), "malformed")


def _empty(_event: EventRow, _rng: random.Random, _max_bytes: int) -> Fault:
    return Fault(b"", "missing_field:event_id")


def _without_user(event: EventRow, _rng: random.Random, _max_bytes: int) -> Fault:
    return Fault(encode({**event, "user_id": None}), "missing_field:user_id")


def _unknown_type(event: EventRow, rng: random.Random, _max_bytes: int) -> Fault:
    return Fault(encode({**event, "event_type": rng.randint(64, 10_000)}), "unknown_event_type")


def _negative_position(event: EventRow, rng: random.Random, _max_bytes: int) -> Fault:
    return Fault(encode({**event, "position_ms": -rng.randint(1, 10_000)}), "out_of_range:position_ms")


def _clock_unset(event: EventRow, rng: random.Random, _max_bytes: int) -> Fault:
    return Fault(encode({**event, "event_time_ms": rng.randint(1, 1_000_000)}), "time_out_of_range")


def _clock_ahead(event: EventRow, rng: random.Random, _max_bytes: int) -> Fault:
    time_ms = int(event["event_time_ms"] or 0) + AHEAD_MS + rng.randint(0, 1_000_000)
    return Fault(encode({**event, "event_time_ms": time_ms}), "time_out_of_range", time_ms)


def _huge(event: EventRow, rng: random.Random, max_bytes: int) -> Fault:
    return Fault(encode({**event, "context": "x" * (max_bytes + rng.randint(0, 1_000))}), "too_large")


FAULTS: Mapping[Callable[[EventRow, random.Random, int], Fault], int] = {
    _cut: 6,
    _noise: 6,
    _empty: 3,
    _without_user: 4,
    _unknown_type: 4,
    _negative_position: 4,
    _clock_unset: 2,
    _clock_ahead: 2,
    _huge: 1,
}
"""Each kind of fault and how often it comes, relative to the others. Arguments: a right event, randomness, and the
largest message that is read, in bytes."""


def make_fault(event: EventRow, rng: random.Random, max_bytes: int) -> Fault:
    """Break a right event in one of the ways of `FAULTS`."""
    return rng.choices(list(FAULTS), list(FAULTS.values()))[0](event, rng, max_bytes)

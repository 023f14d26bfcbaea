"""What goes wrong on the last made-up day when it is asked to: a drill for the person on call, and for the checks."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from zlib import crc32

from playhead.ingest.events import EventRow
from playhead.ingest.listening import HOUR_MS

Defective = Callable[[EventRow, random.Random], Iterable[EventRow | bytes]]
"""A right event to what is sent in its place: events, or bytes that are none; nothing when it is lost."""


@dataclass(frozen=True, kw_only=True)
class Defect:
    """Something that goes wrong.

    Attributes:
        what: in a sentence, for `--help`.
        hours: of the last day, UTC, from the first to before the second.
        make: what becomes of an event.
    """

    what: str
    hours: tuple[int, int]
    make: Defective


def _without_artist(event: EventRow, _rng: random.Random) -> Iterator[EventRow]:
    yield {**event, "artist_id": None}


def _doubled(event: EventRow, rng: random.Random) -> Iterator[EventRow]:
    yield event
    # A quarter of the listeners, as a partition has them.
    if crc32(str(event["user_id"]).encode()) % 4 == 0:
        yield {**event, "event_id": f"{rng.getrandbits(128):032x}"}


def _lost(event: EventRow, rng: random.Random) -> Iterator[EventRow]:
    if rng.random() < 0.2:
        yield event


def _skipped(event: EventRow, _rng: random.Random) -> Iterator[EventRow]:
    yield {**event, "event_type": "SKIP"} if event["event_type"] == "COMPLETE" else event


def _unknown_track(event: EventRow, rng: random.Random) -> Iterator[EventRow]:
    new = f"track-new-{rng.randrange(50):02d}"
    yield event if event.get("track_id") is None else {**event, "track_id": new}


def _poisoned(event: EventRow, rng: random.Random) -> Iterator[EventRow | bytes]:
    # Here, because the command line says which defects there are.
    from schemas.decode import encode

    yield event
    if rng.random() < 0.5:
        yield encode(event)[:-1] + b"\xff"


DEFECTS: Mapping[str, Defect] = {
    "null-burst": Defect(what="events lose their artist_id", hours=(3, 6), make=_without_artist),
    "doubled-partition": Defect(what="a partition's events come twice, under new ids", hours=(6, 9), make=_doubled),
    "catalogue-gap": Defect(what="only tracks that no dimension knows", hours=(9, 12), make=_unknown_track),
    "shifted": Defect(what="whoever heard a track to its end skips it", hours=(12, 18), make=_skipped),
    "volume-drop": Defect(what="four of five events are lost", hours=(18, 21), make=_lost),
    "poisoned-producer": Defect(what="a broken message beside every other event", hours=(21, 24), make=_poisoned),
}
"""Name to defect; no two at the same time."""


def planted(
    event: EventRow, time_ms: int, last_day_ms: int, names: Iterable[str], rng: random.Random
) -> Iterable[EventRow | bytes]:
    """What is sent in place of a right event.

    Args:
        event: the event.
        time_ms: its time, UTC epoch ms.
        last_day_ms: the start of the day on which things go wrong.
        names: of `DEFECTS`.
        rng: decides whom they meet.

    >>> event = {"event_id": "1", "user_id": "u", "event_type": "COMPLETE", "artist_id": "a"}
    >>> [sent] = planted(event, 12 * HOUR_MS, 0, ["shifted", "volume-drop"], random.Random(1))
    >>> sent["event_type"], list(planted(event, 11 * HOUR_MS, 0, ["shifted"], random.Random(1))) == [event]
    ('SKIP', True)
    """
    for name in names:
        first, end = DEFECTS[name].hours
        if last_day_ms + first * HOUR_MS <= time_ms < last_day_ms + end * HOUR_MS:
            return DEFECTS[name].make(event, rng)
    return (event,)

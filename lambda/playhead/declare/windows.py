"""Windows: over which events a feature is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeAlias

from playhead.declare.place import declared_at
from playhead.errors import DeclarationError

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
SECOND = timedelta(seconds=1)


@dataclass(frozen=True)
class Sliding:
    """The last `length` before a moment, exact to the second: at T the events in `[T - length, T)`."""

    length: timedelta
    label: str


@dataclass(frozen=True)
class Lifetime:
    """All events before a moment."""

    label: str = "lifetime"


@dataclass(frozen=True)
class Session:
    """The listener's current session; null once `gap` has passed without an event. A gap of exactly `gap` continues."""

    gap: timedelta


@dataclass(frozen=True)
class Days:
    """Calendar days in UTC: today so far, and the N - 1 whole days before."""

    count: int
    label: str


@dataclass(frozen=True)
class LatestEvents:
    """The last `count` events that match, however long ago they were."""

    count: int
    label: str


@dataclass(frozen=True)
class Current:
    """What a dimension says at a moment."""


Window: TypeAlias = Sliding | Lifetime | LatestEvents | Session | Days | Current


def sliding(*labels: str) -> tuple[Sliding, ...]:
    """Sliding windows from labels of a number and one of s, m, h, d; from 1 second to 1 day.

    Raises:
        DeclarationError: a label that is not of that form or out of these bounds.

    >>> [w.length.total_seconds() for w in sliding("1m", "1h")]
    [60.0, 3600.0]
    """
    return tuple(Sliding(_length(label), label) for label in labels)


def lifetime() -> tuple[Lifetime, ...]:
    """All events so far; it goes with sliding windows: `over=(*sliding("1d"), *lifetime())`."""
    return (Lifetime(),)


def latest(*counts: int) -> tuple[LatestEvents, ...]:
    """Windows of the last events that match `where`; they go with sliding ones.

    Raises:
        DeclarationError: a count that is not between 1 and 1,000.

    >>> [w.label for w in latest(20)]
    ['last_20']
    """
    for count in counts:
        if not 1 <= count <= 1_000:
            raise DeclarationError(f"latest({count}) at {declared_at()}: it is not between 1 and 1,000")
    return tuple(LatestEvents(count, f"last_{count}") for count in counts)


def session(*, gap: timedelta = timedelta(minutes=30)) -> tuple[Session, ...]:
    """The current session."""
    return (Session(gap),)


def days(*counts: int) -> tuple[Days, ...]:
    """Windows of calendar days in UTC, merged from both layers: today so far, and the whole days before.

    >>> [w.label for w in days(7, 30)]
    ['7d', '30d']
    """
    return tuple(Days(count, f"{count}d") for count in counts)


def kind_of(window: Window) -> type[Sliding] | type[Session] | type[Days] | type[Current]:
    """Windows of one kind go into one group: a lifetime is a sliding window without an end."""
    return Sliding if isinstance(window, Lifetime | LatestEvents) else type(window)


def _length(label: str) -> timedelta:
    match = re.fullmatch(r"([1-9][0-9]*)([smhd])", label)
    if match is None:
        problem = f"window {label!r} at {declared_at()}: it is not a number and one of s, m, h, d"
        raise DeclarationError(problem, hint='"1m", "1h", "1d"')
    length = timedelta(**{_UNITS[match[2]]: int(match[1])})
    if not SECOND <= length <= timedelta(days=1):
        problem = f"window {label!r} at {declared_at()}: it is not between 1s and 1d"
        raise DeclarationError(problem, hint="days(7, 30) makes calendar windows")
    return length

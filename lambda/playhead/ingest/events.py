"""What an importer makes of files: events to send, and an account of the rows that made none."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import orjson

from playhead.errors import InputError

EventRow: TypeAlias = Mapping[str, str | int | None]
"""Column of `PlaybackEvent` to value: enums by name, None or absent = not set."""

SHOWN_PROBLEMS = 5
LONGEST_ID = 256
END_OF_TIME_MS = 253_402_300_800_000
"""The year 10000: what is later is no time in milliseconds."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A row that could not be read: where it stands and what was wrong.

    `row` counts from 1: the line of a file of lines, the element of a JSON array.
    """

    file: Path
    row: int
    reason: str
    detail: str

    def __str__(self) -> str:
        return f"{self.file}:{self.row}: {self.reason}: {self.detail}"


@dataclass(frozen=True, slots=True)
class Import:
    """What files hold.

    Attributes:
        events: the events, those of one user in the order in which they happened.
        rows: rows read, broken ones included.
        skipped: reason to number of rows that made no event.
        problems: the first few rows that could not be read; `skipped` counts all of them.
    """

    events: list[EventRow]
    rows: int
    skipped: Mapping[str, int]
    problems: tuple[Problem, ...]


@dataclass(slots=True)
class Tally:
    """The running account of an import."""

    rows: int = 0
    refused: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    problems: list[Problem] = field(default_factory=list)

    def skip(self, reason: str) -> None:
        """Count a row that is right but is no event of ours."""
        self.skipped[reason] += 1

    def refuse(self, file: Path, row: int, reason: str, detail: str) -> None:
        """Count a row that is wrong, and keep the first few for the reader to see."""
        self.skipped[reason] += 1
        self.refused += 1
        if len(self.problems) < SHOWN_PROBLEMS:
            self.problems.append(Problem(file, row, reason, detail))

    def close(self, events: list[EventRow], expected: str) -> Import:
        """The import's result.

        Args:
            events: the events that were made.
            expected: what a row of this format looks like, for the error.

        Raises:
            InputError: there are rows and all of them are broken: these are files of another format.
        """
        if self.problems and self.refused == self.rows:
            raise InputError(f"{self.problems[0]}", hint=f"none of {self.rows} rows is right; expected {expected}")
        return Import(events, self.rows, dict(self.skipped), tuple(self.problems))


def event_id(*parts: str | int) -> str:
    """An id that depends on the content only, so that a file replayed twice gives the same ids: 32 hex digits.

    >>> event_id("eventsim", "8", "PLAY", 1541106106796, "Des'ree/You Gotta Be")
    'b3e26554a06c4afcb34b56051f2a6891'
    """
    return hashlib.blake2b(orjson.dumps(parts), digest_size=16).hexdigest()


def name_id(*names: str) -> str:
    """An id made of names, readable as it is. Of several names, `%` and `/` are escaped, so different ones never meet.

    >>> name_id("AC/DC"), name_id("AC/DC", "Thunderstruck")
    ('AC/DC', 'AC%2FDC/Thunderstruck')
    """
    text = names[0] if len(names) == 1 else "/".join(n.replace("%", "%25").replace("/", "%2F") for n in names)
    if len(text) <= LONGEST_ID:
        return text
    return f"{text[: LONGEST_ID - 33]}~{event_id(text)}"

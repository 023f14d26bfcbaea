"""What features are about, and what events are enriched with; and what things may be called."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from playhead.declare.place import declared_at
from playhead.errors import DeclarationError

NAME = re.compile(r"(?=.{1,63}$)[a-z][a-z0-9]*(_[a-z0-9]+)*")
ALLOWED_NAMES = "allowed are words of a-z and 0-9 joined by single _, 63 characters"
_DECIMAL = re.compile(r"decimal\(([1-9])\)")
VALID_FROM_MS = "valid_from_ms"
"""The column of a dimension that says from when a row holds, epoch milliseconds."""

RESERVED = frozenset(
    {
        "arrival",
        "copy",
        "created_at",
        "dt",
        "end_ms",
        "entity",
        "event_time_ms",
        "event_timestamp",
        "event_timestamp_ms",
    }
    | {"events", "fingerprint", "group", "last_event_ms", "opened_ms", "rowtime", "second", "session_end_ms"}
    | {"session_start_ms", "since_ms", "tick_ms", "valid_from_ms"}
)
"""Columns of tables beside the features."""


@dataclass(frozen=True, kw_only=True)
class Entity:
    """What a feature is about. `key` is the event column, and the join key in Feast."""

    name: str
    key: str


@dataclass(frozen=True, kw_only=True)
class Dimension:
    """A versioned table of what something is: each row holds from its `valid_from` until the next row of its key.

    A group that is declared with `enrich=(tracks,)` has its columns beside those of the events, as of the event's time,
    under the dimension's name: `_.track_genre`. Where the dimension knows nothing they are null.

    Attributes:
        name: of the table, and what its columns begin with.
        key: the column of the events, and of the table, that finds a row.
        columns: column to its type: `string`, `int64`, or `decimal(N)`: a number with N digits behind the point, which
            is kept and computed with as a whole number of its last digit, so that sums are exact: 0.5 of a decimal(3)
            is 500.

    Raises:
        DeclarationError: a name or a type that is not allowed.

    >>> tracks = Dimension(name="track", key="track_id", columns={"genre": "string", "valence": "decimal(3)"})
    >>> tracks.event_columns
    {'track_genre': 'string', 'track_valence': 'int64'}
    >>> tracks.digits("valence")
    3
    """

    name: str
    key: str
    columns: Mapping[str, str]

    def __post_init__(self) -> None:
        for name in (self.name, *self.columns):
            if not NAME.fullmatch(name):
                raise self._error(f"name {name!r}: {ALLOWED_NAMES}")
        for column, kind in self.columns.items():
            if kind not in ("string", "int64") and not _DECIMAL.fullmatch(kind):
                raise self._error(f"column {column!r} is {kind!r}", hint="allowed: string, int64, decimal(1…9)")
        for column in sorted({*self.columns} & {*RESERVED, self.key}):
            raise self._error(f"{column!r} is a column that every table has")

    @property
    def types(self) -> dict[str, str]:
        """Column to the type that it is kept in: `string` or `int64`."""
        return {column: "string" if kind == "string" else "int64" for column, kind in self.columns.items()}

    @property
    def event_columns(self) -> dict[str, str]:
        """The same under the names that events have them by."""
        return {f"{self.name}_{column}": kind for column, kind in self.types.items()}

    def digits(self, column: str) -> int:
        """How many digits behind the point a column has; 0 of what is no decimal."""
        match = _DECIMAL.fullmatch(self.columns[column])
        return int(match[1]) if match else 0

    def _error(self, problem: str, hint: str | None = None) -> DeclarationError:
        return DeclarationError(f"dimension {self.name!r} at {declared_at()}: {problem}", hint=hint)

"""A table hour by hour, beside what is usual: how many rows, which fields are null, what came twice, what is unknown.

Usual is what the same weekday of the weeks before had; without one, what the days before had; on a first day nothing
is. An hour of few listeners differs from the next by chance, and events come in sessions, not one by one: how much they
differ anyway is taken from the usual days themselves, as the dispersion of a quasi-Poisson model (P. McCullagh,
J. Nelder, Generalized Linear Models, 2nd ed., 1989, section 6.2). A figure is out of bounds when it is further from the
usual than a setting allows, and further than chance explains; else it is null here, and the suites pass over it.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Any

from playhead.days import DAY
from playhead.objectives import CheckSettings

SINCE = "since"
"""Column of a profile: the start of the hour, ISO 8601."""
DT = "dt"
VOLUME = "volume"
DOUBLED = "doubled"

WEEKS_BACK = 4
DAYS_BACK = 7
# Hours in a row that are looked at together: a drop by half shows in six hours where it is chance in one.
_TOGETHER_HOURS = (1, 3, 6)
_SURPRISE = 8.0
"""Of what chance does not explain: the negative logarithm of its chance, about one in three thousand."""
FEWEST_ROWS = 750
"""On a usual day, of a table whose volume is judged: fewer are some thirty sessions, which chance may double."""
_SESSION_EVENTS = 30.0
"""Dispersion where there are no two days to take it from: about so many events come together."""


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What was counted of an hour; of a table by day, of a day.

    Attributes:
        since: its start, aware UTC.
        rows: how many.
        nulls: column to number of nulls.
        doubled: rows that say what another row says.
        keyed: dimension to rows that have its key.
        known: of them, those whose key it has.
        types: column to its type in the files, where it is not the expected one.
    """

    since: datetime
    rows: int
    nulls: Mapping[str, int] = field(default_factory=dict)
    doubled: int = 0
    keyed: Mapping[str, int] = field(default_factory=dict)
    known: Mapping[str, int] = field(default_factory=dict)
    types: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Usual:
    """What days to compare with had.

    Attributes:
        rows: of each day, rows by hour; one number of a table by day. At least one day.
        nulls: column to the median of the days' shares of nulls.
    """

    rows: tuple[tuple[int, ...], ...]
    nulls: Mapping[str, float] = field(default_factory=dict)

    @property
    def typical(self) -> list[float]:
        """The median of the days, by hour."""
        return [statistics.median(of_hour) for of_hour in zip(*self.rows, strict=True)]

    @property
    def dispersion(self) -> float:
        """The variance of an hour's rows, as a multiple of their number."""
        if len(self.rows) < 2:
            return _SESSION_EVENTS
        pairs = [(n, mean) for day in self.rows for n, mean in zip(day, self.typical, strict=True) if mean]
        freedom = len(pairs) * (len(self.rows) - 1) / len(self.rows)
        return max(1.0, sum((n - mean) ** 2 / mean for n, mean in pairs) / freedom) if freedom else _SESSION_EVENTS

    def of(self, columns: Collection[str]) -> Usual:
        """The same of these columns only."""
        return replace(self, nulls={name: share for name, share in self.nulls.items() if name in columns})

    def surprise(self, rows: int, mean: float) -> float:
        """Half the scaled deviance of a number of rows: about the negative logarithm of its chance."""
        # The mean is itself an estimate, by as many days.
        scale = self.dispersion * (1 + 1 / len(self.rows))
        return ((rows * math.log(rows / mean) if rows else 0.0) - rows + mean) / scale


def days_to_compare(day: date, there: Iterable[date]) -> list[date]:
    """Of the days that are there, the same weekday of the weeks before; without one, the days before.

    >>> week = [date(2026, 3, n) for n in range(1, 9)]
    >>> [[d.day for d in days_to_compare(date(2026, 3, n), week)] for n in (8, 3)]
    [[1], [1, 2]]
    """
    known = set(there)
    weeks = [day - 7 * n * DAY for n in range(WEEKS_BACK, 0, -1)]
    before = [day - n * DAY for n in range(DAYS_BACK, 0, -1)]
    return [d for d in weeks if d in known] or [d for d in before if d in known]


def profile(counts: Sequence[Counts], usual: Usual | None, checks: CheckSettings) -> list[dict[str, Any]]:
    """The rows of a day that the suites look at, one for each of its counts.

    Args:
        counts: of one day's hours, in order.
        usual: what it is held against; None when there is nothing.
        checks: what is allowed.

    Returns:
        `since`, `dt`, `rows`, and what is out of bounds: `volume` (share of the usual rows), `doubled` (share of rows),
        `null_rise(column)` (share of nulls above the usual share), `known(dimension)` (share of rows with its key),
        `type(column)`. Null: in bounds, or nothing to compare with.
    """
    dispersion = usual.dispersion if usual else _SESSION_EVENTS
    rows = [one.rows for one in counts]
    columns: dict[str, list[Any]] = {
        SINCE: [one.since.isoformat() for one in counts],
        DT: [one.since.date().isoformat() for one in counts],
        "rows": rows,
        VOLUME: _volume(rows, usual, checks),
        # Nothing doubles by sessions, so no dispersion.
        DOUBLED: _shares([one.doubled for one in counts], rows, checks.max_doubled, checks.max_doubled, 1.0),
    }
    for name, base in (usual.nulls if usual else {}).items():
        nulls = [one.nulls.get(name, 0) for one in counts]
        shares = _shares(nulls, rows, base, base + checks.max_null_rise, dispersion)
        columns[null_rise(name)] = [share if share is None else share - base for share in shares]
    for name in {name for one in counts for name in one.keyed}:
        keyed = [one.keyed.get(name, 0) for one in counts]
        unknown = [all_ - one.known.get(name, 0) for all_, one in zip(keyed, counts, strict=True)]
        shares = _shares(unknown, keyed, 1 - checks.min_known, 1 - checks.min_known, dispersion)
        columns[known(name)] = [share if share is None else 1 - share for share in shares]
    for name in {name for one in counts for name in one.types}:
        columns[type_of(name)] = [one.types.get(name) for one in counts]
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def null_rise(column: str) -> str:
    """Name of the profile's column of a column's nulls."""
    return f"null_rise({column})"


def known(dimension: str) -> str:
    """Name of the profile's column of what a dimension knows."""
    return f"known({dimension})"


def type_of(column: str) -> str:
    """Name of the profile's column of a column's type."""
    return f"type({column})"


def by_hour(day: date, counts: Mapping[datetime, Counts], until: datetime, step: timedelta) -> list[Counts]:
    """Every hour of a day that is over, those without rows too.

    Args:
        day: UTC.
        counts: by their start.
        until: now, aware: an hour that ends later is left out.
        step: an hour; a day, of a table by day.
    """
    begin = datetime.fromisoformat(f"{day}T00:00:00+00:00")
    starts = [begin + n * step for n in range(DAY // step)]
    return [counts.get(start) or Counts(since=start, rows=0) for start in starts if start + step <= until]


def _volume(rows: Sequence[int], usual: Usual | None, checks: CheckSettings) -> list[float | None]:
    """Of hours with too few or too many rows, their share of what is usual."""
    found: list[float | None] = [None] * len(rows)
    if usual is None or sum(usual.typical) < FEWEST_ROWS:
        return found
    typical, own = usual.typical[: len(rows)], list(rows)
    if len(typical) < len(own):  # only days are known: each hour is judged as its day
        typical, own = [usual.typical[0]], [sum(rows)]
    bad = _out_of_bounds(own, typical, usual, checks)
    share = [n / mean if mean else None for n, mean in zip(own, typical, strict=True)]
    if len(own) < len(rows):
        return [share[0] if bad else None] * len(rows)
    return [share[hour] if hour in bad else None for hour in range(len(rows))]


def _out_of_bounds(rows: Sequence[int], typical: Sequence[float], usual: Usual, checks: CheckSettings) -> set[int]:
    hours = range(len(rows))
    few = {h for h in hours if rows[h] < checks.min_volume * typical[h]}
    many = {h for h in hours if rows[h] > checks.max_volume * typical[h]}
    bad: set[int] = set()
    # A whole day tells little of when, so it is asked when no hours stand out.
    for length in (*(n for n in _TOGETHER_HOURS if n < len(rows)), len(rows)):
        if bad and length == len(rows):
            break
        for first in range(len(rows) - length + 1):
            together = range(first, first + length)
            n, mean = sum(rows[h] for h in together), sum(typical[h] for h in together)
            if not mean or usual.surprise(n, mean) < _SURPRISE:
                continue
            bad |= few & {*together} if n < checks.min_volume * mean else set()
            bad |= many & {*together} if n > checks.max_volume * mean else set()
    # The hours right before are part of it, though by themselves they might be chance.
    for side in (few, many):
        for hour in sorted(bad & side):
            while hour - 1 in side:
                hour -= 1
                bad.add(hour)
    return bad


def _shares(
    parts: Sequence[int], wholes: Sequence[int], expected: float, most: float, dispersion: float
) -> list[float | None]:
    """Of hours whose share is above `most`, the share, where chance does not explain the hour's, or not the day's."""

    def beyond(part: int, whole: int) -> bool:
        share = part / whole if whole else 0.0
        return share > most and _divergence(share, expected) * whole > _SURPRISE * dispersion

    of_day = beyond(sum(parts), sum(wholes))
    return [
        part / whole if whole and part / whole > most and (of_day or beyond(part, whole)) else None
        for part, whole in zip(parts, wholes, strict=True)
    ]


def _divergence(share: float, expected: float) -> float:
    """Of a share from the expected one, that of Kullback and Leibler: times a number of rows, how surprising it is.

    >>> round(_divergence(0.5, 0.01), 2), _divergence(0.2, 0.2)
    (1.61, 0.0)
    """
    p = min(max(expected, 0.01), 0.99)
    parts = ((share, p), (1 - share, 1 - p))
    return sum(own * math.log(own / whole) for own, whole in parts if own)

"""The batch calendar: what became of each day, by week."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum

from playhead.report.facts import Facts

WEEKS = 13
"""Weeks that are shown: 90 days."""

WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")

_DAY = timedelta(days=1)


class State(StrEnum):
    """What became of a day."""

    PUBLISHED = "published"
    OVERRIDDEN = "overridden"
    FAILED = "failed"
    MISSING = "missing"
    WAITING = "waiting"
    EMPTY = "no events"


MEANING: Mapping[State, str] = {
    State.PUBLISHED: "its views are out",
    State.OVERRIDDEN: "published although the gate failed",
    State.FAILED: "the gate failed, not published",
    State.MISSING: "has events, but no batch has published it",
    State.WAITING: "may still be published in time",
    State.EMPTY: "nothing to publish",
}
"""In words."""


@dataclass(frozen=True, kw_only=True)
class CalendarDay:
    """A UTC day and what became of it."""

    day: date
    state: State


@dataclass(frozen=True, kw_only=True)
class Calendar:
    """Whole weeks, the newest last.

    Attributes:
        weeks: each week's Monday.
        rows: for each weekday, the day of each week.
    """

    weeks: tuple[date, ...]
    rows: tuple[tuple[CalendarDay, ...], ...]

    @property
    def days(self) -> list[CalendarDay]:
        """All days, in order."""
        return sorted((each for row in self.rows for each in row), key=lambda each: each.day)

    @property
    def counts(self) -> dict[State, int]:
        """State to days, of those that have any."""
        found = Counter(each.state for each in self.days)
        return {state: found[state] for state in State if found[state]}

    @property
    def notable(self) -> list[tuple[State, list[str]]]:
        """The days that somebody may have to look at, as ISO dates."""
        by_state = ((state, [each.day.isoformat() for each in self.days if each.state is state]) for state in _NOTABLE)
        return [(state, days) for state, days in by_state if days]


_NOTABLE = (State.FAILED, State.MISSING, State.OVERRIDDEN)


def calendar_of(facts: Facts) -> Calendar | None:
    """The calendar up to the week of the newest day that has events or was published; None when there is none."""
    lake = facts.lake
    events = lake.events.by_day if lake.events else {}
    published = {*lake.published.days} if lake.published else set[str]()
    gate = facts.stages.gates
    known = sorted(filter(None, {*events, *published, *gate}))
    if not known:
        return None
    newest = lake.events.newest if lake.events else None
    due = newest - facts.max_batch_lag if newest else None

    def state(day: date) -> State:
        name = day.isoformat()
        if name in published:
            return State.PUBLISHED if gate.get(name, True) else State.OVERRIDDEN
        if not gate.get(name, True):
            return State.FAILED
        if name not in events:
            return State.EMPTY
        end = datetime.combine(day + _DAY, time.min, UTC)
        return State.MISSING if name < max(published, default="") or (due and end < due) else State.WAITING

    last = date.fromisoformat(known[-1])
    monday = last - last.weekday() * _DAY
    weeks = tuple(monday - 7 * back * _DAY for back in reversed(range(WEEKS)))
    rows = tuple(
        tuple(CalendarDay(day=week + n * _DAY, state=state(week + n * _DAY)) for week in weeks) for n in range(7)
    )
    return Calendar(weeks=weeks, rows=rows)

"""The backfill: the speed groups' changelog, made again from the master data by the same plan, late events included.

It goes by days. Of each day it keeps what it was made from: the declaration, the files of the events that its rows may
hold, and what dimensions say of these events. So a run makes what is missing, goes on where one was stopped, and finds
the days that late events have touched. Of groups with lists, windows of the latest events, lifetimes or sessions a row
may hold any event before it: their days are made in one go, and a late event touches every day after it.
"""

from __future__ import annotations

import functools
import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, TypeAlias

import structlog
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f

from playhead.batch.changelog import changelog
from playhead.batch.corrections import Correction, correction
from playhead.batch.digests import digest, forget, keep, kept
from playhead.batch.dimensions import enrichment_digests, read_dimensions
from playhead.batch.events import count_of, digest_of, read_events, span
from playhead.batch.jobs import side_by_side
from playhead.batch.session import spark_session
from playhead.batch.tables import count_rows, read_days, replace_days, replace_table
from playhead.checks import results
from playhead.config import Settings
from playhead.days import DAY, end_of
from playhead.declarations import load_declarations
from playhead.declare import SECOND
from playhead.errors import InputError, UnknownName
from playhead.lake_files import event_days
from playhead.plan import SpeedPlan
from playhead.pushed import pushed
from playhead.relations import T_MS

log = structlog.get_logger()

RESULT = "backfill_run"
DAYS_AT_ONCE = 31
"""A run that is stopped has to make again what it was at: at most so many days of each group."""

Progress: TypeAlias = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Backfill:
    """What was made.

    Attributes:
        events: events read, by all groups together.
        days: group to the number of days made; days that were as they should be are not among them.
        rows: group to the number of rows that it now has in the range.
        corrections: group to what healing has changed; those without a change are left out.
        seconds: how long it took.
    """

    events: int
    days: Mapping[str, int]
    rows: Mapping[str, int]
    corrections: Mapping[str, Correction]
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "events": self.events,
            "days": dict(self.days),
            "rows": dict(self.rows),
            "corrections": {name: each.to_json() for name, each in self.corrections.items()},
            "seconds": round(self.seconds, 1),
        }


@pushed("backfill", lambda done: {"days": sum(done.days.values()), "rows": sum(done.rows.values())})
def backfill(
    settings: Settings,
    *,
    first: date | None = None,
    last: date | None = None,
    groups: Iterable[str] = (),
    heal: bool = False,
    again: bool = False,
    progress: Progress = lambda _: None,
) -> Backfill:
    """Write `lake/backfill/<group>`: key, event_timestamp, features, created_at, dt, the day of the row's time.

    Args:
        settings: says where the lake is.
        first: first day to write, UTC; from the first event when None.
        last: last day to write, UTC; to the last row, past the last event, when None.
        groups: speed groups; all when empty.
        heal: only days that were made before and whose events are others now; what that changes is counted.
        again: also days that are as they should be.
        progress: is told what begins, how much there is to do, and about how long it takes.

    Raises:
        UnknownName: a group that the speed layer does not have.
        InputError: a range that ends before it begins, or no events to read.
    """
    plans = _plans(groups)
    if first and last and last < first:
        raise InputError(f"the range ends on {last}, before it begins on {first}")
    lake = settings.lake
    days = [day for day in event_days(lake) if last is None or day <= last]
    if not days:
        raise InputError(f"no events in {lake / 'events'}" + (f" up to {last}" if last else ""))
    wanted = {plan.name: _wanted(plan, days, first, last) for plan in plans}
    for name, own in wanted.items():
        if not own:
            raise InputError(f"group {name!r} has no rows from {first} on: the last event is of {days[-1]}")
    files = {day: digest_of(lake, day) for day in days}
    parts = {}
    for plan in plans:
        now = _digests(lake, plan, wanted[plan.name], files)
        pending = _pending(lake, plan, now, heal=heal, again=again)
        new = not heal and first is None and last is None and len(pending) == len(now)
        # A plan that reaches back for ever is made in one go: each part would read all that was before. And so is what
        # is healed, so that its changes are counted together.
        size = DAYS_AT_ONCE if plan.reach is not None and not heal else len(pending)
        parts[plan.name] = list(_parts(lake, plan, pending, days, size, new=new))
    work = _Work(settings, progress, [part for own in parts.values() for part in own], heal)
    if work.parts:
        work.announce()
        with spark_session(settings) as spark:
            side_by_side(functools.partial(work.make, spark, own) for own in parts.values())
    done = Backfill(
        events=work.events,
        days={name: sum(len(part.days) for part in own) for name, own in parts.items()},
        rows={name: count_rows(backfill_path(lake, name), own[0], own[-1]) for name, own in wanted.items()},
        corrections=work.corrections,
        seconds=time.monotonic() - work.began,
    )
    results.save(settings, RESULT, done.to_json())
    log.info("backfill written", **done.to_json())
    return done


def backfill_folder(lake: Path) -> Path:
    """Where the tables of the backfill are, one for each group."""
    return lake / "backfill"


def backfill_path(lake: Path, group: str) -> Path:
    """Where a group's backfill is."""
    return backfill_folder(lake) / group


@dataclass(frozen=True, kw_only=True)
class _Part:
    """Days of a group that are made at once, from the events of `inputs`, so many.

    `new`: whether they take the place of the whole table, and of its columns.
    """

    plan: SpeedPlan
    days: Mapping[date, str]
    inputs: Sequence[date]
    events: int
    new: bool

    @property
    def begins_ms(self) -> int:
        """No event before this moment is in a row of these days."""
        start = end_of(min(self.days) - DAY)
        return 0 if self.plan.reach is None else round((start - self.plan.reach - SECOND).timestamp()) * 1_000


def _wanted(plan: SpeedPlan, days: Sequence[date], first: date | None, last: date | None) -> list[date]:
    """The days that may have rows: those with events, and after each as many as its expiries reach into."""
    found = {day + n * DAY for day in days for n in range(((end_of(day) + plan.tail).date() - day).days + 1)}
    return sorted(day for day in found if (first is None or day >= first) and (last is None or day <= last))


def _digests(lake: Path, plan: SpeedPlan, wanted: Sequence[date], files: Mapping[date, str | None]) -> dict[date, str]:
    """Of each day what it would be made from now: the declaration, files of events, rows of dimensions."""
    known = enrichment_digests(lake, plan.dimensions)
    return {
        day: f"{plan.fingerprint} {digest(*(files[each] for each in _inputs(plan, day, list(files))), *known(day))}"
        for day in wanted
    }


def _pending(lake: Path, plan: SpeedPlan, now: Mapping[date, str], *, heal: bool, again: bool) -> dict[date, str]:
    """The days to make, each with what it will be made from."""
    made = kept(backfill_folder(lake)).get(plan.name, {}) if backfill_path(lake, plan.name).is_dir() else {}
    pending = {day: own for day, own in now.items() if again or own != made.get(day.isoformat())}
    if not heal:
        return pending
    # Not what another declaration has made: its rows differ, but no late event is the reason.
    own_days = {day for day, own in made.items() if str(own).startswith(plan.fingerprint)}
    return {day: own for day, own in pending.items() if day.isoformat() in own_days}


def _inputs(plan: SpeedPlan, day: date, days: Sequence[date]) -> list[date]:
    """The days whose events may be in a row of the day."""
    # A row of midnight's first moment holds the second before.
    since = date.min if plan.reach is None else (end_of(day - DAY) - plan.reach - SECOND).date()
    return [each for each in days if since <= each <= day]


def _parts(
    lake: Path, plan: SpeedPlan, pending: Mapping[date, str], days: Sequence[date], size: int, *, new: bool
) -> Iterator[_Part]:
    todo = sorted(pending)
    for at in range(0, len(todo), max(1, size)):
        own = todo[at : at + size]
        inputs = sorted({each for day in own for each in _inputs(plan, day, days)})
        made = {day: pending[day] for day in own}
        yield _Part(plan=plan, days=made, inputs=inputs, events=count_of(lake, inputs), new=new and at == 0)


class _Work:
    """One run: what there is to do, and the account of what was done."""

    def __init__(self, settings: Settings, progress: Progress, parts: Sequence[_Part], heal: bool) -> None:
        self.parts = parts
        self.events = 0
        self.corrections: dict[str, Correction] = {}
        self.began = time.monotonic()
        self._settings, self._progress, self._heal = settings, progress, heal
        self._total = sum(part.events for part in parts)
        self._created_at = datetime.now(UTC)
        self._lock = threading.Lock()

    def announce(self) -> None:
        """Say what will be made, and how long that takes by the rate of the last run."""
        for part in self.parts:
            self._progress(f"{part.plan.name}: {span(sorted(part.days))} from {part.events:,} events")
        before = results.load(self._settings, RESULT)
        if before and before["events"]:
            self._progress(f"about {_duration(self._total * before['seconds'] / before['events'])}, as the last run")

    def make(self, spark: SparkSession, parts: Sequence[_Part]) -> None:
        """Make a group's parts, one after the other; each is whole, and kept as made, before the next begins."""
        for part in parts:
            self._make(spark, part)
            with self._lock:
                self.events += part.events
                left = self._total - self.events
                seconds = (time.monotonic() - self.began) / self.events * left if self.events else 0
            made = f"{part.plan.name}: {span(sorted(part.days))} made"
            self._progress(f"{made}, about {_duration(seconds)} left" if left else made)

    def _make(self, spark: SparkSession, part: _Part) -> None:
        plan, lake = part.plan, self._settings.lake
        path, days = backfill_path(lake, plan.name), sorted(part.days)
        with self._lock:
            # The name of the events in the SQL is one for all threads, until the frame is made.
            events = read_events(spark, lake, part.inputs)
            since = events.where(events.event_time_ms >= part.begins_ms)
            rows = _rows(spark, plan, since, read_dimensions(spark, lake, plan.dimensions), self._created_at)
        texts = [day.isoformat() for day in days]
        rows = rows.where(rows.dt.isin(texts))
        if self._heal:
            rows = rows.persist()
            before = read_days(spark, path, days[0], days[-1])
            found = correction(before.where(before.dt.isin(texts)), rows, plan)
            if found.rows:
                self.corrections[plan.name] = found
                log.info("corrected", group=plan.name, **found.to_json())
        forget(backfill_folder(lake), plan.name, None if part.new or not path.is_dir() else days)
        if part.new:
            replace_table(rows, path)
        else:
            replace_days(rows, path, days)
        rows.unpersist()
        keep(backfill_folder(lake), {plan.name: part.days})


def _rows(
    spark: SparkSession,
    plan: SpeedPlan,
    events: DataFrame,
    dimensions: Mapping[str, DataFrame],
    created_at: datetime,
) -> DataFrame:
    rows = changelog(spark, plan, events, dimensions)
    moment = f.timestamp_millis(f.col(T_MS))
    return rows.select(
        plan.key,
        moment.alias("event_timestamp"),
        *(name for name, _ in plan.schema),
        f.lit(created_at).alias("created_at"),
        f.date_format(moment, "yyyy-MM-dd").alias("dt"),
    )


def _plans(groups: Iterable[str]) -> Sequence[SpeedPlan]:
    plans = {plan.name: plan for plan in load_declarations().speed_plans}
    for name in (wanted := list(groups)):
        if name not in plans:
            raise UnknownName("speed group", name, plans)
    return [plans[name] for name in wanted or plans]


def _duration(seconds: float) -> str:
    """
    >>> _duration(8.2), _duration(300)
    ('9 s', '5 min')
    """
    return f"{math.ceil(seconds)} s" if seconds < 120 else f"{math.ceil(seconds / 60)} min"

"""`check quality`: the suites of the gate, and those of changelogs and training sets, run without publishing."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import structlog
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f

from playhead.batch.events import SPARK_TYPES, files_of, read_by_day, read_events
from playhead.batch.profiles import (
    HOUR,
    Types,
    count_hours,
    counts_with,
    days_profile,
    event_types,
    events_profile,
    types_of,
)
from playhead.batch.session import cached, spark_session
from playhead.batch.tables import day_files, read_days, table_days
from playhead.checks.hand_written import Expectations, hand_written
from playhead.checks.hours import by_hour, profile
from playhead.checks.quality import Profile, Suite, validate
from playhead.checks.suites import (
    EVENTS,
    changelog_suite,
    events_suite,
    feature_types,
    gated_changelog,
    gated_events,
    gated_view,
    view_suite,
)
from playhead.checks.usual import unlike, usual
from playhead.checks.verdicts import Verdict, keep
from playhead.config import Settings
from playhead.declarations import Declarations
from playhead.declare import Dimension
from playhead.errors import InputError, UnknownName
from playhead.lake_files import event_days, folder_days
from playhead.plan import DailyPlan, SpeedPlan
from playhead.serving.delta import delta_table

log = structlog.get_logger()

CHANGELOG = "changelog:"
"""Before a group's name: its archive `lake/speed` and its backfill `lake/backfill`."""


@dataclass(frozen=True, kw_only=True)
class _Work:
    """What a check works with."""

    settings: Settings
    spark: SparkSession
    dimensions: Sequence[Dimension]
    written: Expectations
    now: datetime

    @property
    def lake(self) -> Path:
        return self.settings.lake

    def more(self, name: str) -> Sequence[Any]:
        return self.written.get(name, ())


Check = Callable[[_Work, date | None], tuple[date, Verdict] | None]
"""Judges a table on a day, or its last one; None where it is not there."""


def check_quality(
    settings: Settings,
    declarations: Declarations,
    *,
    day: date | None = None,
    tables: Iterable[str] = (),
    now: datetime | None = None,
) -> list[tuple[date, Verdict]]:
    """Judge tables of the lake on a day, and keep what was found.

    Args:
        settings: says where the lake is, and what is allowed.
        declarations: what is declared.
        day: UTC; the last that a table has when None.
        tables: `events`, a daily view, `changelog:GROUP`; all that are there when none is named.
        now: of events, hours that end later are left out; the wall clock when None.

    Returns:
        The day and the verdict of each table that is there, in the order of the tables. They are kept as the result
        `quality`, as readings and in the Data Docs.

    Raises:
        UnknownName: no such table.
        InputError: a table that was named is not there, or nothing is.
        ConfigError: from the hand-written expectations.
    """
    at, wanted = now or datetime.now(UTC), list(tables)
    checks = _checks(declarations)
    for name in wanted:
        if name not in checks:
            raise UnknownName("table", name, checks)
    written = hand_written(declarations)
    found: list[tuple[date, Verdict]] = []
    with spark_session(settings) as spark:
        work = _Work(settings=settings, spark=spark, dimensions=declarations.dimensions, written=written, now=at)
        for name in wanted or checks:
            done = [one for one in (check(work, day) for check in checks[name]) if one is not None]
            if not done and wanted:
                raise InputError(f"{name}: there is none in {settings.lake}")
            found += done
    if not found:
        raise InputError(f"nothing to check in {settings.lake}")
    by_day: dict[date, list[Verdict]] = {}
    for one, verdict in found:
        by_day.setdefault(one, []).append(verdict)
        log.info("quality", table=verdict.suite, day=str(one), failures=len(verdict.failures))
    keep(settings, by_day, whole=False, now=at)
    return found


def _checks(declarations: Declarations) -> dict[str, list[Check]]:
    """Table to what judges it."""
    views: dict[str, list[Check]] = {
        plan.name: [functools.partial(_view, plan=plan)] for plan in declarations.daily_plans
    }
    changelogs: dict[str, list[Check]] = {
        f"{CHANGELOG}{plan.name}": [functools.partial(_speed, plan=plan), functools.partial(_backfill, plan=plan)]
        for plan in declarations.speed_plans
    }
    return {EVENTS: [_events], **views, **changelogs}


def _events(work: _Work, day: date | None) -> tuple[date, Verdict] | None:
    there = event_days(work.lake)
    if not there:
        return None
    day = day or there[-1]
    types = event_types(work.lake, [day])
    with cached(read_events(work.spark, work.lake, [day], cast=types.files)) as events:
        rows = events_profile(work.spark, work.settings, events, [day], work.dimensions, types, now=work.now)
        suite = events_suite([day], work.settings.checks, work.dimensions, work.more(EVENTS))
        return day, validate(gated_events(events), suite, [day], rows)


def _view(work: _Work, day: date | None, *, plan: DailyPlan) -> tuple[date, Verdict] | None:
    path = work.lake / "views" / plan.name
    there = table_days(path)
    if not there:
        return None
    day = day or there[-1]
    view = read_days(work.spark, path, day, day)
    with cached(gated_view(plan, view)) as gated:
        other = _unlike(path, plan)
        rows = days_profile({day: gated.count()}, path, work.settings.checks, other)
        suite = view_suite(plan, [day], work.settings.checks, work.more(plan.name))
        return day, validate(gated, suite, [day], rows)


def _speed(work: _Work, day: date | None, *, plan: SpeedPlan) -> tuple[date, Verdict] | None:
    path = work.lake / "speed" / plan.name
    there = folder_days(path)
    if not there:
        return None
    day = day or _last(work, there)
    expected = feature_types(plan)
    types = types_of([day], functools.partial(files_of, path), expected)
    columns = {plan.key: "STRING", "event_timestamp": "TIMESTAMP", "created_at": "TIMESTAMP"}
    columns |= {name: _spark_type(kind) for name, kind in expected.items()}
    rows = read_by_day(work.spark, path, [day], columns, cast=types.files)
    gated, files = gated_changelog(plan, rows, archive=True), functools.partial(files_of, path)
    return day, _changelog(work, plan, f"speed:{plan.name}", gated, day, types, there, files)


def _backfill(work: _Work, day: date | None, *, plan: SpeedPlan) -> tuple[date, Verdict] | None:
    path = work.lake / "backfill" / plan.name
    there = table_days(path)
    if not there:
        return None
    day = day or _last(work, there)
    start = datetime.combine(day, datetime.min.time(), UTC)
    gated = gated_changelog(plan, read_days(work.spark, path, day, day), archive=False)
    types = Types(hours={start: _unlike(path, plan)})
    files = functools.partial(day_files, path)
    return day, _changelog(work, plan, f"backfill:{plan.name}", gated, day, types, there, files)


def _changelog(
    work: _Work,
    plan: SpeedPlan,
    name: str,
    gated: DataFrame,
    day: date,
    types: Types,
    there: Sequence[date],
    files: Callable[[date], Sequence[Path]],
) -> Verdict:
    features = [*feature_types(plan)]
    with cached(gated) as rows:
        counts = counts_with(count_hours(rows, f.col("moment_ms"), features), types)
        hours = by_hour(day, counts, work.now, HOUR)
        before = usual(day, there, files)
        held: Profile = profile(hours, before and before.of(features), work.settings.checks)
        suite: Suite = changelog_suite(plan, name, work.settings.checks, work.more(plan.name))
        return validate(rows, suite, [day], held)


def _last(work: _Work, there: Sequence[date]) -> date:
    """The last day that has events: rows after it only fall out of windows."""
    events = event_days(work.lake)
    return max((day for day in there if not events or day <= events[-1]), default=there[-1])


def _unlike(path: Path, plan: SpeedPlan | DailyPlan) -> Mapping[str, str]:
    """Columns of a Delta table that have another type than declared."""
    table = delta_table(path)
    types = {field.name: str(field.type) for field in table.to_pyarrow_dataset().schema} if table else {}
    return unlike(types, feature_types(plan))


def _spark_type(kind: str) -> str:
    """
    >>> _spark_type("int64"), _spark_type("list<item: string>")
    ('BIGINT', 'ARRAY<STRING>')
    """
    if kind.startswith("list<"):
        return f"ARRAY<{_spark_type(kind.partition(': ')[2].removesuffix('>'))}>"
    return {**SPARK_TYPES, "double": "DOUBLE"}[kind]

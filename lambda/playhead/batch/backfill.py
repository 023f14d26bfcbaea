"""The speed groups' changelog once more, from the master data, by the same plan. Late events are in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from pathlib import Path

import structlog
from pyspark.sql import DataFrame
from pyspark.sql import functions as f

from playhead.batch.changelog import changelog
from playhead.batch.events import event_days, read_events
from playhead.batch.session import spark_session
from playhead.batch.tables import replace_all, replace_days
from playhead.config import Settings
from playhead.declarations import Declarations
from playhead.errors import InputError
from playhead.plan import SessionPlan, SlidingPlan
from playhead.relations import T_MS

log = structlog.get_logger()

Progress = Callable[[str], None]


def run_backfill(
    settings: Settings,
    declarations: Declarations,
    *,
    first: date | None = None,
    last: date | None = None,
    groups: Sequence[str] = (),
    progress: Progress = lambda _: None,
) -> dict[str, int]:
    """Write `lake/backfill/<group>`: Delta, by day, in the columns of `lake/speed/<group>`.

    A row depends on all events before it (sessions and last-K lists have no end), so all days up to `last` are read;
    only the rows of the range are written. Running a range again gives the same.

    Args:
        settings: says where the lake is.
        declarations: what is declared.
        first: first UTC day of rows; None: the first there is.
        last: last UTC day of rows; None: everything, expiries after the last event included.
        groups: names of speed groups; empty: all.
        progress: is told what begins.

    Returns:
        Group to number of rows written.

    Raises:
        InputError: there are no events, or the range is empty.
        UnknownName: no such group.
    """
    days = [day for day in event_days(settings.lake) if last is None or day <= last]
    if not days or (first is not None and last is not None and first > last):
        raise InputError(f"no events to backfill from in {settings.lake / 'events'} up to {last or 'the end'}")
    wanted = {declarations.group(name).name for name in groups}
    plans = [plan for plan in declarations.speed_plans if not wanted or plan.name in wanted]
    with spark_session(settings) as spark:
        events = read_events(spark, settings.lake, days).cache()
        written = {}
        for plan in plans:
            progress(f"backfilling {plan.name}")
            rows = _stamped(plan, changelog(spark, plan, events))
            written[plan.name] = _write(rows, backfill_path(settings.lake, plan.name), first, last)
            log.info("backfilled", group=plan.name, rows=written[plan.name], days=len(days))
        events.unpersist()
    return written


def backfill_path(lake: Path, group: str) -> Path:
    """The table of a group's backfill."""
    return lake / "backfill" / group


def _stamped(plan: SlidingPlan | SessionPlan, rows: DataFrame) -> DataFrame:
    at = f.timestamp_millis(f.col(T_MS))
    features = [name for name, _ in plan.schema]
    return rows.select(
        plan.key,
        at.alias("event_timestamp"),
        *features,
        f.lit(datetime.now(UTC)).alias("created_at"),
        f.date_format(at, "yyyy-MM-dd").alias("dt"),
    )


def _write(rows: DataFrame, path: Path, first: date | None, last: date | None) -> int:
    if first is not None:
        rows = rows.where(f.col("dt") >= first.isoformat())
    if last is not None:
        rows = rows.where(f.col("dt") <= last.isoformat())
    rows = rows.cache()
    try:
        if first is None and last is None:
            replace_all(rows, path)
        else:
            days = [date.fromisoformat(row.dt) for row in rows.select("dt").distinct().toLocalIterator()]
            if days:
                replace_days(rows, path, sorted(days))
        return int(rows.count())
    finally:
        rows.unpersist()

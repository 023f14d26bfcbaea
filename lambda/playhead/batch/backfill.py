"""The backfill: the speed groups' changelog, made again from the master data by the same plan, late events included."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, TypeAlias

import structlog
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as f

from playhead.batch.changelog import changelog
from playhead.batch.events import event_days, read_events
from playhead.batch.jobs import side_by_side
from playhead.batch.session import spark_session
from playhead.batch.tables import replace_between
from playhead.config import Settings
from playhead.declarations import load_declarations
from playhead.errors import InputError, UnknownName
from playhead.plan import SessionPlan, SlidingPlan
from playhead.relations import T_MS

log = structlog.get_logger()

SpeedPlan: TypeAlias = SlidingPlan | SessionPlan


@dataclass(frozen=True, kw_only=True)
class Backfill:
    """What was made.

    Attributes:
        events: events read.
        rows: group to the number of rows written.
        seconds: how long it took.
    """

    events: int
    rows: Mapping[str, int]
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"events": self.events, "rows": dict(self.rows), "seconds": round(self.seconds, 1)}


def backfill(
    settings: Settings,
    *,
    first: date | None = None,
    last: date | None = None,
    groups: Iterable[str] = (),
    progress: Callable[[str], None] = lambda _: None,
) -> Backfill:
    """Write `lake/backfill/<group>`: key, event_timestamp, features, created_at, dt, the day of the row's time.

    With a range, only its days are replaced, but every event up to `last` is read: a session or a list of the latest
    tracks may have begun at any time before. Without `last`, rows go on past the last event, until its expiries.

    Args:
        settings: says where the lake is.
        first: first day to write, UTC; from the first event when None.
        last: last day to write, UTC; to the last row when None.
        groups: speed groups; all when empty.
        progress: is told what begins.

    Raises:
        UnknownName: a group that the speed layer does not have.
        InputError: a range that ends before it begins, or no events to read.
    """
    plans = _plans(groups)
    if first and last and last < first:
        raise InputError(f"the range ends on {last}, before it begins on {first}")
    days = [day for day in event_days(settings.lake) if last is None or day <= last]
    if not days:
        raise InputError(f"no events in {settings.lake / 'events'}" + (f" up to {last}" if last else ""))
    began, created_at = time.monotonic(), datetime.now(UTC)
    progress("starting Spark")
    with spark_session(settings) as spark:
        events = read_events(spark, settings.lake, days).persist()
        progress(f"making the changelog of {', '.join(plan.name for plan in plans)}")
        frames = {plan.name: _rows(spark, plan, events, created_at).where(_between(first, last)) for plan in plans}
        paths = {name: backfill_path(settings.lake, name) for name in frames}
        side_by_side(
            functools.partial(replace_between, frames[name], path, first, last) for name, path in paths.items()
        )
        # From the table, because the frame would be computed again.
        tables = {name: spark.read.format("delta").load(str(path)) for name, path in paths.items()}
        done = Backfill(
            events=events.count(),
            rows={name: table.where(_between(first, last)).count() for name, table in tables.items()},
            seconds=time.monotonic() - began,
        )
        events.unpersist()
    log.info("backfill written", **done.to_json())
    return done


def backfill_path(lake: Path, group: str) -> Path:
    """Where a group's backfill is."""
    return lake / "backfill" / group


def _rows(spark: SparkSession, plan: SpeedPlan, events: DataFrame, created_at: datetime) -> DataFrame:
    rows = changelog(spark, plan, events)
    moment = f.timestamp_millis(f.col(T_MS))
    return rows.select(
        plan.key,
        moment.alias("event_timestamp"),
        *(name for name, _ in plan.schema),
        f.lit(created_at).alias("created_at"),
        f.date_format(moment, "yyyy-MM-dd").alias("dt"),
    )


def _between(first: date | None, last: date | None) -> Column:
    inside = f.lit(True)
    if first:
        inside &= f.col("dt") >= first.isoformat()
    if last:
        inside &= f.col("dt") <= last.isoformat()
    return inside


def _plans(groups: Iterable[str]) -> Sequence[SpeedPlan]:
    plans = {plan.name: plan for plan in load_declarations().speed_plans}
    for name in (wanted := list(groups)):
        if name not in plans:
            raise UnknownName("speed group", name, plans)
    return [plans[name] for name in wanted or plans]

"""A batch day, from events to published views.

    events ── gate ──▶ partials ──▶ views ── gate ──▶ lake/views ──▶ partials to the online store ──▶ mark

Nothing of a day is written before its events pass, and nothing of it is published before its views pass; the last good
day then stays. A person may decide otherwise, for a reason that is kept. Running a day again gives the same.
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import ibis
import pyarrow as pa
import structlog
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f

from playhead.batch.charts import CATALOG, LENGTHS, LISTENING, charts, listening
from playhead.batch.dimensions import read_dimensions
from playhead.batch.events import read_events, span
from playhead.batch.jobs import side_by_side
from playhead.batch.partials import partials_path, pending, write_partials
from playhead.batch.profiles import Types, days_profile, event_types, events_profile, types_profile
from playhead.batch.publish import publish_lists, publish_partials
from playhead.batch.session import cached, spark_session
from playhead.batch.sql import run
from playhead.batch.tables import read_days, replace_days, stamped
from playhead.checks import quality, results
from playhead.checks.hand_written import Expectations, hand_written
from playhead.checks.suites import EVENTS, events_suite, gated_events, gated_view, view_suite
from playhead.checks.verdicts import RESULT as QUALITY
from playhead.checks.verdicts import Override, Verdict, keep, record_override
from playhead.config import Settings
from playhead.days import DAY, BatchDays, PartialTable, days_table, end_ms_of, end_of, lengths_of, view_rows
from playhead.declarations import load_declarations
from playhead.declare import VALID_FROM_MS, Dimension
from playhead.dimensions import table_name
from playhead.errors import InputError, QualityError
from playhead.plan import DailyPlan
from playhead.published import published, with_days, write_mark
from playhead.pushed import pushed
from playhead.serving.fallbacks import POOL, TOP_TRACKS
from playhead.serving.online import Written, open_online_store

log = structlog.get_logger()

RESULT = "batch"
Progress = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class DailyRun:
    """What a run has published.

    Attributes:
        days: the days, in order.
        events: events of all days whose partials were computed.
        computed: days whose partials were computed, those before the first published day included.
        views: view to number of rows.
        online: group, or list, to rows written and ignored.
        despite: days that failed and were published all the same.
        seconds: how long it took.
    """

    days: tuple[date, ...]
    events: int
    computed: int
    views: Mapping[str, int]
    online: Mapping[str, Written]
    despite: tuple[date, ...]
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "days": [day.isoformat() for day in self.days],
            "published": self.days[-1].isoformat(),
            "events": self.events,
            "days_computed": self.computed,
            "views": dict(self.views),
            "online": {name: {"written": w.written, "ignored": w.ignored} for name, w in self.online.items()},
            "despite": [day.isoformat() for day in self.despite],
            "seconds": round(self.seconds, 1),
        }


@pushed("batch", lambda done: {"days": len(done.days), "events": done.events, "rows": sum(done.views.values())})
def run_days(
    settings: Settings,
    days: Iterable[date],
    *,
    override: Override | None = None,
    progress: Progress = lambda _: None,
) -> DailyRun:
    """Run batch days, in order and in one session.

    Partials of earlier days that a window needs and that are missing, or were made from other files or for another
    declaration, are computed on the way.

    Args:
        settings: says where the lake and the online store are.
        days: UTC days; each must have events.
        override: publish days that fail too. Who decided so, why, and what failed is kept, see `record_override`.
        progress: is told what begins.

    Returns:
        What was published. The same is kept as the result `batch`, the verdicts of the gate as `quality`.

    Raises:
        InputError: no day was given, or one that is not over.
        QualityError: a day failed its gate, and there is no override. It names the day, the suite and the expectation.
            The days before it were published.
        StackError: the online store does not answer.
    """
    wanted = sorted(set(days))
    if not wanted:
        raise InputError("no day to run")
    if end_of(wanted[-1]) > datetime.now(UTC):
        raise InputError(
            f"{wanted[-1]} is not over in UTC",
            hint="a day is published whole; until it is over, the speed layer has it",
        )
    began = time.monotonic()
    # Before the minutes of work, and because Spark would hide what an executor's error says.
    with open_online_store(settings.redis):
        progress("starting Spark")
    with spark_session(settings) as spark:
        declarations = load_declarations()
        batch = _Batch(
            settings,
            spark,
            declarations.daily_plans,
            declarations.dimensions,
            hand_written(declarations),
            override,
            progress,
        )
        good = batch.write_partials(wanted)
        good = batch.write_views(good) if good else []
        if good:
            batch.publish(good)
    done = DailyRun(
        days=tuple(good),
        events=batch.events,
        computed=batch.computed,
        views=batch.views,
        online=batch.online,
        despite=tuple(batch.failed) if override else (),
        seconds=time.monotonic() - began,
    )
    if good:
        log.info("batch days published", days=span(good), events=done.events, seconds=round(done.seconds, 1))
        results.save(settings, RESULT, done.to_json())
    if override is None:
        batch.raise_failure()
    return done


@dataclass
class _Batch:
    """One run: what it works with, and the account of what it has done so far."""

    settings: Settings
    spark: SparkSession
    plans: Sequence[DailyPlan]
    dimensions: Sequence[Dimension]
    written: Expectations
    override: Override | None
    progress: Progress
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    events: int = 0
    computed: int = 0
    views: dict[str, int] = field(default_factory=dict)
    online: dict[str, Written] = field(default_factory=dict)
    verdicts: dict[date, list[Verdict]] = field(default_factory=dict)

    @property
    def lake(self) -> Path:
        return self.settings.lake

    @property
    def failed(self) -> dict[date, list[Verdict]]:
        """Days to verdicts that fail, in order."""
        found = {day: [v for v in own if not v.success] for day, own in sorted(self.verdicts.items())}
        return {day: own for day, own in found.items() if own}

    def write_partials(self, wanted: Sequence[date]) -> list[date]:
        """Read, gate and sum the events; return the wanted days that passed."""
        tables = (*map(PartialTable.of, self.plans), listening(self.plans))
        todo = pending(self.lake, tables, self._calendar(wanted).window_days, again=wanted)
        days = sorted({day for own in todo.values() for day in own})
        types = event_types(self.lake, days)
        with cached(read_events(self.spark, self.lake, days, cast=types.files)) as events:
            self.progress(f"checking the events of {span(days)}")
            good = self._judge_events(events, days, wanted, types)
            if not good:
                return []
            self.progress(f"summing the events of {span(days)}")
            passed = {name: {day: own for day, own in its.items() if day <= good[-1]} for name, its in todo.items()}
            write_partials(self.spark, self.lake, tables, events, passed)
            self.events = events.where(events.dt <= good[-1].isoformat()).count()
            self.computed = len([day for day in days if day <= good[-1]])
        return good

    def write_views(self, wanted: Sequence[date]) -> list[date]:
        """Make and gate the declared views, make the charts, write both; return the days that passed."""
        good, calendar = list(wanted), self._calendar(wanted)
        with contextlib.ExitStack() as cache:
            views = [cache.enter_context(cached(self._view(plan, calendar))) for plan in self.plans]
            for plan, view in zip(self.plans, views, strict=True):
                self.progress(f"checking {plan.name}")
                good = self._judge_view(plan, view, good)
                if not good:
                    return []
            last = good[-1].isoformat()
            frames = {plan.name: view.where(view.dt <= last) for plan, view in zip(self.plans, views, strict=True)}
            self.progress("making the charts")
            calendar = self._calendar(good)
            listened = cache.enter_context(cached(self._partials(LISTENING, calendar)))
            charted = self._charts(calendar, listened)
            frames |= {name: cache.enter_context(cached(chart)) for name, chart in charted.items()}
            self.progress("writing the views")
            side_by_side(functools.partial(replace_days, frames[name], self._path(name), good) for name in frames)
            self.views = {name: frame.count() for name, frame in frames.items()}
        return good

    def publish(self, days: Sequence[date]) -> None:
        """Write partials and lists to the online store, and mark the days as published."""
        if self.override and self.failed:
            record_override(self.settings, self.override, self.failed)
        self.progress("writing to the online store")
        redis, last = self.settings.redis, days[-1]
        lists = {name: read_days(self.spark, self._path(name), last, last) for name in (TOP_TRACKS, POOL)}
        calls = {name: functools.partial(publish_lists, name, chart, last, redis) for name, chart in lists.items()}
        mark = with_days(self.lake, days, self.plans, self.created_at)
        for plan in self.plans:
            end, path = mark.covered[plan.name][-1], partials_path(self.lake, plan.name)
            partials = read_days(self.spark, path, end - (plan.longest - 1) * DAY, end)
            calls[plan.name] = functools.partial(publish_partials, partials, plan, end_ms_of(end), redis)
        self.online = dict(zip(calls, side_by_side(calls.values()), strict=True))
        write_mark(self.lake, mark)

    def raise_failure(self) -> None:
        """Raise QualityError for the first day that failed, if one did."""
        for day, verdicts in self.failed.items():
            first, *more = verdicts[0].failures
            also = f", and {len(more)} more" if more else ""
            mark = published(self.lake)
            stays = f"the last published day is {mark.day}" if mark else "no day is published"
            raise QualityError(
                f"{day} is not published: {verdicts[0].suite}: {first}{also}",
                hint=f"{stays}; all findings are in results/{QUALITY}.json",
            )

    def _judge_events(
        self, events: DataFrame, days: Sequence[date], wanted: Sequence[date], types: Types
    ) -> list[date]:
        # What is unusual is asked of the days to publish only; of those before them, what is wrong in itself.
        others = types_profile({*days} - {*wanted}, types, self.settings.checks)
        hours = events_profile(self.spark, self.settings, events, wanted, self.dimensions, types, now=self.created_at)

        def suite_of(batch: Sequence[date]) -> quality.Suite:
            return events_suite(batch, self.settings.checks, self.dimensions, self.written.get(EVENTS, ()))

        return self._judge(gated_events(events), suite_of, days, wanted, [*others, *hours])

    def _judge_view(self, plan: DailyPlan, view: DataFrame, days: Sequence[date]) -> list[date]:
        rows = {date.fromisoformat(row["dt"]): row["count"] for row in view.groupBy("dt").count().collect()}
        counts = {day: rows.get(day, 0) for day in days}

        def suite_of(batch: Sequence[date]) -> quality.Suite:
            return view_suite(plan, batch, self.settings.checks, self.written.get(plan.name, ()))

        profile = days_profile(counts, self._path(plan.name), self.settings.checks)
        return self._judge(gated_view(plan, view), suite_of, days, days, profile)

    def _judge(
        self,
        frame: DataFrame,
        suite_of: quality.SuiteOf,
        days: Sequence[date],
        wanted: Sequence[date],
        profile: quality.Profile,
    ) -> list[date]:
        """The wanted days before the first that fails, with an override all; keeps what was found of them."""
        found = quality.judge(frame, suite_of, days, profile, go_on=self.override is not None)
        kept = {day: [verdict] for day, verdict in found.items() if day in wanted or not verdict.success}
        keep(self.settings, kept, whole=not self.verdicts)
        for day, own in kept.items():
            self.verdicts.setdefault(day, []).extend(own)
        return [day for day in wanted if day in found and (found[day].success or self.override is not None)]

    def _calendar(self, days: Sequence[date]) -> BatchDays:
        mark = published(self.lake)
        longest = max(*LENGTHS, *(n for plan in self.plans for n in lengths_of(plan)))
        return BatchDays(tuple(days), longest, mark.days if mark else ())

    def _view(self, plan: DailyPlan, calendar: BatchDays) -> DataFrame:
        table, lengths = PartialTable.of(plan), lengths_of(plan)
        rows = view_rows(plan, ibis.table(table.columns, name=table.name))
        inputs = {table.name: self._partials(table.name, calendar), "days": self._days(calendar, lengths)}
        return stamped(run(self.spark, rows, **inputs), [plan.key], self.created_at)

    def _charts(self, calendar: BatchDays, listened: DataFrame) -> dict[str, DataFrame]:
        inputs = {
            LISTENING: listened,
            "days": self._days(calendar, LENGTHS),
            "catalog": read_catalog(self.spark, self.lake, self.dimensions, end_ms_of(calendar.days[-1])),
        }
        made = {chart: run(self.spark, chart.rows, **inputs) for chart in charts(listening(self.plans))}
        return {chart.name: stamped(rows, [chart.key], self.created_at) for chart, rows in made.items()}

    def _partials(self, name: str, calendar: BatchDays) -> DataFrame:
        return read_days(self.spark, partials_path(self.lake, name), calendar.earliest, calendar.days[-1])

    def _days(self, calendar: BatchDays, lengths: Sequence[int]) -> DataFrame:
        rows = pa.Table.from_pylist(calendar.rows(lengths), schema=days_table(lengths).schema().to_pyarrow())
        return self.spark.createDataFrame(rows)

    def _path(self, view: str) -> Path:
        return self.lake / "views" / view


def read_catalog(spark: SparkSession, lake: Path, dimensions: Sequence[Dimension], end_ms: int) -> DataFrame:
    """Track and genre, one row per track, as a dimension by `track_id` has it at a moment; empty without one."""
    found = [d for d in dimensions if d.key == "track_id" and "genre" in d.columns]
    if not found:
        return spark.createDataFrame([], ", ".join(f"{name} STRING" for name in CATALOG))
    rows = read_dimensions(spark, lake, found[:1])[table_name(found[0])]
    rows = rows.where(f.col(VALID_FROM_MS) < end_ms)
    return rows.groupBy("track_id").agg(f.max_by("genre", VALID_FROM_MS).alias("genre"))

"""Log-and-wait: a day's served vectors with what came of them, as a table that training reads as it is.

lake/served ── wait ──▶ outcomes ◀── lake/events
                           │ positives ──▶ easy negatives ◀── the offline store, as of the serve
                           ▼
                  lake/labelled/<service>
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa
import structlog
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f

from playhead.batch.dimensions import read_dimensions
from playhead.batch.events import read_events, span
from playhead.batch.session import cached, spark_session
from playhead.batch.sql import run
from playhead.batch.tables import replace_days
from playhead.checks import results
from playhead.config import Settings
from playhead.days import DAY, begin_ms_of, end_ms_of
from playhead.declarations import Declarations, load_declarations
from playhead.declare import VALID_FROM_MS
from playhead.dimensions import table_name
from playhead.errors import InputError
from playhead.labels import (
    OUTCOMES,
    SERVE,
    WAIT,
    WAIT_MS,
    catalogue_table,
    easy_negatives,
    events_table,
    outcomes,
    outcomes_table,
    served_table,
)
from playhead.lake_files import event_days
from playhead.pushed import pushed
from playhead.serving.delta import delta_table
from playhead.serving.spine import EVENT_TIMESTAMP, MOMENT, keys_of, with_defaults
from playhead.serving.training_set import features_at

log = structlog.get_logger()

RESULT = "labels"
Progress: TypeAlias = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class DayLabels:
    """One service's day.

    Attributes:
        outcomes: outcome to rows; the easy negatives too.
        labels: `positive`, `negative` and `neither` to rows: what `label_30s` says.
        waiting: vectors whose wait is not over; they are not in the table.
    """

    service: str
    day: date
    outcomes: Mapping[str, int]
    labels: Mapping[str, int]
    waiting: int

    @property
    def rows(self) -> int:
        """Rows of the table."""
        return sum(self.outcomes.values())


@dataclass(frozen=True, kw_only=True)
class Labels:
    """What was labelled, and how long it took."""

    days: tuple[DayLabels, ...]
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        days = [
            {
                "service": each.service,
                "day": each.day.isoformat(),
                "rows": each.rows,
                "outcomes": dict(each.outcomes),
                "labels": dict(each.labels),
                "waiting": each.waiting,
            }
            for each in self.days
        ]
        return {"days": days, "seconds": round(self.seconds, 1)}


@pushed("labels", lambda done: {"rows": sum(made.rows for made in done.days)})
def label_days(
    settings: Settings,
    days: Iterable[date],
    *,
    services: Iterable[str] = (),
    easy_per_positive: int = 1,
    progress: Progress = lambda _: None,
) -> Labels:
    """Write `lake/labelled/<service>`: the columns of the served log and those of `playhead.labels`.

    One row per vector of a track whose wait is over, and the easy negatives, of which what stands in the log only is
    null: the event timestamps, fingerprints and Kafka offsets.

    A day is replaced whole. Running it again gives the same, and heals what events that came later have changed.

    Args:
        settings: says where the lake and the registry are.
        days: UTC days of serve times.
        services: feature services; all when empty. What served nothing for a track on a day is passed over.
        easy_per_positive: easy negatives for each positive.
        progress: is told what begins.

    Returns:
        What was labelled. The same is kept as the result `labels`.

    Raises:
        UnknownName: no such service.
        InputError: no day was given, nothing was served, no wait is over, or the registry is behind the declarations.
    """
    wanted = sorted(set(days))
    if not wanted:
        raise InputError("no day to label")
    began, declarations = time.monotonic(), load_declarations()
    names = list(dict.fromkeys(services)) or [service.name for service in declarations.services]
    paths = {name: settings.lake / "served" / declarations.service(name).name for name in names}
    logged = [name for name, path in paths.items() if delta_table(path) is not None]
    if not logged:
        raise _nothing_served(paths.values(), wanted)
    if not (known := event_days(settings.lake)):
        raise InputError(f"no events in {settings.lake / 'events'}")
    progress("starting Spark")
    with spark_session(settings) as spark:
        work = _Work(settings, spark, declarations, _newest_ms(spark, settings.lake, known[-1]), easy_per_positive)
        made = []
        for name in logged:
            for day in wanted:
                progress(f"labelling {name} of {day}")
                made += work.label(name, day)
    if not made:
        raise _nothing_served([paths[name] for name in logged], wanted)
    done = Labels(days=tuple(made), seconds=time.monotonic() - began)
    results.save(settings, RESULT, done.to_json())
    log.info("labelled", **done.to_json())
    return done


def labelled_path(lake: Path, service: str) -> Path:
    """Where a service's labelled vectors are."""
    return lake / "labelled" / service


@dataclass(frozen=True)
class _Work:
    """One run. `newest_ms` is the time of the newest event: up to it, what users did is known."""

    settings: Settings
    spark: SparkSession
    declarations: Declarations
    newest_ms: int
    easy_per_positive: int

    def label(self, service: str, day: date) -> list[DayLabels]:
        """Write a service's day; nothing when nothing was served."""
        lake = self.settings.lake
        served = self._served(service, day)
        own = served.where(served.dt == day.isoformat())
        total = own.count()
        if not total:
            return []
        # A wait of the day's last moment reaches into the next.
        events = read_events(self.spark, lake, [day, day + DAY])
        events = events.where(events.event_time_ms < end_ms_of(day) + WAIT_MS)
        found = run(self.spark, outcomes(served_table(), events_table()), served=served.select(*SERVE), events=events)
        over = (f.col("serve_time_ms") < end_ms_of(day)) & (f.col("serve_time_ms") + WAIT_MS <= self.newest_ms)
        with cached(found.where(over)) as known:
            counts = Counter(
                {tuple(row[:2]): row[2] for row in known.groupBy("outcome", "label_30s").count().collect()}
            )
            if not counts:
                raise _all_waiting(service, day, self.newest_ms)
            easy = self._easy_negatives(service, day, known, events)
            counts["easy_negative", False] = easy.num_rows
            rows = own.join(known, list(SERVE)).select(*_columns(own, known))
            if easy.num_rows:
                rows = rows.unionByName(self.spark.createDataFrame(easy), allowMissingColumns=True)
            replace_days(rows, labelled_path(lake, service), [day])
        waiting = total - sum(counts.values()) + easy.num_rows
        return [DayLabels(service=service, day=day, waiting=waiting, **_summed(counts))]

    def _served(self, service: str, day: date) -> DataFrame:
        """The vectors of a track: the day's, and those after it to which a play may belong."""
        rows = self.spark.read.format("delta").load(str(self.settings.lake / "served" / service))
        rows = rows.withColumn("serve_time_ms", f.unix_millis("serve_time"))
        rows = rows.where(rows.dt.isin(day.isoformat(), (day + DAY).isoformat()) & rows.track_id.isNotNull())
        # A track that a request names twice was shown once.
        return rows.where(rows.serve_time_ms < end_ms_of(day) + WAIT_MS).dropDuplicates([*SERVE])

    def _easy_negatives(self, service: str, day: date, known: DataFrame, events: DataFrame) -> pa.Table:
        """The easy negatives as rows of the table, with their features; columns of the log are not among them."""
        drawn = easy_negatives(outcomes_table(), events_table(), catalogue_table(), per_positive=self.easy_per_positive)
        inputs = {"outcomes": known, "events": events, "catalogue": self._catalogue(day)}
        # So many as the day has positives: the offline store takes a spine in memory.
        rows = run(self.spark, drawn, **inputs).toArrow()
        if not rows.num_rows:
            return rows
        moments = rows["serve_time_ms"].cast(pa.timestamp("ms", "UTC")).cast(MOMENT)
        declared = self.declarations.service(service)
        spine = rows.select(keys_of(declared)).append_column(EVENT_TIMESTAMP, moments)
        features = with_defaults(declared, features_at(self.settings, self.declarations, service, spine))
        rows = rows.drop_columns("serve_time_ms").append_column("serve_time", moments)
        for name in features.column_names:
            rows = rows.append_column(name, features[name])
        return rows.append_column("dt", pa.array([day.isoformat()] * rows.num_rows))

    def _catalogue(self, day: date) -> DataFrame:
        """Tracks that the dimension knew as the day began; without any, those that were played up to its end."""
        found = [d for d in self.declarations.dimensions if d.key == "track_id"]
        for dimension in found:
            rows = read_dimensions(self.spark, self.settings.lake, [dimension])[table_name(dimension)]
            rows = rows.where(f.col(VALID_FROM_MS) <= begin_ms_of(day))
            artist = f.col("artist_id") if "artist_id" in rows.columns else f.lit(None).cast("string")
            tracks = rows.groupBy("track_id").agg(f.max_by(artist, VALID_FROM_MS).alias("artist_id"))
            if not tracks.isEmpty():
                return tracks
        played = read_events(self.spark, self.settings.lake, [d for d in event_days(self.settings.lake) if d <= day])
        played = played.where((played.event_type == "PLAY") & played.track_id.isNotNull())
        return played.groupBy("track_id").agg(f.max("artist_id").alias("artist_id"))


def _newest_ms(spark: SparkSession, lake: Path, day: date) -> int:
    return int(read_events(spark, lake, [day]).agg(f.max("event_time_ms")).collect()[0][0])


def _columns(served: DataFrame, labelled: DataFrame) -> list[str]:
    made = [name for name in labelled.columns if name not in SERVE]
    return [name for name in served.columns if name not in ("serve_time_ms", "dt")] + made + ["dt"]


def _summed(counts: Mapping[tuple[str, bool | None], int]) -> dict[str, dict[str, int]]:
    """Rows by outcome, and by what `label_30s` says."""
    by_outcome, by_label = Counter[str](), Counter[str]()
    for (outcome, label), rows in counts.items():
        by_outcome[outcome] += rows
        by_label[{True: "positive", False: "negative", None: "neither"}[label]] += rows
    return {
        "outcomes": {name: by_outcome[name] for name in OUTCOMES},
        "labels": {name: by_label[name] for name in ("positive", "negative", "neither")},
    }


def _nothing_served(paths: Iterable[Path], days: Sequence[date]) -> InputError:
    return InputError(
        f"{', '.join(map(str, paths))}: no vector of a track was served on {span(days)}",
        hint="`playhead serve` logs what it serves; `playhead land-served` brings it to the lake",
    )


def _all_waiting(service: str, day: date, newest_ms: int) -> InputError:
    newest = datetime.fromtimestamp(newest_ms / 1_000, UTC).isoformat(timespec="milliseconds")
    return InputError(
        f"{service}: everything of {day} still waits: the newest event in the lake is of {newest}",
        hint=f"an outcome is known {WAIT // timedelta(minutes=1)} minutes after the serve: run it again then; after a "
        "replay of the past serve an earlier moment, `playhead serve --as-of`",
    )

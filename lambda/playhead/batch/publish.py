"""Publishing a batch day: partials and lists to the online store."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from datetime import date

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as f

from playhead.batch.partials import DAY, partials_of
from playhead.config import RedisSettings
from playhead.days import end_ms_of
from playhead.merge import published
from playhead.plan import DailyPlan
from playhead.serving.online import OnlineStore, Written, open_online_store
from playhead.serving.online_merge import EVERYBODY, end_packer, kept_published, published_packer

_RESULT = "written long, ignored long"


def publish_partials(partials: DataFrame, plan: DailyPlan, end_ms: int, redis: RedisSettings) -> Written:
    """Write what each entity's partials come to in each window to the online store, from the executors; then E for all.

    Args:
        partials: of the longest window's days before `end_ms`: `dt`, key and measures.
        plan: its plan.
        end_ms: the E of the merge.
        redis: where the store is.
    """
    measures = [measure.name for measure in plan.measures]
    day_ms = f.unix_millis(f.col("dt").cast("timestamp")).alias(DAY)
    days = f.collect_list(f.struct(day_ms, *measures)).alias("days")
    write = functools.partial(_write_rows, redis=redis, plan=plan, end_ms=end_ms)
    rows = partials.groupBy(f.col(plan.key).alias("entity")).agg(days)
    written = _written(rows.mapInArrow(write, _RESULT))
    packer = end_packer(plan.name, plan.fingerprint)
    with open_online_store(redis) as store:
        store.write(packer.name, [(EVERYBODY, packer.pack(end_ms, {}))])
    return written


def publish_lists(name: str, chart: DataFrame, day: date, redis: RedisSettings) -> Written:
    """Write one day's lists of tracks to the online store under a name, from the executors."""
    write = functools.partial(_write_lists, name=name, redis=redis, event_timestamp_ms=end_ms_of(day))
    lists = chart.where(f.col("dt") == day.isoformat()).select("entity", "tracks")
    return _written(lists.mapInArrow(write, _RESULT))


def _written(result: DataFrame) -> Written:
    parts = [Written(row.written, row.ignored) for row in result.collect()]
    return Written(sum(p.written for p in parts), sum(p.ignored for p in parts))


def _write_rows(
    batches: Iterator[pa.RecordBatch],
    *,
    redis: RedisSettings,
    plan: DailyPlan,
    end_ms: int,
) -> Iterator[pa.RecordBatch]:
    packer, keep = published_packer(plan), kept_published(plan)

    def packed(batch: pa.RecordBatch) -> Iterator[tuple[str, bytes]]:
        columns = published(plan, partials_of(batch["days"]), end_ms, batch.num_rows)
        rows = zip(*(column.to_list() for column in columns.values()), strict=True)
        for entity, values in zip(batch["entity"].to_pylist(), rows, strict=True):
            yield entity, packer.pack(end_ms, dict(zip(columns, values, strict=True)))

    with open_online_store(redis) as store:
        yield from (_counted(store.write(packer.name, packed(batch), keep=keep)) for batch in batches)


def _write_lists(
    batches: Iterator[pa.RecordBatch], *, name: str, redis: RedisSettings, event_timestamp_ms: int
) -> Iterator[pa.RecordBatch]:
    def write(store: OnlineStore, batch: pa.RecordBatch) -> Written:
        lists = dict(zip(batch["entity"].to_pylist(), batch["tracks"].to_pylist(), strict=True))
        return store.write_lists(name, event_timestamp_ms, lists)

    with open_online_store(redis) as store:
        yield from (_counted(write(store, batch)) for batch in batches)


def _counted(done: Written) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict({"written": [done.written], "ignored": [done.ignored]})

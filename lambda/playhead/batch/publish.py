"""Publishing a batch day: views and lists to the online store, then the mark that says how far the batch layer is."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

import ibis
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as f

from playhead.config import RedisSettings
from playhead.days import end_of
from playhead.plan import DailyPlan
from playhead.serving.online import OnlineStore, Written, open_online_store
from playhead.serving.packed import Packer

TOP_TRACKS = "top_tracks"
"""The name of the lists in the online store: of each listener, and of everybody under the entity ""."""

_MARK = "_published.json"
_RESULT = "written long, ignored long"


@dataclass(frozen=True, kw_only=True)
class Published:
    """How far the batch layer is.

    Attributes:
        day: the last published day; the views hold up to its end.
        days: every day that was published, in order.
        at: when that was, aware.
        fingerprints: daily group to the fingerprint of its last published rows.
    """

    day: date
    days: tuple[date, ...]
    at: datetime
    fingerprints: dict[str, str]

    @property
    def end(self) -> datetime:
        """The end of the last published day, aware UTC: the E of the merge."""
        return end_of(self.day)


def published(lake: Path) -> Published | None:
    """What `lake/views/_published.json` says; None before the first batch day."""
    file = lake / "views" / _MARK
    if not file.is_file():
        return None
    mark = json.loads(file.read_text())
    days = tuple(map(date.fromisoformat, mark["days"]))
    return Published(day=days[-1], days=days, at=datetime.fromisoformat(mark["at"]), fingerprints=mark["fingerprints"])


def mark_published(lake: Path, days: Iterable[date], plans: Sequence[DailyPlan], at: datetime) -> Published:
    """Add days to the mark. The last step of a run: whoever reads the mark finds everything before it in place."""
    before = published(lake)
    known = sorted({*days, *(before.days if before else ())})
    mark = Published(day=known[-1], days=tuple(known), at=at, fingerprints={p.name: p.fingerprint for p in plans})
    text = {
        "dt": mark.day.isoformat(),
        "end": mark.end.isoformat(),
        "at": at.isoformat(),
        "fingerprints": mark.fingerprints,
        "days": [day.isoformat() for day in known],
    }
    file = lake / "views" / _MARK
    draft = file.with_name(f".{_MARK}")
    draft.write_text(json.dumps(text, indent=1))
    draft.replace(file)
    return mark


def publish_view(view: DataFrame, plan: DailyPlan, redis: RedisSettings) -> Written:
    """Write each entity's latest row to the online store, from the executors.

    Args:
        view: rows of a declared view, of one day or several.
        plan: its plan.
        redis: where the store is.
    """
    features = [name for name, _ in plan.schema]
    values = [f.unix_millis("event_timestamp").alias("event_timestamp_ms"), *features]
    latest = view.groupBy(f.col(plan.key).alias("entity")).agg(
        f.max_by(f.struct(*values), "event_timestamp").alias("row")
    )
    write = functools.partial(
        _write_rows,
        redis=redis,
        name=plan.name,
        fingerprint=plan.fingerprint,
        schema=[(name, str(kind)) for name, kind in plan.schema],
    )
    return _written(latest.select("entity", "row.*").mapInArrow(write, _RESULT))


def publish_lists(top_tracks: DataFrame, day: date, redis: RedisSettings) -> Written:
    """Write one day's lists of tracks to the online store, from the executors."""
    write = functools.partial(_write_lists, redis=redis, event_timestamp_ms=int(end_of(day).timestamp()) * 1000)
    lists = top_tracks.where(f.col("dt") == day.isoformat()).select("entity", "tracks")
    return _written(lists.mapInArrow(write, _RESULT))


def _written(result: DataFrame) -> Written:
    parts = [Written(row.written, row.ignored) for row in result.collect()]
    return Written(sum(p.written for p in parts), sum(p.ignored for p in parts))


def _write_rows(
    batches: Iterator[pa.RecordBatch],
    *,
    redis: RedisSettings,
    name: str,
    fingerprint: str,
    schema: Sequence[tuple[str, str]],
) -> Iterator[pa.RecordBatch]:
    packer = Packer(name, [(feature, ibis.dtype(kind)) for feature, kind in schema], fingerprint)

    def packed(batch: pa.RecordBatch) -> Iterator[tuple[str, bytes]]:
        for row in batch.to_pylist():
            yield row.pop("entity"), packer.pack(row.pop("event_timestamp_ms"), row)

    with open_online_store(redis) as store:
        yield from (_counted(store.write(name, packed(batch))) for batch in batches)


def _write_lists(
    batches: Iterator[pa.RecordBatch], *, redis: RedisSettings, event_timestamp_ms: int
) -> Iterator[pa.RecordBatch]:
    def write(store: OnlineStore, batch: pa.RecordBatch) -> Written:
        lists = dict(zip(batch["entity"].to_pylist(), batch["tracks"].to_pylist(), strict=True))
        return store.write_lists(TOP_TRACKS, event_timestamp_ms, lists)

    with open_online_store(redis) as store:
        yield from (_counted(write(store, batch)) for batch in batches)


def _counted(done: Written) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict({"written": [done.written], "ignored": [done.ignored]})

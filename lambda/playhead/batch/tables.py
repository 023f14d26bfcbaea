"""Delta tables of the lake, partitioned by day: written by whole days, so that a day can be run again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f

DAY = timedelta(days=1)
END_MS = "end_ms"


def end_of(day: date) -> datetime:
    """The end of a UTC day, which is the next midnight.

    >>> end_of(date(2018, 11, 30)).isoformat()
    '2018-12-01T00:00:00+00:00'
    """
    return datetime.combine(day + DAY, time.min, UTC)


def end_ms_of(day: date) -> int:
    """The same in epoch milliseconds."""
    return int(end_of(day).timestamp()) * 1000


def replace_days(frame: DataFrame, path: Path, days: Sequence[date]) -> None:
    """Replace these days of a table by what the frame has of them; make the table when there is none.

    Args:
        frame: with the column `dt`; every row's is one of the days. A column that the table lacks is added to it.
        path: the table.
        days: at least one; a day without rows is emptied.
    """
    known = ", ".join(f"'{day.isoformat()}'" for day in days)
    writer = frame.write.format("delta").mode("overwrite").partitionBy("dt").option("mergeSchema", "true")
    writer.option("replaceWhere", f"dt IN ({known})").save(str(path))


def replace_all(frame: DataFrame, path: Path) -> None:
    """Replace a whole table, its schema included."""
    frame.write.format("delta").mode("overwrite").partitionBy("dt").option("overwriteSchema", "true").save(str(path))


def read_days(spark: SparkSession, path: Path, first: date, last: date) -> DataFrame:
    """A table's rows of the days from `first` to `last`, both included."""
    rows = spark.read.format("delta").load(str(path))
    return rows.where(f.col("dt").between(first.isoformat(), last.isoformat()))


def stamped(frame: DataFrame, keys: Sequence[str], created_at: datetime) -> DataFrame:
    """The columns of a view.

    Args:
        frame: with `dt` and `end_ms`, the day and its end.
        keys: columns that stand before the time.
        created_at: aware; when this run began.

    Returns:
        The keys, `event_timestamp` (the day's end), the other columns, `created_at`, `dt`.
    """
    values = [c for c in frame.columns if c not in {*keys, "dt", END_MS}]
    return frame.select(
        *keys,
        f.timestamp_millis(f.col(END_MS)).alias("event_timestamp"),
        *values,
        f.lit(created_at).alias("created_at"),
        "dt",
    )

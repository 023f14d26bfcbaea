"""Delta tables of the lake, partitioned by day: written by whole days, so that a day can be run again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path

from pyspark.sql import DataFrame, DataFrameWriter, SparkSession
from pyspark.sql import functions as f

from playhead.days import END_MS


def replace_days(frame: DataFrame, path: Path, days: Sequence[date]) -> None:
    """Replace these days of a table by what the frame has of them; make the table when there is none.

    Args:
        frame: with the column `dt`; every row's is one of the days. A column that the table lacks is added to it.
        path: the table.
        days: at least one; a day without rows is emptied.
    """
    _replace(frame, path, f"dt IN ({', '.join(map(_literal, days))})")


def replace_between(frame: DataFrame, path: Path, first: date | None, last: date | None) -> None:
    """Replace the days of a table from `first` to `last`; None: without an end. Both None: the table and its schema.

    Args:
        frame: with the column `dt`; every row's is one of the days.
        path: the table; it is made when there is none.
        first: the first day.
        last: the last day.
    """
    ends = [f"dt >= {_literal(first)}"] if first else []
    ends += [f"dt <= {_literal(last)}"] if last else []
    if ends:
        _replace(frame, path, " AND ".join(ends))
    else:
        _writer(frame).option("overwriteSchema", "true").save(str(path))


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


def _replace(frame: DataFrame, path: Path, condition: str) -> None:
    _writer(frame).option("mergeSchema", "true").option("replaceWhere", condition).save(str(path))


def _writer(frame: DataFrame) -> DataFrameWriter:
    return frame.write.format("delta").mode("overwrite").partitionBy("dt")


def _literal(day: date) -> str:
    return f"'{day.isoformat()}'"

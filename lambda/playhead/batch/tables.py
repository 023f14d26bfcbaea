"""Delta tables of the lake, partitioned by day: written by whole days, so that a day can be run again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path

import pyarrow.dataset as ds
from pyspark.sql import DataFrame, DataFrameWriter, SparkSession
from pyspark.sql import functions as f

from playhead.days import DAY, END_MS
from playhead.serving.delta import delta_table


def replace_days(frame: DataFrame, path: Path, days: Sequence[date]) -> None:
    """Replace these days of a table by what the frame has of them; make the table when there is none.

    Args:
        frame: with the column `dt`; every row's is one of the days. A column that the table lacks is added to it.
        path: the table.
        days: at least one; a day without rows is emptied.
    """
    condition = f"dt IN ({', '.join(map(_literal, days))})"
    _writer(frame).option("mergeSchema", "true").option("replaceWhere", condition).save(str(path))


def replace_table(frame: DataFrame, path: Path) -> None:
    """Replace a table, its columns too; make it when there is none. The frame has the column `dt`."""
    _writer(frame).option("overwriteSchema", "true").save(str(path))


def read_days(spark: SparkSession, path: Path, first: date, last: date) -> DataFrame:
    """A table's rows of the days from `first` to `last`, both included."""
    rows = spark.read.format("delta").load(str(path))
    return rows.where(f.col("dt").between(first.isoformat(), last.isoformat()))


def count_rows(path: Path, first: date, last: date) -> int:
    """How many rows a table has of the days from `first` to `last`; 0 when there is none."""
    table = delta_table(path)
    if table is None:
        return 0
    dt = ds.field("dt")
    return int(table.to_pyarrow_dataset().count_rows(dt.isin(_texts(first, last))))


def table_days(path: Path) -> list[date]:
    """The days that a table has rows of, in order; none where there is no table."""
    table = delta_table(path)
    return sorted(date.fromisoformat(part["dt"]) for part in table.partitions()) if table else []


def day_files(path: Path, day: date) -> list[Path]:
    """The Parquet files of a day of a table; none where there is no table."""
    table = delta_table(path)
    return [Path(file) for file in table.file_uris([("dt", "=", day.isoformat())])] if table else []


def _texts(first: date, last: date) -> list[str]:
    return [(first + n * DAY).isoformat() for n in range((last - first).days + 1)]


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


def _writer(frame: DataFrame) -> DataFrameWriter:
    return frame.write.format("delta").mode("overwrite").partitionBy("dt")


def _literal(day: date) -> str:
    return f"'{day.isoformat()}'"

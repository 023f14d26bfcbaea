"""The master data, `lake/events`, by UTC day. Late events are part of it: the batch layer corrects."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path

import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f

from playhead.lake_files import DAY_FOLDER, finished_files
from schemas.tables import lake_columns

SPARK_TYPES = {"string": "STRING", "int64": "BIGINT", "int32": "INT", "bool": "BOOLEAN"}
"""Spark's names of the types of our schemas."""


def digest_of(lake: Path, day: date) -> str | None:
    """16 hex digits that change when the day's files do; None without files. A finished file never changes."""
    folder = _folder(lake / "events", day)
    files = [(str(file.relative_to(folder)), file.stat().st_size) for file in finished_files(folder)]
    return hashlib.sha256(repr(files).encode()).hexdigest()[:16] if files else None


def count_of(lake: Path, days: Iterable[date]) -> int:
    """How many events these days have, by the footers of their files."""
    return sum(pq.read_metadata(file).num_rows for day in days for file in files_of(lake / "events", day))


def read_events(spark: SparkSession, lake: Path, days: Iterable[date], *, cast: Collection[Path] = ()) -> DataFrame:
    """The events of some days; only their folders are listed.

    Args:
        spark: the session.
        lake: its root.
        days: which.
        cast: as of `read_by_day`.

    Returns:
        The columns of `dated_events`, one row per event. Days without events add none.
    """
    columns = {name: SPARK_TYPES[kind] for name, kind in lake_columns().items()}
    return read_by_day(spark, lake / "events", days, columns, cast=cast)


def files_of(table: Path, day: date) -> list[Path]:
    """The finished files of a day of a table of Parquet files."""
    return finished_files(_folder(table, day))


def read_by_day(
    spark: SparkSession, table: Path, days: Iterable[date], columns: Mapping[str, str], *, cast: Collection[Path] = ()
) -> DataFrame:
    """Some days of a table of Parquet files in folders `dt=YYYY-MM-DD`.

    Args:
        spark: the session.
        table: its folder.
        days: which; only their folders are listed.
        columns: column to its type in Spark. A column that a file lacks is null.
        cast: files that have a column of another type, which Spark would stop at: what of it is no value of the type
            is null.

    Returns:
        The columns, and `dt`. Days without files add no rows.
    """
    columns = {**columns, "dt": "STRING"}
    schema = ", ".join(f"`{name}` {kind}" for name, kind in columns.items())
    folders = [folder for day in days if finished_files(folder := _folder(table, day))]
    if not folders:
        return spark.createDataFrame([], schema)
    paths = [file for folder in folders for file in finished_files(folder) if file not in cast] if cast else folders
    # Given, never inferred: a column that is null all day has no type of its own, and `hour` would become a number.
    reader = spark.read.schema(schema).option("basePath", str(table))
    frames = [reader.parquet(*map(str, paths)).select(*columns)] if paths else []
    for file in sorted(cast):
        own = spark.read.option("basePath", str(table)).parquet(str(file))
        nothing = f.lit(None)
        frames.append(
            own.select(*((own[n] if n in own.columns else nothing).try_cast(k).alias(n) for n, k in columns.items()))
        )
    return functools.reduce(DataFrame.unionByName, frames)


def span(days: Sequence[date]) -> str:
    """Days in a few words.

    >>> span([date(2018, 11, 1)]), span([date(2018, 11, 1), date(2018, 11, 3)])
    ('2018-11-01', '2018-11-01…2018-11-03')
    """
    return f"{days[0]}" if len(days) == 1 else f"{days[0]}…{days[-1]}"


def _folder(table: Path, day: date) -> Path:
    return table / f"{DAY_FOLDER}{day}"

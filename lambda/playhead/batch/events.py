"""The master data, `lake/events`, by UTC day. Late events are part of it: the batch layer corrects."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path

import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession

from playhead.lake_files import DAY_FOLDER, finished_files
from schemas.tables import lake_columns

SPARK_TYPES = {"string": "STRING", "int64": "BIGINT", "int32": "INT", "bool": "BOOLEAN"}
"""Spark's names of the types of our schemas."""


def digest_of(lake: Path, day: date) -> str | None:
    """16 hex digits that change when the day's files do; None without files. A finished file never changes."""
    folder = _folder(lake, day)
    files = [(str(f.relative_to(folder)), f.stat().st_size) for f in finished_files(folder)]
    return hashlib.sha256(repr(files).encode()).hexdigest()[:16] if files else None


def count_of(lake: Path, days: Iterable[date]) -> int:
    """How many events these days have, by the footers of their files."""
    return sum(pq.read_metadata(file).num_rows for day in days for file in finished_files(_folder(lake, day)))


def read_events(spark: SparkSession, lake: Path, days: Iterable[date]) -> DataFrame:
    """The events of some days; only their folders are listed.

    Returns:
        The columns of `dated_events`, one row per event. Days without events add none.
    """
    columns = {**{name: SPARK_TYPES[kind] for name, kind in lake_columns().items()}, "dt": "STRING"}
    schema = ", ".join(f"`{name}` {kind}" for name, kind in columns.items())
    folders = [str(folder) for day in days if finished_files(folder := _folder(lake, day))]
    if not folders:
        return spark.createDataFrame([], schema)
    # Given, never inferred: a column that is null all day has no type of its own, and `hour` would become a number.
    reader = spark.read.schema(schema).option("basePath", str(lake / "events"))
    return reader.parquet(*folders).select(*columns)


def span(days: Sequence[date]) -> str:
    """Days in a few words.

    >>> span([date(2018, 11, 1)]), span([date(2018, 11, 1), date(2018, 11, 3)])
    ('2018-11-01', '2018-11-01…2018-11-03')
    """
    return f"{days[0]}" if len(days) == 1 else f"{days[0]}…{days[-1]}"


def _folder(lake: Path, day: date) -> Path:
    return lake / "events" / f"{DAY_FOLDER}{day}"

"""The master data, `lake/events`, by UTC day. Late events are part of it: the batch layer corrects."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path

import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession

from playhead.errors import InputError
from schemas.tables import lake_columns

_SPARK_TYPES = {"string": "STRING", "int64": "BIGINT", "int32": "INT", "bool": "BOOLEAN"}
_DAY = "dt="


def event_days(lake: Path) -> list[date]:
    """The days that have events, in order.

    Raises:
        InputError: a folder of `lake/events` that is no day.
    """
    found = []
    for folder in (lake / "events").glob(f"{_DAY}*"):
        try:
            day = date.fromisoformat(folder.name.removeprefix(_DAY))
        except ValueError as error:
            raise InputError(f"{folder}: not a day; expected {_DAY}YYYY-MM-DD") from error
        if _files(folder):
            found.append(day)
    return sorted(found)


def digest_of(lake: Path, day: date) -> str | None:
    """16 hex digits that change when the day's files do; None without files. A finished file never changes."""
    folder = _folder(lake, day)
    files = [(str(f.relative_to(folder)), f.stat().st_size) for f in _files(folder)]
    return hashlib.sha256(repr(files).encode()).hexdigest()[:16] if files else None


def count_of(lake: Path, days: Iterable[date]) -> int:
    """How many events these days have, by the footers of their files."""
    return sum(pq.read_metadata(file).num_rows for day in days for file in _files(_folder(lake, day)))


def read_events(spark: SparkSession, lake: Path, days: Iterable[date]) -> DataFrame:
    """The events of some days; only their folders are listed.

    Returns:
        The columns of `dated_events`, one row per event. Days without events add none.
    """
    columns = {**{name: _SPARK_TYPES[kind] for name, kind in lake_columns().items()}, "dt": "STRING"}
    schema = ", ".join(f"`{name}` {kind}" for name, kind in columns.items())
    folders = [str(folder) for day in days if _files(folder := _folder(lake, day))]
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
    return lake / "events" / f"{_DAY}{day}"


def _files(folder: Path) -> list[Path]:
    """Finished files: Spark, too, passes over names that start with . or _, which are being written."""
    found = (f for f in folder.rglob("*") if f.is_file())  # Flink gives its files no ending.
    return sorted(f for f in found if not any(part[0] in "._" for part in f.relative_to(folder).parts))

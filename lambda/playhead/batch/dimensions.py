"""Dimensions on Spark, and what of them a day depends on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f

from playhead.batch.events import SPARK_TYPES
from playhead.days import end_ms_of
from playhead.declare import Dimension
from playhead.dimensions import arrow_schema, table_name, table_path
from playhead.serving.dimension_table import digests


def read_dimensions(spark: SparkSession, lake: Path, dimensions: Sequence[Dimension]) -> dict[str, DataFrame]:
    """By name in SQL the rows of each dimension; none of one that was never loaded."""
    return {table_name(dimension): _rows(spark, lake, dimension) for dimension in dimensions}


def enrichment_digests(lake: Path, dimensions: Sequence[Dimension]) -> Callable[[date], list[str]]:
    """UTC day → what the enrichment of its events depends on; nothing without dimensions."""
    found = [digests(lake, dimension) for dimension in dimensions]
    return lambda day: [until(end_ms_of(day)) for until in found]


def _rows(spark: SparkSession, lake: Path, dimension: Dimension) -> DataFrame:
    types = {field.name: SPARK_TYPES[str(field.type)] for field in arrow_schema(dimension)}
    path = table_path(lake, dimension)
    if not path.is_dir():
        return spark.createDataFrame([], ", ".join(f"`{name}` {kind}" for name, kind in types.items()))
    rows = spark.read.format("delta").load(str(path))
    # A column that was declared later is null in what was loaded before.
    return rows.select(*(f.col(n) if n in rows.columns else f.lit(None).cast(k).alias(n) for n, k in types.items()))

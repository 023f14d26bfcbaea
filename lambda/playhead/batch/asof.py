"""The as-of join of `playhead.serving.asof` on Spark, for what one machine cannot hold.

Of each view the rows are put between the spine's, by entity and time, and every row of the spine takes the last row
before it. A row is one struct, so that a null in the last row stays null and no older value shines through.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence
from datetime import timedelta

from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as f
from pyspark.sql.pandas.types import from_arrow_type

from playhead.lake_files import finished_files
from playhead.serving.delta import delta_table
from playhead.serving.lake_rows import Feature, ViewRows, numbered

AT, HELD = "at", "held"
"""Columns of `rows_of`."""

_SPINE, _CREATED = "spine", "created"


def as_of(spark: SparkSession, spine: DataFrame, timestamp: str, views: Sequence[ViewRows]) -> DataFrame:
    """`playhead.serving.asof.as_of` as a frame.

    Args:
        spark: the session.
        spine: any columns, among them the views' keys and `timestamp`.
        timestamp: name of the column of moments.
        views: where the values are; rows of one key, event timestamp and creation time are one row.

    Returns:
        The spine's columns, then the features of each view, in no order.
    """
    for view in views:
        spine = _joined(spine, timestamp, view, rows_of(spark, view))
    return spine


def _joined(spine: DataFrame, timestamp: str, view: ViewRows, rows: DataFrame) -> DataFrame:
    keys, types = numbered("key", view.keys), dict(rows.dtypes)
    asked = [named(column).cast(types[key]).alias(key) for key, (column, _) in zip(keys, view.keys, strict=True)]
    both = spine.select(*asked, named(timestamp).alias(AT), f.struct("*").alias(_SPINE)).unionByName(
        rows, allowMissingColumns=True
    )
    # At one moment rows come before the spine; of these the one created last, and null is the first.
    order = [f.col(AT), f.isnotnull(_SPINE), f.col(_CREATED)]
    before = Window.partitionBy(*keys).orderBy(*order).rowsBetween(Window.unboundedPreceding, Window.currentRow)
    found = both.withColumn(HELD, f.last(HELD, ignorenulls=True).over(before)).where(f.isnotnull(_SPINE))
    known = functools.reduce(operator.and_, (f.isnotnull(column) for column in [*keys, AT]))
    absent = known & f.isnull(HELD)
    names = numbered("value", view.features)
    values = [_value(view, each, name, absent) for each, name in zip(view.features, names, strict=True)]
    return found.select(f"{_SPINE}.*", *values)


def _value(view: ViewRows, feature: Feature, name: str, absent: Column) -> Column:
    value = f.col(HELD)[name]
    if view.ttl is not None:
        age_us = f.unix_micros(AT) - f.unix_micros(f.col(HELD)[AT])
        value = f.when(age_us <= view.ttl // timedelta(microseconds=1), value)
    if feature.empty is not None:
        value = f.when(absent, f.lit(feature.empty)).otherwise(value)
    return (value if feature.kind is None else value.cast(from_arrow_type(feature.kind))).alias(feature.name)


def rows_of(spark: SparkSession, view: ViewRows) -> DataFrame:
    """A view's rows, but those without a key or time: key_…, `AT`, created, and `HELD`, a struct of `AT` and value_…"""
    source = _source(spark, view)
    columns = [] if source is None else source.columns
    values = [
        (named(each.column) if each.column in columns else f.lit(None)).alias(name)
        for each, name in zip(view.features, numbered("value", view.features), strict=True)
    ]
    if source is None:
        source = spark.range(0).select(*(f.lit(None).cast("string").alias(c) for _, c in view.keys), *_stamps(view))
    at = named(view.timestamp).cast("timestamp").alias(AT)
    created = named(view.created).cast("timestamp") if view.created else f.lit(None).cast("timestamp")
    keys = [named(c).alias(key) for key, (_, c) in zip(numbered("key", view.keys), view.keys, strict=True)]
    rows = source.select(*keys, at, created.alias(_CREATED), f.struct(at, *values).alias(HELD))
    return rows.dropna(subset=[*numbered("key", view.keys), AT])


def _stamps(view: ViewRows) -> list[Column]:
    return [f.lit(None).cast("timestamp").alias(column) for column in view.stamps]


def _source(spark: SparkSession, view: ViewRows) -> DataFrame | None:
    if view.files == ():
        return None
    if view.format == "delta":
        if delta_table(view.path) is None:
            return None
        reader = spark.read.format("delta")
        return (reader if view.version is None else reader.option("versionAsOf", view.version)).load(str(view.path))
    files = view.files or ([view.path] if view.path.is_file() else finished_files(view.path))
    # Files from before and after a new feature stand side by side.
    return spark.read.option("mergeSchema", "true").parquet(*map(str, files)) if files else None


def named(name: str) -> Column:
    """The column of a name, dots and all."""
    quoted = name.replace("`", "``")
    return f.col(f"`{quoted}`")

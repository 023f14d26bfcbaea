"""A training set on Spark, for what one machine cannot hold: no row of it comes to the driver."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
from pyspark.sql import DataFrame, Observation, SparkSession
from pyspark.sql import functions as f
from pyspark.sql.pandas.types import from_arrow_type
from pyspark.sql.types import StructField, StructType

from playhead.batch.asof import as_of, named
from playhead.batch.merged import PLACE, merged
from playhead.declare import FeatureService
from playhead.on_demand import with_on_demand
from playhead.serving.lake_rows import ViewRows
from playhead.serving.offline_merge import MergedRows
from playhead.serving.spine import columns_of

_ALL = "all"


def write_training_set(
    spark: SparkSession,
    spine: Path,
    timestamp: str,
    service: FeatureService,
    views: Sequence[ViewRows | MergedRows],
    output: Path,
) -> dict[str, int]:
    """Write the spine with what the service knew at each row's moment.

    Args:
        spark: the session.
        spine: a Parquet file with the service's keys, `timestamp`, other columns, and `PLACE`: the order of rows.
        timestamp: name of the column of moments.
        service: whose features, with its defaults in place of null.
        views: where they are, and what its on-demand views are computed from, as `view__feature`.
        output: folder of Parquet files, in the spine's order, without `PLACE`. It must not exist.

    Returns:
        Feature to the number of its nulls, those too that a default has filled.
    """
    # Not INT96, which has no time zone.
    spark.conf.set("spark.sql.parquet.outputTimestampType", "TIMESTAMP_MICROS")
    rows = spark.read.parquet(str(spine))
    columns, names = [column for column in rows.columns if column != PLACE], columns_of(service)
    found = _with_on_demand(_joined(spark, rows, timestamp, views), timestamp, service)
    counts, nulls = Observation(), [f.sum(f.isnull(named(name)).cast("long")).alias(name) for name in names]
    # Above the sort, whose sample of the rows would be counted too.
    ordered = found.orderBy(PLACE).observe(counts, f.count(f.lit(1)).alias(_ALL), *nulls)
    defaults = {name.replace(".", "__"): value for name, value in service.defaults.items()}
    filled = [f.coalesce(named(n), f.lit(defaults[n])).alias(n) if n in defaults else named(n) for n in names]
    ordered.select(*map(named, columns), *filled).write.parquet(str(output))
    counted = counts.get
    return {name: counted[name] or 0 for name in names}


def _joined(spark: SparkSession, spine: DataFrame, timestamp: str, views: Sequence[ViewRows | MergedRows]) -> DataFrame:
    """The spine, then the features of each view, in no order."""
    found = as_of(spark, spine, timestamp, [view for view in views if isinstance(view, ViewRows)])
    for view in views:
        if isinstance(view, MergedRows):
            found = found.join(merged(spark, spine, timestamp, view), PLACE, "left")
    return found


def _with_on_demand(rows: DataFrame, timestamp: str, service: FeatureService) -> DataFrame:
    if not service.on_demand:
        return rows
    added = [
        StructField(f"{view.name}__{name}", from_arrow_type(pa.type_for_alias(kind)))
        for view in service.on_demand
        for name, kind in view.features.items()
    ]
    compute = functools.partial(_computed, timestamp=timestamp, service=service)
    return rows.mapInArrow(compute, StructType([*rows.schema.fields, *added]))


def _computed(
    batches: Iterator[pa.RecordBatch], *, timestamp: str, service: FeatureService
) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        rows = pa.Table.from_batches([batch])
        yield from with_on_demand(service, rows, rows[timestamp]).to_batches()

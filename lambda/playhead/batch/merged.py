"""Windows of calendar days of `playhead.serving.offline_merge` on Spark.

What both layers know of a row's days stands beside the row as two lists; the one merge runs where the row is.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence

import pyarrow as pa
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as f
from pyspark.sql.pandas.types import from_arrow_schema, from_arrow_type

from playhead.batch.asof import AT, HELD, as_of, named, rows_of
from playhead.batch.partials import DAY, partials_of
from playhead.merge import SPEED_DAYS, UNPUBLISHED, merge
from playhead.plan import DailyPlan
from playhead.relations import BY_DAY, DAY_MS
from playhead.serving.lake_rows import Feature, numbered
from playhead.serving.offline_merge import MergedRows, begins_of

PLACE = "__place"
"""A column of the spine that tells its rows apart, int64."""

# No measure has such a name.
_KEY, _STAMP, _MOMENT, _TODAY, _ENDS, _DAY = "__key", "__at", "__moment_ms", "__today_ms", "__ends_ms", "__day_ms"
_BATCH, _LIVE = "__batch", "__live"


def merged(spark: SparkSession, spine: DataFrame, timestamp: str, view: MergedRows) -> DataFrame:
    """The merge of `playhead.serving.offline_merge.joined` as a frame.

    Args:
        spark: the session.
        spine: any columns, among them `PLACE`, the view's key and `timestamp`.
        timestamp: name of the column of moments.
        view: what is merged.

    Returns:
        `PLACE` and the features, in no order; a row for each of the spine's in which neither key nor moment is null.
    """
    asked = _asked(spine, timestamp, view)
    # At least today is live, so no row is lost.
    items = _live(spark, asked, view).unionByName(_batch(spark, asked, view), allowMissingColumns=True)
    lists = [f.collect_list(layer).alias(layer) for layer in (_BATCH, _LIVE)]
    rows = items.groupBy(PLACE, _MOMENT, _ENDS).agg(*lists)
    schema = _schema(view)
    merge_rows = functools.partial(
        _merge_rows, plan=view.plan, missing_ms=view.missing_ms, features=view.features, schema=schema
    )
    return rows.mapInArrow(merge_rows, from_arrow_schema(schema))


def _asked(spine: DataFrame, timestamp: str, view: MergedRows) -> DataFrame:
    """Place, key, and of each row the moment, its day, and E."""
    moment = f.unix_millis(named(timestamp))
    known = spine.select(PLACE, named(view.key).cast("string").alias(_KEY), moment.alias(_MOMENT)).dropna()
    today = f.col(_MOMENT) - f.pmod(f.col(_MOMENT), f.lit(DAY_MS))
    end_ms = UNPUBLISHED if view.end_ms is None else view.end_ms
    ends = f.least(f.col(_TODAY), f.lit(end_ms).cast("long"))
    return known.withColumn(_TODAY, today).withColumn(_ENDS, ends)


def _batch(spark: SparkSession, asked: DataFrame, view: MergedRows) -> DataFrame:
    """The batch layer's items: of each row the days before its E that the longest window has."""
    rows, (key,) = rows_of(spark, view.partials), numbered("key", view.partials.keys)
    day, since = f.unix_millis(AT), f.col(_TODAY) - (view.plan.longest - 1) * DAY_MS
    found = asked.join(rows, (f.col(_KEY) == f.col(key)) & (day >= since) & (day < f.col(_ENDS)))
    values = [f.col(HELD)[name] for name in numbered("value", view.partials.features)]
    return found.select(PLACE, _MOMENT, _ENDS, _item(day, view.partials.features, values).alias(_BATCH))


def _live(spark: SparkSession, asked: DataFrame, view: MergedRows) -> DataFrame:
    """What the archive knew of each of the speed layer's days at each moment, where the batch layer has not got it."""
    days = f.array(*(f.col(_TODAY) - age * DAY_MS for age in range(SPEED_DAYS)))
    own = asked.withColumn(_DAY, f.explode(days)).where(f.col(_DAY) >= f.col(_ENDS))
    key = f.concat_ws(BY_DAY, _KEY, f.col(_DAY).cast("string"))
    stamp = f.timestamp_millis(f.col(_MOMENT)).alias(_STAMP)
    spine = own.select(PLACE, _MOMENT, _ENDS, _DAY, key.alias(view.plan.key), stamp)
    found = as_of(spark, spine, _STAMP, [view.today])
    values = [named(feature.name) for feature in view.today.features]
    return found.select(PLACE, _MOMENT, _ENDS, _item(f.col(_DAY), view.today.features, values).alias(_LIVE))


def _item(day: Column, measures: Sequence[Feature], values: Sequence[Column]) -> Column:
    """A day's partials as `partials_of` reads them."""
    typed = [
        (value if own.kind is None else value.cast(from_arrow_type(own.kind))).alias(own.name)
        for own, value in zip(measures, values, strict=True)
    ]
    return f.struct(day.alias(DAY), *typed)


def _schema(view: MergedRows) -> pa.Schema:
    kinds = {own.name: own.kind or view.plan.arrow_schema.field(own.column).type for own in view.features}
    return pa.schema({PLACE: pa.int64(), **kinds})


def _merge_rows(
    batches: Iterator[pa.RecordBatch],
    *,
    plan: DailyPlan,
    missing_ms: Sequence[int],
    features: Sequence[Feature],
    schema: pa.Schema,
) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        moments, ends = batch[_MOMENT].to_numpy(), batch[_ENDS].to_numpy()
        layers = partials_of(batch[_BATCH]), partials_of(batch[_LIVE])
        made = merge(plan, moments, begins_of(missing_ms, ends), ends, *layers).values
        columns = [pa.chunked_array([batch[PLACE]]), *(made[own.column] for own in features)]
        yield from pa.table(columns, names=schema.names).cast(schema).to_batches()

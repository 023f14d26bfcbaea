"""A group's changelog from a frame of events, on Spark."""

from __future__ import annotations

from collections.abc import Mapping

from pyspark.sql import DataFrame, SparkSession

from playhead import changelogs
from playhead.batch.sql import run
from playhead.plan import SpeedPlan, lake_table


def changelog(
    spark: SparkSession, plan: SpeedPlan, events: DataFrame, dimensions: Mapping[str, DataFrame]
) -> DataFrame:
    """The changelog of `changelogs.changelog`, unsorted.

    Args:
        spark: the session.
        plan: the group's plan.
        events: the master data's columns (`schemas.tables.lake_columns`), one row per event.
        dimensions: by their name in SQL the rows of those that the plan names.

    Returns:
        One row per (key, event_timestamp_ms), in the types of the plan.
    """
    return run(spark, changelogs.changelog(plan, lake_table("events")), events=events, **dimensions)

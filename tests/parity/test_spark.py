"""Spark against DuckDB, row by row, on many random streams at once."""

from __future__ import annotations

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from playhead.plan import SpeedPlan
from tests.parity.rows import PLANS, assert_same, changelogs, streams
from tests.spark import spark  # noqa: F401 — the fixture

pytestmark = pytest.mark.spark
Rows = dict[str, pa.Table]


@pytest.fixture(scope="module")
def both(spark: SparkSession) -> tuple[Rows, Rows]:  # noqa: F811
    given = streams(12, 50)
    return changelogs("spark", *given), changelogs("duckdb", *given)


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.name)
def test_spark_equals_duckdb(plan: SpeedPlan, both: tuple[Rows, Rows]) -> None:
    assert_same(plan, *both)

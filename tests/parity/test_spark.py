"""Spark against DuckDB, row for row, and against the naive oracle, on random streams."""

from __future__ import annotations

from typing import Any

import pytest
from pyspark.sql import SparkSession

from playhead import oracle
from playhead.batch.changelog import changelog
from playhead.local.changelog import changelog as duckdb_changelog
from playhead.plan import compile_group
from playhead.relations import T_MS
from tests.parity.streams import as_table, moments, random_events
from tests.parity.test_duckdb import GROUPS, as_of
from tests.spark import spark  # noqa: F401 — the fixture

pytestmark = pytest.mark.spark


@pytest.mark.parametrize("group", GROUPS, ids=lambda g: g.name)
@pytest.mark.parametrize("seed", [11, 12])
def test_spark_equals_duckdb_and_the_oracle(spark: SparkSession, group: Any, seed: int) -> None:  # noqa: F811
    events = random_events(seed, 300)
    plan = compile_group(group)
    table = as_table(events)
    rows = changelog(spark, plan, spark.createDataFrame(table)).orderBy(plan.key, T_MS).toArrow()
    expected = duckdb_changelog(plan, table)
    assert rows.column_names == expected.column_names
    assert rows.cast(expected.schema).to_pylist() == expected.to_pylist()

    found = rows.to_pylist()
    for time_ms in moments(events, seed, 40):
        for entity in sorted({e[plan.key] for e in events if e[plan.key] is not None}):
            row = as_of([r for r in found if r[plan.key] == entity], time_ms)
            values = oracle.values_at(group, events, entity, time_ms)
            if row is None:
                assert not any(values.values()), (entity, time_ms)
            else:
                assert {n: row[n] for n in values} == values, (entity, time_ms)

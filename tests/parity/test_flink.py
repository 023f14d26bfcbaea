"""Flink against DuckDB, row by row, on many random streams at once."""

from __future__ import annotations

import pyarrow as pa
import pytest

from playhead.plan import SpeedPlan
from tests.parity.rows import PLANS, assert_same, changelogs, events_of_streams

pytestmark = pytest.mark.stack
Rows = dict[str, pa.Table]


@pytest.fixture(scope="module")
def both() -> tuple[Rows, Rows]:
    events = events_of_streams(12, 20)
    return changelogs("flink", events), changelogs("duckdb", events)


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.name)
def test_flink_equals_duckdb(plan: SpeedPlan, both: tuple[Rows, Rows]) -> None:
    assert_same(plan, *both)

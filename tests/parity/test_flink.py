"""Flink against DuckDB, row by row, on many random streams at once."""

from __future__ import annotations

import pyarrow as pa
import pytest

from playhead.plan import SpeedPlan
from tests.parity.rows import PLANS, assert_same, changelogs, streams

pytestmark = pytest.mark.stack
Rows = dict[str, pa.Table]


@pytest.fixture(scope="module")
def both() -> tuple[Rows, Rows]:
    given = streams(12, 20)
    return changelogs("flink", *given), changelogs("duckdb", *given)


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.name)
def test_flink_equals_duckdb(plan: SpeedPlan, both: tuple[Rows, Rows]) -> None:
    assert_same(plan, *both)

"""Flink against DuckDB, row by row, on many random streams at once; DuckDB is held to the oracle beside this."""

from __future__ import annotations

from datetime import date

import pyarrow as pa
import pytest

from playhead.evaluate import ENGINES
from playhead.plan import Plan, compile_group
from playhead.relations import T_MS
from tests.parity.groups import ALL
from tests.parity.streams import as_table, many_streams, seeds

pytestmark = pytest.mark.stack

PLANS = [compile_group(group) for group in ALL]
LAST = date(2018, 11, 20)


@pytest.fixture(scope="module")
def events() -> pa.Table:
    return as_table([event for part in seeds(12, 20, at_once=20) for event in many_streams(part, 120)])


@pytest.fixture(scope="module")
def expected(events: pa.Table) -> dict[str, pa.Table]:
    return by_name(ENGINES["duckdb"](PLANS, events, LAST))


@pytest.fixture(scope="module")
def found(events: pa.Table) -> dict[str, pa.Table]:
    return by_name(ENGINES["flink"](PLANS, events, LAST))


def by_name(changelogs: list[pa.Table]) -> dict[str, pa.Table]:
    return {plan.name: rows for plan, rows in zip(PLANS, changelogs, strict=True)}


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.name)
def test_flink_equals_duckdb(plan: Plan, expected: dict[str, pa.Table], found: dict[str, pa.Table]) -> None:
    order = [(plan.key, "ascending"), (T_MS, "ascending")]
    assert expected[plan.name].num_rows > 100
    assert found[plan.name].sort_by(order).equals(expected[plan.name].sort_by(order))

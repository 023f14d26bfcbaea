"""Flink against DuckDB, row by row, on many random streams at once; DuckDB is held to the oracle beside this."""

from __future__ import annotations

from datetime import date

import pyarrow as pa
import pytest

from playhead.errors import UnsupportedError
from playhead.evaluate import ENGINES
from playhead.local.changelog import changelog
from playhead.plan import SessionPlan, SlidingPlan, compile_group
from playhead.relations import T_MS
from tests.parity.groups import DAILY, SPEED
from tests.parity.streams import as_table, many_streams, seeds

pytestmark = pytest.mark.stack

PLANS = [plan for plan in map(compile_group, SPEED) if isinstance(plan, SlidingPlan | SessionPlan)]
NO_DAY = date(2018, 11, 1)


@pytest.fixture(scope="module")
def events() -> pa.Table:
    return as_table([event for part in seeds(12, 20, at_once=20) for event in many_streams(part, 120)])


@pytest.fixture(scope="module")
def found(events: pa.Table) -> dict[str, pa.Table]:
    return {plan.name: rows for plan, rows in zip(PLANS, ENGINES["flink"](PLANS, events, NO_DAY), strict=True)}


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.name)
def test_flink_equals_duckdb(plan: SlidingPlan | SessionPlan, events: pa.Table, found: dict[str, pa.Table]) -> None:
    rows = found[plan.name].sort_by([(plan.key, "ascending"), (T_MS, "ascending")])
    assert rows.num_rows > 100
    assert rows.equals(changelog(plan, events))


def test_calendar_windows_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="Flink makes no calendar windows"):
        ENGINES["flink"]([compile_group(DAILY[0])], as_table([]), NO_DAY)

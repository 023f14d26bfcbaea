"""Flink against DuckDB, row by row, on many random streams at once; DuckDB is held to the oracle beside this."""

from __future__ import annotations

from datetime import date
from typing import Any

import pyarrow as pa
import pytest

import features
from playhead.evaluate import ENGINES
from playhead.local.changelog import changelog
from playhead.plan import DailyPlan, Plan, SessionPlan, SlidingPlan, compile_group
from playhead.relations import T_MS
from tests.parity.streams import as_table, random_events
from tests.test_declare import MEANS

pytestmark = pytest.mark.stack

PLANS = [p for p in map(compile_group, (*features.GROUPS, *MEANS)) if isinstance(p, SlidingPlan | SessionPlan)]
NO_DAY = date(2018, 11, 1)


def stream(seed: int, first_offset: int) -> list[dict[str, Any]]:
    """A random stream whose listeners, tracks and artists are in no other."""
    own = {"user_id", "track_id", "artist_id", "event_id"}
    return [
        {name: f"{seed}/{value}" if name in own and value is not None else value for name, value in event.items()}
        | {"kafka_offset": first_offset + event["kafka_offset"]}
        for event in random_events(seed, 120)
    ]


@pytest.fixture(scope="module")
def events() -> pa.Table:
    return as_table([event for seed in range(12) for event in stream(seed, 1_000 * seed)])


@pytest.fixture(scope="module")
def found(events: pa.Table) -> dict[str, pa.Table]:
    return {plan.name: rows for plan, rows in zip(PLANS, ENGINES["flink"](PLANS, events, NO_DAY), strict=True)}


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.name)
def test_flink_equals_duckdb(plan: SlidingPlan | SessionPlan, events: pa.Table, found: dict[str, pa.Table]) -> None:
    rows = found[plan.name].sort_by([(plan.key, "ascending"), (T_MS, "ascending")])
    assert rows.num_rows > 300
    assert rows.equals(changelog(plan, events))


def test_calendar_windows_are_refused() -> None:
    from playhead.errors import UnsupportedError

    daily: Plan = next(p for p in map(compile_group, features.GROUPS) if isinstance(p, DailyPlan))
    with pytest.raises(UnsupportedError, match="Flink makes no calendar windows"):
        ENGINES["flink"]([daily], as_table([]), NO_DAY)

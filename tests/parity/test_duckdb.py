"""DuckDB against the naive oracle, on random streams."""

from __future__ import annotations

import bisect
from typing import Any

import pytest

import features
from playhead import oracle
from playhead.local.changelog import changelog
from playhead.plan import SessionPlan, SlidingPlan, compile_group
from tests.parity.streams import as_table, moments, random_events

GROUPS = [g for g in features.GROUPS if isinstance(compile_group(g), SlidingPlan | SessionPlan)]


def as_of(rows: list[dict[str, Any]], time_ms: int) -> dict[str, Any] | None:
    at = bisect.bisect_right([r["event_timestamp_ms"] for r in rows], time_ms)
    return rows[at - 1] if at else None


@pytest.mark.parametrize("group", GROUPS, ids=lambda g: g.name)
@pytest.mark.parametrize("seed", range(6))
def test_duckdb_equals_the_oracle(group: Any, seed: int) -> None:
    events = random_events(seed, 120)
    plan = compile_group(group)
    key = plan.key
    rows = changelog(plan, as_table(events)).to_pylist()
    stamps = [(r[key], r["event_timestamp_ms"]) for r in rows]
    assert len(stamps) == len(set(stamps)), "one row per (entity, second)"
    for time_ms in moments(events, seed, 60):
        for entity in sorted({e[key] for e in events if e[key] is not None}):
            row = as_of([r for r in rows if r[key] == entity], time_ms)
            expected = oracle.values_at(group, events, entity, time_ms)
            if row is None:
                assert not any(expected.values()), (entity, time_ms)
            else:
                assert {n: row[n] for n in expected} == expected, (entity, time_ms)

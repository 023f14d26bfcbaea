"""The changelogs of all groups on an engine, to be compared row by row with DuckDB's; that is held to the oracle."""

from __future__ import annotations

import pyarrow as pa
import pytest

from playhead import gathered
from playhead.compile import compile_group
from playhead.evaluate import ENGINES
from playhead.plan import AttributePlan, SpeedPlan, speed_plan
from playhead.relations import T_MS
from tests.parity.groups import ALL
from tests.parity.streams import as_table, many_streams, random_tracks, seeds

PLANS = [speed_plan(p) for p in map(compile_group, ALL) if not isinstance(p, AttributePlan)]


def streams(few: int, many: int) -> tuple[pa.Table, pa.Table]:
    """So many random streams at once, the many with `make parity`, and the versions of their tracks."""
    parts = seeds(few, many, at_once=many)
    events = as_table([event for part in parts for event in many_streams(part, 120)])
    return events, pa.concat_tables(map(random_tracks, parts))


def changelogs(engine: str, events: pa.Table, tracks: pa.Table) -> dict[str, pa.Table]:
    """Group to its rows, by entity and time."""
    # So small that the samples of a day's values have levels.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gathered, "SAMPLE", 2)
        return _changelogs(engine, events, tracks)


def _changelogs(engine: str, events: pa.Table, tracks: pa.Table) -> dict[str, pa.Table]:
    made = zip(PLANS, ENGINES[engine](PLANS, events, {"track": tracks}), strict=True)
    return {plan.name: rows.sort_by([(plan.key, "ascending"), (T_MS, "ascending")]) for plan, rows in made}


def assert_same(plan: SpeedPlan, found: dict[str, pa.Table], expected: dict[str, pa.Table]) -> None:
    """Every row of a group, and enough of them."""
    assert expected[plan.name].num_rows > 100
    assert found[plan.name].equals(expected[plan.name])

"""DuckDB against the naive oracle, on random streams."""

from __future__ import annotations

from collections import Counter

import pytest

from playhead.compile import compile_group
from playhead.declare import FeatureService
from playhead.evaluate import evaluate
from playhead.local.changelog import changelog
from playhead.plan import SessionPlan, SlidingPlan
from playhead.relations import T_MS
from tests.parity.groups import ALL, SPEED
from tests.parity.streams import as_table, many_streams, random_tracks, seeds, spine_of

SERVICE = FeatureService(name="parity", groups=ALL)


@pytest.mark.parametrize("streams", seeds(20, 500, at_once=20), ids=str)
def test_duckdb_equals_the_oracle(streams: range) -> None:
    events = many_streams(streams, 100)
    table, spine = as_table(events), spine_of(events, streams.start, 500)
    tracks = {"track": random_tracks(streams)}
    found = evaluate(SERVICE, table, spine, dimensions=tracks)
    expected = evaluate(SERVICE, table, spine, "oracle", tracks)
    differ = [name for name in expected.column_names if not found[name].equals(expected[name])]
    assert not differ, [(n, found[n].to_pylist(), expected[n].to_pylist()) for n in differ[:1]]


@pytest.mark.parametrize("group", SPEED, ids=lambda group: group.name)
def test_there_is_one_row_per_entity_and_second(group: object) -> None:
    plan = compile_group(group)  # type: ignore[arg-type]
    assert isinstance(plan, SlidingPlan | SessionPlan)
    rows = changelog(plan, as_table(many_streams(range(10), 100)))
    stamps = Counter(zip(rows[plan.key].to_pylist(), rows[T_MS].to_pylist(), strict=True))
    assert max(stamps.values()) == 1
    assert all(stamp % 1_000 == 0 for _, stamp in stamps)

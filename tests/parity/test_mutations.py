"""The parity tests can fail: a bound of the plan that is moved by one unit is a difference to the oracle."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

from playhead import dimensions, merge, sessions, sliding
from playhead.declare import FeatureGroup, FeatureService
from playhead.evaluate import evaluate
from tests.parity.groups import EVERY_DAILY, EVERY_ENRICHED, EVERY_SESSION, EVERY_SLIDING, ONLY_DISTINCT, ONLY_EXTREMES
from tests.parity.streams import as_table, many_streams, random_tracks, spine_of


def later(versions: Any) -> Any:
    """A dimension whose rows hold from a millisecond later on."""
    return versions.mutate(valid_from_ms=versions.valid_from_ms + 1)


MUTATIONS: dict[str, tuple[FeatureGroup, Any, str, Callable[[Any], Any]]] = {
    "an expiry a millisecond later": (EVERY_SLIDING, sliding, "milliseconds", lambda ms: ms + 1),
    "an expiry a millisecond earlier": (EVERY_SLIDING, sliding, "milliseconds", lambda ms: ms - 1),
    "a value known a millisecond too long": (ONLY_DISTINCT, sliding, "milliseconds", lambda ms: ms + 1),
    "a frame a millisecond longer": (ONLY_EXTREMES, sliding, "before", lambda ms: ms + 1),
    "a frame a second shorter": (ONLY_EXTREMES, sliding, "before", lambda ms: ms - 1_000),
    "a gap a millisecond longer": (EVERY_SESSION, sessions, "milliseconds", lambda ms: ms + 1),
    "a gap a millisecond shorter": (EVERY_SESSION, sessions, "milliseconds", lambda ms: ms - 1),
    "a stamp a second earlier": (EVERY_SLIDING, sliding, "second_end", lambda stamp: stamp - 1_000),
    "a version that holds a millisecond later": (EVERY_ENRICHED, dimensions, "versions", later),
    "one event more among the latest": (EVERY_ENRICHED, sliding, "before_latest", lambda count: count + 1),
    "a day that begins a millisecond later": (EVERY_DAILY, merge, "day_of", lambda ms: ms + 1),
}


GROUPS = {group.name: group for group, *_ in MUTATIONS.values()}
TRACKS = {"track": random_tracks(range(20))}


@functools.cache
def unmoved(group: str) -> tuple[FeatureService, pa.Table, pa.Table, pa.Table]:
    """A service of the group alone, events and a spine, and what both engines make of them as the plan is."""
    service = FeatureService(name="mutated", groups=(GROUPS[group],))
    events = many_streams(range(20), 100)
    table, spine = as_table(events), spine_of(events, 0, 500)
    expected = evaluate(service, table, spine, "oracle", TRACKS)
    assert evaluate(service, table, spine, dimensions=TRACKS).equals(expected)
    return service, table, spine, expected


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_bound_moved_by_one_unit_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    group, module, function, moved = MUTATIONS[name]
    service, table, spine, expected = unmoved(group.name)
    right = getattr(module, function)
    monkeypatch.setattr(module, function, lambda *given: moved(right(*given)))
    assert not evaluate(service, table, spine, dimensions=TRACKS).equals(expected)

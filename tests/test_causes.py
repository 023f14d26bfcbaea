"""Faults are put between what is served and what training sees, and the skew check must name each of them."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from features.entities import is_play, is_skip
from playhead.checks.causes import Attributed, Cause, attribute
from playhead.checks.skew import Skew
from playhead.config import Settings
from playhead.days import begin_ms_of
from playhead.declarations import Declarations
from playhead.declare import Count, FeatureGroup, sliding
from playhead.objectives import CheckSettings
from playhead.relations import DAY_MS
from playhead.serving.registry import apply
from playhead.serving.served_table import served_schema
from playhead.serving.spine import columns_of
from playhead.serving.vectors import Vectors
from tests.conftest import settings_on_free_ports
from tests.lake import write_events
from tests.world import DECLARED, SERVED, SERVICE, TODAY, World, as_row, changes, listening, world_of


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> World:
    return world_of(settings_on_free_ports(tmp_path_factory.mktemp("clean") / "home"), listening())


@pytest.fixture(scope="module")
def late(tmp_path_factory: pytest.TempPathFactory) -> World:
    """One event of a hundred is late."""
    events, rng = listening(), random.Random(3)
    for event in events:
        event["late"] = rng.random() < 0.01
    return world_of(settings_on_free_ports(tmp_path_factory.mktemp("late") / "home"), events)


@pytest.fixture
def world(clean: World) -> World:
    return replace(clean)


def shares(skew: Skew) -> Counter[str]:
    assert sum(skew.causes.values()) == skew.mismatches
    return Counter(skew.causes)


def test_a_clean_run_has_no_difference(world: World) -> None:
    world.serve()
    skew = world.check()
    assert (skew.mismatches, skew.values) == (0, SERVED * len(columns_of(SERVICE)))
    assert skew.failures(CheckSettings()) == []


def test_a_writer_that_is_20_seconds_late_is_propagation_lag(world: World) -> None:
    world.serve(delay_ms=20_000)
    skew = world.check()
    found = shares(skew)
    assert skew.mismatches > 100
    assert found[Cause.PROPAGATION_LAG] >= 0.95 * skew.mismatches, found
    assert skew.lag_ms is not None
    assert 5_000 < skew.lag_ms["p50"] <= skew.lag_ms["max"] <= 20_000
    (failure,) = [each for each in skew.failures(CheckSettings()) if each.startswith("propagation lag")]
    assert "p99" in failure


def test_a_batch_that_was_dropped_is_batch_lag(world: World) -> None:
    world.batch_behind = 3
    world.serve()
    skew = world.check()
    found = shares(skew)
    assert skew.mismatches > 100
    assert found[Cause.BATCH_LAG] >= 0.95 * skew.mismatches, found


def test_a_batch_that_is_two_days_late_differs_in_nothing(world: World) -> None:
    world.batch_behind = 2
    world.serve()
    assert world.check().mismatches == 0


def test_late_events_are_named(late: World) -> None:
    world = replace(late, batch_behind=2)
    world.serve()
    skew = world.check()
    found = shares(skew)
    assert skew.mismatches > 20
    assert found[Cause.LATE_EVENT] >= 0.95 * skew.mismatches, found


def test_late_events_that_the_backfill_has_healed_are_named_in_every_group(late: World) -> None:
    world = replace(late)
    world.backfill()
    world.serve()
    skew = world.check("as-corrected")
    found = shares(skew)
    assert found[Cause.LATE_EVENT] >= 0.95 * skew.mismatches, found
    assert {each.feature.partition("__")[0] for each in skew.features if each.causes} >= {"listener", "track", "artist"}


def test_a_declaration_that_changed_between_is_version(world: World) -> None:
    listener = DECLARED.group("listener")
    features = tuple(
        Count("plays", where=is_play | is_skip, over=sliding("1m", "1h", "1d")) if f.name == "plays" else f
        for f in listener.features
    )
    before = replace(listener, features=features)

    def swapped(group: FeatureGroup) -> FeatureGroup:
        return before if group.name == "listener" else group

    service = replace(SERVICE, groups=tuple(map(swapped, SERVICE.groups)))
    world.declarations = Declarations(tuple(map(swapped, DECLARED.groups)), (service,))
    world.online = changes(world.declarations, world.events)
    world.serve()
    skew = world.check()
    found = shares(skew)
    assert skew.mismatches > 100
    assert found[Cause.VERSION] >= 0.95 * skew.mismatches, found


def test_code_that_differs_online_only_is_logic(world: World) -> None:
    def corrupted(vectors: Vectors) -> None:
        vectors.shared.values["listener__plays_1h"] += 1  # type: ignore[operator]

    world.corrupt = corrupted
    world.serve()
    skew = world.check()
    assert shares(skew) == {Cause.LOGIC: SERVED}
    assert {each.feature for each in skew.features if each.mismatches} == {"listener__plays_1h"}
    assert skew.failures(CheckSettings(skew={"listener__plays_1h": 1.0})) == []


def test_an_archive_that_lost_rows_is_no_late_event(world: World, settings: Settings) -> None:
    shutil.copytree(world.settings.lake, settings.lake)
    apply(settings, DECLARED)
    world.settings = settings
    world.serve()
    shutil.rmtree(settings.lake / "speed" / "track" / f"dt={TODAY}")
    skew = world.check()
    assert skew.mismatches
    assert shares(skew) == {Cause.LOGIC: skew.mismatches}


def test_a_fallback_is_named(world: World) -> None:
    world.fallback = "budget"
    world.serve(delay_ms=20_000)
    skew = world.check()
    assert shares(skew) == {Cause.FALLBACK: skew.mismatches}
    assert skew.mismatches


@pytest.mark.parametrize(
    ("status", "view", "cause"),
    [
        ("stale", "track", Cause.TTL),
        ("stale", "track_daily", Cause.BATCH_LAG),
        ("refused", "track", Cause.VERSION),
    ],
)
def test_what_the_log_says_of_a_row_comes_first(settings: Settings, status: str, view: str, cause: Cause) -> None:
    feature = {"track": "track__plays_1h", "track_daily": "track_daily__plays_7d"}[view]
    row = dict.fromkeys(served_schema(SERVICE, DECLARED).names) | {
        "serve_time": begin_ms_of(TODAY) * 1_000,
        "track_id": "t1",
        "statuses": [(view, status)],
    }
    served = pa.Table.from_pylist([row], served_schema(SERVICE, DECLARED))
    found = attribute(settings, DECLARED, SERVICE, served, {feature: np.array([True])})
    assert found == {feature: {0: Attributed(cause)}}


def test_a_row_that_was_on_its_way_over_midnight_is_propagation_lag(settings: Settings) -> None:
    noon = begin_ms_of(TODAY) - DAY_MS // 2
    plays = [
        as_row(
            event_id=f"e{n}",
            user_id="u1",
            track_id="t1",
            artist_id="a1",
            event_type="PLAY",
            event_time_ms=at_ms,
            kafka_offset=n,
        )
        for n, at_ms in enumerate([noon, begin_ms_of(TODAY) - 5_000])
    ]
    write_events(settings.lake, plays)
    row = dict.fromkeys(served_schema(SERVICE, DECLARED).names) | {
        "serve_time": (begin_ms_of(TODAY) + 2_000) * 1_000,
        "track_id": "t1",
        "track_daily__plays_7d": 1,
        "track_daily__event_timestamp_ms": noon + 1_000,
    }
    served = pa.Table.from_pylist([row], served_schema(SERVICE, DECLARED))
    found = attribute(settings, DECLARED, SERVICE, served, {"track_daily__plays_7d": np.array([True])})
    assert found == {"track_daily__plays_7d": {0: Attributed(Cause.PROPAGATION_LAG, 2_000 + 4_000)}}

"""The skew check finds every value that was served otherwise than the offline store has it, and no other."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from typer.testing import CliRunner

from playhead import oracle
from playhead.checks import results
from playhead.checks.readings import standings
from playhead.checks.skew import FeatureSkew, check_skew
from playhead.cli import app
from playhead.config import Settings
from playhead.declarations import load_declarations
from playhead.declare import FeatureService
from playhead.errors import InputError, UnknownName
from playhead.on_demand import computed, keys_of
from playhead.plan import speed_plan
from playhead.relations import DAY_MS, day_key
from playhead.serving.registry import apply
from playhead.serving.served_table import served_schema
from playhead.serving.spine import columns_of
from tests.archive import at, publish, write_rows

NOON = 1_700_049_600_000
THIRD = 1 / 3
ROW = {
    "user_id": "u1",
    "event_timestamp_ms": NOON,
    "plays_1h": 3,
    "skips_1h": 1,
    "skip_rate_1h": THIRD,
    "last_5_tracks": ["t2", "t1"],
}


@pytest.fixture
def lake(settings: Settings) -> Iterator[Path]:
    """A lake with one row of `listener`, and plays of a track yesterday and today, known to Feast."""
    declared = load_declarations()
    write_rows(settings.lake, declared.plan("listener"), [ROW])
    publish(settings.lake, date(2023, 11, 14), {"track_daily": [{"dt": "2023-11-14", "track_id": "t1", "plays": 9}]})
    today = {"track_id": day_key("t1", NOON - NOON % DAY_MS), "event_timestamp_ms": NOON, "plays": 2}
    write_rows(settings.lake, speed_plan(declared.plan("track_daily")), [today])
    apply(settings, declared)
    yield settings.lake


def serve(lake: Path, *vectors: dict[str, Any]) -> None:
    """Append vectors to the served log as it is landed; what a vector does not name was served as in the lake."""
    declared = load_declarations()
    schema = served_schema(declared.service("listener_v1"), declared)
    usual = {
        "serve_time": at(NOON + 1_500),
        "user_id": "u1",
        "track_id": "t1",
        "artist_id": "a1",
        "listener__event_timestamp_ms": NOON,
    } | {f"listener__{name}": value for name, value in ROW.items() if name not in ("user_id", "event_timestamp_ms")}
    usual |= empty_windows("track", "artist") | no_days("listener_daily", "track_daily")
    usual |= {"track_daily__plays_7d": 11, "track_daily__plays_30d": 11, "track_daily__skip_rate_30d": 0.0}
    rows = [dict.fromkeys(schema.names) | usual | {"request_id": f"r{i}"} | vector for i, vector in enumerate(vectors)]
    for row in rows:
        row |= on_demand(declared.service("listener_v1"), row)
    write_deltalake(lake / "served" / "listener_v1", pa.Table.from_pylist(rows, schema=schema), mode="append")


def on_demand(service: FeatureService, row: dict[str, Any]) -> dict[str, Any]:
    """What is computed from nothing at the row's moment; nulls where it has no entity for it."""
    moment_ms, found = round(row["serve_time"].timestamp() * 1_000), dict[str, Any]()
    for view in service.on_demand:
        known = all(row[key] is not None for key in keys_of(view))
        values = computed(view, {each: [None] for each in view.inputs}, [moment_ms if known else None])
        found |= {f"{view.name}__{name}": value for name, (value,) in values.items()}
    return found


def empty_windows(*groups: str) -> dict[str, int]:
    """What entities without a row are served."""
    return {f"{g}__{name}": value for g in groups for name, value in load_declarations().plan(g).empty.items()}


def no_days(*groups: str) -> dict[str, Any]:
    """What entities without events are served of windows of days."""
    empty = {group: oracle.values_at(load_declarations().group(group), [], "nobody", NOON) for group in groups}
    return {f"{group}__{name}": value for group, values in empty.items() for name, value in values.items()}


def by_feature(features: tuple[FeatureSkew, ...]) -> dict[str, FeatureSkew]:
    return {each.feature: each for each in features}


def test_what_was_served_as_it_is_stored_matches_to_the_last_digit(settings: Settings, lake: Path) -> None:
    unknown = dict.fromkeys(empty_windows("track", "artist") | no_days("track_daily"))
    serve(lake, {}, {}, {"track_id": None, "artist_id": None} | unknown)
    skew = check_skew(settings, load_declarations(), ["listener_v1"])
    assert (skew.rows, skew.mismatches, skew.differences) == ({"listener_v1": 3}, 0, ())
    assert skew.matches == skew.values == 3 * len(skew.features)
    assert [each.feature for each in skew.features] == columns_of(load_declarations().service("listener_v1"))


def test_each_kind_of_difference_is_counted_where_it_is(settings: Settings, lake: Path) -> None:
    before_the_first_row = {name: 0 for name in empty_windows("listener") if name.partition("__")[2] not in ROW}
    serve(
        lake,
        {},
        {"listener__skip_rate_1h": 0.333333333333333},
        {"listener__last_5_tracks": ["t1", "t2"], "listener__plays_1h": None},
        {"listener__plays_1d": 0},
        {"serve_time": at(NOON - 1)} | before_the_first_row,
    )
    skew = check_skew(settings, load_declarations(), ["listener_v1"])
    found = by_feature(skew.features)
    counts = {n: (f.matches, f.mismatches, f.null_served, f.null_offline) for n, f in found.items() if f.mismatches}
    assert counts == {
        "listener__plays_1h": (3, 2, 1, 0),
        "listener__skips_1h": (4, 1, 0, 0),
        "listener__skip_rate_1h": (3, 2, 0, 1),
        "listener__last_5_tracks": (3, 2, 0, 1),
        "listener__plays_1d": (4, 1, 0, 1),
        "track_daily__plays_7d": (4, 1, 0, 0),
        "track_daily__plays_30d": (4, 1, 0, 0),
    }
    assert skew.mismatches == 10
    rate = next(d for d in skew.differences if d.feature == "listener__skip_rate_1h")
    assert (rate.request_id, rate.served, rate.offline) == ("r1", 0.333333333333333, THIRD)
    assert (rate.entities["user_id"], rate.served_event_timestamp_ms) == ("u1", NOON)


def test_the_result_is_kept(settings: Settings, lake: Path) -> None:
    serve(lake, {}, {"listener__plays_1h": 4})
    check_skew(settings, load_declarations(), ["listener_v1"])
    saved = results.load(settings, "skew")
    assert saved is not None
    assert (saved["rows"], saved["mismatches"]) == ({"listener_v1": 2}, 1)
    (differing,) = [feature for feature in saved["features"] if feature["mismatches"]]
    assert differing == {
        "service": "listener_v1",
        "feature": "listener__plays_1h",
        "rows": 2,
        "matches": 1,
        "mismatches": 1,
        "null_served": 0,
        "null_offline": 0,
        "causes": {"logic": 1},
        "smape": pytest.approx(1 / 7),
        "quantiles": [[3.05, 3.5, 3.95], [3.0, 3.0, 3.0]],
        "edits": None,
    }
    assert [(d["served"], d["offline"], d["cause"]) for d in saved["differences"]] == [(4, 3, "logic")]
    history = DeltaTable(lake / "checks" / "skew").to_pyarrow_table()
    assert history.num_rows == len(saved["features"])
    (kept,) = [row for row in history.to_pylist() if row["causes"]]
    assert (kept["feature"], kept["matches"], kept["causes"]) == ("listener__plays_1h", 1, [("logic", 1)])
    [wrong] = [each.reading for each in standings(settings, ["skew"]) if not each.reading.ok]
    assert (wrong.subject, wrong.value, wrong.allowed, wrong.detail) == ("listener__plays_1h", 0.5, 0, "logic 1")


def test_a_sample_is_the_same_each_time(settings: Settings, lake: Path) -> None:
    serve(lake, *({"listener__plays_1h": i} for i in range(40)))
    first, second = (check_skew(settings, load_declarations(), ["listener_v1"], sample=7) for _ in range(2))
    assert first.rows == {"listener_v1": 7}
    assert first == second


@pytest.fixture
def command() -> Callable[..., Any]:
    """`playhead check skew …`."""
    return lambda *arguments: CliRunner().invoke(app, ["check", "skew", *arguments])


def test_the_exit_code_says_whether_too_much_differs(
    settings: Settings, lake: Path, command: Callable[..., Any]
) -> None:
    place = ("--home", str(settings.home))
    serve(lake, {})
    assert command(*place).exit_code == 0
    serve(lake, {"listener__plays_1h": 4})
    found = command(*place)
    assert found.exit_code == 1
    assert "served 4 from the row of" in found.stdout
    assert command(*place, "--max-mismatch-rate", "0.5").exit_code == 0
    as_json = command(*place, "--json")
    assert json.loads(as_json.stdout[as_json.stdout.index("{\n") :])["mismatches"] == 1


def test_a_log_that_is_not_there_is_told(settings: Settings, lake: Path) -> None:
    with pytest.raises(InputError, match="no served vectors"):
        check_skew(settings, load_declarations(), ["listener_v1"])
    with pytest.raises(UnknownName, match="did you mean 'listener_v1'"):
        check_skew(settings, load_declarations(), ["listener_v2"])
    write_deltalake(lake / "served" / "listener_v1", pa.table({"request_id": ["r"]}))
    with pytest.raises(InputError, match="no column serve_time, user_id"):
        check_skew(settings, load_declarations(), ["listener_v1"])

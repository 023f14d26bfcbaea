"""`playhead features`: what is declared, against what is deployed."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from ibis import _
from typer.testing import CliRunner

from features.entities import is_play, is_skip, user
from playhead.cli import app
from playhead.compile import fingerprint, meanings
from playhead.config import Settings, load_settings
from playhead.declarations import Declarations, load_declarations
from playhead.declare import (
    MOMENT,
    Count,
    Derived,
    FeatureGroup,
    FeatureService,
    LastK,
    OnDemand,
    Ratio,
    sliding,
)
from playhead.describe import described
from playhead.errors import DeclarationError, UnknownName
from playhead.evaluate import evaluate, master_data
from playhead.on_demand import computed, with_on_demand
from playhead.serving.deployed import compare
from playhead.serving.feast_on_demand import frame_function
from playhead.serving.registry import apply

PLAYS = Count("plays", where=is_play, over=sliding("1m", "1h"))
SKIPS = Count("skips", where=is_skip, over=sliding("1h"))
RATE = Ratio("skip_rate", "skips_1h", "plays_1h")


def group(*features: object, name: str = "probe", description: str = "") -> FeatureGroup:
    return FeatureGroup(name=name, entity=user, features=features, description=description)  # type: ignore[arg-type]


def declared(*groups: FeatureGroup) -> Declarations:
    return Declarations(groups, (FeatureService(name="probe_v1", groups=groups),))


BEFORE = group(PLAYS, SKIPS, RATE)


@pytest.fixture
def deployed(tmp_path: Path) -> Settings:
    """Settings of a home where BEFORE is applied."""
    settings = load_settings(tmp_path / "home")
    apply(settings, declared(BEFORE))
    return settings


def test_what_is_applied_is_the_same(deployed: Settings) -> None:
    changes = compare(deployed, declared(BEFORE))
    assert not changes.any
    assert not changes.backfilled


def test_before_the_first_apply_everything_is_added(tmp_path: Path) -> None:
    changes = compare(load_settings(tmp_path), declared(BEFORE))
    assert [g.change for g in changes.groups] == ["added"]
    assert changes.services == {"probe_v1": "added"}
    assert list(tmp_path.iterdir()) == [], "a plan leaves nothing behind"


@pytest.mark.parametrize(
    ("now", "change", "features"),
    [
        (group(PLAYS, SKIPS, RATE, LastK("last", _.track_id, k=3, where=is_play)), "changed", {"last": "added"}),
        (group(PLAYS, SKIPS), "changed", {"skip_rate": "removed"}),
        (group(SKIPS, PLAYS, RATE), "same", {}),
        (group(PLAYS, SKIPS, RATE, description="How it goes."), "metadata", {}),
        (
            group(PLAYS, Count("skips", where=_.event_type == "STOP", over=sliding("1h")), RATE),
            "changed",
            {"skips_1h": "changed", "skip_rate": "changed"},
        ),
        (group(PLAYS, SKIPS, replace(RATE, name="rate")), "changed", {"skip_rate → rate": "renamed"}),
        (
            group(PLAYS, replace(SKIPS, name="skipped"), Ratio("skip_rate", "skipped_1h", "plays_1h")),
            "changed",
            {"skips_1h → skipped_1h": "renamed"},
        ),
        (group(PLAYS, SKIPS, Derived("skip_rate", _.skips_1h / _.plays_1h)), "same", {}),
    ],
)
def test_a_change_is_told_by_feature(deployed: Settings, now: FeatureGroup, change: str, features: object) -> None:
    (found,) = compare(deployed, declared(now)).groups
    assert (found.change, found.features) == (change, features)
    assert found.needs_backfill == (change == "changed")
    assert (fingerprint(now) == fingerprint(BEFORE)) == (change in ("same", "metadata"))


def test_groups_and_services_come_and_go(deployed: Settings) -> None:
    other = group(PLAYS, name="other")
    changes = compare(deployed, Declarations((other,), (FeatureService(name="other_v1", groups=(other,)),)))
    assert {g.group: g.change for g in changes.groups} == {"other": "added", "probe": "removed"}
    assert changes.services == {"other_v1": "added", "probe_v1": "removed"}
    changes = compare(deployed, Declarations((BEFORE, other), (FeatureService(name="probe_v1", groups=(other,)),)))
    assert changes.services == {"probe_v1": "changed"}


def test_another_lake_and_another_name_of_the_entity_are_metadata(deployed: Settings, tmp_path: Path) -> None:
    moved = deployed.model_copy(update={"lake_path": tmp_path / "elsewhere"})
    assert [g.change for g in compare(moved, declared(BEFORE)).groups] == ["metadata"]
    renamed = replace(BEFORE, entity=replace(BEFORE.entity, name="listener"))
    assert [g.change for g in compare(deployed, declared(renamed)).groups] == ["metadata"]


def test_every_feature_has_a_meaning_of_its_own() -> None:
    found = meanings(BEFORE)
    assert sorted(found) == ["plays_1h", "plays_1m", "skip_rate", "skips_1h"]
    assert len(set(found.values())) == 4


def test_a_feature_is_described() -> None:
    found = described(BEFORE, declared(BEFORE).services, "plays_1m")
    assert found["features"] == [
        {"feature": "plays_1m", "type": "int64", "empty": 0, "is": "Count where event_type = 'PLAY', last 1m"}
    ]
    assert found["services"] == ["probe_v1"]
    with pytest.raises(UnknownName, match="did you mean 'plays_1m'"):
        described(BEFORE, (), "play_1m")


def test_on_demand_views_come_change_and_go(deployed: Settings) -> None:
    def night(moment: datetime) -> dict[str, int]:
        return {"night": int(moment.hour < 6)}

    view = OnDemand(name="clock", features={"night": "int64"}, inputs=(MOMENT,), function=night)
    with_view = Declarations((BEFORE,), (FeatureService(name="probe_v1", groups=(BEFORE,)),), (view,))
    (change,) = (g for g in compare(deployed, with_view).groups if g.group == "clock")
    assert (change.change, change.made, change.needs_backfill) == ("added", "on demand", False)
    apply(deployed, with_view)
    assert not compare(deployed, with_view).any
    wider = replace(view, features={"night": "float64"})
    assert {g.group: g.change for g in compare(deployed, replace(with_view, on_demand=(wider,))).groups}[
        "clock"
    ] == "changed"
    assert {g.group: g.change for g in compare(deployed, declared(BEFORE)).groups}["clock"] == "removed"


@pytest.mark.parametrize(
    ("inputs", "features", "problem"),
    [
        (("listener.play_1h",), {"x": "int64"}, "did you mean 'listener.plays_1h'"),
        (("listener.plays_1h",), {"plays_1h": "int64"}, "'plays_1h' is the name of two inputs, or of an input and"),
        (("listener.plays_1h", "track.plays_1h"), {"x": "int64"}, "'plays_1h' is the name of two inputs"),
        ((MOMENT,), {"x": "bool"}, "feature 'x' is 'bool', expected int64 or float64 or string"),
        ((MOMENT,), {"X": "int64"}, "name 'X': allowed are words"),
        ((), {"x": "int64"}, "needs at least one input"),
    ],
)
def test_an_on_demand_view_that_is_wrong_is_told(inputs: Any, features: Any, problem: str) -> None:
    groups = tuple(load_declarations().group(name) for name in ("listener", "track"))
    with pytest.raises(DeclarationError, match=problem):
        OnDemand(name="probe", features=features, inputs=inputs, of=groups, function=dict)


@pytest.mark.parametrize("given", [{"x": "1"}, {"x": 1.5}, {}, {"x": 1, "y": 2}, None])
def test_a_function_that_gives_something_else_is_told(given: dict[str, Any]) -> None:
    view = OnDemand(name="probe", features={"x": "int64"}, inputs=(MOMENT,), function=lambda **_: given)
    with pytest.raises(DeclarationError, match="on-demand view 'probe'"):
        computed(view, {}, [0])


def test_what_is_no_number_is_null_and_so_is_all_of_what_is_not_known() -> None:
    def rates(plays_1h: int | None) -> dict[str, Any]:
        return {"x": float("nan"), "y": int(plays_1h == 1)}

    listener = load_declarations().group("listener")
    types = {"x": "float64", "y": "int64"}
    view = OnDemand(name="probe", features=types, inputs=("listener.plays_1h",), of=(listener,), function=rates)
    service = FeatureService(name="s", groups=(), on_demand=(view,))
    rows = pa.table({"user_id": ["a", None, "b"], "listener__plays_1h": pa.array([1, None, None])})
    moments = pa.chunked_array([pa.array([0, 0, 0], pa.timestamp("us", "UTC"))])
    expected = {"probe__x": [None, None, None], "probe__y": [1, None, 0]}
    assert with_on_demand(service, rows, moments).select([*expected]).to_pydict() == expected
    frame = frame_function(view)(rows.to_pandas().assign(event_timestamp=datetime(2025, 3, 1, tzinfo=UTC)))
    assert [None if pd.isna(v) else v for v in frame["y"]] == expected["probe__y"]


def test_the_moment_is_cut_to_the_second_wherever_it_comes_from() -> None:
    (view,) = (view for view in load_declarations().on_demand if view.name == "context")
    at = datetime(2025, 3, 1, 10, 59, 59, 999_600, tzinfo=UTC)
    service = FeatureService(name="s", groups=(), on_demand=(view,))
    moments = pa.chunked_array([pa.array([at], pa.timestamp("us", "UTC"))])
    (here,) = with_on_demand(service, pa.table({"n": [1]}), moments)["context__hour_sin"].to_pylist()
    (feast,) = frame_function(view)(pd.DataFrame({"event_timestamp": [at]}))["hour_sin"]
    assert here == feast == math.sin(2 * math.pi * 10 / 24)
    spine = pa.table({"event_timestamp": moments})
    for engine in ("duckdb", "oracle"):
        assert evaluate(service, master_data([]), spine, engine)["context__hour_sin"].to_pylist() == [here]


def shown_as_json(name: str) -> str:
    return CliRunner().invoke(app, ["features", "show", name, "--json"]).stdout


def test_the_commands(tmp_path: Path) -> None:
    run, home = CliRunner().invoke, ["--home", str(tmp_path)]
    assert run(app, ["features", "plan", "--check", *home]).exit_code == 1
    applied = json.loads(run(app, ["features", "apply", "--json", *home]).stdout)
    assert applied["plan"]["changes"]
    assert applied["plan"]["backfill"] == {"days": 0, "events": 0}
    again = run(app, ["features", "plan", "--check", *home])
    assert (again.exit_code, again.stdout) == (0, "no changes: the registry holds what is declared\n")
    assert "Top 5 of track_genre" in run(app, ["features", "show", "listener_daily.top_genres_30d"]).stdout
    assert "Mean of track_valence (a decimal, times 1,000) where" in shown_as_json("listener.valence_last_20")
    assert "tempo of the dimension track (a decimal, times 10)" in shown_as_json("track_item.tempo")
    assert "_context(moment)" in run(app, ["features", "show", "context.hour_sin"]).stdout
    assert "on demand" in run(app, ["features", "list", *home]).stdout
    shown = run(app, ["features", "show", "listener.skip_rate_1h"]).stdout
    assert "skips_1h / plays_1h" in shown
    assert "listener_v1" in shown
    assert "SUM(" in run(app, ["features", "show", "session", "--sql", "spark"]).stdout
    assert "unknown engine" in str(run(app, ["features", "show", "session", "--sql", "sparc"]).exception)

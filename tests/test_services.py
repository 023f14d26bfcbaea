"""Feature services as configuration, and versions of one that stand side by side."""

from __future__ import annotations

from pathlib import Path

import pytest

import features
from playhead.declarations import Declarations, load_declarations
from playhead.declare import FeatureService
from playhead.errors import ConfigError, DeclarationError, InputError, UnknownName
from playhead.evaluate import evaluate
from playhead.services import load_services
from playhead.serving.deployed import compare
from playhead.serving.online import OnlineStore
from playhead.serving.packed import Packer
from playhead.serving.registry import applied_service, apply, open_feature_store
from playhead.serving.served_table import served_schema
from playhead.serving.spine import columns_of, keys_of, with_defaults
from playhead.serving.vectors import VectorService
from tests.memory import MemoryRedis
from tests.parity.streams import as_table, random_events, spine_of

FILLED = """
- scenario: home
  version: 3
  features: [listener, session.session_plays]
  defaults:
    listener.skip_rate_1h: 0.5
    listener.last_5_tracks: [none]
    session.session_plays: -1
"""
TWO = """
- scenario: home
  version: 1
  features: [listener, track.plays_1h]
- scenario: home
  version: 2
  features: [track.skips_1h, track.plays_1h]
"""


@pytest.fixture
def two(tmp_path: Path) -> tuple[FeatureService, ...]:
    file = tmp_path / "services.yaml"
    file.write_text(TWO)
    return load_services(file, features.GROUPS)


def test_versions_stand_side_by_side(two: tuple[FeatureService, ...]) -> None:
    assert [service.name for service in two] == ["home_v1", "home_v2"]
    listener = [f"listener__{name}" for name in features.listener.feature_names]
    assert columns_of(two[0]) == [*listener, "track__plays_1h"]
    assert columns_of(two[1]) == ["track__plays_1h", "track__skips_1h"]
    assert keys_of(two[1]) == ["track_id"]


@pytest.mark.parametrize("engine", ["duckdb", "oracle"])
def test_what_a_service_reads_is_what_comes_out(two: tuple[FeatureService, ...], engine: str) -> None:
    events = random_events(1, 100)
    found = evaluate(two[1], as_table(events), spine_of(events, 1, 20), engine)
    assert found.column_names == columns_of(two[1])


def test_the_server_and_its_log_have_those_only(two: tuple[FeatureService, ...]) -> None:
    declarations = Declarations(features.GROUPS, two)
    names = served_schema(two[1], declarations).names
    assert [name for name in names if "__" in name] == [*columns_of(two[1]), "track__event_timestamp_ms"]
    fetched = VectorService(two[1], declarations).fetch(OnlineStore(MemoryRedis(), "memory"), {}, lambda: 1.0)
    assert [*fetched.columns] == columns_of(two[1])
    assert [*fetched.event_timestamps_ms] == ["track"]


def test_defaults_stand_in_place_of_nulls_served_and_computed(tmp_path: Path) -> None:
    file = tmp_path / "services.yaml"
    file.write_text(FILLED)
    (service,) = load_services(file, features.GROUPS)
    events = random_events(1, 100)
    table, spine = as_table(events), spine_of(events, 1, 200)
    plain = evaluate(service, table, spine)
    for engine in ("duckdb", "oracle"):
        found = with_defaults(service, evaluate(service, table, spine, engine))
        for name, default in service.defaults.items():
            column = name.replace(".", "__")
            assert plain[column].null_count
            expected = [default if value is None else value for value in plain[column].to_pylist()]
            assert found[column].to_pylist() == expected
    declarations, redis = Declarations(features.GROUPS, (service,)), MemoryRedis()
    redis.put(Packer.of(declarations.plan("listener")), "u1", 0, {"plays_1m": 3})
    fetched = VectorService(service, declarations).fetch(OnlineStore(redis, "m"), {"user_id": "u1"}, lambda: 1.0)
    (served,) = fetched.to_arrow().to_pylist()
    assert (served["listener__plays_1m"], served["listener__skip_rate_1h"]) == (3, 0.5)
    assert served["listener__last_5_tracks"] == ["none"]
    assert served["listener__plays_1h"] is None


def test_a_new_version_goes_live_beside_the_old_one(two: tuple[FeatureService, ...], tmp_path: Path) -> None:
    from playhead.config import load_settings

    settings = load_settings(tmp_path)
    before, after = Declarations(features.GROUPS, two[:1]), Declarations(features.GROUPS, two)
    apply(settings, before)
    changes = compare(settings, after)
    assert changes.services == {"home_v1": "same", "home_v2": "added"}
    assert all(group.change == "same" for group in changes.groups), "no group changes, so no job does"
    apply(settings, after)
    store = open_feature_store(settings)
    for service in two:
        registered = applied_service(store, settings, after, service.name)
        read = {f"{p.name}__{field.name}" for p in registered.feature_view_projections for field in p.features}
        assert read == set(columns_of(service))
    other = FeatureService(name="home_v2", groups=two[1].groups, features=("track.plays_1h",))
    with pytest.raises(InputError, match="'home_v2' was applied before its declaration changed"):
        applied_service(store, settings, Declarations(features.GROUPS, (other,)), "home_v2")


def test_the_application_has_its_services_from_the_file() -> None:
    assert [service.name for service in load_declarations().services] == ["listener_v1"]


@pytest.mark.parametrize(
    ("text", "error", "problem"),
    [
        ("- scenario: home\n  features: [track]", ConfigError, "services.yaml: 0.version: Field required"),
        ("- {scenario: home, version: 1, features: [track], tracks: 1}", ConfigError, "0.tracks: Extra inputs"),
        ("- {scenario: Home, version: 1, features: [track]}", ConfigError, "0.scenario: .*got 'Home'"),
        ("- {scenario: home, version: 1, features: []}", ConfigError, "0.features: .*at least 1"),
        ("- {scenario: home, version: 0, features: [track]}", ConfigError, "0.version: .*got 0"),
        ("scenario: [home", ConfigError, "services.yaml: while parsing"),
        ("- {scenario: home, version: 1, features: [trak]}", UnknownName, "did you mean 'track'"),
        (
            "- {scenario: home, version: 1, features: [track.play_1h]}",
            DeclarationError,
            "did you mean 'track.plays_1h'",
        ),
        (
            "- {scenario: home, version: 1, features: [track], defaults: {track.plays_1h: 0.5}}",
            DeclarationError,
            "default of 'track.plays_1h' is 0.5, expected int64",
        ),
        (
            "- {scenario: home, version: 1, features: [track], defaults: {listener.plays_1h: 0}}",
            DeclarationError,
            "default for 'listener.plays_1h', which it does not read",
        ),
        (2 * "- {scenario: home, version: 1, features: [track]}\n", ConfigError, "home_v1 is there twice"),
    ],
)
def test_a_file_that_is_wrong_says_where_and_what(text: str, error: type, problem: str, tmp_path: Path) -> None:
    file = tmp_path / "services.yaml"
    file.write_text(text)
    with pytest.raises(error, match=problem):
        load_services(file, features.GROUPS)
    with pytest.raises(ConfigError, match="No such file"):
        load_services(tmp_path / "absent.yaml", features.GROUPS)


def test_a_service_that_reads_nothing_of_a_group_is_refused() -> None:
    with pytest.raises(DeclarationError, match="reads nothing of its group 'artist'"):
        FeatureService(name="x", groups=(features.track, features.artist), features=("track.plays_1h",))

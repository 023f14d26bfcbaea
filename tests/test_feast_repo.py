"""`feature_repo/` as a plain Feast program sees it."""

from __future__ import annotations

import importlib.util
import math
import sys
from datetime import date
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from deltalake import write_deltalake
from feast import FeatureStore
from feast.repo_config import load_repo_config
from feast.repo_operations import apply_total

from playhead.config import PROJECT, Settings, load_settings
from playhead.declarations import Declarations, load_declarations
from playhead.errors import InputError, StackError, UnknownName, UnsupportedError
from playhead.plan import speed_plan
from playhead.relations import DAY_MS, day_key
from playhead.serving.online import open_online_store
from playhead.serving.packed import Packer
from playhead.serving.registry import applied_service, apply, open_feature_store, repo_settings
from tests.archive import at, publish, write_rows

REPO = PROJECT / "feature_repo"
VIEWS = {"listener", "session", "track", "artist", "listener_daily", "track_daily", "artist_daily", "track_item"}
SECOND = 1_000
NOON = 1_700_049_600_000
HOUR_11 = math.cos(2 * math.pi * 11 / 24)


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FeatureStore:
    """The store of a program that knows nothing of playhead, after `feast apply`."""
    monkeypatch.setenv("PLAYHEAD_HOME", str(tmp_path / "home"))
    # What the command line of Feast does to its process.
    monkeypatch.setattr(sys, "path", [*sys.path, str(REPO)])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.chdir(REPO)
    monkeypatch.delitem(sys.modules, "definitions", raising=False)
    apply_total(load_repo_config(REPO, REPO / "feature_store.yaml"), REPO, skip_source_validation=False)
    return FeatureStore(repo_path=str(REPO))


def test_feast_apply_registers_what_is_declared(program: FeatureStore, tmp_path: Path) -> None:
    assert {view.name for view in program.list_feature_views()} == VIEWS
    assert {entity.name: entity.join_key for entity in program.list_entities()} == {
        "user": "user_id",
        "track": "track_id",
        "artist": "artist_id",
    }
    (service,) = program.list_feature_services()
    declared = load_declarations()
    expected = [view.name for view in declared.service("listener_v1").views]
    assert (service.name, [p.name for p in service.feature_view_projections]) == ("listener_v1", expected)
    listener = program.get_feature_view("listener")
    assert [field.name for field in listener.features] == declared.group("listener").feature_names
    assert listener.tags == {"kind": "sliding", "fingerprint": declared.plan("listener").fingerprint}
    assert Path(listener.batch_source.path) == tmp_path / "home" / "lake" / "speed" / "listener"
    assert (tmp_path / "home" / "registry.db").is_file()


def test_no_file_of_the_repo_hides_a_package() -> None:
    """Feast imports the repo's files by bare name: one that hides a package would register nothing."""
    files = list(REPO.rglob("*.py"))
    assert [file.name for file in files] == ["definitions.py"]
    for file in files:
        spec = importlib.util.find_spec(file.stem)
        assert spec is None or spec.origin == str(file)


def test_a_plain_program_gets_historical_features(program: FeatureStore, tmp_path: Path) -> None:
    lake, declared = tmp_path / "home" / "lake", load_declarations()
    rows = [
        {"user_id": "u1", "event_timestamp_ms": NOON, "plays_1h": 1, "last_5_tracks": ["t1"], "skip_rate_1h": None},
        {"user_id": "u1", "event_timestamp_ms": NOON + SECOND, "plays_1h": 2, "last_5_tracks": ["t2", "t1"]},
    ]
    write_rows(lake, declared.plan("listener"), rows)
    write_rows(lake, declared.plan("listener"), [rows[1] | {"plays_1h": 3}], name="part-1", created=1)
    publish(lake, date(2023, 11, 14), {"track_daily": [{"dt": "2023-11-14", "track_id": "t1", "plays": 9}]})
    today = {"track_id": day_key("t1", NOON - NOON % DAY_MS), "event_timestamp_ms": NOON, "plays": 2}
    write_rows(lake, speed_plan(declared.plan("track_daily")), [today])
    moments = [NOON + SECOND, NOON + SECOND - 1, NOON - 1, NOON + SECOND]
    spine = pd.DataFrame(
        {
            "user_id": ["u1", "u1", "u1", "nobody"],
            "track_id": ["t1", "t1", "t1", "t2"],
            "event_timestamp": [at(m) for m in moments],
            "label": [1, 0, 1, 0],
        },
        index=[5, 5, 1, 0],
    )
    features = ["listener:plays_1h", "listener:last_5_tracks", "track_daily:plays_7d"]
    table = program.get_historical_features(spine, features=features, full_feature_names=True).to_arrow()
    assert table.drop_columns("event_timestamp").to_pydict() == {
        "user_id": ["u1", "u1", "u1", "nobody"],
        "track_id": ["t1", "t1", "t1", "t2"],
        "label": [1, 0, 1, 0],
        "listener__plays_1h": [3, 1, 0, 0],
        "listener__last_5_tracks": [["t2", "t1"], ["t1"], None, None],
        "track_daily__plays_7d": [11, 11, 9, 0],
    }
    service = program.get_feature_service("listener_v1")
    spine["artist_id"] = "a1"
    frame = program.get_historical_features(spine, features=service, full_feature_names=True).to_df()
    assert frame["listener__plays_1h"].tolist()[:2] == [3, 1]
    assert frame["context__weekday"].tolist() == [3, 3, 3, 3]
    # The second of these rows is a second after noon, the third a millisecond before it.
    assert frame["context__hour_cos"].tolist() == [math.cos(math.pi), math.cos(math.pi), HOUR_11, math.cos(math.pi)]


def test_on_demand_features_come_with_what_they_are_made_from(program: FeatureStore, tmp_path: Path) -> None:
    tracks = pa.table({"track_id": ["t1", "t1"], "genre": ["pop", "jazz"], "tempo": [600, 1_300]})
    stamps = pa.array([at(0), at(NOON)], pa.timestamp("us", "UTC"))
    rows = tracks.append_column("event_timestamp", stamps).append_column("created_at", stamps)
    write_deltalake(tmp_path / "home" / "lake" / "dimensions" / "track", rows)
    moments = [at(NOON - SECOND), at(NOON), at(NOON)]
    spine = pd.DataFrame({"track_id": ["t1", "t1", "t2"], "event_timestamp": moments})
    features = ["item:tempo_scaled", "item:is_jazz", "track_item:genre"]
    table = program.get_historical_features(spine, features=features, full_feature_names=True).to_arrow()
    found = table.select(["item__tempo_scaled", "item__is_jazz", "track_item__genre"]).to_pydict()
    assert found == {
        "item__tempo_scaled": [0.0, 0.5, None],
        "item__is_jazz": [0, 1, 0],
        "track_item__genre": ["pop", "jazz", None],
    }


def test_text_moments_are_read_as_utc(program: FeatureStore, tmp_path: Path) -> None:
    row = {"user_id": "u1", "event_timestamp_ms": NOON, "plays_1h": 1}
    write_rows(tmp_path / "home" / "lake", load_declarations().plan("listener"), [row])
    spine = pd.DataFrame({"user_id": "u1", "event_timestamp": ["2023-11-15T12:00:00", "2023-11-15T12:59:59+01:00"]})
    job = program.get_historical_features(spine, features=["listener:plays_1h"])
    assert job.to_arrow()["plays_1h"].to_pylist() == [1, 0]


def test_spines_that_cannot_be_joined_are_refused(program: FeatureStore) -> None:
    features = ["listener:plays_1h"]
    with pytest.raises(UnsupportedError, match="are SQL text, expected a pandas DataFrame"):
        program.get_historical_features("SELECT 1", features=features)
    with pytest.raises(UnsupportedError, match="are a date range"):
        program.get_historical_features(start_date=at(0), features=features)
    numbers = pd.DataFrame({"user_id": ["u1"], "event_timestamp": [NOON]})
    with pytest.raises(InputError, match="'event_timestamp' is int64, expected timestamps"):
        program.get_historical_features(numbers, features=features)
    keyless = pd.DataFrame({"event_timestamp": [at(NOON)]})
    with pytest.raises(InputError, match="no column user_id"):
        program.get_historical_features(keyless, features=features).to_arrow()


def test_applying_again_removes_what_is_no_longer_declared(settings: Settings) -> None:
    declared = load_declarations()
    assert apply(settings, declared).removed == ()
    assert apply(settings, declared).removed == ()
    assert apply(settings, Declarations(declared.groups, (), declared.on_demand)).removed == ("listener_v1",)
    store = open_feature_store(settings)
    assert store.list_feature_services() == []
    assert {view.name for view in store.list_feature_views()} == VIEWS
    removed = apply(settings, Declarations(declared.groups, ())).removed
    assert removed == ("affinity", "context", "item", "moment")
    assert open_feature_store(settings).list_on_demand_feature_views() == []


def test_a_view_is_not_forgotten_while_its_online_rows_cannot_be_deleted(settings: Settings) -> None:
    declared = load_declarations()
    apply(settings, declared)
    with pytest.raises(StackError):
        apply(settings, Declarations(declared.groups[:1], ()))
    assert {view.name for view in open_feature_store(settings).list_feature_views()} == VIEWS


@pytest.mark.stack
def test_a_plain_program_gets_online_features(stack: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, declared = tmp_path / "home", load_declarations()
    home.mkdir()
    (home / "playhead.toml").write_text(f"[redis]\nport = {stack.redis.port}\n")
    apply(load_settings(home), declared)
    packer = Packer.of(declared.plan("track"))
    row = {"plays_1m": 1, "plays_1h": 2, "plays_1d": 3, "skips_1h": 0}
    with open_online_store(stack.redis) as online:
        online.write("track", [("feast-t1", packer.pack(NOON, row))])
    archived = [{"artist_id": "feast-a1", "event_timestamp_ms": NOON + i * SECOND, "plays_1h": i} for i in range(3)]
    write_rows(home / "lake", declared.plan("artist"), archived)
    monkeypatch.setenv("PLAYHEAD_HOME", str(home))
    store = FeatureStore(repo_path=str(REPO))
    store.materialize(at(NOON), at(NOON + SECOND), feature_views=["artist", "session"])
    entities = [{"track_id": "feast-t1", "artist_id": "feast-a1"}, {"track_id": "feast-t2", "artist_id": "feast-a2"}]
    features = ["track:plays_1h", "track:plays_1d", "artist:plays_1h"]
    assert store.get_online_features(features, entities, full_feature_names=True).to_dict() == {
        "track_id": ["feast-t1", "feast-t2"],
        "artist_id": ["feast-a1", "feast-a2"],
        "track__plays_1h": [2, 0],
        "track__plays_1d": [3, 0],
        "artist__plays_1h": [1, 0],
    }
    tracks = Packer.of(declared.plan("track_item"))
    with open_online_store(stack.redis) as online:
        online.write("track_item", [("feast-t1", tracks.pack(0, {"genre": "pop", "tempo": 2_000}))])
    moments = [{"track_id": t, "event_timestamp": at(NOON)} for t in ("feast-t1", "feast-t2")]
    computed = ["context:weekday", "item:tempo_scaled", "item:is_pop"]
    assert store.get_online_features(computed, moments, full_feature_names=True).to_dict() == {
        "track_id": ["feast-t1", "feast-t2"],
        "context__weekday": [3, 3],
        "item__tempo_scaled": [1.0, None],
        "item__is_pop": [1, 0],
    }


def test_a_registry_that_is_behind_is_refused(settings: Settings, tmp_path: Path) -> None:
    declared = load_declarations()
    with pytest.raises(InputError, match="run `playhead features apply`"):
        applied_service(open_feature_store(settings), settings, declared, "listener_v1")
    apply(settings, declared)
    store = open_feature_store(settings)
    assert applied_service(store, settings, declared, "listener_v1").name == "listener_v1"
    moved = settings.model_copy(update={"lake_path": tmp_path / "elsewhere"})
    with pytest.raises(InputError, match=r"but the lake is .*elsewhere"):
        applied_service(store, moved, declared, "listener_v1")
    with pytest.raises(UnknownName, match="did you mean 'listener_v1'"):
        applied_service(store, settings, declared, "listener_v2")


def test_the_home_is_the_nearest_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    below = tmp_path / "notebooks" / "deep"
    below.mkdir(parents=True)
    (tmp_path / ".playhead").mkdir()
    monkeypatch.chdir(below)
    assert repo_settings().home == tmp_path / ".playhead"
    monkeypatch.setenv("PLAYHEAD_HOME", str(tmp_path / "named"))
    assert repo_settings().home == tmp_path / "named"


def test_a_registry_that_is_none_is_told(settings: Settings) -> None:
    settings.registry.write_bytes(b"no database" * 100)
    with pytest.raises(InputError, match=r"registry\.db: .*not a database"):
        open_feature_store(settings)

"""The online half of serving on real servers: Redis, Kafka, Feast and the lake."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Any
from uuid import uuid4

import httpx
import ibis
import numpy as np
import orjson
import pandas as pd
import psutil
import pyarrow as pa
import pytest
from confluent_kafka import Producer
from deltalake import DeltaTable

from playhead.checks import results
from playhead.columns import Column
from playhead.config import RedisSettings, Settings
from playhead.declarations import load_declarations
from playhead.errors import StackError
from playhead.merge import Partials, published
from playhead.plan import DailyPlan
from playhead.relations import DAY_MS, day_key
from playhead.serving.lander import land_served
from playhead.serving.online import OnlineStore, Written, key_of, open_online_store
from playhead.serving.online_merge import EVERYBODY, KEPT_TODAY, OnlineMerge, kept_published
from playhead.serving.packed import PackedRow, Packer, Refused
from playhead.serving.registry import apply, open_feature_store
from playhead.serving.server import run_server
from playhead.serving.topic import open_topic
from playhead.serving.writer import run_writer
from playhead.stack.kafka import create_topics
from tests.conftest import free_ports
from tests.polling import PATIENCE, eventually
from tests.servers import client_of, command, is_ready, serving

pytestmark = pytest.mark.stack

LISTENER = {"plays_1m": 1, "plays_1h": 12, "skip_rate_1h": 0.25, "last_5_tracks": ["t2", "t1"]}


@pytest.fixture
def own(stack: Settings, tmp_path: Path) -> Settings:
    """The running stack, with topics and a home of this test's own."""
    names = {f"{kind}_topic": f"{kind}-{uuid4().hex}" for kind in ("feature_rows", "served")}
    kafka = stack.kafka.model_copy(update=names)
    create_topics(kafka)
    return stack.model_copy(update={"kafka": kafka, "home": tmp_path})


@pytest.fixture
def store(stack: Settings) -> Iterator[OnlineStore]:
    with open_online_store(stack.redis) as opened:
        yield opened


@pytest.fixture
def packer() -> Packer:
    """The packer of a group that no other test knows."""
    return Packer(f"g{uuid4().hex}", [("plays", ibis.dtype("int64"))], "00112233445566ff")


def entity_of(name: str) -> str:
    return f"{name}-{uuid4().hex}"


def put(store: OnlineStore, group: str, entity: str, at_ms: int, values: Mapping[str, Any]) -> None:
    packer = Packer.of(load_declarations().plan(group))
    store.write(group, [(entity, packer.pack(at_ms, values))])


def put_days(store: OnlineStore, user: str, published_plays: Mapping[int, int], live: Mapping[int, int]) -> None:
    """Plays of a listener by how many days ago, from the batch layer up to the day before yesterday, and from the speed
    layer."""
    plan = load_declarations().plan("listener_daily")
    assert isinstance(plan, DailyPlan)
    merge, now_ms = OnlineMerge(plan), round(time.time() * 1_000)
    today_ms = now_ms - now_ms % DAY_MS
    end_ms = today_ms - DAY_MS
    store.write(merge.end.name, [(EVERYBODY, merge.end.pack(end_ms, {}))])
    days_ms = np.array([today_ms - age * DAY_MS for age in published_plays], np.int64)
    values = {
        m.name: Column.of_list([0 if m.how == "sum" else None] * len(days_ms), m.kind.to_pyarrow())
        for m in plan.measures
    }
    values |= {"plays": Column.of_list([*published_plays.values()], pa.int64())}
    made = published(plan, Partials(np.zeros(len(days_ms), np.int64), days_ms, values), end_ms, 1)
    row = merge.published.pack(end_ms, {name: column.to_list()[0] for name, column in made.items()})
    store.write(merge.published.name, [(user, row)], keep=kept_published(plan))
    for age, plays in live.items():
        partial = merge.today.pack(now_ms - age * DAY_MS, {"plays": plays, "skips": 0, "listen_ms": 0})
        store.write(merge.today.name, [(day_key(user, today_ms - age * DAY_MS), partial)], keep=KEPT_TODAY)


def produce(settings: Settings, *values: bytes | None) -> None:
    producer = Producer(settings.kafka.client())
    for value in values:
        producer.produce(settings.kafka.feature_rows_topic, value)
    assert producer.flush(30) == 0


def feature_row(group: str, entity: str, at_ms: int, values: Mapping[str, Any]) -> bytes:
    fingerprint = load_declarations().plan(group).fingerprint
    row = {"group": group, "fingerprint": fingerprint, "entity": entity, "event_timestamp_ms": at_ms}
    return orjson.dumps(row | {"values": dict(values)})


# --- the online store --------------------------------------------------------------------------------------------


def test_a_newer_row_replaces_an_equal_one_replaces_and_an_older_one_does_not(
    store: OnlineStore, packer: Packer
) -> None:
    group = packer.name
    assert store.write(group, [("e", packer.pack(2_000, {"plays": 1}))]) == Written(1, 0)
    assert store.write(group, [("e", packer.pack(1_999, {"plays": 2}))]) == Written(0, 1)
    assert store.write(group, [("e", packer.pack(2_000, {"plays": 3}))]) == Written(1, 0)
    assert store.read(packer, ["e", "other"]) == [PackedRow(2_000, {"plays": 3}), None]
    assert store.write(group, [("e", packer.pack(2_001, {"plays": 4}))]) == Written(1, 0)
    assert store.read(packer, ["e"]) == [PackedRow(2_001, {"plays": 4})]


def test_times_before_1970_are_older(store: OnlineStore, packer: Packer) -> None:
    rows = [("e", packer.pack(at_ms, {"plays": at_ms})) for at_ms in (-5, -6, 0, -1)]
    assert store.write(packer.name, rows) == Written(2, 2)
    assert store.read(packer, ["e"]) == [PackedRow(0, {"plays": 0})]


def test_rows_that_several_writers_bring_in_any_order_end_with_the_newest(store: OnlineStore, packer: Packer) -> None:
    rng = random.Random(7)
    rows = [(f"e{rng.randrange(40)}", rng.randrange(1_000)) for _ in range(12_000)]
    packed = [(entity, packer.pack(at, {"plays": at})) for entity, at in rows]
    with ThreadPoolExecutor(4) as pool:
        counts = list(pool.map(lambda part: store.write(packer.name, packed[part::4]), range(4)))
    newest: dict[str, int] = {}
    for entity, at in rows:
        newest[entity] = max(at, newest.get(entity, 0))
    assert sum(c.written + c.ignored for c in counts) == len(rows)
    assert store.read(packer, list(newest)) == [PackedRow(at, {"plays": at}) for at in newest.values()]
    assert store.count(packer.name) == len(newest)


def test_parts_are_read_in_their_order_and_one_that_nobody_waits_for_is_nobodys_answer(
    store: OnlineStore, packer: Packer
) -> None:
    rows = {entity: packer.pack(n, {"plays": n}) for n, entity in enumerate(("a", "b", "c"))}
    store.write(packer.name, rows.items())
    a, b, c, none = (key_of(packer.name, entity) for entity in ("a", "b", "c", "d"))
    for _ in range(3):
        first, second, third = store.get_each([[a, none], [], [b, c]])
        assert (first, second, third) == ([rows["a"], None], [], [rows["b"], rows["c"]])
        parts = store.get_each([[a], [b], [c]])
        assert next(parts) == [rows["a"]]
        parts.close()
        assert store.get([c]) == [rows["c"]]


def test_rows_are_kept_as_long_as_is_said(store: OnlineStore, packer: Packer) -> None:
    kept, forgotten = entity_of("u"), entity_of("u")
    store.write(packer.name, [(kept, packer.pack(1_000, {"plays": 1}))])
    store.write(packer.name, [(forgotten, packer.pack(1_000, {"plays": 1}))], keep=timedelta(hours=1))
    assert store._client.ttl(key_of(packer.name, kept)) == -1
    assert 3_500 < store._client.ttl(key_of(packer.name, forgotten)) <= 3_600


def test_what_is_held_of_a_group_is_told_from_a_sample(store: OnlineStore, packer: Packer) -> None:
    store.write(packer.name, [(f"e{n}", packer.pack(0, {"plays": n})) for n in range(3_000)])
    held = store.held(20_000)[packer.name]
    assert held.rows == pytest.approx(3_000, rel=0.2)
    assert len(packer.pack(0, {})) < held.bytes_per_row < 400


def test_a_group_is_counted_and_deleted_apart_from_groups_with_like_names(store: OnlineStore) -> None:
    name = uuid4().hex
    schema = [("plays", ibis.dtype("int64"))]
    packers = [Packer(group, schema, "0" * 16) for group in (f"{name}[ab]*", f"{name}a", f"{name}a:b")]
    for rows, packer in enumerate(packers, start=1):
        store.write(packer.name, [(f"e{n}", packer.pack(0, {})) for n in range(rows)])
    assert [store.count(packer.name) for packer in (packers[0], packers[2])] == [1, 3]
    assert store.delete(packers[0].name) == 1
    assert store.read(packers[1], ["e0"]) == [PackedRow(0, {"plays": None})]


def test_a_row_of_an_earlier_declaration_is_refused_until_it_is_replaced(store: OnlineStore, packer: Packer) -> None:
    later = Packer(packer.name, [("plays", ibis.dtype("int64"))], "ff" * 8)
    store.write(packer.name, [("e", packer.pack(1_000, {"plays": 1}))])
    assert store.read(later, ["e"]) == [Refused("fingerprint", packer.fingerprint, 1_000)]
    store.write(packer.name, [("e", later.pack(1_000, {"plays": 2}))])
    assert store.read(later, ["e"]) == [PackedRow(1_000, {"plays": 2})]


def test_lists_are_kept_by_entity_and_for_everybody_and_the_newest_wins(store: OnlineStore) -> None:
    name = f"top_{uuid4().hex}"
    assert store.read_list(name) is None
    store.write_lists(name, 2_000, {"": [{"track_id": "t1", "plays": 3}], "u1": ["t9"]})
    assert store.write_lists(name, 1_000, {"": []}) == Written(0, 1)
    assert store.read_list(name) == [{"track_id": "t1", "plays": 3}]
    assert store.read_list(name, "u1") == ["t9"]


def test_without_a_server_the_error_says_where_and_what_to_do(stack: Settings) -> None:
    (port,) = free_ports(1)
    settings = stack.model_copy(
        update={
            "redis": RedisSettings(port=port),
            "kafka": stack.kafka.model_copy(update={"port": port}),
        }
    )
    with pytest.raises(StackError, match=rf"Redis at 127.0.0.1:{port}.*playhead up"), open_online_store(settings.redis):
        pass
    with (
        pytest.raises(StackError, match=rf"Kafka at 127.0.0.1:{port}.*playhead up"),
        open_topic(settings.kafka, "any", "test"),
    ):
        pass


# --- the online writer -------------------------------------------------------------------------------------------


def test_feature_rows_are_written_once_and_bad_ones_are_passed_over(own: Settings, store: OnlineStore) -> None:
    user = entity_of("u")
    good = [feature_row("listener", user, at_ms, LISTENER | {"plays_1m": at_ms}) for at_ms in (2_000, 3_000, 1_000)]
    produce(own, *good, b"{", None, feature_row("track", user, 1_000, {"plays_1h": "many"}))
    first = run_writer(own, Event(), until_caught_up=True)
    assert first.rows["malformed"] == 2
    assert first.rows["bad_value"] == 1
    assert sum(first.rows.values()) == 6
    packer = Packer.of(load_declarations().plan("listener"))
    (row,) = store.read(packer, [user])
    assert isinstance(row, PackedRow)
    assert row.event_timestamp_ms == 3_000
    assert {name: row.values[name] for name in LISTENER} == LISTENER | {"plays_1m": 3_000}
    assert run_writer(own, Event(), until_caught_up=True).rows == {}


def test_a_running_writer_shows_metrics_and_stops_clean(own: Settings, store: OnlineStore) -> None:
    user, stop = entity_of("u"), Event()
    packer = Packer.of(load_declarations().plan("listener"))
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(run_writer, own, stop)
        try:
            produce(own, feature_row("listener", user, 1_000, LISTENER))
            assert eventually(lambda: store.read(packer, [user]) != [None])
            address = f"http://127.0.0.1:{own.serve.writer_metrics_port}/metrics"
            written = 'playhead_writer_rows_total{outcome="written"} 1.0'
            assert eventually(lambda: written in httpx.get(address).text)
        finally:
            stop.set()
        assert running.result(PATIENCE).rows == {"written": 1}
    assert run_writer(own, Event(), until_caught_up=True).rows == {}


# --- Feast -------------------------------------------------------------------------------------------------------


def test_feast_writes_by_the_same_rule_and_deletes_only_its_own_views(own: Settings, store: OnlineStore) -> None:
    user = entity_of("u")
    apply(own, load_declarations())
    feast_store = open_feature_store(own)
    put(store, "session", user, 1_700_000_000_000, {"session_plays": 4})

    def write(at: str, plays: int) -> None:
        values = dict.fromkeys(load_declarations().group("listener").feature_names, None)
        times = dict.fromkeys(("event_timestamp", "created_at"), pd.Timestamp(at, tz="UTC"))
        row = values | {"user_id": user} | times
        row |= {"plays_1h": plays, "last_5_tracks": ["t1"], "skip_rate_1h": 0.5}
        feast_store.write_to_online_store("listener", pd.DataFrame([row]))

    def read() -> dict[str, Any]:
        names = ("plays_1h", "last_5_tracks", "skip_rate_1h", "pauses_1h")
        asked = [f"listener:{name}" for name in names]
        answer: dict[str, Any] = feast_store.get_online_features(asked, [{"user_id": user}]).to_dict()
        return {name: answer[name][0] for name in names}

    write("2024-01-02", 2)
    write("2024-01-01", 1)
    assert read() == {"plays_1h": 2, "last_5_tracks": ["t1"], "skip_rate_1h": 0.5, "pauses_1h": None}
    write("2024-01-02", 3)
    assert read()["plays_1h"] == 3
    view = feast_store.get_feature_view("listener")
    feast_store._get_provider().teardown_infra(feast_store.project, [view], [])
    # A listener without a row is one whose windows are empty.
    assert read() == {"plays_1h": 0, "last_5_tracks": None, "skip_rate_1h": None, "pauses_1h": 0}
    (session,) = store.read(Packer.of(load_declarations().plan("session")), [user])
    assert isinstance(session, PackedRow)


# --- the server, its log and the lake ----------------------------------------------------------------------------


def test_the_server_says_what_feast_says_and_the_lake_keeps_it_once(own: Settings, store: OnlineStore) -> None:
    user, tracks, artist = entity_of("u"), [entity_of("t") for _ in range(3)], entity_of("a")
    put(store, "listener", user, 1_700_000_000_000, LISTENER)
    put_days(store, user, published_plays={6: 50, 10: 200}, live={0: 3, 1: 7})
    put(store, "artist", artist, 1_700_000_002_000, {"plays_1h": 9, "plays_1d": 90})
    for plays, track in enumerate(tracks[:2], start=5):
        put(store, "track", track, 1_700_000_001_000, {"plays_1h": plays})
    candidates = [{"track_id": track, "artist_id": artist} for track in tracks]
    with serving(own) as client:
        answer = client.post(
            "/v1/features", json={"service": "listener_v1", "user_id": user, "candidates": candidates}
        ).json()
    features = answer["candidates"]["features"]
    vectors = [answer["user"] | dict(zip(features, row, strict=True)) for row in zip(*features.values(), strict=True)]
    assert [vector["track__plays_1h"] for vector in vectors] == [5, 6, 0]
    assert {vector["listener_daily__plays_7d"] for vector in vectors} == {60}
    assert {vector["listener_daily__plays_30d"] for vector in vectors} == {260}
    assert {vector["track_daily__plays_30d"] for vector in vectors} == {None}, "nothing of it was ever published"

    apply(own, load_declarations())
    feast_store = open_feature_store(own)
    moment = datetime.fromtimestamp(answer["serve_time_ms"] / 1_000, UTC)
    said = feast_store.get_online_features(
        feast_store.get_feature_service("listener_v1"),
        [{"user_id": user, **candidate, "event_timestamp": moment} for candidate in candidates],
        full_feature_names=True,
    ).to_dict()
    assert [{name: said[name][place] for name in vectors[0]} for place in range(3)] == vectors

    assert land_served(own, Event()).landed == {"listener_v1": 3}
    assert land_served(own, Event()).landed == {"listener_v1": 0}
    landed = DeltaTable(own.lake / "served" / "listener_v1").to_pyarrow_table().sort_by("kafka_offset").to_pylist()
    assert [{name: row[name] for name in vectors[0]} for row in landed] == vectors
    assert [row["track_id"] for row in landed] == tracks
    assert {row["request_id"] for row in landed} == {answer["request_id"]}
    assert [int(row["serve_time"].timestamp() * 1_000) for row in landed] == [answer["serve_time_ms"]] * 3


def test_a_table_that_was_deleted_is_filled_again(own: Settings) -> None:
    with serving(own) as client:
        for _ in range(5):
            client.post("/v1/features", json={"service": "listener_v1", "user_id": "u"})
    assert land_served(own, Event()).landed == {"listener_v1": 5}
    path = own.lake / "served"
    path.rename(path.with_name("elsewhere"))
    assert land_served(own, Event()).landed == {"listener_v1": 5}


def test_a_taken_port_is_an_error_that_names_the_setting(own: Settings) -> None:
    with serving(own), pytest.raises(StackError, match=r"serve\.port.*PLAYHEAD_SERVE__PORT"):
        run_server(own, Event())


# --- workers -----------------------------------------------------------------------------------------------------


"""Three processes that import everything, on a machine that is busy with other tests."""


def counts(client: httpx.Client, name: str) -> dict[str, int]:
    """A counter of all workers by its label, `""` without one."""
    found = re.findall(rf'^{name}(?:{{\w+="(\w+)"}})? (\d+)\.0$', client.get("/metrics").text, re.MULTILINE)
    return {label: int(count) for label, count in found}


def ask(client: httpx.Client, times: int) -> None:
    body = {"service": "listener", "user_id": "u", "candidates": [{"track_id": f"t{n}"} for n in range(10)]}
    for _ in range(times):
        assert client.post("/v1/features", json=body).json()["fallback"] is None


def test_workers_share_a_port_and_one_that_dies_is_started_again_and_none_is_left(own: Settings) -> None:
    with command(own, "--workers", "2") as process, client_of(own) as client:
        assert eventually(lambda: process.poll() is not None or is_ready(client))
        assert eventually(lambda: counts(client, "playhead_serve_starts_total") == {"": 2})
        first = psutil.Process(process.pid).children()
        ask(client, 20)
        assert eventually(lambda: counts(client, "playhead_served_vectors_total")["delivered"] == 200)
        first[0].kill()
        first[0].wait(PATIENCE)  # until then it may still be given connections
        assert eventually(lambda: counts(client, "playhead_serve_starts_total") == {"": 3})
        ask(client, 20)
        assert counts(client, "playhead_serve_requests_total")["served"] == 40, "who asks any of them gets the sum"
        now = psutil.Process(process.pid).children()
        assert len({*first, *now}) == 3
        process.terminate()
        assert process.wait(PATIENCE) == 0
        assert not [worker for worker in now if worker.is_running()]
    summary = results.load(own, "serve") or {}
    assert (summary["requests"], summary["fallbacks"], summary["restarts"]) == (40, 0, 1)
    assert summary["vectors"] == {"sent": 400, "delivered": 400, "dropped": 0, "failed": 0}
    assert land_served(own, Event()).landed == {"listener_v1": 400}


@pytest.mark.parametrize("is_serving", [True, False])
def test_workers_end_with_the_process_that_started_them(own: Settings, is_serving: bool) -> None:
    with command(own, "--workers", "2") as process, client_of(own) as client:
        children = psutil.Process(process.pid).children
        assert eventually(lambda: process.poll() is not None or len(children()) == 2)
        assert not is_serving or eventually(lambda: is_ready(client))
        workers = children()
        process.kill()
        process.wait(PATIENCE)
        assert eventually(lambda: not any(worker.is_running() for worker in workers))


def test_every_vector_that_was_served_is_in_the_topic_after_a_normal_stop(own: Settings) -> None:
    with serving(own) as client, ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: ask(client, 10), range(4)))
    summary = results.load(own, "serve") or {}
    assert summary["vectors"] == {"sent": 400, "delivered": 400, "dropped": 0, "failed": 0}
    assert land_served(own, Event()).landed == {"listener_v1": 400}

"""The feature server over HTTP, with an online store in memory."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import orjson
import pytest
from fastapi.testclient import TestClient
from prometheus_client import CollectorRegistry
from pydantic import SecretStr
from redis.exceptions import ConnectionError as RedisConnectionError

from playhead.config import ServeSettings
from playhead.declarations import Declarations, load_declarations
from playhead.errors import ConfigError
from playhead.serving.access import Access, check_access
from playhead.serving.app import create_app, services_of
from playhead.serving.bodies import MAX_CANDIDATES
from playhead.serving.breaker import FAILURES, Breaker, Guard
from playhead.serving.fallbacks import POOL, TOP_TRACKS
from playhead.serving.online import OnlineStore, _list_packer, key_of
from playhead.serving.packed import Packer
from playhead.serving.serve_metrics import ServerMetrics
from playhead.serving.served_log import ServedLog
from playhead.serving.served_table import ServedTable, served_schema
from playhead.serving.spine import columns_of
from schemas.features_pb2 import ServedFeatures
from tests.memory import MemoryRedis
from tests.polling import eventually

NOW_S = 1_700_000_123.456
LISTENER = {"plays_1m": 1, "plays_1h": 12, "skip_rate_1h": 0.25, "last_5_tracks": ["t2", "t1"]}


@dataclass
class Redis(MemoryRedis):
    """Goes away."""

    away: bool = False

    def answer(self) -> None:
        super().answer()
        if self.away:
            raise RedisConnectionError("refused")


@dataclass
class Producer:
    """Keeps what is sent; takes `room` messages."""

    sent: list[tuple[bytes, ServedFeatures]] = field(default_factory=list)
    room: int = 10_000

    def produce(self, _topic: str, value: bytes, *, key: bytes, on_delivery: Any, **_: Any) -> None:
        if len(self.sent) >= self.room:
            raise BufferError("queue full")
        self.sent.append((key, ServedFeatures.FromString(value)))
        on_delivery(None, None)

    def poll(self, _seconds: float) -> None:
        return None

    def flush(self, _seconds: float) -> int:
        return 0


@dataclass
class Served:
    """A server and what is around it."""

    client: TestClient
    redis: Redis
    producer: Producer
    now_s: float = 0.0

    def put(self, group: str, entity: str, at_ms: int, values: Mapping[str, Any]) -> None:
        packed = Packer.of(load_declarations().plan(group)).pack(at_ms, values)
        self.redis.rows[key_of(group, entity)] = packed

    def put_list(self, name: str, entity: str, items: list[str]) -> None:
        packer = _list_packer(name)
        row = {"items": orjson.dumps(items).decode()}
        self.redis.rows[key_of(packer.name, entity)] = packer.pack(0, row)

    def ask(self, **changes: Any) -> Any:
        body = {"service": "listener_v1", "user_id": "u1"} | changes
        return self.client.post("/v1/features", json=body)

    def candidates(self, **body: Any) -> Any:
        return self.client.post("/v1/candidates", json={"user_id": "u1"} | body).json()

    def logged(self) -> list[dict[str, Any]]:
        """The vectors of the one request, as they will be landed. They are sent beside the answer."""
        assert eventually(lambda: len(self.producer.sent) == 1)
        ((key, message),) = self.producer.sent
        assert key == b"u1"
        declared = load_declarations()
        schema = served_schema(declared.service("listener_v1"), declared)
        return ServedTable(Path("nowhere"), schema, "served").rows(message, 0, 0)

    def metrics(self) -> set[str]:
        return set(self.client.get("/metrics").text.splitlines())


@contextmanager
def server(*tokens: str, declarations: Declarations | None = None) -> Iterator[Served]:
    redis, producer, registry = Redis(), Producer(), CollectorRegistry()
    guard = Guard(timedelta(minutes=1), Breaker(now_s=lambda: made.now_s))
    with ServedLog(producer, "served", registry) as log, closing(guard):
        app = create_app(
            services_of(declarations or load_declarations()),
            OnlineStore(redis, "memory"),
            guard,
            log,
            ServerMetrics(registry),
            access=Access([*map(SecretStr, tokens)]),
            clock_s=lambda: NOW_S,
        )
        made = Served(TestClient(app), redis, producer)
        yield made


def served_columns() -> list[str]:
    return columns_of(load_declarations().service("listener_v1"))


@pytest.fixture
def served() -> Iterator[Served]:
    with server() as made:
        yield made


def test_a_vector_has_every_feature_of_the_service_and_empty_windows_where_there_is_no_row(served: Served) -> None:
    served.put("listener", "u1", 1_700_000_000_000, LISTENER)
    served.put("track", "t1", 1_700_000_001_000, {"plays_1h": 5})
    answer = served.ask(candidates=[{"track_id": "t1", "artist_id": "a1"}, {"track_id": "t2"}], request_id="r1").json()
    assert {k: answer[k] for k in ("request_id", "service", "serve_time_ms")} == {
        "request_id": "r1",
        "service": "listener_v1",
        "serve_time_ms": 1_700_000_123_456,
    }
    assert answer["user"]["listener__last_5_tracks"] == ["t2", "t1"]
    assert answer["user"]["listener__skip_rate_1h"] == 0.25
    assert answer["user"]["listener__pauses_1h"] is None
    assert answer["event_timestamps_ms"] == {"listener": 1_700_000_000_000}
    candidates = answer["candidates"]
    assert (candidates["track_id"], candidates["artist_id"]) == (["t1", "t2"], ["a1", None])
    assert candidates["features"]["track__plays_1h"] == [5, 0]
    assert candidates["features"]["artist__plays_1h"] == [0, None]
    assert answer["user"]["session__session_plays"] is None
    assert candidates["event_timestamps_ms"] == {"track": [1_700_000_001_000, None]}
    assert answer["user"].keys() | candidates["features"].keys() == set(served_columns())


def test_on_demand_features_are_of_the_moment_and_of_what_was_read(served: Served) -> None:
    served.put("track_item", "t1", 0, {"genre": "jazz", "tempo": 1_300})
    answer = served.ask(candidates=[{"track_id": "t1"}, {"track_id": "t2"}]).json()
    # A Tuesday at 22 o'clock.
    assert (answer["user"]["context__weekday"], answer["user"]["context__hour_sin"]) == (2, math.sin(22 / 12 * math.pi))
    features = answer["candidates"]["features"]
    assert [features[f"item__{name}"] for name in ("tempo_scaled", "is_jazz", "is_pop")] == [
        [0.5, None],
        [1, 0],
        [0, 0],
    ]
    assert features["track_item__genre"] == ["jazz", None]


def test_a_request_is_one_round_trip_however_many_candidates(served: Served) -> None:
    served.ask(candidates=[{"track_id": f"t{n}", "artist_id": "a1"} for n in range(MAX_CANDIDATES)])
    assert served.redis.round_trips == 1


def test_each_vector_is_logged_with_what_it_was_made_of(served: Served) -> None:
    served.put("listener", "u1", 1_700_000_000_000, LISTENER)
    served.put("track", "t1", 1_700_000_001_000, {"plays_1h": 5})
    answer = served.ask(candidates=[{"track_id": "t1"}, {"track_id": "t2", "artist_id": "a1"}]).json()
    first, second = served.logged()
    for row in (first, second):
        assert row["request_id"] == answer["request_id"]
        assert row["serve_time"] == 1_700_000_123_456_000
        assert (row["user_id"], row["fallback"]) == ("u1", None)
        assert row["listener__last_5_tracks"] == ["t2", "t1"]
        assert row.get("track_daily__plays_7d") is None
    assert (first["track_id"], first.get("artist_id")) == ("t1", None)
    assert (second["track_id"], second["artist_id"]) == ("t2", "a1")
    assert (first["track__plays_1h"], second["track__plays_1h"]) == (5, 0)
    assert first["listener__event_timestamp_ms"] == 1_700_000_000_000
    assert (first["track__event_timestamp_ms"], second.get("track__event_timestamp_ms")) == (1_700_000_001_000, None)
    assert dict(first["fingerprints"])["track"] == load_declarations().plan("track").fingerprint
    assert "track" not in dict(second["fingerprints"])


def test_without_candidates_the_users_own_vector_is_served_and_logged(served: Served) -> None:
    served.put("listener", "u1", 1_700_000_000_000, LISTENER)
    answer = served.ask().json()
    candidates = answer["candidates"]
    assert [candidates[key] for key in ("track_id", "artist_id", "event_timestamps_ms")] == [[], [], {}]
    assert candidates["features"] == {name: [] for name in served_columns() if name not in answer["user"]}
    (row,) = served.logged()
    assert (row["user_id"], row.get("track_id"), row["listener__plays_1h"]) == ("u1", None, 12)


def test_a_row_of_another_declaration_is_not_served_and_is_counted(served: Served) -> None:
    plan = load_declarations().plan("track")
    other = Packer(plan.name, plan.schema, "f" * 16)
    served.redis.rows[key_of("track", "t1")] = other.pack(1_000, {"plays_1h": 5})
    candidates = served.ask(candidates=[{"track_id": "t1"}]).json()["candidates"]
    assert candidates["features"]["track__plays_1h"] == [None]
    assert candidates["event_timestamps_ms"] == {}
    assert 'playhead_serve_rows_total{status="refused",view="track"} 1.0' in served.client.get("/metrics").text


def test_a_full_queue_drops_vectors_and_counts_them(served: Served) -> None:
    served.producer.room = 1
    assert served.ask(candidates=[{"track_id": f"t{n}"} for n in range(3)]).status_code == 200
    assert served.ask().status_code == 200
    wanted = {"sent": 4, "dropped": 1, "delivered": 3}
    lines = {f'playhead_served_vectors_total{{fate="{fate}"}} {count}.0' for fate, count in wanted.items()}
    # The log is written after the answer.
    assert eventually(lambda: lines <= set(served.client.get("/metrics").text.splitlines()))


def test_an_unknown_service_is_404_with_the_nearest_name(served: Served) -> None:
    answer = served.ask(service="listner_v1")
    assert answer.status_code == 404
    assert answer.json()["hint"] == "did you mean 'listener_v1'?"
    assert "known: listener_v1" in answer.json()["message"]


@pytest.mark.parametrize("asked", [{"service": "listener"}, {"service": "listener", "version": 1}])
def test_a_service_is_found_by_scenario_and_version_and_the_newest_without(
    served: Served, asked: dict[str, Any]
) -> None:
    assert served.ask(**asked).json()["service"] == "listener_v1"


@pytest.mark.parametrize("asked", [{"service": "listner"}, {"service": "listener", "version": 2}])
def test_an_unknown_scenario_or_version_is_404(served: Served, asked: dict[str, Any]) -> None:
    answer = served.ask(**asked)
    assert (answer.status_code, answer.json()["hint"]) == (404, "did you mean 'listener_v1'?")


@pytest.mark.parametrize(
    "changes",
    [
        {"user_id": ""},
        {"user_id": 3},
        {"user_id": "u" * 129},
        {"user_id": None},
        {"candidates": [{"artist_id": "a1"}]},
        {"candidates": [{"track_id": "t"}] * (MAX_CANDIDATES + 1)},
        {"candidate": []},
        {"version": 0},
    ],
)
def test_a_bad_body_is_422_and_says_where(served: Served, changes: dict[str, Any]) -> None:
    answer = served.ask(**changes)
    assert answer.status_code == 422
    assert answer.json()["message"].startswith("body.")
    assert served.producer.sent == []


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff\xfe", b"[]", b'{"service":"listener_v1","user_id":"\\ud800"}', b'{"\\ud800":1}']
)
def test_a_body_that_is_no_json_or_no_unicode_is_422(served: Served, body: bytes) -> None:
    answer = served.client.post("/v1/features", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 422


def test_a_body_of_many_megabytes_is_refused_unread(served: Served) -> None:
    assert served.ask(user_id="u" * 3_000_000).status_code == 413


def test_without_the_store_the_server_is_alive_but_not_ready(served: Served) -> None:
    served.redis.away = True
    assert served.client.get("/health").status_code == 200
    answer = served.client.get("/ready")
    assert (answer.status_code, answer.json()["error"]) == (503, "StackError")


# --- without the store -------------------------------------------------------------------------------------------


def test_without_the_store_the_services_defaults_are_served_and_the_answer_says_so(served: Served) -> None:
    served.put("listener", "u1", 1_700_000_000_000, LISTENER)
    served.redis.away = True
    answer = served.ask(candidates=[{"track_id": "t1"}, {"track_id": "t2"}])
    assert answer.status_code == 200
    body = answer.json()
    assert body["fallback"] == "unavailable"
    assert body["status"]["listener"] == {"fallback": 1}
    assert body["status"]["track"] == {"fallback": 2}
    assert body["user"]["listener__plays_1h"] is None
    assert body["user"]["context__weekday"] == 2, "that needs no store"
    assert body["event_timestamps_ms"] == {}
    assert body["candidates"]["features"].keys() == {*served_columns()} - body["user"].keys()
    assert [row["fallback"] for row in served.logged()] == ["unavailable"] * 2
    assert {
        'playhead_serve_requests_total{outcome="fallback"} 1.0',
        'playhead_serve_fallbacks_total{reason="unavailable"} 1.0',
        'playhead_serve_rows_total{status="fallback",view="track"} 2.0',
        "playhead_serve_breaker_open 0.0",
    } <= served.metrics()


def test_defaults_stand_where_the_service_has_some() -> None:
    declared = load_declarations()
    service = replace(declared.service("listener_v1"), defaults={"track.plays_1h": 3, "listener.last_5_tracks": []})
    with server(declarations=replace(declared, services=(service,))) as served:
        served.redis.away = True
        answer = served.ask(candidates=[{"track_id": "t1"}]).json()
    assert answer["candidates"]["features"]["track__plays_1h"] == [3]
    assert answer["user"]["listener__last_5_tracks"] == []
    (row,) = served.logged()
    assert (row["track__plays_1h"], row["listener__last_5_tracks"]) == (3, [])


def test_a_store_that_stays_away_is_not_asked_until_it_may_be_back(served: Served) -> None:
    served.redis.away = True
    reasons = [served.ask().json()["fallback"] for _ in range(FAILURES + 2)]
    assert reasons == ["unavailable"] * FAILURES + ["breaker"] * 2
    assert served.redis.round_trips == FAILURES
    assert "playhead_serve_breaker_open 1.0" in served.metrics()
    served.redis.away, served.now_s = False, 1_000.0
    assert [served.ask().json()["fallback"] for _ in range(2)] == [None, None]
    assert "playhead_serve_breaker_open 0.0" in served.metrics()


def test_statuses_say_what_of_each_view_was_found(served: Served) -> None:
    served.put("track", "t1", 1_000, {"plays_1h": 5})
    status = served.ask(candidates=[{"track_id": "t1"}, {"track_id": "t2"}]).json()["status"]
    assert status["track"] == {"present": 1, "missing": 1}
    assert status["listener"] == {"missing": 1}
    assert "artist" not in status, "nobody was asked for"


# --- candidates --------------------------------------------------------------------------------------------------


def test_candidates_are_the_users_top_tracks_else_everybodys(served: Served) -> None:
    served.put_list(TOP_TRACKS, "", ["t1", "t2", "t3"])
    assert served.candidates(limit=2) == {
        "source": "global_top_tracks",
        "fallback": None,
        "candidates": [{"track_id": "t1"}, {"track_id": "t2"}],
    }
    served.put_list(TOP_TRACKS, "u2", ["t9"])
    answer = served.candidates(user_id="u2")
    assert (answer["source"], answer["candidates"]) == ("user_top_tracks", [{"track_id": "t9"}])
    assert served.ask(user_id="u1", candidates=answer["candidates"]).status_code == 200
    assert 'playhead_serve_candidates_total{source="global_top_tracks"} 1.0' in served.metrics()


def test_candidates_of_a_content_type_come_from_its_pool(served: Served) -> None:
    served.put_list(TOP_TRACKS, "", ["s1"])
    served.put_list(POOL, "PODCAST_EPISODE", ["p1", "p2"])
    answer = served.candidates(content_type="PODCAST_EPISODE")
    assert (answer["source"], answer["candidates"][0]) == ("content_type_pool", {"track_id": "p1"})
    assert served.candidates(content_type="LIVE")["source"] == "none"
    assert "expected SONG or" in served.candidates(content_type="song")["message"]


def test_without_the_store_the_lists_that_were_read_last_are_used(served: Served) -> None:
    served.put_list(TOP_TRACKS, "", ["t1"])
    assert served.candidates()["source"] == "global_top_tracks"
    served.redis.away = True
    asked = served.redis.round_trips
    assert served.candidates()["fallback"] is None
    assert served.redis.round_trips == asked, "not read again for a while"
    stranger = served.candidates(user_id="u2")
    assert (stranger["source"], stranger["fallback"]) == ("global_top_tracks", "unavailable")


# --- access ------------------------------------------------------------------------------------------------------


def test_with_tokens_only_who_has_one_may_ask() -> None:
    old, new = "old-token-0123456", "new-token-0123456"
    with server(old, new) as served:
        for header in (
            {},
            {"Authorization": f"Bearer {old}x"},
            {"Authorization": f"Basic {old}"},
            {"Authorization": ""},
        ):
            served.client.headers = header
            for answer in (served.ask(), served.client.post("/v1/candidates", json={"user_id": "u1"})):
                assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
                assert answer.json()["error"] == "NoAccess"
            assert [served.client.get(path).status_code for path in ("/health", "/ready", "/metrics")] == [200] * 3
        for token in (old, new):
            served.client.headers = {"Authorization": f"Bearer {token}"}
            assert served.ask().status_code == 200
        assert 'playhead_serve_requests_total{outcome="no_access"} 8.0' in served.metrics()


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.4", "::", "server.internal"])
def test_a_host_that_others_reach_needs_tokens(host: str) -> None:
    with pytest.raises(ConfigError, match=r"serve\.host.*PLAYHEAD_SERVE__TOKENS"):
        check_access(ServeSettings(host=host))
    check_access(ServeSettings(host=host, tokens=(SecretStr("x" * 16),)))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_this_machine_alone_needs_none(host: str) -> None:
    check_access(ServeSettings(host=host))


def test_a_token_that_can_be_guessed_is_refused_and_not_repeated() -> None:
    with pytest.raises(ConfigError, match="fewer than 16 characters") as raised:
        check_access(ServeSettings(tokens=(SecretStr("x" * 16), SecretStr("hunter2"))))
    assert "hunter2" not in str(raised.value)


# --- documentation -----------------------------------------------------------------------------------------------


def test_the_documentation_describes_the_answer(served: Served) -> None:
    schema = cast("dict[str, Any]", served.client.get("/openapi.json").json())
    described = {
        name: each["properties"] for name, each in schema["components"]["schemas"].items() if "properties" in each
    }
    answer = served.ask(candidates=[{"track_id": "t"}]).json()
    assert described["FeaturesResponse"].keys() == answer.keys()
    assert described["CandidateFeatures"].keys() == answer["candidates"].keys()
    assert described["CandidatesResponse"].keys() == served.candidates().keys()
    assert schema["paths"]["/v1/features"]["post"]["responses"].keys() == {"200", "401", "404", "422"}
    assert schema["paths"]["/v1/features"]["post"]["security"]
    example = {name: each["examples"][0] for name, each in described["FeaturesRequest"].items() if "examples" in each}
    assert served.client.post("/v1/features", json=example).status_code == 200

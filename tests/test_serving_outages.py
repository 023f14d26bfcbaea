"""The feature server while its neighbours are away: Redis that hangs, Redis that is gone, no broker."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from confluent_kafka import Producer
from prometheus_client import CollectorRegistry

from playhead import stack
from playhead.checks import results
from playhead.config import LOCALHOST, Settings
from playhead.declarations import load_declarations
from playhead.serving.online import open_online_store
from playhead.serving.packed import Packer
from playhead.serving.serve_metrics import by_label
from playhead.serving.served_log import ServedLog
from playhead.serving.vectors import Vectors, VectorService
from playhead.stack.process import Slot
from tests.conftest import free_ports
from tests.polling import eventually
from tests.servers import serving


@pytest.fixture
def hasty(online: Settings, tmp_path: Path) -> Settings:
    """The running Redis and nothing else, and a server that does not wait long for it."""
    with open_online_store(online.redis) as store:
        packer = Packer.of(load_declarations().plan("listener"))
        store.write("listener", [("u", packer.pack(1_000, {"plays_1h": 7}))])
        store.write_lists("top_tracks", 1_000, {"": ["t1"]})
    serve = online.serve.model_copy(update={"budget": timedelta(seconds=0.5)})
    return online.model_copy(update={"serve": serve, "home": tmp_path})


@contextmanager
def paused(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def redis_of(settings: Settings) -> int:
    record = Slot(name="redis", home=settings.home).read()
    assert record is not None
    return record.pid


def ask(client: httpx.Client) -> Any:
    answer = client.post("/v1/features", json={"service": "listener", "user_id": "u"})
    assert answer.status_code == 200
    return answer.json()


def answers(client: httpx.Client) -> bool:
    """Whether the store's row is served."""
    answer: dict[str, Any] = ask(client)
    plays = answer["user"]["listener__plays_1h"]
    assert plays == (None if answer["fallback"] else 7)
    return answer["fallback"] is None


def test_a_redis_that_hangs_costs_a_request_its_budget_and_then_nothing(online: Settings, hasty: Settings) -> None:
    with serving(hasty) as client:
        assert eventually(lambda: answers(client))
        with paused(redis_of(online)):
            reasons = [ask(client)["fallback"]]
            assert eventually(lambda: reasons.append(ask(client)["fallback"]) or reasons[-1] == "breaker")
            assert {*reasons} == {"budget", "breaker"}
            assert client.get("/ready").status_code == 503
            assert client.get("/health").status_code == 200
            assert client.post("/v1/candidates", json={"user_id": "u"}).status_code == 200
        assert eventually(lambda: answers(client))
        metrics = client.get("/metrics").text
    assert 'playhead_serve_fallbacks_total{reason="budget"}' in metrics
    assert "playhead_serve_breaker_open 0.0" in metrics


def test_a_redis_that_is_gone_is_done_without_until_it_is_back(online: Settings, hasty: Settings) -> None:
    with serving(hasty) as client:
        assert eventually(lambda: answers(client))
        assert client.post("/v1/candidates", json={"user_id": "u"}).json()["source"] == "global_top_tracks"
        stack.stop(online)
        try:
            assert ask(client)["fallback"] == "unavailable"
            stranger = client.post("/v1/candidates", json={"user_id": "v"}).json()
            assert (stranger["source"], stranger["fallback"]) == ("global_top_tracks", "unavailable")
        finally:
            stack.start(online, ("redis",))
        assert eventually(lambda: answers(client))


def test_without_a_broker_requests_are_answered_and_what_could_not_be_logged_is_counted(hasty: Settings) -> None:
    candidates = [{"track_id": f"t{n}"} for n in range(100)]
    with serving(hasty) as client:
        for _ in range(10):
            body = {"service": "listener", "user_id": "u", "candidates": candidates}
            assert client.post("/v1/features", json=body).status_code == 200
    summary = results.load(hasty, "serve") or {}
    assert summary["requests"] == 10
    assert summary["vectors"] == {"sent": 1_000, "delivered": 0, "dropped": 0, "failed": 1_000}


def test_what_has_no_room_is_dropped_at_once_and_every_vector_has_its_fate(online: Settings) -> None:
    (port,) = free_ports(1)
    conf = {"bootstrap.servers": f"{LOCALHOST}:{port}", "queue.buffering.max.messages": 3, "log_level": 0}
    registry = CollectorRegistry()
    with ServedLog(Producer({**conf, "message.timeout.ms": 1_000}), "served", registry, room=500) as log:
        vectors = vectors_of(online, candidates=100)
        for n in range(100):
            log.record(f"r{n}", "listener_v1", vectors)
    fates = by_label(registry, "playhead_served_vectors", "fate")
    assert fates["sent"] == 10_000
    assert fates["delivered"] == 0
    assert fates["failed"] + fates["dropped"] == 10_000
    assert fates["failed"] >= 300


def vectors_of(settings: Settings, candidates: int) -> Vectors:
    service = VectorService(load_declarations().service("listener_v1"), load_declarations())
    with open_online_store(settings.redis) as store:
        tracks = [{"track_id": f"t{n}", "artist_id": None} for n in range(candidates)]
        return service.vectors(store, {"user_id": "u"}, tracks, lambda: 1_700_000_000.0)

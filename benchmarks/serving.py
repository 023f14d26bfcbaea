"""The suite `serving`: vectors of a listener and a hundred tracks, from the store and over HTTP, beside Feast's own."""

from __future__ import annotations

import contextlib
import gc
import itertools
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import feast
import httpx
import orjson
from redis import Redis

from benchmarks import feast_redis
from benchmarks.feast_redis import ROWS_AT_ONCE
from benchmarks.ground import Say, free_ports, on_free_ports
from benchmarks.jobs import environment_of
from benchmarks.measuring import goals_met, quantile
from benchmarks.open_loop import Answers, open_loop
from benchmarks.options import Options
from benchmarks.vectors import NUMBERS, SERVICE, World, fill, keys_of, plain_values, with_numbers
from playhead import stack
from playhead.config import LOCALHOST, Settings, load_settings
from playhead.declarations import Declarations, load_declarations
from playhead.errors import StackError
from playhead.serving import registry
from playhead.serving.online import OnlineStore
from playhead.serving.online_features import OnlineFeatures
from playhead.serving.packed import Packer

PER_S = 200
"""Requests over HTTP."""

GOALS = {
    "fast_p99_ms": (2, "at most"),
    "ratio_to_raw": (4, "at most"),
    "ratio_to_raw_gets": (4, "at most"),
    "ratio_to_feast": (10, "at least"),
    "http_p99_ms": (5, "at most"),
    "ratio_to_feast_serve": (5, "at least"),
    "ratio_to_feast_push": (5, "at least"),
}

_IN_A_ROW = 11
"""Requests of a variant, before the next one's turn; Feast's are two."""

_WRITING_ROUNDS = 5
_SAMPLED = 100
_BODIES = 500
_LIGHT_PER_S = 4
"""Requests over HTTP at which every server keeps up."""

_SECONDS_TO_START = 180.0
_POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Ground:
    """A running Redis with rows of everybody, this project's and Feast's own."""

    settings: Settings
    declarations: Declarations
    world: World
    client: Redis
    online: OnlineStore
    feast_repo: Path
    feast_store: feast.FeatureStore
    say: Say
    options: Options


def run(say: Say, options: Options) -> dict[str, Any]:
    """Measure; returns the figures by name, as JSON values."""
    with _open_ground(say, options) as ground:
        figures = _fetched(ground) | _written(ground) | _over_http(ground) | _sizes(ground)
    return figures | {"goals": goals_met(GOALS, figures)}


@contextlib.contextmanager
def _open_ground(say: Say, options: Options) -> Iterator[Ground]:
    with tempfile.TemporaryDirectory(prefix="playhead-bench-", ignore_cleanup_errors=True) as folder:
        settings = on_free_ports(load_settings(Path(folder)))
        declarations, world = with_numbers(load_declarations()), World.of(options.serving_tracks)
        at_ms = int(time.time() * 1_000)
        try:
            stack.start(settings, ("redis",))
            with contextlib.closing(Redis(**settings.redis.client())) as client:
                online = OnlineStore(client, "the benchmark's")
                say(f"serving: rows of {len(world.users):,} listeners and {len(world.tracks):,} tracks")
                fill(online, declarations, world, at_ms)
                repo = Path(folder) / "feast"
                own = feast_redis.make_repo(repo, settings)
                feast_redis.apply(own, repo, declarations, settings)
                feast_redis.fill(own, online, declarations, world, at_ms)
                yield Ground(settings, declarations, world, client, online, repo, own, say, options)
        finally:
            stack.stop(settings)


# --- in one process ------------------------------------------------------------------------------------------------


class _Noting(OnlineStore):
    """Notes which keys were read last."""

    keys: Sequence[bytes] = ()

    def get_each(self, parts: Sequence[Sequence[bytes]]) -> Generator[list[bytes | None], None, None]:
        self.keys = [*itertools.chain.from_iterable(parts)]
        return super().get_each(parts)


def _fetched(ground: Ground) -> dict[str, Any]:
    requests = ground.world.requests(ground.options.serving_requests, seed=1)
    taken = _taken(_variants(ground, requests), len(requests))
    figures = {
        f"{name}_p{share}_ms": round(quantile(own.wall_ms, share / 100), 3)
        for name, own in taken.items()
        for share in (50, 99)
    } | {f"{name}_cpu_p50_ms": round(quantile(own.cpu_ms, 0.5), 3) for name, own in taken.items()}
    ground.say(f"serving: in one process: {figures}")
    return figures | {
        "ratio_to_raw": round(figures["fast_p50_ms"] / figures["raw_p50_ms"], 2),
        "ratio_to_raw_gets": round(figures["fast_p50_ms"] / figures["raw_gets_p50_ms"], 2),
        "ratio_to_feast": round(figures["feast_redis_p50_ms"] / figures["fast_p50_ms"], 1),
    }


def _variants(ground: Ground, requests: Sequence[dict[str, Any]]) -> dict[str, Callable[[int], Any]]:
    """What is timed, by the number of a request."""
    declarations, service = ground.declarations, ground.declarations.service(NUMBERS)
    noting = _Noting(ground.client, "the benchmark's")
    online, noted = OnlineFeatures(ground.online, declarations), OnlineFeatures(noting, declarations)
    asked = [_of_numbers(request) for request in requests]
    # Before E is known, a fetch reads more.
    noted.fetch(NUMBERS, asked[0])
    keys = []
    for request in asked:
        noted.fetch(NUMBERS, request)
        keys.append(noting.keys)
    registry.apply(ground.settings, declarations)
    sdk, own = registry.open_feature_store(ground.settings), ground.feast_store
    read = [f"{group.name}:{name}" for group in service.groups for name in service.features_of(group)]
    of_feast, rows = own.get_feature_service(NUMBERS), [feast_redis.entities(request) for request in asked]

    def raw_gets(number: int) -> list[Any]:
        pipeline = ground.client.pipeline(transaction=False)
        for key in keys[number]:
            pipeline.get(key)
        return pipeline.execute()

    return {
        "fast": lambda n: online.fetch(NUMBERS, asked[n]).to_numpy(),
        "raw": lambda n: ground.client.mget(keys[n]),
        "raw_gets": raw_gets,
        "feast_sdk": lambda n: sdk.get_online_features(read, rows[n], full_feature_names=True),
        "feast_redis": lambda n: own.get_online_features(of_feast, rows[n], full_feature_names=True),
        "whole": lambda n: online.fetch(SERVICE, requests[n]).to_numpy(),
    }


def _of_numbers(request: Mapping[str, Any]) -> dict[str, Any]:
    """What `NUMBERS` takes of a request."""
    return {key: request[key] for key in ("user_id", "track_id")}


@dataclass
class _Taken:
    """Time and CPU time of this process for each request."""

    wall_ms: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)


def _taken(variants: Mapping[str, Callable[[int], Any]], requests: int) -> dict[str, _Taken]:
    """Of each variant, in turns, so that what else the machine does meets them all."""
    found = {name: _Taken() for name in variants}
    for call, number in itertools.product(variants.values(), range(min(requests, _IN_A_ROW))):
        call(number)
    # As the server does: what is there by now is not looked through again, until all is taken.
    gc.collect()
    gc.freeze()
    for start in range(0, requests, _IN_A_ROW):
        for name, call in variants.items():
            # The first of a turn is not counted: another variant has used the processor's caches.
            turns = 2 if name.startswith("feast") else _IN_A_ROW
            for number in range(start, min(start + turns, requests)):
                began, begun_cpu = time.perf_counter(), time.process_time()
                call(number)
                if number > start:
                    found[name].cpu_ms.append((time.process_time() - begun_cpu) * 1_000)
                    found[name].wall_ms.append((time.perf_counter() - began) * 1_000)
    gc.unfreeze()
    return found


# --- written -------------------------------------------------------------------------------------------------------


def _written(ground: Ground) -> dict[str, Any]:
    """Rows of listeners a second, from values to Redis, both ways in turns."""
    plan, packer = ground.declarations.plan("listener"), Packer.of(ground.declarations.plan("listener"))
    users = [f"new-{n}" for n in range(ROWS_AT_ONCE)]
    rows = dict(plain_values(plan, ground.world, users))
    now_ms = int(time.time() * 1_000)
    lists = {name: [values[name] for values in rows.values()] for name, _ in plan.schema}
    frame = feast_redis.frame({plan.key: users, **lists}, now_ms)
    ours_s: list[float] = []
    feasts_s: list[float] = []
    for _ in range(_WRITING_ROUNDS):
        began = time.perf_counter()
        ground.online.write(plan.name, ((user, packer.pack(now_ms, values)) for user, values in rows.items()))
        ours_s.append(time.perf_counter() - began)
        began = time.perf_counter()
        ground.feast_store.write_to_online_store(plan.name, frame)
        feasts_s.append(time.perf_counter() - began)
    figures = {
        "writes_per_s": round(len(rows) / quantile(ours_s, 0.5)),
        "feast_push_rows_per_s": round(len(rows) / quantile(feasts_s, 0.5)),
    }
    ground.say(f"serving: written: {figures}")
    return figures | {"ratio_to_feast_push": round(quantile(feasts_s, 0.5) / quantile(ours_s, 0.5), 1)}


def _sizes(ground: Ground) -> dict[str, Any]:
    """Memory of an entity's rows in Redis, keys included."""
    rng, now_ms = random.Random(1), int(time.time() * 1_000)
    found = {}
    for group in ground.declarations.service(SERVICE).inputs:
        plan = ground.declarations.plan(group.name)
        entities = ground.world.entities(plan.key)
        sampled = rng.sample(entities, min(_SAMPLED, len(entities)))
        sizes = [ground.client.memory_usage(key) or 0 for e in sampled for key in keys_of(plan, e, now_ms)]
        found[group.name] = round(sum(sizes) / len(sampled))
    return {"bytes_per_entity": found}


# --- over HTTP -----------------------------------------------------------------------------------------------------


def _over_http(ground: Ground) -> dict[str, Any]:
    requests = [_of_numbers(request) for request in ground.world.requests(_BODIES, seed=2)]
    port = ground.settings.serve.port
    (feasts_port,) = free_ports(1)
    ours = [orjson.dumps(_body(request)) for request in requests]
    feasts = [orjson.dumps(feast_redis.body(request)) for request in requests]
    serve = [sys.executable, "-m", "benchmarks.numbers_server"]
    with _running(ground, serve, f"http://{LOCALHOST}:{port}/ready"):
        http, http_light = _asked(ground, port, "/v1/features", ours)
    feast_serve = [
        _command("feast"),
        "--chdir",
        str(ground.feast_repo),
        "serve",
        "--host",
        LOCALHOST,
        "--port",
        str(feasts_port),
    ]
    with _running(ground, [*feast_serve, "--no-access-log"], f"http://{LOCALHOST}:{feasts_port}/health"):
        feasts_own, feasts_light = _asked(ground, feasts_port, "/get-online-features", feasts)
    figures = {
        "http_p50_ms": round(http.quantile_ms(0.5), 2),
        "http_p99_ms": round(http.median_quantile_ms(0.99), 2),
        "http_p99_whole_ms": round(http.quantile_ms(0.99), 2),
        "http_per_s": round(http.per_s, 1),
        "feast_serve_p50_ms": round(feasts_own.quantile_ms(0.5), 2),
        "feast_serve_p99_ms": round(feasts_own.median_quantile_ms(0.99), 2),
        "feast_serve_p99_whole_ms": round(feasts_own.quantile_ms(0.99), 2),
        "feast_serve_per_s": round(feasts_own.per_s, 1),
        "http_light_p50_ms": round(http_light.quantile_ms(0.5), 2),
        "feast_serve_light_p50_ms": round(feasts_light.quantile_ms(0.5), 2),
    }
    ground.say(f"serving: over HTTP at {PER_S} a second: {figures}")
    return figures | {
        "ratio_to_feast_serve": round(figures["feast_serve_p50_ms"] / figures["http_p50_ms"], 1),
        "ratio_to_feast_serve_light": round(figures["feast_serve_light_p50_ms"] / figures["http_light_p50_ms"], 1),
    }


def _asked(ground: Ground, port: int, path: str, bodies: Sequence[bytes]) -> tuple[Answers, Answers]:
    """At the rate, and before that at one that leaves a server idle between requests, the first of which warm it up."""
    seconds = ground.options.serving_seconds
    open_loop(port, path, bodies[:_LIGHT_PER_S], _LIGHT_PER_S, min(2, seconds))
    light = open_loop(port, path, bodies, _LIGHT_PER_S, seconds)
    return open_loop(port, path, bodies, PER_S, seconds), light


def _body(request: Mapping[str, Any]) -> dict[str, Any]:
    candidates = [{"track_id": track} for track in request["track_id"]]
    return {"service": NUMBERS, "user_id": request["user_id"], "candidates": candidates}


@contextlib.contextmanager
def _running(ground: Ground, command: Sequence[str], url: str) -> Iterator[None]:
    """A server that answers; ended at the end.

    Raises:
        StackError: it does not answer in time, or has ended.
    """
    log = ground.settings.home / "server.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            command,
            env=environment_of(ground.settings),
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=ground.settings.project,
        )
    try:
        deadline = time.monotonic() + _SECONDS_TO_START
        while not _answers(url):
            if process.poll() is not None or time.monotonic() > deadline:
                raise StackError(f"{command[0]} does not answer at {url}: {log.read_text()[-2_000:]}")
            time.sleep(_POLL_SECONDS)
        yield
    finally:
        process.terminate()
        process.wait(_SECONDS_TO_START)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=_POLL_SECONDS * 10).is_success
    except httpx.TransportError:
        return False


def _command(name: str) -> str:
    return str(Path(sys.executable).with_name(name))

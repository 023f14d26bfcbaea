"""The feature server: feature vectors over HTTP, and a log of every vector that it served."""

from __future__ import annotations

import contextlib
import json
import socket
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from threading import Event, Thread
from typing import Annotated, Any

import orjson
import structlog
import uvicorn
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from pydantic import BaseModel, ConfigDict, Field
from starlette.background import BackgroundTask

from playhead.checks import results
from playhead.config import ServeSettings, Settings
from playhead.declarations import Declarations, load_declarations
from playhead.errors import DeclarationError, PlayheadError, StackError, UnknownName
from playhead.serving.online import OnlineStore, open_online_store
from playhead.serving.packed import Value
from playhead.serving.served_log import ServedLog, open_served_log
from playhead.serving.vectors import Part, Vectors, VectorService
from playhead.stack.ports import Port

log = structlog.get_logger()

MAX_CANDIDATES = 1_000
_GRACE_SECONDS = 10
_PROBLEMS = 5
_MAX_BODY_BYTES = 2**21
_POLL_SECONDS = 0.2
_LATENCY_BUCKETS = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)


_STATUSES = {UnknownName: (404, "unknown_service"), DeclarationError: (500, "failed")}
"""Error to the status and the outcome that it has."""


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Candidate(_Body):
    """A track that may be recommended. Without `artist_id` the artist's features are null."""

    track_id: Annotated[str, Field(min_length=1, max_length=256)]
    artist_id: Annotated[str, Field(min_length=1, max_length=256)] | None = None


class FeaturesRequest(_Body):
    """For whom and for which tracks a model wants features; without `candidates` the user's own."""

    service: Annotated[str, Field(examples=["listener_v1"])]
    user_id: Annotated[str, Field(min_length=1, max_length=128)]
    candidates: Annotated[list[Candidate], Field(max_length=MAX_CANDIDATES)] = []
    request_id: Annotated[str, Field(min_length=1, max_length=128)] | None = None


class CandidateFeatures(BaseModel):
    """A candidate, its `view__feature` values, and the event timestamp of each view that has a row."""

    track_id: str
    artist_id: str | None
    features: dict[str, Value]
    event_timestamps_ms: dict[str, int]


class FeaturesResponse(BaseModel):
    """The user's `view__feature` values, the event timestamp of each view with a row, and the candidates in order."""

    request_id: str
    service: str
    serve_time_ms: int
    user: dict[str, Value]
    event_timestamps_ms: dict[str, int]
    candidates: list[CandidateFeatures]


class ServerMetrics:
    """What Prometheus sees of a server."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self.requests = Counter("playhead_serve_requests", "Requests by outcome", ["outcome"], registry=registry)
        self.seconds = Histogram(
            "playhead_serve_seconds", "From the request to its vectors", buckets=_LATENCY_BUCKETS, registry=registry
        )
        self.rows = Counter("playhead_serve_rows", "Rows asked for, by status", ["view", "status"], registry=registry)


def create_app(
    declarations: Declarations,
    store: OnlineStore,
    served: ServedLog,
    metrics: ServerMetrics,
    clock_s: Callable[[], float] = time.time,
) -> FastAPI:
    """The HTTP application.

    Args:
        declarations: whose services are served.
        store: where the rows are.
        served: told every vector, after the answer was sent.
        metrics: what to count in.
        clock_s: wall clock, Unix seconds.
    """
    services = {service.name: VectorService(service, declarations) for service in declarations.services}
    endpoints = _Endpoints(services, store, served, metrics, clock_s)
    app = FastAPI(title="playhead", description="Feature vectors for inference.", max_body_size=_MAX_BODY_BYTES)
    app.post("/v1/features", response_model=FeaturesResponse, tags=["features"])(endpoints.features)
    app.get("/health", tags=["operations"])(endpoints.health)
    app.get("/ready", tags=["operations"])(endpoints.ready)
    app.get("/metrics", include_in_schema=False)(endpoints.prometheus)
    app.exception_handler(PlayheadError)(endpoints.explain)
    app.exception_handler(RequestValidationError)(endpoints.refuse)
    return app


@dataclass(frozen=True)
class _Endpoints:
    services: Mapping[str, VectorService]
    store: OnlineStore
    served: ServedLog
    metrics: ServerMetrics
    clock_s: Callable[[], float]

    def features(self, request: FeaturesRequest) -> Response:
        """The features of a user and of candidate tracks."""
        with self.metrics.seconds.time():
            service = self.services.get(request.service)
            if service is None:
                raise UnknownName("feature service", request.service, self.services)
            candidates = [{"track_id": c.track_id, "artist_id": c.artist_id} for c in request.candidates]
            vectors = service.vectors(self.store, {"user_id": request.user_id}, candidates, self.clock_s)
            request_id = request.request_id or uuid.uuid4().hex
            body = orjson.dumps(_answer(request_id, service.name, vectors))
        self.metrics.requests.labels("served").inc()
        for (view, status), rows in vectors.statuses.items():
            self.metrics.rows.labels(view, status).inc(rows)
        log_it = BackgroundTask(self.served.record, request_id, service.name, vectors.serve_time_ms, vectors)
        return Response(body, media_type="application/json", background=log_it)

    def health(self) -> dict[str, str]:
        """The process runs."""
        return {"status": "ok"}

    def ready(self) -> dict[str, Any]:
        """The online store answers."""
        self.store.ping()
        return {"status": "ok", "services": sorted(self.services)}

    def prometheus(self) -> Response:
        """Metrics in Prometheus's text format."""
        return Response(generate_latest(self.metrics.registry), media_type=CONTENT_TYPE_LATEST)

    def explain(self, _request: Request, error: PlayheadError) -> Response:
        """404 for an unknown name, 500 for an on-demand function that fails, 503 for a store that does not answer."""
        status, outcome = _STATUSES.get(type(error), (503, "unavailable"))
        self.metrics.requests.labels(outcome).inc()
        return _refusal(status, type(error).__name__, error.message, error.hint)

    def refuse(self, _request: Request, error: RequestValidationError) -> Response:
        """422, with the places that are wrong."""
        self.metrics.requests.labels("bad_request").inc()
        problems = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()[:_PROBLEMS]]
        return _refusal(422, "BadRequest", "; ".join(problems), "see /docs")


def run_server(settings: Settings, stop: Event, clock_s: Callable[[], float] = time.time) -> None:
    """Serve until told to stop; then finish the requests in hand and send what is left of the log.

    Args:
        settings: where to listen, and where Redis and Kafka are.
        stop: set it to end.
        clock_s: wall clock, Unix seconds; another one serves a past that was replayed.

    Raises:
        StackError: the port is taken, Redis does not answer at the start, or the server ended by itself.
    """
    registry = CollectorRegistry()
    with (
        _listen(settings.serve) as listener,
        open_online_store(settings.redis) as store,
        open_served_log(settings.kafka, registry) as served,
    ):
        app = create_app(load_declarations(), store, served, ServerMetrics(registry), clock_s)
        _run(app, listener, stop)
    requests = registry.get_sample_value("playhead_serve_requests_total", {"outcome": "served"})
    summary = {"requests": int(requests or 0), "vectors": served.fates()}
    log.info("server stopped", **summary)
    results.save(settings, "serve", summary)


def clock_from(start_s: float) -> Callable[[], float]:
    """A clock that begins at a moment now, and goes on."""
    begun = time.monotonic()
    return lambda: start_s + time.monotonic() - begun


def _run(app: FastAPI, listener: socket.socket, stop: Event) -> None:
    config = uvicorn.Config(
        app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=_GRACE_SECONDS
    )
    server = uvicorn.Server(config)
    # In a thread of its own uvicorn leaves the process's signals alone: they are the caller's, who sets `stop`.
    thread = Thread(target=server.run, kwargs={"sockets": [listener]}, name="uvicorn")
    thread.start()
    host, port = listener.getsockname()[:2]
    log.info("serving", url=f"http://{host}:{port}", docs=f"http://{host}:{port}/docs")
    try:
        while thread.is_alive() and not stop.wait(_POLL_SECONDS):
            pass
    finally:
        server.should_exit = True
        thread.join()
    if not stop.is_set():
        raise StackError("the server ended by itself", hint="the reason is in the log above")


@contextlib.contextmanager
def _listen(settings: ServeSettings) -> Iterator[socket.socket]:
    try:
        listener = socket.create_server((settings.host, settings.port), backlog=2048)
    except OSError as error:
        port = Port(number=settings.port, setting="serve.port")
        raise StackError(
            f"port {port.number} ({port.setting}) cannot be used: {error.strerror}", hint=port.hint
        ) from error
    with listener:
        yield listener


def _answer(request_id: str, service: str, vectors: Vectors) -> dict[str, Any]:
    return {
        "request_id": request_id,
        "service": service,
        "serve_time_ms": vectors.serve_time_ms,
        "user": vectors.shared.values,
        "event_timestamps_ms": vectors.shared.event_timestamps_ms,
        "candidates": list(map(_candidate, vectors.candidates)),
    }


def _refusal(status: int, error: str, message: str, hint: str | None) -> Response:
    # In ASCII: a message may name a field of the request, and a request may hold what is no valid Unicode.
    body = json.dumps({"error": error, "message": message, "hint": hint})
    return Response(body, status, media_type="application/json")


def _candidate(part: Part) -> dict[str, Any]:
    return {
        "track_id": part.entities["track_id"],
        "artist_id": part.entities.get("artist_id"),
        "features": part.values,
        "event_timestamps_ms": part.event_timestamps_ms,
    }

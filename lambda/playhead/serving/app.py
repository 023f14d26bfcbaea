"""The feature server's HTTP application: feature vectors and candidates, and a log of every vector that it served."""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar, cast

import numpy as np
import orjson
from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from prometheus_client import CONTENT_TYPE_LATEST

from playhead.columns import Column
from playhead.declarations import Declarations
from playhead.errors import DeclarationError, PlayheadError, UnknownName
from playhead.serving.access import Access, NoAccess
from playhead.serving.bodies import CandidatesRequest, CandidatesResponse, FeaturesRequest, FeaturesResponse, Refusal
from playhead.serving.breaker import Guard, Reason, Unanswered
from playhead.serving.fallbacks import TrackLists, chosen, lists_for, read_lists, unreadable_store
from playhead.serving.online import OnlineStore
from playhead.serving.serve_metrics import ServerMetrics
from playhead.serving.served_log import ServedLog
from playhead.serving.vectors import CANDIDATE_KEYS, Entities, Vectors, VectorService

_PROBLEMS = 5
_MAX_BODY_BYTES = 2**21
_VERSIONED = re.compile(r"(.+)_v(\d+)")

_STATUSES = {
    NoAccess: (401, "no_access"),
    UnknownName: (404, "unknown_service"),
    DeclarationError: (500, "failed"),
}
"""Error to the status and the outcome that it has."""

T = TypeVar("T")


def services_of(declarations: Declarations) -> dict[str, VectorService]:
    """The declared feature services by name, compiled."""
    return {service.name: VectorService(service, declarations) for service in declarations.services}


def create_app(
    services: Mapping[str, VectorService],
    store: OnlineStore,
    guard: Guard,
    served: ServedLog,
    metrics: ServerMetrics,
    *,
    access: Access,
    clock_s: Callable[[], float] = time.time,
) -> FastAPI:
    """The HTTP application.

    Args:
        services: what is served, by name.
        store: where the rows and lists are.
        guard: bounds the time that they are waited for.
        served: told every vector.
        metrics: what to count in.
        access: who may ask for features and candidates.
        clock_s: wall clock, Unix seconds.
    """
    endpoints = _Endpoints(services, newest_of(services), store, guard, served, metrics, clock_s)
    app = FastAPI(
        title="playhead",
        description="Feature vectors for inference; docs/serving.md says more.",
        max_body_size=_MAX_BODY_BYTES,
    )
    guarded = APIRouter(
        prefix="/v1",
        tags=["features"],
        dependencies=[Depends(access)],
        responses={
            401: {"model": Refusal, "description": "No valid token"},
            422: {"model": Refusal, "description": "A body that is not as described"},
        },
    )
    guarded.post(
        "/features",
        response_model=FeaturesResponse,
        responses={404: {"model": Refusal, "description": "No such feature service"}},
    )(endpoints.features)
    guarded.post("/candidates", response_model=CandidatesResponse)(endpoints.candidates)
    app.include_router(guarded)
    app.get("/health", tags=["operations"])(endpoints.health)
    app.get("/ready", tags=["operations"], responses={503: {"model": Refusal}})(endpoints.ready)
    app.get("/metrics", include_in_schema=False)(endpoints.prometheus)
    app.exception_handler(PlayheadError)(endpoints.explain)
    app.exception_handler(RequestValidationError)(endpoints.refuse)
    return app


def newest_of(services: Iterable[str]) -> dict[str, str]:
    """Scenario to its service of the highest version.

    >>> newest_of(["home_v2", "home_v10", "search_v1"])
    {'home': 'home_v10', 'search': 'search_v1'}
    """
    versions: dict[str, int] = {}
    for found in filter(None, map(_VERSIONED.fullmatch, services)):
        versions[found[1]] = max(int(found[2]), versions.get(found[1], 0))
    return {scenario: f"{scenario}_v{version}" for scenario, version in versions.items()}


@dataclass(frozen=True)
class _Endpoints:
    services: Mapping[str, VectorService]
    newest: Mapping[str, str]
    store: OnlineStore
    guard: Guard
    served: ServedLog
    metrics: ServerMetrics
    clock_s: Callable[[], float]
    nothing: OnlineStore = field(default_factory=unreadable_store)
    lists: TrackLists = field(default_factory=TrackLists)

    async def features(self, request: FeaturesRequest) -> Response:
        """The features of a user and of candidate tracks. Without the store: the service's defaults."""
        with self.metrics.seconds.time():
            service = self._service(request)
            fetch = partial(
                service.vectors,
                shared={"user_id": request.user_id},
                candidates=cast("list[Entities]", request.candidates),
                clock_s=self.clock_s,
            )
            vectors, fallback = await self._ask(partial(fetch, self.store))
            if vectors is None:
                vectors = fetch(self.nothing)
            request_id = request.request_id or uuid.uuid4().hex
            statuses = _statuses(vectors, fallback)
            answer = _answer(request_id, service.name, vectors, fallback, statuses)
            body = orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)
        self.served.record(request_id, service.name, vectors, fallback)
        self.metrics.requests.labels("fallback" if fallback else "served").inc()
        for view, own in statuses.items():
            for status, entities in own.items():
                self.metrics.rows.labels(view, status).inc(entities)
        return Response(body, media_type="application/json")

    async def candidates(self, request: CandidatesRequest) -> Response:
        """Tracks for a user: the user's top tracks, else everybody's, else the most played of the content type."""
        lists = lists_for(request.user_id, request.content_type)
        fallback = None
        if due := self.lists.due(lists.values()):
            found, fallback = await self._ask(partial(read_lists, self.store, due))
            self.lists.learn(found or {})
        source, tracks = chosen(lists, self.lists)
        self.metrics.candidates.labels(source).inc()
        candidates = [{"track_id": track} for track in tracks[: request.limit]]
        body = orjson.dumps({"source": source, "fallback": fallback, "candidates": candidates})
        return Response(body, media_type="application/json")

    async def health(self) -> dict[str, str]:
        """The process runs."""
        return {"status": "ok"}

    def ready(self) -> dict[str, Any]:
        """The online store answers."""
        self.store.ping()
        return {"status": "ok", "services": sorted(self.services)}

    def prometheus(self) -> Response:
        """Metrics in Prometheus's text format, of all workers."""
        return Response(self.metrics.text(), media_type=CONTENT_TYPE_LATEST)

    async def explain(self, _request: Request, error: PlayheadError) -> Response:
        """401 without a token, 404 for an unknown name, 500 for an on-demand function that fails, 503 for a store that
        does not answer."""
        status, outcome = _STATUSES.get(type(error), (503, "unavailable"))
        self.metrics.requests.labels(outcome).inc()
        refusal = _refusal(status, type(error).__name__, error.message, error.hint)
        if status == 401:
            refusal.headers["WWW-Authenticate"] = "Bearer"
        return refusal

    async def refuse(self, _request: Request, error: RequestValidationError) -> Response:
        """422, with the places that are wrong."""
        self.metrics.requests.labels("bad_request").inc()
        problems = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()[:_PROBLEMS]]
        return _refusal(422, "BadRequest", "; ".join(problems), "see /docs")

    def _service(self, request: FeaturesRequest) -> VectorService:
        name, version = request.service, request.version
        name = self.newest.get(name, name) if version is None else f"{name}_v{version}"
        if name not in self.services:
            raise UnknownName("feature service", name, self.services)
        return self.services[name]

    async def _ask(self, work: Callable[[], T]) -> tuple[T | None, Reason | None]:
        """What the store says, or why it said nothing."""
        try:
            return await self.guard.ask(work), None
        except Unanswered as unanswered:
            self.metrics.fallbacks.labels(unanswered.reason).inc()
            return None, unanswered.reason
        finally:
            self.metrics.breaker_open.set(self.guard.breaker.is_open)


def _statuses(vectors: Vectors, fallback: Reason | None) -> dict[str, dict[str, int]]:
    """View to status to the number of its entities that have it."""
    found: dict[str, dict[str, int]] = {}
    for (view, status), entities in vectors.statuses.items():
        own, name = found.setdefault(view, {}), "fallback" if fallback else status
        own[name] = own.get(name, 0) + entities
    return found


def _answer(
    request_id: str, service: str, vectors: Vectors, fallback: Reason | None, statuses: Mapping[str, Any]
) -> dict[str, Any]:
    candidates = vectors.candidates
    return {
        "request_id": request_id,
        "service": service,
        "serve_time_ms": vectors.serve_time_ms,
        "fallback": fallback,
        "status": statuses,
        "user": vectors.shared.values,
        "event_timestamps_ms": vectors.shared.event_timestamps_ms,
        "candidates": {
            **{key: candidates.entities[key] for key in CANDIDATE_KEYS},
            "features": _listed(candidates.values),
            "event_timestamps_ms": _listed(candidates.event_timestamps_ms),
        },
    }


def _listed(columns: Mapping[str, Column]) -> dict[str, Any]:
    """As JSON has them: NumPy's arrays where they say it all."""
    return {
        name: own.to_list() if own.values.dtype == np.object_ or not own.is_whole else np.ascontiguousarray(own.values)
        for name, own in columns.items()
    }


def _refusal(status: int, error: str, message: str, hint: str | None) -> Response:
    # In ASCII: a message may name a field of the request, and a request may hold what is no valid Unicode.
    body = json.dumps({"error": error, "message": message, "hint": hint})
    return Response(body, status, media_type="application/json")

"""Running the feature server: in this process, or in several that share its port."""

from __future__ import annotations

import contextlib
import gc
import os
import socket
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from threading import Event

import structlog
from prometheus_client import CollectorRegistry

from playhead.checks import results
from playhead.config import ServeSettings, Settings
from playhead.declarations import load_declarations
from playhead.errors import StackError
from playhead.serving.access import Access, check_access
from playhead.serving.app import create_app, services_of
from playhead.serving.breaker import Breaker, Guard
from playhead.serving.listening import family_of, listening, run_app, url_of
from playhead.serving.online import OnlineStore, connect, open_online_store
from playhead.serving.serve_metrics import ServerMetrics, by_label, of_all_workers
from playhead.serving.served_log import open_served_log
from playhead.serving.vectors import VectorService
from playhead.serving.workers import Workers
from playhead.stack.ports import Port

log = structlog.get_logger()

_YOUNG_OBJECTS = 1_000
"""After how many new ones the garbage collector looks through them."""


def run_server(settings: Settings, stop: Event, clock_s: Callable[[], float] = time.time) -> None:
    """Serve until told to stop; then finish the requests in hand and send what is left of the log.

    The summary of all processes is kept as the result `serve`.

    Args:
        settings: where to listen, who may ask, how many workers, and where Redis and Kafka are.
        stop: set it to end.
        clock_s: wall clock, Unix seconds; another one serves a past that was replayed.

    Raises:
        ConfigError: see `check_access`.
        StackError: the port is taken, Redis does not answer at the start, or the server ended by itself.
    """
    check_access(settings.serve)
    with open_online_store(settings.redis):
        log.info("the online store answers")
    if settings.serve.workers == 1:
        registry = CollectorRegistry()
        serve(settings, services_of(load_declarations()), stop, clock_s, ServerMetrics(registry))
        _save(settings, registry, restarts=0)
        return
    with _reserved(settings.serve), tempfile.TemporaryDirectory(prefix="playhead-metrics-") as folder:
        restarts = Workers(settings, Path(folder), clock_s() - time.time()).run(stop)
        _save(settings, of_all_workers(Path(folder)), restarts)


def run_worker(settings: Settings, stop: Event, folder: Path, clock_offset_s: float, parent: int) -> None:
    """Serve as one of several processes, until told to stop or until the one that started it is gone.

    Args:
        settings: as of `run_server`.
        stop: set it to end.
        folder: where the metrics of all are.
        clock_offset_s: how far the clock is ahead of the wall clock.
        parent: the process that started it; it may have gone before this one has come so far.
    """
    metrics = ServerMetrics(CollectorRegistry(), folder)
    services = services_of(load_declarations())
    serve(settings, services, stop, lambda: time.time() + clock_offset_s, metrics, lambda: os.getppid() == parent)


def clock_from(start_s: float) -> Callable[[], float]:
    """A clock that begins at a moment now, and goes on."""
    begun = time.monotonic()
    return lambda: start_s + time.monotonic() - begun


def serve(
    settings: Settings,
    services: Mapping[str, VectorService],
    stop: Event,
    clock_s: Callable[[], float],
    metrics: ServerMetrics,
    wanted: Callable[[], bool] = lambda: True,
) -> None:
    """Serve in this process until told to stop, or until it is not wanted any more.

    Raises:
        StackError: the port is taken, or the server ended by itself.
    """
    guard, access = Guard(settings.serve.budget, Breaker()), Access(settings.serve.tokens)
    with (
        contextlib.closing(guard),
        _store_within(settings) as store,
        open_served_log(settings.kafka, metrics.counted) as served,
    ):
        _warm_up(services.values(), store, clock_s)
        app = create_app(services, store, guard, served, metrics, access=access, clock_s=clock_s)
        with _frozen(), _listen(settings.serve, shared=settings.serve.workers > 1) as listener:
            log.info("serving", url=url_of(listener), docs=f"{url_of(listener)}/docs")
            metrics.starts.inc()
            run_app(app, listener, stop, wanted)


@contextlib.contextmanager
def _frozen() -> Iterator[None]:
    """What is there by now stays: the garbage collector would look through it for 0.15 s, and a request would wait. Nor
    does one wait for much that is new: collections are short and often, unlike those of a command."""
    gc.collect()
    gc.freeze()
    thresholds = gc.get_threshold()
    gc.set_threshold(_YOUNG_OBJECTS)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        # Else nothing of it could be freed when the process ends, and DuckDB reports each of its objects as leaked.
        gc.unfreeze()


def _warm_up(services: Iterable[VectorService], store: OnlineStore, clock_s: Callable[[], float]) -> None:
    """Ask once of each: connections are opened and code is loaded before the first request has to wait for it."""
    try:
        for service in services:
            service.vectors(store, {"user_id": ""}, [{"track_id": "", "artist_id": ""}], clock_s)
    except StackError as error:
        log.warning("serving begins without the store", error=str(error))


@contextlib.contextmanager
def _store_within(settings: Settings) -> Iterator[OnlineStore]:
    """A store that answers within the budget or fails; nothing is asked of it yet."""
    seconds = settings.serve.budget.total_seconds()
    with contextlib.closing(connect(settings.redis, seconds, seconds)) as store:
        yield store


@contextlib.contextmanager
def _reserved(settings: ServeSettings) -> Iterator[None]:
    """Keep the port for workers, which listen on it themselves: without listening, nobody else can take it."""
    with _listen(settings, shared=False):
        pass  # free, or an error: who shares a port never hears that it is taken
    with socket.socket(family_of(settings.host)) as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind((settings.host, settings.port))
        yield


def _listen(settings: ServeSettings, *, shared: bool) -> contextlib.AbstractContextManager[socket.socket]:
    return listening(settings.host, Port(number=settings.port, setting="serve.port"), shared=shared)


def _save(settings: Settings, registry: CollectorRegistry, restarts: int) -> None:
    outcomes = by_label(registry, "playhead_serve_requests", "outcome")
    summary = {
        "requests": outcomes.get("served", 0) + outcomes.get("fallback", 0),
        "fallbacks": outcomes.get("fallback", 0),
        "vectors": by_label(registry, "playhead_served_vectors", "fate"),
        "restarts": restarts,
    }
    log.info("server stopped", **summary)
    results.save(settings, "serve", summary)

"""Feature servers that tests run: in a thread, or as the command."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import httpx
from fastapi import FastAPI

from playhead.config import LOCALHOST, Settings
from playhead.serving.listening import listening, run_app, url_of
from playhead.serving.server import run_server
from playhead.stack.ports import Port
from tests.polling import PATIENCE, eventually


def client_of(settings: Settings) -> httpx.Client:
    """A client that opens a connection for each request, so that any worker may answer."""
    return httpx.Client(
        base_url=f"http://127.0.0.1:{settings.serve.port}",
        timeout=PATIENCE,
        limits=httpx.Limits(max_keepalive_connections=0),
        trust_env=False,
    )


@contextlib.contextmanager
def serving(settings: Settings) -> Iterator[httpx.Client]:
    """A running feature server; on leaving it has stopped and sent its log."""
    stop = Event()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(run_server, settings, stop)
        try:
            with client_of(settings) as client:
                assert eventually(lambda: running.done() or is_ready(client))
                yield client
        finally:
            stop.set()
            running.result(PATIENCE)


@contextlib.contextmanager
def serving_app(app: FastAPI) -> Iterator[httpx.Client]:
    """An application on a port of its own; the client's `base_url` says which."""
    stop = Event()
    with ThreadPoolExecutor(1) as pool, listening(LOCALHOST, Port(number=0, setting="of a test")) as listener:
        running = pool.submit(run_app, app, listener, stop)
        try:
            with httpx.Client(base_url=url_of(listener), timeout=30, trust_env=False) as client:
                yield client
        finally:
            stop.set()
            running.result(PATIENCE)


@contextlib.contextmanager
def command(settings: Settings, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """`playhead serve` with these settings; killed if it still runs at the end."""
    argv = [sys.executable, "-c", "from playhead.cli import main; main()", "serve", *options]
    with subprocess.Popen(argv, env={**os.environ, **settings.environment()}) as process:
        try:
            yield process
        finally:
            process.kill()


def is_ready(client: httpx.Client) -> bool:
    """Whether the server is ready; False while nothing listens."""
    with contextlib.suppress(httpx.TransportError):
        return client.get("/ready").status_code == 200
    return False

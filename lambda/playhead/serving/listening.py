"""An HTTP server in this process: a port that is held, and an application that runs on it until it is told to stop."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from threading import Event, Thread

import uvicorn
from fastapi import FastAPI

from playhead.errors import StackError
from playhead.stack.ports import Port

_BACKLOG = 2048
_GRACE_SECONDS = 2
_KEEP_ALIVE_SECONDS = 75
_POLL_SECONDS = 0.2


@contextlib.contextmanager
def listening(host: str, port: Port, *, shared: bool = False) -> Iterator[socket.socket]:
    """Listen on a port.

    Args:
        host: an address of this machine.
        port: the number, and the setting that says it.
        shared: whether other processes may listen on it too.

    Raises:
        StackError: it cannot be used; the hint says how to have another one.
    """
    try:
        listener = socket.create_server(
            (host, port.number), family=family_of(host), backlog=_BACKLOG, reuse_port=shared
        )
    except OSError as error:
        raise StackError(
            f"port {port.number} ({port.setting}) cannot be used: {error.strerror}", hint=port.hint
        ) from error
    with listener:
        yield listener


def run_app(app: FastAPI, listener: socket.socket, stop: Event, wanted: Callable[[], bool] = lambda: True) -> None:
    """Serve until told to stop, or until it is not wanted any more; the requests in hand are finished.

    Raises:
        StackError: the server ended by itself.
    """
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    server = uvicorn.Server(config)
    # In a thread of its own uvicorn leaves the process's signals alone: they are the caller's, who sets `stop`.
    thread = Thread(target=server.run, kwargs={"sockets": [listener]}, name="uvicorn")
    thread.start()
    try:
        while thread.is_alive() and wanted() and not stop.wait(_POLL_SECONDS):
            pass
        ended = not thread.is_alive()
    finally:
        server.should_exit = True
        thread.join()
    if ended and not stop.is_set():
        raise StackError("the server ended by itself", hint="the reason is in the log above")


def family_of(host: str) -> socket.AddressFamily:
    """Of an address."""
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def url_of(listener: socket.socket) -> str:
    """Where it is reached."""
    host, port = listener.getsockname()[:2]
    return f"http://{host}:{port}"

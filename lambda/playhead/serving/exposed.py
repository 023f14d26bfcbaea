"""Metrics of a process that serves nothing else, over HTTP."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, start_http_server

from playhead.errors import StackError
from playhead.stack.ports import Port


@contextlib.contextmanager
def exposed(host: str, port: Port, registry: CollectorRegistry) -> Iterator[None]:
    """Serve a registry at `/metrics` while the context lasts.

    Raises:
        StackError: the port is taken.
    """
    try:
        server, thread = start_http_server(port.number, host, registry)
    except OSError as error:
        raise StackError(
            f"port {port.number} ({port.setting}) cannot be used: {error.strerror}", hint=port.hint
        ) from error
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

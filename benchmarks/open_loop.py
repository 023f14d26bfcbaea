"""Requests to an HTTP server at a steady rate, whether it keeps up or not."""

from __future__ import annotations

import itertools
import socket
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import httptools

from benchmarks.measuring import quantile
from playhead.config import LOCALHOST
from playhead.errors import StackError

_CONNECTIONS = 16
_PATIENCE_SECONDS = 30.0
_READ_BYTES = 65_536


@dataclass(frozen=True)
class Answers:
    """What a server did with a schedule.

    Attributes:
        answered: moment that a request was due, in seconds from the first, and the time from it to the whole answer, of
            those that were answered in time.
        per_s: answers a second.
    """

    answered: Sequence[tuple[float, float]]
    per_s: float

    def quantile_ms(self, share: float) -> float:
        """Of the latencies."""
        return quantile([latency_s for _, latency_s in self.answered], share) * 1_000

    def median_quantile_ms(self, share: float) -> float:
        """Of the latencies of each second, the median of the seconds: at the machine's median load."""
        seconds: dict[int, list[float]] = {}
        for due_s, latency_s in self.answered:
            seconds.setdefault(int(due_s), []).append(latency_s)
        return quantile([quantile(own, share) for own in seconds.values()], 0.5) * 1_000


def open_loop(port: int, path: str, bodies: Sequence[bytes], per_s: float, seconds: float) -> Answers:
    """Send requests at their moments over connections that are kept, for so many seconds and no longer.

    Args:
        port: of a server on this machine.
        path: where requests are posted to.
        bodies: JSON, taken in turn.
        per_s: how many are due in a second.
        seconds: how long they are due. What is not begun by then, because the server is behind, is not sent.

    Raises:
        StackError: an answer other than 200.
    """
    requests = [_request(path, body) for body in bodies]
    due, begin = itertools.count(), time.monotonic()
    end = begin + seconds

    def send() -> list[tuple[float, float]]:
        answered = []
        with socket.create_connection((LOCALHOST, port), _PATIENCE_SECONDS) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while (number := next(due)) < per_s * seconds and time.monotonic() < end:
                moment = begin + number / per_s
                time.sleep(max(0.0, moment - time.monotonic()))
                connection.sendall(requests[number % len(requests)])
                _wait_for_answer(connection, path)
                answered.append((number / per_s, time.monotonic() - moment))
        return answered

    with ThreadPoolExecutor(_CONNECTIONS) as pool:
        answered = [each for future in [pool.submit(send) for _ in range(_CONNECTIONS)] for each in future.result()]
    return Answers(answered, len(answered) / (time.monotonic() - begin))


def _request(path: str, body: bytes) -> bytes:
    head = [f"POST {path} HTTP/1.1", f"Host: {LOCALHOST}", "Content-Type: application/json"]
    return "\r\n".join([*head, f"Content-Length: {len(body)}", "", ""]).encode() + body


@dataclass
class _Answer:
    """What `httptools` calls while it reads: in C, so that little of what is measured is the client's own."""

    parts: list[bytes] = field(default_factory=list)
    is_whole: bool = False

    def on_body(self, part: bytes) -> None:
        self.parts.append(part)

    def on_message_complete(self) -> None:
        self.is_whole = True


def _wait_for_answer(connection: socket.socket, path: str) -> None:
    answer = _Answer()
    parser = httptools.HttpResponseParser(answer)
    while not answer.is_whole:
        read = connection.recv(_READ_BYTES)
        if not read:
            raise StackError(f"POST {path}: the server closed the connection")
        parser.feed_data(read)
    if (status := parser.get_status_code()) != 200:
        raise StackError(f"POST {path}: {status}: {b''.join(answer.parts)[:500]!r}")

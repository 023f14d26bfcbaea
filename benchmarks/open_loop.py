"""Requests to an HTTP server at a steady rate, whether it keeps up or not."""

from __future__ import annotations

import http.client
import itertools
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from benchmarks.measuring import quantile
from playhead.config import LOCALHOST
from playhead.errors import StackError

_CONNECTIONS = 16
_PATIENCE_SECONDS = 30.0


@dataclass(frozen=True)
class Answers:
    """What a server did with a schedule.

    Attributes:
        latencies_s: from the moment that a request was due to its whole answer, of those that were answered in time.
        per_s: answers a second.
    """

    latencies_s: Sequence[float]
    per_s: float

    def quantile_ms(self, share: float) -> float:
        """Of the latencies."""
        return quantile(self.latencies_s, share) * 1_000


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
    due, begin = itertools.count(), time.monotonic()
    end = begin + seconds

    def send() -> list[float]:
        connection, latencies = http.client.HTTPConnection(LOCALHOST, port, timeout=_PATIENCE_SECONDS), []
        while (number := next(due)) < per_s * seconds and time.monotonic() < end:
            moment = begin + number / per_s
            time.sleep(max(0.0, moment - time.monotonic()))
            connection.request("POST", path, bodies[number % len(bodies)], {"Content-Type": "application/json"})
            answer = connection.getresponse()
            text = answer.read()
            if answer.status != 200:
                raise StackError(f"POST {path}: {answer.status}: {text[:500]!r}")
            latencies.append(time.monotonic() - moment)
        connection.close()
        return latencies

    with ThreadPoolExecutor(_CONNECTIONS) as pool:
        latencies = [each for future in [pool.submit(send) for _ in range(_CONNECTIONS)] for each in future.result()]
    return Answers(latencies, len(latencies) / (time.monotonic() - begin))

"""What librdkafka says about connections, as log events: an outage repeats itself many times a second."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import structlog

log = structlog.get_logger()

_REPEAT_SECONDS = 10.0


class ErrorLog:
    """The `error_cb` of a client: logs an error when it is new, and while it lasts every 10 seconds.

    Args:
        now_s: a clock that never goes back, in seconds.
    """

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._logged_s: dict[str, float] = {}

    def __call__(self, error: Any) -> None:
        """Take one error."""
        name, now = error.name(), self._now_s()
        if now >= self._logged_s.get(name, float("-inf")) + _REPEAT_SECONDS:
            self._logged_s[name] = now
            log.warning("kafka", code=name, error=error.str())


def reporting() -> dict[str, Any]:
    """Settings of a client whose errors go to the log, and not also to stderr, where librdkafka writes them."""
    return {"error_cb": ErrorLog(), "logger": logging.Logger("librdkafka", level=logging.CRITICAL)}

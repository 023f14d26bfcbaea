"""What jobs and checks tell Prometheus: they end before it could ask, so a Pushgateway keeps it."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, ParamSpec, TypeVar, cast

import structlog
from prometheus_client import CollectorRegistry, Gauge, pushadd_to_gateway

from playhead.config import Settings

log = structlog.get_logger()

P = ParamSpec("P")
R = TypeVar("R")

PUSHED: Mapping[str, str] = MappingProxyType(
    {
        "playhead_run_seconds": "How long the last run took",
        "playhead_run_failed": "Whether the last run ended with an error",
        "playhead_run_timestamp_seconds": "When the last run ended",
        "playhead_run_success_timestamp_seconds": "When the last run that succeeded ended",
    }
)
"""What every run tells, and what it says."""

_TIMEOUT_SECONDS = 5.0


def pushed(job: str, figures: Callable[[Any], Mapping[str, float]]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A decorator of what takes the settings first: at its end, `metrics.pushgateway` is told how it went.

    Told are `playhead_run_seconds`, `playhead_run_failed`, `playhead_run_timestamp_seconds`, and of one that succeeded
    `playhead_run_success_timestamp_seconds` and its figures, all with the label `job`. What a failure does not tell
    stays as it was. A gateway that does not answer is logged, and nothing else.

    Args:
        job: its name.
        figures: of its result, e.g. `{"rows": 12}` for `playhead_run_rows`.
    """

    def decorate(run: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(run)
        def told(*args: P.args, **kwargs: P.kwargs) -> R:
            settings, began_s = cast("Settings", args[0]), time.monotonic()
            try:
                result = run(*args, **kwargs)
            except BaseException:
                _push(settings, job, {"seconds": time.monotonic() - began_s, "failed": 1})
                raise
            good = {"seconds": time.monotonic() - began_s, "failed": 0, "success_timestamp_seconds": time.time()}
            _push(settings, job, {**good, **figures(result)})
            return result

        return told

    return decorate


def _push(settings: Settings, job: str, figures: Mapping[str, float]) -> None:
    gateway = settings.metrics.pushgateway
    if gateway is None:
        return
    registry = CollectorRegistry()
    for name, value in {**figures, "timestamp_seconds": time.time()}.items():
        says = PUSHED.get(f"playhead_run_{name}", f"{name.capitalize()} of the last run that succeeded")
        Gauge(f"playhead_run_{name}", says, registry=registry).set(value)
    try:
        pushadd_to_gateway(gateway, job, registry, timeout=_TIMEOUT_SECONDS)
    except OSError as error:
        log.warning("the Pushgateway was not told", job=job, gateway=gateway, error=str(error))

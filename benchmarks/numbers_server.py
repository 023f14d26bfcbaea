"""`python -m benchmarks.numbers_server`: the feature server, with the service of 50 numbers that the suite asks for."""

from __future__ import annotations

import time

from prometheus_client import CollectorRegistry

from benchmarks.vectors import with_numbers
from playhead.cli.signals import stop_on_signal
from playhead.config import load_settings
from playhead.declarations import load_declarations
from playhead.serving.app import services_of
from playhead.serving.serve_metrics import ServerMetrics
from playhead.serving.server import serve


def main() -> None:
    """Serve until SIGTERM."""
    services = services_of(with_numbers(load_declarations()))
    with stop_on_signal() as stop:
        serve(load_settings(), services, stop, time.time, ServerMetrics(CollectorRegistry()))


if __name__ == "__main__":
    main()

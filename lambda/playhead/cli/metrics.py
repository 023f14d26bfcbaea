"""`metrics`: what Prometheus asks of everything that has no metrics of its own."""

from __future__ import annotations

import typer

from playhead.cli.options import Config, Home, settings_of
from playhead.cli.signals import stop_on_signal


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(metrics)


def metrics(home: Home = None, config: Config = None) -> None:
    """Serve metrics of checks, lags, topics and the speed job to Prometheus, until Ctrl-C or SIGTERM.

    At serve.host and metrics.port, /metrics. Each time it is asked it looks at the lake, Kafka and Flink, which takes a
    second or two. The feature server and the online writer have metrics of their own; docker/prometheus asks them all.
    """
    from playhead.metrics import serve_metrics

    with stop_on_signal() as stop:
        serve_metrics(settings_of(home, config), stop)

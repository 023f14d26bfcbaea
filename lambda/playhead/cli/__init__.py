"""The command line: one module per group of users, each of which registers its commands here."""

from __future__ import annotations

import atexit
import gc
import sys

import typer

from playhead.cli import (
    batch,
    checks,
    demo,
    dimensions,
    dlq,
    features,
    ingest,
    metrics,
    report,
    serving,
    stack,
    stream,
    training,
)
from playhead.errors import PlayheadError

GROUPS = (demo, stack, ingest, stream, dlq, batch, features, dimensions, training, serving, checks, report, metrics)
"""Modules with a function `register(app)`; commands import what is heavy when they run."""

app = typer.Typer(
    name="playhead",
    help="Real-time and daily features from playback events: one declaration, three engines, equal to the last digit.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for group in GROUPS:
    group.register(app)


def main() -> None:
    """Run the command line. Exit code 1: an error that playhead explains; 2: a wrong use of the command."""
    # What a command imports stays: to look through it again and again takes a tenth of a short command's time. A long
    # one collects as thoroughly, but less often.
    gc.set_threshold(200_000)
    # Nor is there need to look through it before all of it goes.
    atexit.register(gc.disable)
    _log_to_stderr()
    try:
        app()
    except PlayheadError as error:
        _explain(error)
        sys.exit(1)


def _explain(error: PlayheadError) -> None:
    typer.secho(f"{type(error).__name__}: {error.message}", fg=typer.colors.RED, err=True)
    if error.hint:
        typer.echo(f"hint: {error.hint}", err=True)


def _log_to_stderr() -> None:
    """Standard output belongs to the command's result."""
    import structlog

    # Looked up at each event: what runs commands inside a program may put another stream there.
    structlog.configure(logger_factory=lambda *_: structlog.PrintLogger(sys.stderr))

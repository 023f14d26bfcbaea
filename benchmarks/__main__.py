"""`python -m benchmarks [SUITE]`: measure, and print one line of JSON."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Annotated, Any

import structlog
import typer

from benchmarks import asof, backfill, serving, stream
from benchmarks.ground import Say
from benchmarks.options import Options
from playhead.errors import PlayheadError, UnknownName

SUITES: Mapping[str, Callable[[Say, Options], dict[str, Any]]] = MappingProxyType(
    {"stream": stream.run, "backfill": backfill.run, "asof": asof.run, "serving": serving.run}
)
_DEFAULT = Options()


def bench(
    suite: Annotated[str | None, typer.Argument(help=f"One of: {', '.join(SUITES)}. [default: all]")] = None,
    events: Annotated[int, typer.Option(min=1_000, help="About so many events for the speed job.")] = _DEFAULT.events,
    keyed_python_events: Annotated[
        int, typer.Option(min=1_000, help="About so many events for the keyed Python job.")
    ] = _DEFAULT.keyed_python_events,
    live_seconds: Annotated[int, typer.Option(min=5, help="How long latency is measured.")] = _DEFAULT.live_seconds,
    backfill_events: Annotated[int, typer.Option(min=1_000, help="Events of the backfill.")] = _DEFAULT.backfill_events,
    asof_rows: Annotated[int, typer.Option(min=1_000, help="Spine rows of the as-of join.")] = _DEFAULT.asof_rows,
    serving_tracks: Annotated[int, typer.Option(min=100, help="Tracks with features.")] = _DEFAULT.serving_tracks,
    serving_requests: Annotated[
        int, typer.Option(min=20, help="Requests for vectors in one process.")
    ] = _DEFAULT.serving_requests,
    serving_seconds: Annotated[
        int, typer.Option(min=1, help="How long each server is asked.")
    ] = _DEFAULT.serving_seconds,
) -> None:
    """Run one suite or all, on stacks of their own; ends with one line of JSON. Timings never decide the exit code."""
    if suite is not None and suite not in SUITES:
        raise UnknownName("suite", suite, SUITES)
    options = Options(
        events=events,
        keyed_python_events=keyed_python_events,
        live_seconds=live_seconds,
        backfill_events=backfill_events,
        asof_rows=asof_rows,
        serving_tracks=serving_tracks,
        serving_requests=serving_requests,
        serving_seconds=serving_seconds,
    )

    def say(text: str) -> None:
        typer.echo(text, err=True)

    figures = {name: run(say, options) for name, run in SUITES.items() if suite in (None, name)}
    typer.echo(json.dumps(figures))


def main() -> None:
    """Run the command. Exit code 1: an error that playhead explains, or Ctrl-C; 2: a wrong use of the command."""
    structlog.configure(
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger(30),
    )
    # Ended by another process, the stack is stopped as after Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    command = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    command.command()(bench)
    try:
        command()
    except PlayheadError as error:
        typer.secho(str(error), fg=typer.colors.RED, err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()

"""`write-online`, `serve`, `land-served`, `land-scores`: the processes of the serving layer, and what they leave."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from playhead.cli.options import Config, Home, Json, settings_of
from playhead.cli.signals import stop_on_signal


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("write-online")(write_online)
    app.command()(serve)
    app.command("serve-worker", hidden=True)(serve_worker)
    app.command("land-served")(land_served)
    app.command("land-scores", no_args_is_help=True)(land_scores)


def write_online(
    until_caught_up: Annotated[
        bool, typer.Option("--until-caught-up", help="End when everything that is in the topic has been written.")
    ] = False,
    home: Home = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Write the speed job's feature rows to Redis, until Ctrl-C or SIGTERM.

    Metrics for Prometheus: serve.writer_metrics_port.
    """
    from playhead.serving.writer import run_writer

    with stop_on_signal() as stop:
        summary = run_writer(settings_of(home, config), stop, until_caught_up=until_caught_up).to_json()
    if as_json:
        typer.echo(json.dumps(summary, indent=2))
        return
    outcomes = ", ".join(f"{outcome} {count:,}" for outcome, count in summary["rows"].items())
    typer.echo(f"{summary['read']:,} feature rows read ({outcomes or 'nothing to do'}), {summary['seconds']:.1f} s")


def serve(
    as_of: Annotated[
        datetime | None,
        typer.Option(
            "--as-of",
            formats=["%Y-%m-%dT%H:%M:%S"],
            metavar="YYYY-MM-DDTHH:MM:SS",
            help="Begin the clock at this moment, UTC: after a replay of the past.",
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Processes that share the port. [default: serve.workers]")
    ] = None,
    home: Home = None,
    config: Config = None,
) -> None:
    """Serve feature vectors over HTTP and log them to Kafka, until Ctrl-C or SIGTERM.

    POST /v1/features, /v1/candidates; /docs explains them; /health, /ready, /metrics.

    \b
    playhead serve --workers 2
    playhead serve --as-of 2018-11-30T23:00:00
    """
    from playhead.serving.server import clock_from, run_server

    settings = settings_of(home, config)
    if workers is not None:
        settings = settings.model_copy(update={"serve": settings.serve.model_copy(update={"workers": workers})})
    clock_s = time.time if as_of is None else clock_from(as_of.replace(tzinfo=UTC).timestamp())
    with stop_on_signal() as stop:
        run_server(settings, stop, clock_s)


def serve_worker(
    metrics: Annotated[Path, typer.Option("--metrics")],
    clock_offset_s: Annotated[float, typer.Option("--clock-offset-s")],
    parent: Annotated[int, typer.Option("--parent")],
) -> None:
    """One process of `serve --workers`, which starts it."""
    from playhead.serving.server import run_worker

    with stop_on_signal() as stop:
        run_worker(settings_of(None, None), stop, metrics, clock_offset_s, parent)


def land_served(
    follow: Annotated[bool, typer.Option("--follow", help="Go on landing, until Ctrl-C or SIGTERM.")] = False,
    home: Home = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Bring the served vectors from Kafka to lake/served, each exactly once."""
    from dataclasses import asdict

    from playhead.serving.lander import land_served as land

    with stop_on_signal() as stop:
        summary = land(settings_of(home, config), stop, until_caught_up=not follow)
    if as_json:
        typer.echo(json.dumps(asdict(summary), indent=2))
        return
    for service, vectors in summary.landed.items():
        typer.echo(f"{service}: {vectors:,} vectors landed")
    for reason, records in summary.skipped.items():
        typer.secho(f"skipped, {reason}: {records:,}", fg=typer.colors.YELLOW, err=True)


def land_scores(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="CSV or Parquet files.", show_default=False)],
    service: Annotated[str, typer.Option("--service", help="Whose vectors were scored, such as listener_v1.")],
    model: Annotated[
        str | None, typer.Option("--model", help="Name and version of the model. [default: the column model]")
    ] = None,
    home: Home = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Add what a model made of served vectors to lake/scores, each score once; `check drift` looks at them.

    A file has request_id, user_id, score, at (when it was made), track_id where there is one, and model, or --model.

    \b
    playhead land-scores scores.parquet --service listener_v1 --model skip_2025_03
    """
    from dataclasses import asdict

    from playhead.declarations import load_declarations
    from playhead.serving.scores import land_scores as land
    from playhead.serving.scores import read_scores

    settings, declarations = settings_of(home, config), load_declarations()
    # All are read before the first is landed: a file that is wrong is no half of a run.
    landed = [land(settings, declarations, service, scores) for scores in [read_scores(file, model) for file in files]]
    if as_json:
        typer.echo(json.dumps({str(f): asdict(own) for f, own in zip(files, landed, strict=True)}, indent=2))
        return
    for file, own in zip(files, landed, strict=True):
        typer.echo(f"{file}: {own.landed:,} scores landed, {own.repeated:,} were there")

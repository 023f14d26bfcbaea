"""`stream`: the speed job."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from playhead.cli.options import Config, Home, Json, settings_of

if TYPE_CHECKING:
    from playhead.speed.cluster import JobStatus

commands = typer.Typer(help="The speed job on Flink.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.add_typer(commands, name="stream")


@commands.command()
def start(
    home: Home = None,
    config: Config = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Do not go on from the state of the last run.")] = False,
) -> None:
    """Submit the job, from where it was stopped; harmless when it runs.

    The same job, on any cluster: flink run -py jobs/stream/playback.py
    """
    from playhead.speed import cluster

    typer.echo(cluster.start(settings_of(home, config), fresh=fresh))


@commands.command()
def stop(home: Home = None, config: Config = None) -> None:
    """Stop the job with a savepoint, from which `start` goes on."""
    from playhead.speed import cluster

    typer.echo(cluster.stop(settings_of(home, config)) or "no job was running")


@commands.command()
def status(home: Home = None, config: Config = None, as_json: Json = False) -> None:
    """How the job is; exit code 0 only when it runs."""
    from playhead.speed import cluster

    found = cluster.find(settings_of(home, config))
    if as_json:
        _print_json(found)
    else:
        _show(found)
    if found is None or found.state != "RUNNING":
        raise typer.Exit(1)


def _print_json(found: JobStatus | None) -> None:
    import json
    from dataclasses import asdict

    typer.echo(json.dumps(asdict(found) if found else None, indent=2))


def _show(found: JobStatus | None) -> None:
    from datetime import UTC, datetime

    if found is None:
        typer.echo("no job is running; `playhead stream start` submits it")
        return
    typer.echo(f"{found.job_id}  {found.state}  {found.restarts} restarts")
    for name, ms in (("watermark", found.watermark_ms), ("checkpoint", found.checkpoint_ms)):
        typer.echo(f"{name:<10} {datetime.fromtimestamp(ms / 1000, UTC).isoformat() if ms else 'none yet'}")
    if found.failure:
        typer.echo(f"last failure: {found.failure}")

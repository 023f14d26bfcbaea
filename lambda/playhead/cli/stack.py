"""`up`, `down`, `status`: the local stack."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from playhead.cli.options import Config, Home, Json, settings_of

if TYPE_CHECKING:
    from playhead.stack import PartStatus

_COLOURS = {"running": "green", "stopped": "dim", "crashed": "red"}


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(up)
    app.command()(down)
    app.command()(status)


def up(
    home: Home = None,
    config: Config = None,
    part: Annotated[list[str] | None, typer.Option(help="Only this part: kafka, redis or flink. Repeatable.")] = None,
) -> None:
    """Start Kafka, Redis and Flink; what already runs is left alone."""
    from playhead import stack
    from playhead.stack.flink import rest_url

    settings = settings_of(home, config)
    found = stack.start(settings, part or tuple(stack.PARTS), _say)
    _show(found)
    typer.echo(f"Flink web UI: {rest_url(settings.flink)}  logs: {settings.home / 'logs'}", err=True)


def down(home: Home = None, config: Config = None) -> None:
    """Stop what `up` started; the data stays."""
    from playhead import stack

    if not stack.stop(settings_of(home, config), _say):
        typer.echo("nothing was running", err=True)


def status(home: Home = None, config: Config = None, as_json: Json = False) -> None:
    """Ask each part; exit code 0 only when all of them answer."""
    from playhead import stack

    found = stack.status(settings_of(home, config))
    if as_json:
        _print_json(found)
    else:
        _show(found)
    if any(each.state != "running" for each in found):
        raise typer.Exit(1)


def _say(name: str, event: str) -> None:
    typer.echo(f"{name}: {event}", err=True)


def _print_json(found: list[PartStatus]) -> None:
    import json
    from dataclasses import asdict

    typer.echo(json.dumps([asdict(each) for each in found], default=str, indent=2))


def _show(found: list[PartStatus]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None)
    for column in ("part", "state", "pid", "address"):
        table.add_column(column, no_wrap=True)
    table.add_column(overflow="fold")
    for each in found:
        state = Text(each.state, style=_COLOURS[each.state])
        detail = each.detail if each.state != "crashed" or each.log is None else f"{each.detail}; see {each.log}"
        table.add_row(each.name, state, str(each.pid or ""), Text(each.address), Text(detail))
    Console().print(table)

"""`dimensions load | list`: what events are enriched with."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from playhead.cli.options import Config, Home, Json, settings_of
from playhead.cli.tables import show, table

Name = Annotated[str, typer.Argument(help="A declared dimension, such as track.")]
Files = Annotated[
    list[Path], typer.Argument(metavar="FILE...", help="CSV or Parquet: the key, the columns, and valid_from or not.")
]
ValidFrom = Annotated[
    datetime | None,
    typer.Option(
        formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"],
        help="UTC moment from which rows hold whose file does not say it. [default: they have always held]",
        show_default=False,
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    dimensions = typer.Typer(help="Versioned tables that events are enriched with.", no_args_is_help=True)
    dimensions.command(no_args_is_help=True)(load)
    dimensions.command("list")(list_dimensions)
    app.add_typer(dimensions, name="dimensions")


def load(
    name: Name,
    files: Files,
    valid_from: ValidFrom = None,
    home: Home = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Bring rows into a dimension. A row holds from its valid_from until the next row of its key.

    Needs Redis (`playhead up`): columns that are features are online at once.
    Rows of a key and valid_from that are there already take the place of the old; loading a file again changes nothing.
    The speed job sees them within seconds, for events from then on; the past is made anew by `playhead backfill` and
    `playhead batch run`, which find the days that it touches.

    \b
    playhead dimensions load track tracks.parquet
    playhead dimensions load track remastered.csv --valid-from 2025-03-02
    """
    from playhead.declarations import load_declarations
    from playhead.serving.dimension_table import load_dimension

    since = valid_from.replace(tzinfo=UTC) if valid_from else None
    done = load_dimension(settings_of(home, config), load_declarations(), name, files, valid_from=since)
    if as_json:
        typer.echo(json.dumps(done.to_json(), indent=2))
        return
    typer.echo(
        f"{name}: {done.read:,} rows read, {done.new:,} new, {done.changed:,} changed; "
        f"{done.rows:,} rows of {done.keys:,} keys, {done.seconds:.1f} s"
    )
    for group, rows in done.online.items():
        typer.echo(f"  online {group}: {rows:,} rows")
    if done.later:
        typer.echo(f"  {done.later:,} rows hold later only: load the file again then, to have them online", err=True)


def list_dimensions(home: Home = None, config: Config = None, as_json: Json = False) -> None:
    """Show the declared dimensions, and how many rows and keys the lake has of them."""
    from playhead.declarations import load_declarations
    from playhead.serving.dimension_table import read_dimension

    lake = settings_of(home, config).lake
    found = []
    for dimension in load_declarations().dimensions:
        rows = read_dimension(lake, dimension)
        keys = len(rows[dimension.key].unique())
        own = {"dimension": dimension.name, "key": dimension.key, "columns": dict(dimension.columns)}
        found.append({**own, "rows": rows.num_rows, "keys": keys})
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    shown = table("dimension", "key", "columns", "rows", "keys")
    for each in found:
        columns = "\n".join(f"{column} {kind}" for column, kind in each["columns"].items())
        shown.add_row(each["dimension"], each["key"], columns, f"{each['rows']:,}", f"{each['keys']:,}")
    show(shown)

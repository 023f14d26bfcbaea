"""`features list`, `features apply`, `training-set`: what an ML engineer asks for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from playhead.cli.options import Config, Home, Json, settings_of

if TYPE_CHECKING:
    from rich.table import Table

    from playhead.declare import FeatureGroup

Service = Annotated[str, typer.Option(help="A declared feature service, such as listener_v1.")]
Spine = Annotated[Path, typer.Option(help="CSV or Parquet file: the service's keys and event_timestamp, one row each.")]
Output = Annotated[Path, typer.Option(help="Parquet file to write.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    features = typer.Typer(help="What is declared in features/, and what Feast knows of it.", no_args_is_help=True)
    features.command("list")(list_features)
    features.command("apply")(apply_features)
    app.add_typer(features, name="features")
    app.command("training-set")(training_set)


def list_features(home: Home = None, config: Config = None, as_json: Json = False) -> None:
    """Show the declared groups: their features, windows and fingerprints, and the services that read them."""
    from playhead.declarations import load_declarations

    declarations, lake = load_declarations(), settings_of(home, config).lake
    groups = [
        _described(group) | {"fingerprint": declarations.plan(group.name).fingerprint} for group in declarations.groups
    ]
    services = [{"service": s.name, "groups": [group.name for group in s.groups]} for s in declarations.services]
    if as_json:
        typer.echo(json.dumps({"groups": groups, "services": services, "lake": str(lake)}, indent=2))
        return
    table = _table("group", "key", "features and their windows", "fingerprint")
    for group in groups:
        lines = [f"{name} {' '.join(windows)}".rstrip() for name, windows in group["features"].items()]
        table.add_row(group["group"], group["key"], "\n".join(lines), group["fingerprint"])
    _print(table)
    for service in services:
        typer.echo(f"{service['service']}: {', '.join(service['groups'])}")
    typer.echo(f"lake: {lake}")


def apply_features(home: Home = None, config: Config = None, as_json: Json = False) -> None:
    """Make Feast's registry hold what is declared, and nothing else."""
    from dataclasses import asdict

    from playhead.declarations import load_declarations
    from playhead.serving.registry import apply

    settings = settings_of(home, config)
    applied = apply(settings, load_declarations())
    if as_json:
        typer.echo(json.dumps({"registry": str(settings.registry), **asdict(applied)}, indent=2))
        return
    for kind, names in asdict(applied).items():
        typer.echo(f"{kind}: {', '.join(names) or 'none'}")
    typer.echo(f"registry: {settings.registry}")


def training_set(
    service: Service, spine: Spine, output: Output, home: Home = None, config: Config = None, as_json: Json = False
) -> None:
    """Write what a feature service knew at each moment of a spine, one row per row of it, in its order."""
    from playhead.declarations import load_declarations
    from playhead.serving.training_set import build_training_set

    made = build_training_set(settings_of(home, config), load_declarations(), service, spine, output)
    if as_json:
        typer.echo(json.dumps(made.payload(), indent=2))
        return
    typer.echo(f"{made.output}: {made.rows:,} rows, {len(made.nulls)} features of {service}, {made.seconds:.1f} s")
    empty = [name for name, nulls in made.nulls.items() if made.rows and nulls == made.rows]
    if empty:
        typer.secho(f"null in every row: {', '.join(empty)}", fg=typer.colors.YELLOW, err=True)


def _described(group: FeatureGroup) -> dict[str, Any]:
    windows = {f.name: [w.label for w in getattr(f, "over", ()) if hasattr(w, "label")] for f in group.features}
    return {
        "group": group.name,
        "entity": group.entity.name,
        "key": group.entity.key,
        "features": windows,
        "columns": group.feature_names,
        "declared_at": group.declared_at,
    }


def _table(*columns: str) -> Table:
    from rich.table import Table

    return Table(*columns, box=None)


def _print(table: Table) -> None:
    from rich.console import Console

    Console().print(table)

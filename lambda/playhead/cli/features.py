"""`features list | show | plan | apply`: what is declared, and what of it is deployed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from playhead.cli.options import Config, Home, Json, settings_of
from playhead.cli.tables import say, show, table

if TYPE_CHECKING:
    from playhead.config import Settings
    from playhead.declare import FeatureGroup
    from playhead.serving.deployed import Changes

FeatureName = Annotated[str, typer.Argument(help="A group, such as listener, or one of its features: group.feature.")]
Sql = Annotated[str | None, typer.Option("--sql", help="duckdb or spark: print its SQL and nothing else.")]
Check = Annotated[bool, typer.Option("--check", help="Exit code 1 when something would change.")]
WithBackfill = Annotated[bool, typer.Option("--backfill", help="Compute the changed speed groups' past, on Spark.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    features = typer.Typer(help="What is declared in features/, and what of it is deployed.", no_args_is_help=True)
    features.command("list")(list_groups)
    features.command("show", no_args_is_help=True)(show_group)
    features.command()(online)
    features.command()(plan)
    features.command()(apply)
    app.add_typer(features, name="features")


def list_groups(home: Home = None, config: Config = None, as_json: Json = False) -> None:
    """Show the declared groups and on-demand views: their features, windows and fingerprints, and who reads them."""
    from playhead.compile import on_demand_meaning
    from playhead.declarations import load_declarations

    declarations, lake = load_declarations(), settings_of(home, config).lake
    groups = [
        _described(group) | {"fingerprint": declarations.plan(group.name).fingerprint} for group in declarations.groups
    ]
    on_demand = [
        {"view": view.name, "inputs": list(view.inputs), "features": dict(view.features)}
        for view in declarations.on_demand
    ]
    services = [{"service": s.name, "groups": [view.name for view in s.views]} for s in declarations.services]
    if as_json:
        found = {"groups": groups, "on_demand": on_demand, "services": services, "lake": str(lake)}
        typer.echo(json.dumps(found, indent=2))
        return
    rows = table("group", "key", "features and their windows", "fingerprint")
    for group in groups:
        lines = [f"{name} {' '.join(windows)}".rstrip() for name, windows in group["features"].items()]
        rows.add_row(group["group"], group["key"], "\n".join(lines), group["fingerprint"])
    for view in declarations.on_demand:
        rows.add_row(view.name, "on demand", "\n".join(view.features), on_demand_meaning(view))
    show(rows)
    for service in services:
        typer.echo(f"{service['service']}: {', '.join(service['groups'])}")
    typer.echo(f"lake: {lake}")


def online(home: Home = None, config: Config = None, as_json: Json = False) -> None:
    """Show what the online store holds of each group: about how many rows, and the memory of each. Needs `playhead up`.

    It is told from a sample. Of windows of days there is a row per entity (__published) and one per day (__today).
    """
    from dataclasses import asdict

    from playhead.serving.online import open_online_store

    with open_online_store(settings_of(home, config).redis) as store:
        found = store.held()
    if as_json:
        typer.echo(json.dumps({group: asdict(own) for group, own in found.items()}, indent=2))
        return
    rows = table("group", "rows, about", "bytes a row", "MB")
    for group, own in found.items():
        rows.add_row(group, f"{own.rows:,}", f"{own.bytes_per_row:,}", f"{own.rows * own.bytes_per_row / 1e6:,.1f}")
    show(rows)


def show_group(name: FeatureName, sql: Sql = None, as_json: Json = False) -> None:
    """Show a group or a feature: what it means, where it is declared, who reads it; with --sql how an engine makes it.

    \b
    playhead features show listener
    playhead features show listener.skip_rate_1h
    playhead features show context
    playhead features show listener --sql duckdb
    """
    from playhead.declarations import load_declarations
    from playhead.describe import described, described_on_demand
    from playhead.errors import InputError

    declarations = load_declarations()
    group_name, _, feature = name.partition(".")
    if group_name in {view.name for view in declarations.on_demand}:
        if sql is not None:
            raise InputError(f"{group_name!r} is computed on demand, by a function: no engine makes it")
        _show(
            described_on_demand(declarations.on_demand_view(group_name), declarations.services, feature or None),
            as_json,
        )
        return
    group = declarations.group(group_name)
    if sql is not None:
        typer.echo(_sql(group, sql))
        return
    _show(described(group, declarations.services, feature or None), as_json)


def _show(found: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    facts = table()
    labels = ["group", "description", "entity", "windows", "fingerprint", "declared_at", "services"]
    if found["ttl"] is not None:
        labels.insert(4, "ttl")
    for label in labels:
        value = found[label]
        facts.add_row(label.replace("_", " "), ", ".join(value) if isinstance(value, list) else str(value))
    show(facts)
    rows = table("feature", "type", "empty", "is")
    for each in found["features"]:
        rows.add_row(each["feature"], each["type"], str(each["empty"]).replace("None", "null"), each["is"])
    show(rows)


def _sql(group: FeatureGroup, engine: str) -> str:
    """The one statement that makes a group's changelog; Flink's is many, and in tests/golden/flink."""
    import sqlglot

    from playhead.changelogs import changelog
    from playhead.compile import compile_group
    from playhead.errors import InputError, UnknownName
    from playhead.plan import AttributePlan, lake_table, speed_plan

    plan = compile_group(group)
    if isinstance(plan, AttributePlan):
        raise InputError(f"group {group.name!r} is read from the dimension {plan.dimension.name!r}: no engine makes it")
    rows = changelog(speed_plan(plan), lake_table("events"))
    if engine == "duckdb":
        from playhead.local import sql

        return str(sqlglot.parse_one(sql.compiled(rows), read="duckdb").sql("duckdb", pretty=True))
    if engine == "spark":
        from playhead.batch.sql import compiled

        return compiled(rows)
    raise UnknownName("engine", engine, ["duckdb", "spark"])


def plan(home: Home = None, config: Config = None, check: Check = False, as_json: Json = False) -> None:
    """Compare declarations with what is deployed, and say what `features apply` would do. Changes nothing.

    \b
    playhead features plan
    playhead features plan --check     # exit code 1 when something would change: for CI
    """
    from playhead.declarations import load_declarations
    from playhead.serving.deployed import compare

    changes = compare(settings_of(home, config), load_declarations())
    if as_json:
        typer.echo(json.dumps(changes.payload(), indent=2))
    else:
        _show_changes(changes)
    if check and changes.any:
        raise typer.Exit(1)


def _show_changes(changes: Changes) -> None:
    if not changes.any:
        typer.echo("no changes: the registry holds what is declared")
        return
    rows = table("group", "change", "features")
    for group in (g for g in changes.groups if g.change != "same"):
        lines = [f"{feature} {change}" for feature, change in group.features.items()]
        rows.add_row(group.group, group.change, "\n".join(lines))
    for service, change in changes.services.items():
        if change != "same":
            rows.add_row(f"service {service}", change, "")
    show(rows)
    if not changes.backfilled:
        return
    names = ", ".join(group.group for group in changes.backfilled)
    typer.echo(
        f"needs a backfill: {names}: {changes.days:,} days ({changes.first_day} to {changes.last_day}), "
        f"{changes.events:,} events"
    )


def apply(home: Home = None, config: Config = None, with_backfill: WithBackfill = False, as_json: Json = False) -> None:
    """Make Feast's registry hold what is declared, and nothing else; with --backfill also compute what has changed.

    \b
    playhead features plan && playhead features apply
    playhead features apply --backfill
    """
    from dataclasses import asdict

    from playhead.declarations import load_declarations
    from playhead.serving.deployed import compare
    from playhead.serving.registry import apply as apply_to_registry

    settings, declarations = settings_of(home, config), load_declarations()
    changes = compare(settings, declarations)
    applied = apply_to_registry(settings, declarations)
    rows = _backfill(settings, changes) if with_backfill else {}
    if as_json:
        result = {"registry": str(settings.registry), **asdict(applied), "plan": changes.payload(), "backfill": rows}
        typer.echo(json.dumps(result, indent=2))
        return
    for kind, names in asdict(applied).items():
        typer.echo(f"{kind}: {', '.join(names) or 'none'}")
    typer.echo(f"registry: {settings.registry}")
    for name, count in rows.items():
        typer.echo(f"backfilled {name}: {count:,} rows")
    todo = [group.group for group in changes.backfilled if not (with_backfill and group.made == "speed")]
    if todo:
        typer.echo(f"their past is still as it was: {', '.join(todo)} (`playhead backfill`, `playhead batch run`)")
    unread = [g.group for g in changes.groups if g.made == "attributes" and g.change in ("added", "changed")]
    if unread:
        typer.echo(f"not online yet: {', '.join(unread)} (`playhead dimensions load`)")


def _backfill(settings: Settings, changes: Changes) -> dict[str, int]:
    """Make what of the speed groups is not as it should be; views of days are the batch runs', which make their own."""
    from playhead.batch.backfill import backfill

    if not changes.events:
        return {}
    done = backfill(settings, progress=say)
    return {name: rows for name, rows in done.rows.items() if done.days[name]}


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

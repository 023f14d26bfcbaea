"""`demo`: the whole path, start to stop."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Annotated, Any

import typer

from playhead.cli.options import Config, Home, Json, settings_of
from playhead.cli.tables import say, show, table


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(demo)


def demo(
    files: Annotated[list[Path] | None, typer.Option("--input", help="Event file; made-up events without.")] = None,
    format_name: Annotated[str | None, typer.Option("--format", help="native, eventsim or spotify.")] = None,
    user: Annotated[str | None, typer.Option(help="Whose history it is, for spotify.")] = None,
    home: Home = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Run everything once: events in, a checked training set and online features out. Nothing is left running.

    \b
    playhead demo
    playhead demo --input events.jsonl.gz --format eventsim --home /data/demo --json
    """
    if bool(files) != (format_name is not None):
        raise typer.BadParameter("--input and --format go together")
    settings = settings_of(home, config)
    from playhead.declarations import load_declarations
    from playhead.demo import DemoInput, run_demo

    # Ended by another process, it stops what it started as after Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    given = DemoInput(files=tuple(files or ()), format=format_name, user=user)
    found = run_demo(settings, load_declarations(), given, say)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    else:
        _show(found)
    if not _is_sound(found):
        raise typer.Exit(1)


def _is_sound(found: dict[str, Any]) -> bool:
    """Every record has its place, nothing served differs, nothing failed, and backfill equals what was archived."""
    different = sum(group["different"] for group in found["backfill"].values())
    return bool(found["adds_up"]) and not found["skew"]["mismatches"] and not different


def _show(found: dict[str, Any]) -> None:
    rows = table()
    for name, value in found.items():
        if name in ("stages", "truth") or name.endswith("_ms") or (name == "rows_read" and not value):
            continue
        for label, number in _lines(name, value):
            rows.add_row(
                label, f"{number:,}" if isinstance(number, int) and not isinstance(number, bool) else str(number)
            )
    show(rows)


def _lines(name: str, value: Any) -> list[tuple[str, Any]]:
    label = name.replace("_", " ")
    if not isinstance(value, dict):
        return [(label, value)]
    if all(isinstance(v, dict) for v in value.values()):
        return [
            (f"{label}: {k}", ", ".join(f"{a} {b}" for a, b in v.items() if not isinstance(b, list)))
            for k, v in value.items()
        ]
    return [(f"{label}: {k}", v) for k, v in value.items()] or [(label, 0)]

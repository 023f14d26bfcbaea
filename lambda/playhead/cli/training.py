"""`eval`, `training-set`: what an ML engineer asks for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from playhead.cli.options import Config, Home, Json, settings_of

if TYPE_CHECKING:
    import pyarrow as pa

    from playhead.declarations import Declarations
    from playhead.declare import FeatureService

Spine = Annotated[Path, typer.Option(help="CSV or Parquet file: the service's keys and event_timestamp, one row each.")]
Output = Annotated[Path, typer.Option(help="Parquet file to write.")]
SetService = Annotated[str | None, typer.Option("--service", help="A declared feature service, such as listener_v1.")]
SetSpine = Annotated[
    Path | None,
    typer.Option(
        "--spine",
        help="CSV or Parquet file: the service's keys and event_timestamp, one row each. With a column known_at, what "
        "was written after it does not count.",
    ),
]
CutOption = Annotated[
    Literal["as-served", "as-corrected"],
    typer.Option(help="as-served: what online knew. as-corrected: of `playhead backfill`, late events included."),
]
Again = Annotated[
    Path | None, typer.Option("--again", help="OUTPUT.json of a training set: make the same again.", metavar="FILE")
]
EventFiles = Annotated[
    list[Path], typer.Option("--events", help="Event file, gzipped or not; given again, together they are one log.")
]
EventFormat = Annotated[str, typer.Option("--format", help="native, eventsim or spotify.")]
User = Annotated[str | None, typer.Option(help="user_id for spotify's files, which do not hold it.")]
EvalService = Annotated[str | None, typer.Option("--service", help="A declared feature service.")]
EvalGroup = Annotated[str | None, typer.Option("--group", help="A declared feature group, in place of a service.")]
Engine = Annotated[str, typer.Option(help="duckdb, spark, flink or oracle (naive, slow).")]
DimensionFiles = Annotated[
    list[str] | None,
    typer.Option(
        "--dimension",
        metavar="NAME=FILE",
        help="Rows of a dimension, CSV or Parquet; without it nothing is known of it.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("eval", no_args_is_help=True)(evaluate_features)
    app.command("training-set")(training_set)


def training_set(
    output: Output,
    service: SetService = None,
    spine: SetSpine = None,
    cut: CutOption = "as-served",
    again: Again = None,
    home: Home = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Write what a feature service knew at each moment of a spine, one row per row of it, in its order.

    What it was made of is written beside it, as OUTPUT.json; of that it can be made again, to the byte.

    \b
    playhead training-set --service listener_v1 --spine spine.csv --output set.parquet
    playhead training-set --service listener_v1 --spine spine.csv --output set.parquet --cut as-corrected
    playhead training-set --again set.parquet.json --output again.parquet
    """
    from playhead.declarations import load_declarations
    from playhead.serving.training_set import build_again, build_training_set

    settings, declarations = settings_of(home, config), load_declarations()
    if again is not None:
        if service is not None:
            raise typer.BadParameter("--again has its service, give no --service")
        made = build_again(settings, declarations, again, output, spine)
    elif service is not None and spine is not None:
        made = build_training_set(settings, declarations, service, spine, output, cut=cut)
    else:
        raise typer.BadParameter("give --service and --spine, or --again")
    if as_json:
        typer.echo(json.dumps(made.payload(), indent=2))
        return
    typer.echo(f"{made.output}: {made.rows:,} rows, {len(made.nulls)} features of {made.service}, {made.seconds:.1f} s")
    empty = [name for name, nulls in made.nulls.items() if made.rows and nulls == made.rows]
    if empty:
        typer.secho(f"null in every row: {', '.join(empty)}", fg=typer.colors.YELLOW, err=True)


def evaluate_features(
    events: EventFiles,
    format_name: EventFormat,
    spine: Spine,
    output: Output,
    service: EvalService = None,
    group: EvalGroup = None,
    engine: Engine = "duckdb",
    dimension: DimensionFiles = None,
    user: User = None,
    home: Home = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Compute declared features from a file of events at the moments of a spine. Nothing has to run.

    The columns are those of training-set. Windows of days are merged as they are when served.

    \b
    playhead eval --events log.jsonl.gz --format eventsim --spine spine.csv --service listener_v1 --output out.parquet
    playhead eval --events e.jsonl --format native --spine spine.csv --group listener --engine oracle --output o.parquet
    playhead eval … --service listener_v1 --dimension track=tracks.csv
    """
    import time

    from playhead.declarations import load_declarations
    from playhead.evaluate import evaluate, read_events
    from playhead.serving.spine import check_output, columns_of, keys_of, read_spine, with_defaults, write_rows

    started, declarations = time.monotonic(), load_declarations()
    wanted = _wanted(declarations, service, group)
    check_output(spine, output)
    every_key = {g.entity.key for g in declarations.groups}
    rows = read_spine(spine, keys_of(wanted), every_key, columns_of(wanted))
    read = read_events(events, format_name, settings_of(home, config), user=user)
    known = _dimensions(declarations, dimension or [])
    features = evaluate(wanted, read.events, rows.select([*keys_of(wanted), "event_timestamp"]), engine, known)
    write_rows(rows, with_defaults(wanted, features), output)
    summary = {
        "output": str(output),
        "engine": engine,
        "rows": rows.num_rows,
        "events": read.events.num_rows,
        "duplicates": read.duplicates,
        "invalid": read.invalid,
        "skipped": read.skipped,
        "nulls": {name: features[name].null_count for name in columns_of(wanted)},
        "seconds": round(time.monotonic() - started, 3),
    }
    if as_json:
        typer.echo(json.dumps(summary, indent=2))
        return
    typer.echo(
        f"{output}: {rows.num_rows:,} rows, {features.num_columns} features of {wanted.name} "
        f"from {read.events.num_rows:,} events, {engine}, {summary['seconds']:.1f} s"
    )
    for name, counts in (("not valid", read.invalid), ("skipped", read.skipped)):
        if counts:
            typer.echo(f"{name}: {', '.join(f'{reason} {count:,}' for reason, count in counts.items())}", err=True)


def _dimensions(declarations: Declarations, given: list[str]) -> dict[str, pa.Table]:
    """Dimension to the rows of its files."""
    from playhead.errors import InputError

    found: dict[str, pa.Table] = {}
    for each in given:
        name, equals, file = each.partition("=")
        if not (equals and name and file):
            raise typer.BadParameter(f"--dimension {each}: expected NAME=FILE, such as track=tracks.csv")
        from playhead.serving.dimension_table import read_rows

        if name in found:
            raise InputError(f"--dimension {each}: {name!r} is there twice", hint="one file has all rows")
        found[name] = read_rows([Path(file)], declarations.dimension(name))
    return found


def _wanted(declarations: Declarations, service: str | None, group: str | None) -> FeatureService:
    """The service, or one that has the group only."""
    from playhead.declare import FeatureService

    if (service is None) == (group is None):
        raise typer.BadParameter("give --service or --group, one of them")
    if service is not None:
        return declarations.service(service)
    return FeatureService(name=str(group), groups=(declarations.group(str(group)),))

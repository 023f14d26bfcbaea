"""`replay`: event files or made-up listeners → Kafka."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from playhead.cli.options import Config, Home, Json, settings_of
from playhead.cli.tables import show, table
from playhead.ingest.planted import DEFECTS

if TYPE_CHECKING:
    from playhead.config import Settings
    from playhead.ingest.generator import GeneratorConfig
    from playhead.ingest.replay import Pace, ReplaySummary
    from playhead.ingest.source import Source

_INTERRUPTED = 130

Files = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="FILE...", help="Event files, gzipped or not; together they are one log.", show_default=False
    ),
]
Format = Annotated[str | None, typer.Option("--format", help="native, eventsim or spotify; needed with files.")]
User = Annotated[str | None, typer.Option(help="user_id for spotify's files, which do not hold it.")]
Rate = Annotated[float | None, typer.Option(help="Records per second. [default: as fast as Kafka takes them]")]
Speedup = Annotated[float | None, typer.Option(help="Event time per time: 60 sends an hour in a minute.")]
Generate = Annotated[bool, typer.Option("--generate", help="Make events up; the options below say which.")]
Users = Annotated[int | None, typer.Option(help="Listeners. [default: 300]")]
Tracks = Annotated[int | None, typer.Option(help="Tracks. [default: 2000]")]
Start = Annotated[
    datetime | None, typer.Option(formats=["%Y-%m-%d"], metavar="DATE", help="First day, UTC. [default: 2025-03-01]")
]
Days = Annotated[int | None, typer.Option(help="Days. [default: 3]")]
Seed = Annotated[int | None, typer.Option(help="The same seed makes the same events. [default: 1]")]
Duplicates = Annotated[float | None, typer.Option(help="Share of events sent twice. [default: 0]")]
Late = Annotated[
    float | None,
    typer.Option(help="Share sent after a newer event of the same listener, within the allowed lateness. [default: 0]"),
]
OutOfOrder = Annotated[
    float | None, typer.Option(help="The same, after a newer event of other listeners only. [default: 0]")
]
Malformed = Annotated[float | None, typer.Option(help="Broken messages, as a share of the events. [default: 0]")]
Plant = Annotated[
    list[str] | None,
    typer.Option(metavar="DEFECT", help=f"What goes wrong on the last day: {', '.join(DEFECTS)}, or all. Repeatable."),
]
TruthFolder = Annotated[
    Path | None, typer.Option("--truth", help="Folder for what must come out: events.parquet and summary.json.")
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command(no_args_is_help=True)(replay)


def replay(
    files: Files = None,
    format_name: Format = None,
    user: User = None,
    rate: Rate = None,
    speedup: Speedup = None,
    generate: Generate = False,
    users: Users = None,
    tracks: Tracks = None,
    start: Start = None,
    days: Days = None,
    seed: Seed = None,
    duplicates: Duplicates = None,
    late: Late = None,
    out_of_order: OutOfOrder = None,
    malformed: Malformed = None,
    plant: Plant = None,
    truth: TruthFolder = None,
    home: Home = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Send events to Kafka: from files, or made up with --generate.

    Events keep their own time. Ids of files' events come from their content, so sending a file twice changes nothing.
    Exit code 1: something could not be read or sent; 130: interrupted.

    \b
    playhead replay events.jsonl.gz --format native
    playhead replay logs/*.jsonl.gz --format eventsim --speedup 600
    playhead replay Streaming_History_Audio_*.json --format spotify --user me
    playhead replay --generate --users 1000 --duplicates 0.02 --late 0.01 --malformed 0.005 --truth truth
    playhead replay --generate --days 8 --plant null-burst --plant volume-drop    # a drill for the person on call
    """
    from playhead.ingest.replay import Pace

    options = locals()
    made_up = {name: options[name] for name in _MADE_UP if options[name] not in (None, [])}
    _check_use(generate, files, format_name, {**made_up, **({"truth": truth} if truth else {})})
    settings, pace = settings_of(home, config), Pace(rate=rate, speedup=speedup)
    if generate:
        _replay_made_up(_generator_config(made_up, settings), truth, settings, pace, as_json)
    else:
        _replay_files(files or [], str(format_name), user, settings, pace, as_json)


_MADE_UP = ("users", "tracks", "start", "days", "seed", "duplicates", "late", "out_of_order", "malformed", "plant")


def _check_use(generate: bool, files: list[Path] | None, format_name: str | None, made_up: Mapping[str, Any]) -> None:
    if generate and (files or format_name):
        raise typer.BadParameter("--generate makes events up: no FILE and no --format with it")
    if not generate and not files:
        raise typer.BadParameter("give event files, or --generate")
    if not generate and made_up:
        names = ", ".join("--" + name.replace("_", "-") for name in made_up)
        raise typer.BadParameter(f"{names}: only with --generate")
    if not generate and format_name is None:
        raise typer.BadParameter("--format is needed: native, eventsim or spotify")


def _generator_config(made_up: Mapping[str, Any], settings: Settings) -> GeneratorConfig:
    from playhead.ingest.generator import GeneratorConfig

    values: dict[str, Any] = {
        name: value.date() if isinstance(value, datetime) else value for name, value in made_up.items()
    }
    names = values.pop("plant", ())
    values["planted"] = tuple(DEFECTS) if "all" in names else tuple(names)
    return GeneratorConfig(
        **values,
        allowed_lateness_ms=settings.stream.allowed_lateness // timedelta(milliseconds=1),
        max_message_bytes=settings.stream.max_message_bytes,
    )


def _replay_made_up(config: GeneratorConfig, truth: Path | None, settings: Settings, pace: Pace, as_json: bool) -> None:
    from playhead.declarations import load_declarations
    from playhead.ingest.catalogue import MADE_UP_TRACKS
    from playhead.ingest.truth import generated_source
    from playhead.serving.dimension_table import load_dimension

    with generated_source(config, catalogue=settings.home / MADE_UP_TRACKS, truth=truth) as (source, account):
        load_dimension(settings, load_declarations(), "track", [settings.home / MADE_UP_TRACKS])
        summary = _send(source, settings, pace, first_ms=config.start_ms)
    _report(summary, {"truth": account.to_json()}, as_json)


def _replay_files(
    files: list[Path], format_name: str, user: str | None, settings: Settings, pace: Pace, as_json: bool
) -> None:
    from playhead.ingest.source import file_source

    latest = datetime.now(UTC) + settings.stream.clock_skew
    source = file_source(files, format_name, user=user, latest_ms=round(latest.timestamp() * 1_000))
    _report(_send(source, settings, pace, first_ms=None), {}, as_json)


def _send(source: Source, settings: Settings, pace: Pace, *, first_ms: int | None) -> ReplaySummary:
    from playhead.checks import results
    from playhead.ingest.replay import replay as send

    with _progress(source, first_ms) as progress:
        summary = send(source, settings, pace=pace, progress=progress)
    results.save(settings, "replay", summary.to_json())
    return summary


@contextmanager
def _progress(source: Source, first_ms: int | None) -> Iterator[Any]:
    """A bar on stderr: by records when their number is known, else by event time since `first_ms`."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (TextColumn("sending"), BarColumn(), TextColumn("{task.fields[sent]:,} records"), TimeElapsedColumn())
    total = source.total if first_ms is None else source.clock_ms - first_ms
    with Progress(*columns, TextColumn("{task.fields[at]}"), console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("sending", total=total, sent=0, at="")

        def show(sent: int, newest_ms: int | None) -> None:
            done = sent if first_ms is None else (newest_ms or first_ms) - first_ms
            bar.update(task, completed=done, sent=sent, at=_stamp(newest_ms))

        yield show


def _report(summary: ReplaySummary, more: Mapping[str, Any], as_json: bool) -> None:
    """Print what was done; leave with an exit code that tells what was not."""
    if as_json:
        typer.echo(json.dumps({**summary.to_json(), **more}, indent=2))
    else:
        _show(summary, more)
    if summary.interrupted:
        raise typer.Exit(_INTERRUPTED)
    if summary.not_sent:
        raise typer.Exit(1)


def _show(summary: ReplaySummary, more: Mapping[str, Any]) -> None:
    lines: list[tuple[str, Any]] = [
        *([("rows read", summary.rows)] if summary.rows else []),
        *((f"  skipped: {reason}", number) for reason, number in sorted(summary.skipped.items())),
        ("events" if summary.rows else "records", summary.events),
        ("sent", summary.sent),
        *((f"  not sent: {reason}", number) for reason, number in sorted(summary.not_sent.items())),
        ("heartbeats", summary.heartbeats),
        ("first event", _stamp(summary.first_event_ms)),
        ("last event", _stamp(summary.last_event_ms)),
        ("seconds", f"{summary.seconds:.1f} ({summary.events_per_s:,.0f} events/s)"),
    ]
    truth = more.get("truth")
    if truth:
        names = ("events", "duplicates", "late", "out_of_order")
        lines += [(f"made up: {name.replace('_', ' ')}", truth[name]) for name in names]
        lines += [(f"made up: {reason}", number) for reason, number in truth["dead_letters"].items()]
    rows = table()
    for name, value in lines:
        rows.add_row(name, f"{value:,}" if isinstance(value, int) else value)
    show(rows)
    for problem in summary.problems:
        typer.echo(problem, err=True)
    if summary.interrupted:
        typer.echo("interrupted: the end of the source and the last heartbeats were not sent", err=True)


def _stamp(time_ms: int | None) -> str:
    if time_ms is None:
        return ""
    return (
        datetime.fromtimestamp(time_ms / 1_000, UTC).isoformat(sep=" ", timespec="milliseconds").replace("+00:00", "Z")
    )

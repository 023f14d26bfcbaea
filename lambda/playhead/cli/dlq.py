"""`dlq list | show | replay`: messages that were refused, and sending them again after a fix."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

from playhead.cli.options import Config, Home, Json, settings_of
from playhead.cli.tables import show as show_table
from playhead.cli.tables import table

if TYPE_CHECKING:
    from playhead.dlq.letters import Selection
    from playhead.dlq.replay import Replayed

_INTERRUPTED = 130
_HEX_WIDTH = 16
_TIMES = ["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"]

Reasons = Annotated[
    list[str] | None,
    typer.Option("--reason", help="Only this reason; missing_field takes all its fields. Repeatable. [default: all]"),
]
Since = Annotated[
    datetime | None, typer.Option(formats=_TIMES, metavar="TIME", help="Refused at this time or later, UTC.")
]
Until = Annotated[datetime | None, typer.Option(formats=_TIMES, metavar="TIME", help="Refused before this time, UTC.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    dlq = typer.Typer(help="Messages that were refused: count, look, send again after a fix.", no_args_is_help=True)
    dlq.command(name="list")(list_letters)
    dlq.command()(show)
    dlq.command()(replay)
    app.add_typer(dlq, name="dlq")


def list_letters(
    reason: Reasons = None,
    since: Since = None,
    until: Until = None,
    home: Home = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Count dead letters by reason: how many, when the first and the last, and where one of them was.

    A letter that a restart of the job has written twice counts once, and in `repeats`. `replayed` are done with:
    a replay has sent them, or found their event in the lake.

    \b
    playhead dlq list
    playhead dlq list --reason out_of_range --since 2025-03-03T12:00 --json
    """
    from playhead.dlq.summary import count_letters

    settings, selection = settings_of(home, config), _selection(reason, since, until)
    with _progress("reading") as progress:
        counts = count_letters(settings.kafka, selection, progress=progress)
    totals = {name: sum(getattr(c, name) for c in counts) for name in ("letters", "repeats", "replayed")}
    if as_json:
        payload = {"topic": settings.kafka.dead_letter_topic, **totals, "reasons": [c.to_json() for c in counts]}
        typer.echo(json.dumps(payload, indent=2))
        return
    rows = table("reason", "letters", "replayed", "repeats", "first", "last", "newest example")
    for each in (count.to_json() for count in counts):
        numbers = (f"{each[name]:,}" for name in ("letters", "replayed", "repeats"))
        rows.add_row(each["reason"], *numbers, each["first"] or "", each["last"] or "", each["example"])
    show_table(rows)
    typer.echo(f"{totals['letters']:,} letters, of which {totals['replayed']:,} were replayed")


def show(
    place: Annotated[
        str | None,
        typer.Argument(
            metavar="[PARTITION:OFFSET]", help="Where the record was, as `dlq list` says.", show_default=False
        ),
    ] = None,
    reason: Reasons = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, typer.Option(min=1, help="How many to show, the oldest first.")] = 1,
    most_bytes: Annotated[int, typer.Option("--bytes", min=0, help="Bytes of each to show.")] = 256,
    home: Home = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Show dead letters: their fields as far as they can be read, the rule that they break, and their bytes.

    What a message holds is shown, never run: all but printable characters are escaped. Exit code 1: there is none.

    \b
    playhead dlq show playback-events-1@7
    playhead dlq show 1:7 --bytes 4096
    playhead dlq show --reason malformed --limit 3 --json
    """
    from playhead.dlq.judge import Judge
    from playhead.dlq.places import parse_place
    from playhead.dlq.summary import described, find_letters

    settings, selection = settings_of(home, config), _selection(reason, since, until)
    judge = Judge(stream=settings.stream, now_ms=round(time.time() * 1_000))
    wanted = None if place is None else parse_place(place, settings.kafka.events_topic)
    with _progress("looking") as progress:
        letters = find_letters(settings.kafka, selection, place=wanted, progress=progress)
        found = [described(letter, judge, most_bytes) for letter in islice(letters, limit)]
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    for number, each in enumerate(found if not as_json else []):
        _show_letter(each, first=number == 0)
    if not found:
        typer.echo("no such dead letter", err=True)
        raise typer.Exit(1)


def replay(
    reason: Reasons = None,
    since: Since = None,
    until: Until = None,
    repair: Annotated[
        str | None,
        typer.Option(
            metavar="FILE.py:FUNCTION", help="Makes right what is not: bytes in, bytes or None out. It is run."
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be sent.")] = False,
    home: Home = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Send dead letters that are valid now to the events topic again, each exactly once, however often this is run.

    Fix first, then `playhead stream stop` and `playhead stream start`: the job has the rules and limits that it was
    started with, and would refuse them once more. What is still invalid stays. Exit code 130: interrupted.

    \b
    playhead dlq replay --dry-run
    playhead dlq replay --reason too_large --since 2025-03-03
    playhead dlq replay --reason missing_field:user_id --repair fixes.py:user_from_device
    """
    from playhead.dlq.repair import load_repair
    from playhead.dlq.replay import replay_letters

    settings, selection = settings_of(home, config), _selection(reason, since, until)
    repairs = None if repair is None else load_repair(repair)
    with _progress("judging" if dry_run else "sending") as progress:
        done = replay_letters(settings, selection, repair=repairs, dry_run=dry_run, progress=progress)
    if as_json:
        typer.echo(json.dumps(done.to_json(), indent=2))
    else:
        _show_replayed(done)
    if done.interrupted:
        raise typer.Exit(_INTERRUPTED)


def _selection(reasons: list[str] | None, since: datetime | None, until: datetime | None) -> Selection:
    from playhead.dlq.judge import check_reasons
    from playhead.dlq.letters import Selection

    wanted = frozenset(reasons or ())
    check_reasons(wanted)
    times = {name: at and at.replace(tzinfo=UTC) for name, at in (("since", since), ("until", until))}
    return Selection(reasons=wanted, **times)


def _show_letter(letter: dict[str, Any], *, first: bool) -> None:
    """Plain lines: a table would take brackets in a message for its own markup."""
    lines = [] if first else [""]
    lines += [f"{letter['place']}: {letter['reason']}, {letter['bytes']:,} bytes, refused {letter['written'] or '?'}"]
    by_rule = f" — allowed: {letter['allowed']}" if letter["allowed"] else ", `playhead dlq replay` sends it"
    lines += [f"  today: {letter['today']}{by_rule}"]
    for field in letter["fields"]:
        name = f"{field['name'] or 'field'} ({field['number']})"
        value = "" if field["value"] is None else repr(field["value"])
        lines += [f"  {field['at']:>6}  {name:<20} {value}{'  # ' + field['note'] if field['note'] else ''}"]
    if letter["problem"]:
        lines += [f"  {letter['broken_at']:>6}  ✗ {letter['problem']}"]
    lines += _hex_dump(bytes.fromhex(letter["hex"]))
    typer.echo("\n".join(lines))


def _hex_dump(payload: bytes) -> Iterator[str]:
    for at in range(0, len(payload), _HEX_WIDTH):
        row = payload[at : at + _HEX_WIDTH]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        yield f"  {at:06x}  {row.hex(' '):<{3 * _HEX_WIDTH}} |{text}|"


def _show_replayed(done: Replayed) -> None:
    from playhead.dlq.judge import stamp

    rows = table()
    rows.add_row("letters", f"{done.letters:,}")
    rows.add_row("would be sent" if done.dry_run else "sent", f"{done.sent.total():,}")
    for reason, count in sorted(done.sent.items()):
        rows.add_row(f"  were {reason}", f"{count:,}")
    for name in ("repaired", "done_before", "in_lake", "same_event"):
        rows.add_row(name.replace("_", " "), f"{getattr(done, name):,}")
    rows.add_row("still invalid", f"{done.invalid.total():,}")
    for reason, count in sorted(done.invalid.items()):
        rows.add_row(f"  {reason}", f"{count:,}")
    show_table(rows)
    if done.first_event_ms is not None and done.last_event_ms is not None:
        typer.echo(
            f"events of {stamp(done.first_event_ms)} to {stamp(done.last_event_ms)}: those behind the job's watermark "
            "are late: in the lake at its next checkpoint, in the features after `playhead backfill --heal`"
        )
    if done.interrupted:
        typer.echo("interrupted: run it again for the rest; what was sent is not sent twice", err=True)


@contextmanager
def _progress(what: str) -> Iterator[Any]:
    """A bar on stderr."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda read, total: bar.update(task, completed=read, total=total)

"""`batch run`, `batch labels`, `backfill`: the batch layer."""

from __future__ import annotations

import getpass
import json
import os
from collections.abc import Mapping
from datetime import date, datetime
from typing import Annotated

import typer

from playhead.cli.options import Config, Home, Json, settings_of
from playhead.cli.tables import say

Despite = Annotated[
    str | None, typer.Option("--publish-despite", help="Publish days that fail too, for this reason, which is kept.")
]
Dates = Annotated[list[datetime], typer.Option("--date", formats=["%Y-%m-%d"], help="UTC day. Repeatable.")]
First = Annotated[datetime | None, typer.Option("--from", formats=["%Y-%m-%d"], help="First UTC day of rows.")]
Last = Annotated[datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], help="Last UTC day of rows.")]
Heal = Annotated[bool, typer.Option("--heal", help="Only days made before whose events are others now.")]
Again = Annotated[bool, typer.Option("--again", help="Also days that are as they should be.")]
Services = Annotated[
    list[str] | None, typer.Option("--service", help="Only this feature service. Repeatable. [default: all]")
]
Easy = Annotated[int, typer.Option("--easy-negatives", min=0, help="Tracks drawn at random for each positive.")]
Groups = Annotated[list[str] | None, typer.Option("--group", help="Only this group. Repeatable.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    batch = typer.Typer(help="Daily views and labels on Spark and Delta.", no_args_is_help=True)
    batch.command()(run)
    batch.command()(labels)
    app.add_typer(batch, name="batch")
    app.command()(backfill)


def run(
    dates: Dates, publish_despite: Despite = None, home: Home = None, config: Config = None, as_json: Json = False
) -> None:
    """Build and publish the daily views of a day; running it again gives the same.

    A day that fails its quality gate is not published: exit code 1, and the expectation by name. docs/quality.md
    Also: spark-submit jobs/batch/daily.py --date 2018-11-30

    \b
    playhead batch run --date 2018-11-29 --date 2018-11-30
    playhead batch run --date 2018-12-25 --publish-despite "a holiday: half as many events are right"
    """
    from playhead.batch.daily import run_days
    from playhead.checks.verdicts import Override

    override = None if publish_despite is None else Override(by=_user(), reason=publish_despite)
    days = [each.date() for each in dates]
    done = run_days(settings_of(home, config), days, override=override, progress=say)
    if as_json:
        typer.echo(json.dumps(done.to_json(), indent=2))
        return
    typer.echo(f"published {', '.join(map(str, done.days))}: {done.events:,} events, {done.seconds:.1f} s")
    if done.despite:
        typer.echo(f"  though {', '.join(map(str, done.despite))} failed; kept in lake/checks/overrides")
    for view, rows in done.views.items():
        typer.echo(f"  {view}: {rows:,} rows")


def labels(
    dates: Dates,
    service: Services = None,
    easy_negatives: Easy = 1,
    home: Home = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Label a day's served vectors with what came of them, into lake/labelled; running it again heals what came later.

    A vector waits 30 minutes; those whose wait is not over are left out, and counted. docs/labels.md has the rules.
    Also: spark-submit jobs/batch/labels.py --date 2018-11-30

    \b
    playhead land-served
    playhead batch labels --date 2018-11-30
    playhead batch labels --date 2018-11-30 --service listener_v1 --easy-negatives 4
    """
    from playhead.batch.labels import label_days

    done = label_days(
        settings_of(home, config),
        [each.date() for each in dates],
        services=service or (),
        easy_per_positive=easy_negatives,
        progress=say,
    )
    if as_json:
        typer.echo(json.dumps(done.to_json(), indent=2))
        return
    for made in done.days:
        typer.echo(f"{made.service}, {made.day}: {made.rows:,} rows, {made.waiting:,} vectors wait")
        typer.echo(f"  {_counts(made.labels)}")
        typer.echo(f"  {_counts(made.outcomes)}")
    typer.echo(f"{done.seconds:.1f} s")


def backfill(
    first: First = None,
    last: Last = None,
    group: Groups = None,
    heal: Heal = False,
    again: Again = False,
    home: Home = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Recompute the speed groups' changelog from the master data, into lake/backfill, by days.

    Days whose events and declaration are what they were made from stay as they are; so a run that was stopped goes on
    where it was. Also: spark-submit jobs/batch/backfill.py

    \b
    playhead backfill
    playhead backfill --from 2018-11-20 --to 2018-11-21 --group listener
    playhead backfill --heal     # the days that late events have touched, and what that changes
    """
    from playhead.batch.backfill import backfill as run_backfill

    done = run_backfill(
        settings_of(home, config),
        first=_day(first),
        last=_day(last),
        groups=group or (),
        heal=heal,
        again=again,
        progress=say,
    )
    if as_json:
        typer.echo(json.dumps(done.to_json(), indent=2))
        return
    if heal and not any(done.days.values()):
        typer.echo("nothing to heal: no day has other events than it was made from")
        return
    for name, rows in done.rows.items():
        typer.echo(f"{name}: {done.days[name]:,} days made, {rows:,} rows")
    for name, found in done.corrections.items():
        typer.echo(
            f"{name} corrected: {found.changed:,} rows changed, {found.added:,} added, {found.removed:,} removed, "
            f"on {', '.join(found.days)}"
        )
        for feature, own in found.features.items():
            most = "" if own.largest is None else f", by {own.largest:g} at most"
            typer.echo(f"  {feature}: {own.rows:,} rows{most}")


def _user() -> str:
    """Who runs this; without a name, the number."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return f"uid {os.getuid()}"


def _counts(found: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in found.items() if count) or "nothing"


def _day(given: datetime | None) -> date | None:
    return given.date() if given else None

"""`check quality | skew | accounts | freshness`: whether what came out is what should have, and in time."""

from __future__ import annotations

import json
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from playhead.cli import drift
from playhead.cli.options import Config, Home, Json, settings_of
from playhead.cli.tables import show, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from playhead.checks.accounts import Accounts
    from playhead.checks.freshness import Freshness
    from playhead.checks.skew import Skew
    from playhead.checks.verdicts import Verdict

Services = Annotated[
    list[str] | None, typer.Option("--service", help="Only this feature service. Repeatable. [default: all]")
]
Day = Annotated[
    datetime | None,
    typer.Option("--date", formats=["%Y-%m-%d"], help="UTC day. [default: the last that a table has]"),
]
Tables = Annotated[
    list[str] | None,
    typer.Option("--table", help="events, a daily view, or changelog:GROUP. Repeatable. [default: all]"),
]
Set = Annotated[Path | None, typer.Option("--training-set", help="Only this file or folder of `training-set`.")]
Sample = Annotated[int | None, typer.Option(min=1, help="Vectors of each service to compare. [default: all]")]
CutOption = Annotated[
    Literal["as-served", "as-corrected"],
    typer.Option(help="Compare with what online knew, or with the backfill, where late events are healed."),
]
MaxRate = Annotated[
    float | None,
    typer.Option(min=0, max=1, help="Share of a feature's values that may differ. [default: checks.max_skew, 0]"),
]
Traced = Annotated[
    int, typer.Option("--trace", min=0, max=1_000, help="Send so many traced events through the whole way.")
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    check = typer.Typer(help="Compare what came out with what should have.", no_args_is_help=True)
    check.command()(quality)
    check.command()(skew)
    check.command()(accounts)
    check.command()(freshness)
    drift.register(check)
    app.add_typer(check, name="check")


def quality(
    day: Day = None,
    tables: Tables = None,
    training_set: Set = None,
    home: Home = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Judge what is in the lake: the suites of the gate, and those of changelogs and training sets. Publishes nothing.

    Exit code 1: an expectation does not hold. What was found is in HOME/data-docs/index.html; docs/quality.md says
    what is expected, and how to expect more.

    \b
    playhead check quality
    playhead check quality --date 2018-11-30 --table events --table changelog:listener
    playhead check quality --training-set training.parquet --json
    """
    from playhead.declarations import load_declarations

    settings, declarations = settings_of(home, config), load_declarations()
    found: list[tuple[date | None, Verdict]] = []
    if training_set is not None:
        from playhead.batch.training_sets import check_training_set

        found.append((None, check_training_set(settings, declarations, training_set)))
    else:
        from playhead.batch.quality import check_quality

        found += check_quality(settings, declarations, day=day.date() if day else None, tables=tables or ())
    if as_json:
        typer.echo(json.dumps({v.suite: {"day": own and str(own), **v.to_json()} for own, v in found}, indent=2))
    else:
        _show_quality(found)
    for own, verdict in found:
        for failure in verdict.failures:
            of_day = f" of {own}" if own else ""
            typer.secho(f"{verdict.suite}{of_day}: {failure}", fg=typer.colors.RED, err=True)
    if not all(verdict.success for _, verdict in found):
        raise typer.Exit(1)


def skew(
    service: Services = None,
    sample: Sample = None,
    cut: CutOption = "as-served",
    max_mismatch_rate: MaxRate = None,
    home: Home = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Compare served values with the offline store's for the same moments, and say of each that differs why.

    Exit code 1: of a feature more values differ than may, those aside whose rows were only on their way
    (propagation_lag), or rows were on their way for too long. Settings: checks.max_skew, checks.skew (by feature),
    checks.max_propagation_lag. Figures are added to lake/checks/skew.

    \b
    playhead check skew
    playhead check skew --service listener_v1 --sample 10000 --json
    """
    from playhead.checks.skew import check_skew
    from playhead.declarations import load_declarations

    declarations = load_declarations()
    services = list(dict.fromkeys(service or (each.name for each in declarations.services)))
    settings = settings_of(home, config)
    found = check_skew(settings, declarations, services, sample=sample, cut=cut)
    thresholds = settings.checks
    if max_mismatch_rate is not None:
        thresholds = thresholds.model_copy(update={"max_skew": max_mismatch_rate})
    failures = found.failures(thresholds)
    if as_json:
        typer.echo(json.dumps(found.payload(), indent=2))
    else:
        _show_skew(found)
    for failure in failures:
        typer.secho(failure, fg=typer.colors.RED, err=True)
    if failures:
        raise typer.Exit(1)


def accounts(home: Home = None, config: Config = None, as_json: Json = False) -> None:
    """Count every record of the events topic again, and hold it against the lake and the dead letters.

    Right while no event is being sent and the job has caught up. Exit code 1: the counts differ, or more of the last
    day's records are dead letters than may be (checks.max_refused).
    """
    from playhead.checks.accounts import check_accounts

    found = check_accounts(settings_of(home, config))
    if as_json:
        typer.echo(json.dumps(found.to_json(), indent=2))
    else:
        _show_accounts(found)
    for each in found.readings:
        if not each.ok:
            typer.secho(f"{each.measure}: {each.detail}", fg=typer.colors.RED, err=True)
    if found.findings:
        raise typer.Exit(1)


def freshness(traced: Traced = 0, home: Home = None, config: Config = None, as_json: Json = False) -> None:
    """Measure how far each part is behind: lake, online store, watermark, consumers, checkpoint, batch day, served log.

    Lags of data are of event time, so they are right in a replay of the past too. --trace also measures the way itself:
    from sending an event until the lake and the online store have it. Traced events are searches of the listeners
    playhead-trace-0 to playhead-trace-15, of no track; they stay in the lake. Not while a replay runs faster than the
    clock: they would be late.

    Exit code 1: something is further behind than the settings allow ([freshness]), or cannot be measured. Figures are
    added to lake/checks/readings.

    \b
    playhead check freshness
    playhead check freshness --trace 16 --json
    """
    from playhead.checks.freshness import check_freshness

    found = check_freshness(settings_of(home, config), traced=traced)
    if as_json:
        typer.echo(json.dumps(found.to_json(), indent=2))
    else:
        _show_freshness(found)
    if found.missed:
        raise typer.Exit(1)


def _show_freshness(found: Freshness) -> None:
    from playhead.checks.freshness import MEASURED

    colours = {"ok": "green", "warn": "yellow", "bad": "red"}
    rows = table("", "measure", "value", "allowed", "", "")
    for each in found.readings:
        state = found.state(each)
        # What was measured says so by its figure.
        if not (each.measure == MEASURED and each.ok):
            value, allowed = ("" if number is None else f"{number:,g}" for number in (each.value, each.allowed))
            rows.add_row(each.subject, each.measure, value, allowed, state, each.detail, style=colours[state])
    show(rows)


def _show_quality(found: Sequence[tuple[date | None, Verdict]]) -> None:
    rows = table("table", "day", "expectations", "failed")
    for day, verdict in found:
        failed = len(verdict.failures)
        style = "red" if failed else None
        rows.add_row(verdict.suite, str(day or "—"), str(len(verdict.findings)), str(failed), style=style)
    show(rows)


def _show_accounts(found: Accounts) -> None:
    rows = table("", "in the topic", "came out")
    rows.add_row("events", f"{found.events:,}", f"{found.lake_rows:,}")
    rows.add_row("duplicates", f"{found.duplicates:,}", "")
    for reason in sorted({*found.dead_letters, *found.dlq}):
        rows.add_row(reason, f"{found.dead_letters.get(reason, 0):,}", f"{found.dlq.get(reason, 0):,}")
    rows.add_row("records", f"{found.records:,}", "")
    show(rows)
    typer.echo("everything has its place" if found.adds_up else "the counts differ")


def _show_skew(skew: Skew) -> None:
    rows = table("service", "feature", "rows", "matches", "mismatches", "null served", "null offline", "causes")
    for each in skew.features:
        counts = (each.rows, each.matches, each.mismatches, each.null_served, each.null_offline)
        style = "red" if each.mismatches else None
        causes = ", ".join(f"{cause} {count:,}" for cause, count in each.causes.items())
        rows.add_row(each.service, each.feature, *(f"{count:,}" for count in counts), causes, style=style)
    show(rows)
    for differing in skew.differences:
        who = ", ".join(f"{key} {value}" for key, value in differing.entities.items() if value is not None)
        typer.echo(
            f"{differing.feature} at {differing.serve_time} for {who}: served {differing.served!r} from the row of "
            f"{differing.served_event_timestamp_ms} ms, offline {differing.offline!r}: {differing.cause}"
            f"{'' if differing.lag_ms is None else f', {differing.lag_ms:,} ms'} (request {differing.request_id})"
        )
    typer.echo(f"{skew.values:,} values of {sum(skew.rows.values()):,} vectors: {skew.mismatches:,} differ")
    for cause, count in skew.causes.items():
        typer.echo(f"  {cause}: {count:,}")
    if skew.lag_ms:
        typer.echo("  on their way for " + ", ".join(f"{ms:,} ms ({name})" for name, ms in skew.lag_ms.items()))

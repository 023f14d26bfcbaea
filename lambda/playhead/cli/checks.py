"""`check skew`, `check accounts`: whether what came out is what should have."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from playhead.cli import drift
from playhead.cli.options import Config, Home, Json, settings_of
from playhead.cli.tables import show, table

if TYPE_CHECKING:
    from playhead.checks.accounts import Accounts
    from playhead.checks.skew import Skew

Services = Annotated[
    list[str] | None, typer.Option("--service", help="Only this feature service. Repeatable. [default: all]")
]
Sample = Annotated[int | None, typer.Option(min=1, help="Vectors of each service to compare. [default: all]")]
CutOption = Annotated[
    Literal["as-served", "as-corrected"],
    typer.Option(help="Compare with what online knew, or with the backfill, where late events are healed."),
]
MaxRate = Annotated[
    float | None,
    typer.Option(min=0, max=1, help="Share of a feature's values that may differ. [default: checks.max_skew, 0]"),
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    check = typer.Typer(help="Compare what came out with what should have.", no_args_is_help=True)
    check.command()(skew)
    check.command()(accounts)
    drift.register(check)
    app.add_typer(check, name="check")


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

    Right while no event is being sent and the job has caught up. Exit code 1: the counts differ.
    """
    from playhead.checks.accounts import check_accounts

    found = check_accounts(settings_of(home, config))
    if as_json:
        typer.echo(json.dumps(found.to_json(), indent=2))
    else:
        _show_accounts(found)
    if not found.adds_up:
        raise typer.Exit(1)


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

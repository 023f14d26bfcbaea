"""`check drift`, `check retrain`: whether what is served is still like what a model was trained on."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from playhead.cli.options import Config, Home, Json, settings_of
from playhead.cli.tables import show, table

if TYPE_CHECKING:
    from playhead.checks.drift import Drift, Reference
    from playhead.checks.retrain import Due
    from playhead.config import Settings

RETRAIN = 3
"""Exit code of `check retrain` when a model has to be trained again; 1 is an error."""

_PERIOD = re.compile(r"(\d{4}-\d\d-\d\d)\.\.(\d{4}-\d\d-\d\d)")

_NAMED = 3
"""So many of the subjects that were not judged for one reason are named."""

Services = Annotated[
    list[str] | None, typer.Option("--service", help="Only this feature service. Repeatable. [default: all]")
]
Dates = Annotated[
    list[datetime] | None,
    typer.Option("--date", formats=["%Y-%m-%d"], help="UTC day. Repeatable. [default: the newest that is over]"),
]
ReferenceOption = Annotated[
    str | None,
    typer.Option(
        "--reference",
        metavar="FILE|FIRST..LAST",
        help="A training set (Parquet), or the days from the first to the last. [default: the days before]",
    ),
]
ReferenceDays = Annotated[
    int | None,
    typer.Option(
        "--reference-days", min=1, help="So many days before the day. [default: checks.drift.reference_days, 28]"
    ),
]
Auc = Annotated[float | None, typer.Option(min=0, max=1, help="The model's AUC on its validation set.")]
Metrics = Annotated[Path | None, typer.Option(help="A JSON file of the training's metrics, with the key auc.")]
MinAuc = Annotated[
    float | None, typer.Option(min=0, max=1, help="The least AUC. [default: checks.drift.min_auc]", show_default=False)
]


def register(check: typer.Typer) -> None:
    """Add the commands of this module."""
    check.command()(drift)
    check.command()(retrain)


def drift(
    service: Services = None,
    dates: Dates = None,
    reference: ReferenceOption = None,
    reference_days: ReferenceDays = None,
    home: Home = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Compare a day's features, labels and scores with a reference: PSI, KL, Jensen-Shannon, nulls, volume, rates.

    Exit code 1: something is beyond what settings and chance allow. Settings: checks.drift. Figures are added to
    lake/checks/readings. docs/drift.md has the formulas.

    \b
    playhead check drift
    playhead check drift --service listener_v1 --date 2025-03-03 --json
    playhead check drift --reference training.parquet
    playhead check drift --date 2025-03-03 --reference 2025-01-01..2025-01-31
    """
    found = _check(settings_of(home, config), service, dates, _reference(reference, reference_days))
    if as_json:
        typer.echo(json.dumps(found.payload(), indent=2))
    else:
        _show(found)
    _complain(found)
    if found.failures():
        raise typer.Exit(1)


def retrain(
    service: Services = None,
    dates: Dates = None,
    reference: ReferenceOption = None,
    reference_days: ReferenceDays = None,
    auc: Auc = None,
    metrics: Metrics = None,
    min_auc: MinAuc = None,
    home: Home = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Check drift, and a validation AUC if there is one; when one of them fails, say so on kafka.retrain_topic.

    Exit code 3: a model has to be trained again; 1: an error. A message is sent once for each service, day and reason,
    however often this runs. docs/drift.md has its fields.

    \b
    playhead check retrain --service listener_v1
    playhead check retrain --service listener_v1 --auc 0.61 --min-auc 0.65
    playhead check retrain --service listener_v1 --metrics metrics.json --reference training.parquet
    """
    from playhead.checks.retrain import judge_auc, payload_of, read_auc, trigger

    settings = settings_of(home, config)
    least = settings.checks.drift.min_auc if min_auc is None else min_auc
    if auc is not None and metrics is not None:
        raise typer.BadParameter("give --auc or --metrics, not both")
    if metrics is not None:
        auc = read_auc(metrics)
    if auc is not None and least is None:
        raise typer.BadParameter("an AUC needs --min-auc, or the setting checks.drift.min_auc")
    if auc is not None and (service is None or len(service) != 1):
        raise typer.BadParameter("an AUC is of one model: give one --service")
    found = _check(settings, service, dates, _reference(reference, reference_days))
    validation = {}
    if service and auc is not None and least is not None:
        validation[service[0]] = judge_auc(settings, service[0], found.days[-1], auc, least)
    due = trigger(settings, found, validation)
    if as_json:
        typer.echo(json.dumps({"due": [payload_of(each) for each in due]}, indent=2))
    else:
        _show_due(due)
    if due:
        raise typer.Exit(RETRAIN)


def _check(
    settings: Settings, service: list[str] | None, dates: list[datetime] | None, reference: Reference | None
) -> Drift:
    from playhead.checks.drift import check_drift
    from playhead.declarations import load_declarations

    declarations = load_declarations()
    services = list(dict.fromkeys(service or (each.name for each in declarations.services)))
    days = [each.date() for each in dates or []]
    return check_drift(settings, declarations, services, days=days, reference=reference)


def _reference(given: str | None, days: int | None) -> Reference | None:
    if given is None:
        return days
    if days is not None:
        raise typer.BadParameter("give --reference or --reference-days, not both")
    period = _PERIOD.fullmatch(given)
    if period is None:
        return Path(given)
    try:
        first, last = map(date.fromisoformat, period.groups())
    except ValueError as error:
        raise typer.BadParameter(f"--reference {given}: {error}") from error
    if first > last:
        raise typer.BadParameter(f"--reference {given}: it ends before it begins")
    return first, last


def _show(found: Drift) -> None:
    measures = ("psi", "kl", "js", "null_shift")
    rows = table("day", "subject", "rows", *(name.replace("_", " ") for name in measures), "other", "")
    for each in (each for each in found.compared if each.measured):
        by_name = {one.measure.removeprefix("score_"): f"{one.value:.3f}" for one in each.measured}
        other = ", ".join(
            f"{name.replace('_', ' ')} {value}" for name, value in by_name.items() if name not in measures
        )
        own = [by_name.get(name, "") for name in measures]
        style = "red" if each.failed else None
        rows.add_row(str(each.day), each.subject, f"{each.rows:,}", *own, other, each.unjudged, style=style)
    if rows.row_count:
        show(rows)
    unmeasured: dict[str, list[str]] = {}
    for each in (each for each in found.compared if not each.measured):
        unmeasured.setdefault(each.unjudged, []).append(each.subject)
    for why, subjects in unmeasured.items():
        more = f" and {len(subjects) - _NAMED:,} more" if len(subjects) > _NAMED else ""
        typer.echo(f"not judged, {why}: {', '.join(subjects[:_NAMED])}{more}")
    judged = sum(not each.unjudged for each in found.compared)
    typer.echo(
        f"{judged:,} of {len(found.compared):,} could be judged"
        + ("" if judged else ": docs/drift.md says what it takes")
    )


def _complain(found: Drift) -> None:
    for failure in found.failures():
        typer.secho(failure, fg=typer.colors.RED, err=True)


def _show_due(due: Sequence[Due]) -> None:
    for each in due:
        told = "sent before" if each.sent is None else f"message {each.sent}"
        typer.echo(f"{each.service}, {each.day}: train again ({told})")
        for reason in each.reasons:
            bound = "" if reason.allowed is None else f", allowed {reason.allowed:.3g}"
            typer.echo(f"  {reason.subject}: {reason.measure} {reason.value:.3g}{bound} ({reason.detail})")
    if not due:
        typer.echo("nothing says that a model has to be trained again")

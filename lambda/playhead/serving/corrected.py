"""The cut `as-corrected`: the backfill in place of the archive, with late events where they belong."""

from __future__ import annotations

import dataclasses
from datetime import datetime
from pathlib import Path

from playhead.batch.digests import kept
from playhead.days import DAY, end_of
from playhead.errors import InputError
from playhead.lake_files import event_days
from playhead.plan import SpeedPlan
from playhead.serving.lake_rows import ViewRows


def corrected(rows: ViewRows, lake: Path, plan: SpeedPlan) -> ViewRows:
    """The rows of a speed group as the backfill has them.

    Args:
        rows: as the speed layer has archived them.
        lake: the lake's root.
        plan: of the speed group.
    """
    return dataclasses.replace(rows, path=lake / "backfill" / plan.name, format="delta", by_day=False)


def check_backfill_of(lake: Path, plan: SpeedPlan, until: datetime | None) -> None:
    """Refuse a backfill that is absent, of another declaration, or that ends before the events do.

    Args:
        lake: the lake's root.
        plan: of the speed group.
        until: aware; events of later days do not matter. None: no events matter.

    Raises:
        InputError: says which.
    """
    name, folder, hint = plan.name, lake / "backfill", f"run `playhead backfill --group {plan.name}`"
    made = kept(folder).get(name, {})
    if not (folder / name).is_dir() or not made:
        raise InputError(f"group {name!r}: there is no backfill in {folder / name}", hint=hint)
    foreign = sorted(day for day, own in made.items() if not str(own).startswith(f"{plan.fingerprint} "))
    if foreign:
        raise InputError(f"group {name!r}: the backfill of {foreign[0]} was made of another declaration", hint=hint)
    # Counts fall for a while after a day's events: those days have rows too.
    days = {day + n * DAY for day in event_days(lake) for n in range(((end_of(day) + plan.tail).date() - day).days + 1)}
    missing = [day for day in sorted(days) if until is not None and day <= until.date() and day.isoformat() not in made]
    if missing:
        raise InputError(f"group {name!r}: the backfill has not got {missing[0]}, a day with rows", hint=hint)

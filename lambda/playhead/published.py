"""The mark of the batch layer: how far it has published, `lake/views/_published.json`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

from playhead.days import BatchDays, end_of
from playhead.plan import DailyPlan

_MARK = "_published.json"


@dataclass(frozen=True, kw_only=True)
class Published:
    """How far the batch layer is.

    Attributes:
        days: every day that was published, in order.
        at: when the last time was, aware.
        fingerprints: daily group to the fingerprint of what was published of it last.
        covered: daily group to the days of which there are partials of that fingerprint, in order: those published, and
            those before them that their windows needed.
    """

    days: tuple[date, ...]
    at: datetime
    fingerprints: Mapping[str, str]
    covered: Mapping[str, tuple[date, ...]]

    @property
    def day(self) -> date:
        """The last published day."""
        return self.days[-1]

    @property
    def end(self) -> datetime:
        """The end of the last published day, aware UTC."""
        return end_of(self.day)

    def covered_of(self, plan: DailyPlan) -> tuple[date, ...]:
        """The days of which there are partials of a group as it is declared now. After the last of them is its E."""
        return self.covered.get(plan.name, ()) if self.fingerprints.get(plan.name) == plan.fingerprint else ()


def published(lake: Path) -> Published | None:
    """What the mark says; None before the first batch day."""
    file = lake / "views" / _MARK
    if not file.is_file():
        return None
    mark = json.loads(file.read_text())
    return Published(
        days=_days(mark["days"]),
        at=datetime.fromisoformat(mark["at"]),
        fingerprints=mark["fingerprints"],
        # A mark from before windows of days were merged has none: their batch days run again.
        covered={group: _days(days) for group, days in mark.get("covered", {}).items()},
    )


def with_days(lake: Path, days: Sequence[date], plans: Sequence[DailyPlan], at: datetime) -> Published:
    """What the mark will say once these days are published. An old day that runs again sets nothing back, but for a
    group that means something else now.
    """
    before = published(lake)

    def covered(plan: DailyPlan) -> tuple[date, ...]:
        needed = BatchDays(tuple(days), plan.longest).window_days
        return tuple(sorted({*needed, *(before.covered_of(plan) if before else ())}))

    return Published(
        days=tuple(sorted({*days, *(before.days if before else ())})),
        at=at,
        fingerprints={plan.name: plan.fingerprint for plan in plans},
        covered={plan.name: covered(plan) for plan in plans},
    )


def write_mark(lake: Path, mark: Published) -> None:
    """Replace the mark. The last step of a run: whoever reads it finds everything before it in place."""
    text = {
        "dt": mark.day.isoformat(),
        "end": mark.end.isoformat(),
        "at": mark.at.isoformat(),
        "fingerprints": mark.fingerprints,
        "days": [day.isoformat() for day in mark.days],
        "covered": {group: [day.isoformat() for day in days] for group, days in mark.covered.items()},
    }
    file = lake / "views" / _MARK
    draft = file.with_name(f".{_MARK}")
    draft.write_text(json.dumps(text, indent=1))
    draft.replace(file)


def _days(texts: Iterable[str]) -> tuple[date, ...]:
    return tuple(map(date.fromisoformat, texts))

"""The drift section: each subject with its measures, the worst of them as a chart."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

from playhead.checks.readings import Reading, Standing
from playhead.report.chart import Chart, chart_of
from playhead.report.facts import Facts

CHECK = "drift"

_NO_VIEW = "labels, scores and volume"


@dataclass(frozen=True, kw_only=True)
class Drifting:
    """A feature, a label, a service.

    Attributes:
        subject: its name in readings.
        name: without its view.
        measures: measure to how it stands.
        worst: of these, the one that is furthest beyond what is allowed, or nearest to it.
        since: since when any is wrong; None when none is.
        chart: of the worst; None when there is too little to draw.
        services: those that read the feature.
    """

    subject: str
    name: str
    measures: Mapping[str, Standing]
    worst: Standing
    since: datetime | None
    chart: Chart | None
    services: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return self.since is None


@dataclass(frozen=True, kw_only=True)
class DriftView:
    """The subjects of a view, in the order of their names, and the measures that any of them has."""

    view: str
    rows: tuple[Drifting, ...]
    measures: tuple[str, ...]

    @property
    def wrong(self) -> int:
        """How many have drifted."""
        return sum(not each.ok for each in self.rows)


def drift_views(facts: Facts) -> list[DriftView]:
    """Everything that the drift check has measured, by view."""
    own = [each for each in facts.standings if each.reading.check == CHECK]
    rows = [
        _drifting(facts, subject, list(standings))
        for subject, standings in groupby(own, key=lambda each: each.reading.subject)
    ]
    found = groupby(sorted(rows, key=_view), key=_view)
    return [_of_view(view, list(members)) for view, members in found]


def drifted(views: Sequence[DriftView]) -> list[Drifting]:
    """What has drifted, the furthest beyond what is allowed first."""
    found = [each for view in views for each in view.rows if not each.ok]
    return sorted(found, key=lambda each: (-_excess(each.worst.reading), each.subject))


def _of_view(view: str, rows: Sequence[Drifting]) -> DriftView:
    measures = dict.fromkeys(measure for each in rows for measure in each.measures)
    return DriftView(view=view, rows=tuple(rows), measures=tuple(measures))


def _view(each: Drifting) -> str:
    return each.subject.partition("__")[0] if "__" in each.subject else _NO_VIEW


def _drifting(facts: Facts, subject: str, standings: Sequence[Standing]) -> Drifting:
    worst = max(standings, key=lambda each: (not each.reading.ok, _excess(each.reading)))
    return Drifting(
        subject=subject,
        name=subject.partition("__")[2] or subject,
        measures={each.reading.measure: each for each in standings},
        worst=worst,
        since=min((each.since for each in standings if each.since), default=None),
        chart=chart_of(worst),
        services=facts.lineage.of_subject(subject.partition("/")[0]).services,
    )


def _excess(reading: Reading) -> float:
    """The value as a multiple of what is allowed."""
    if reading.value is None or reading.allowed is None:
        return 0.0
    return abs(reading.value / reading.allowed) if reading.allowed else math.inf

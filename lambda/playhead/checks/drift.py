"""The drift check: what was served, labelled and scored on a day against a reference.

Each feature of a day is held against the same of a training set, a period, or the days before: how far its values are
from the reference's, and how far its share of nulls. The day's rows are counted, and so are the rates of labels and
the scores of models. See `docs/drift.md`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any, TypeAlias

import structlog

from playhead.checks import results
from playhead.checks.distributions import Kind, Profile, merged
from playhead.checks.judged import (
    Judged,
    Measurement,
    Parts,
    judge_feature,
    judge_label,
    judge_scores,
    judge_volume,
)
from playhead.checks.profiles import Measured, Origin, Profiles, profiles_of, profiles_of_file
from playhead.checks.readings import Reading, record
from playhead.config import Settings
from playhead.days import DAY
from playhead.declarations import Declarations
from playhead.declare import FeatureGroup, FeatureService, OnDemand, SessionStart
from playhead.errors import InputError
from playhead.labels import LABELS
from playhead.objectives import DriftSettings
from playhead.on_demand import keys_of
from playhead.serving.scores import scores_path

log = structlog.get_logger()

CHECK = "drift"
_USER = ("user_id",)

Reference: TypeAlias = "int | tuple[date, date] | Path"
"""So many days before; from the first day to the last; or a training set. A training set is the reference of features
only: volume, labels and scores have the days before."""


@dataclass(frozen=True, kw_only=True)
class Compared:
    """A feature, a label, a model's scores or the service itself on one day.

    Attributes:
        subject: `view__feature`, a label, `service/model`, or the service.
        rows: of the day.
        samples: as how many independent rows those with a value count, of the day and of the reference; null: none.
        measured: nothing where there is no reference, or too little of it.
        unjudged: why not everything was measured; empty when it was.
    """

    service: str
    day: date
    subject: str
    rows: int
    samples: float | None = None
    reference_samples: float | None = None
    measured: tuple[Measurement, ...] = ()
    unjudged: str = ""

    @property
    def failed(self) -> list[Measurement]:
        """What is beyond what is allowed."""
        return [each for each in self.measured if not each.ok]


@dataclass(frozen=True)
class Drift:
    """All that was compared."""

    compared: tuple[Compared, ...]

    @property
    def days(self) -> list[date]:
        """The days, in order."""
        return sorted({each.day for each in self.compared})

    def failures(self) -> list[str]:
        """What is beyond a threshold, in words; nothing when all is well."""
        return [
            f"{each.subject} of {each.day}: {m.measure} {m.value:.3g}, allowed {m.allowed:.3g} ({m.detail})"
            for each in self.compared
            for m in each.failed
        ]

    def payload(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "days": [day.isoformat() for day in self.days],
            "failed": sum(len(each.failed) for each in self.compared),
            "unjudged": sum(bool(each.unjudged) for each in self.compared),
            "compared": [asdict(each) | {"day": each.day.isoformat()} for each in self.compared],
        }

    def readings(self) -> list[Reading]:
        """For the history. Where services share a subject, the one that is furthest off."""
        found: dict[tuple[date, str, str], Reading] = {}
        for each in self.compared:
            for m in each.measured:
                place = each.day, each.subject, m.measure
                one = reading_of(each.day, each.subject, m)
                before = found.get(place)
                if before is None or (before.ok, -abs(before.value or 0)) > (one.ok, -abs(m.value)):
                    found[place] = one
        return list(found.values())


def reading_of(day: date, subject: str, measurement: Measurement) -> Reading:
    """A figure as a row of the history."""
    of = datetime.combine(day, time.min, UTC)
    return Reading(check=CHECK, subject=subject, of=of, **asdict(measurement))


def check_drift(
    settings: Settings,
    declarations: Declarations,
    services: Sequence[str],
    *,
    days: Iterable[date] = (),
    reference: Reference | None = None,
    now: datetime | None = None,
) -> Drift:
    """Compare days with their reference, add what was measured to the history, and keep the result as `drift`.

    Args:
        settings: says where the lake is, and what is allowed.
        declarations: what is declared.
        services: names of declared feature services.
        days: UTC days; when empty, the newest one of the log that is over.
        reference: what to compare with; None: `checks.drift.reference_days` before each day.
        now: the moment of the check; the wall clock when None.

    Raises:
        UnknownName: no such service.
        InputError: nothing of a service was logged, no day of it is over, or a training set cannot be used.
    """
    at = now or datetime.now(UTC)
    given, asked = settings.checks.drift.reference_days if reference is None else reference, sorted(set(days))
    compared: list[Compared] = []
    for service in map(declarations.service, services):
        of = asked or [_newest_day(_served(settings, service), at.date())]
        days_of_service = _read(settings, service, of, given)
        compared += [each for day in of for each in days_of_service.compared(day)]
    drift = Drift(tuple(compared))
    record(settings, drift.readings(), now=at)
    results.save(settings, CHECK, drift.payload(), now=at)
    log.info("drift", days=[str(day) for day in drift.days], failed=len(drift.failures()))
    return drift


def measured_of(service: FeatureService) -> tuple[Measured, ...]:
    """The features of a service that can drift: not those of the moment alone, nor moments themselves, which the
    clock moves.
    """
    return tuple(
        Measured(subject=f"{view.name}__{feature}", column=f"{view.name}__{feature}", keys=keys)
        for view in service.views
        if (keys := _keys(view))
        for feature in service.features_of(view)
        if feature not in _moments(view)
    )


def _keys(view: FeatureGroup | OnDemand) -> tuple[str, ...]:
    return tuple(keys_of(view)) if isinstance(view, OnDemand) else (view.entity.key,)


def _moments(view: FeatureGroup | OnDemand) -> set[str]:
    features = () if isinstance(view, OnDemand) else view.features
    return {each.name for each in features if isinstance(each, SessionStart)}


def _newest_day(served: Origin, today: date) -> date:
    """The newest day of the log that is over.

    Raises:
        InputError: there is none.
    """
    logged = served.days()
    if not logged:
        hint = "`playhead serve` logs what it serves; `playhead land-served` brings it to the lake"
        raise InputError(f"{served.path}: no served vectors", hint=hint)
    over = [day for day in logged if day < today]
    if not over:
        raise InputError(f"{served.path}: no day is over, the first is {logged[0]}", hint="--date checks it so far")
    return over[-1]


def _served(settings: Settings, service: FeatureService) -> Origin:
    path = settings.lake / "served" / service.name
    return Origin(source="served", service=service.name, path=path, measured=measured_of(service))


def _labelled(settings: Settings, service: FeatureService) -> Origin:
    return Origin(
        source="labelled",
        service=service.name,
        path=settings.lake / "labelled" / service.name,
        measured=tuple(Measured(subject=label, column=label, keys=_USER) for label in LABELS),
        # They were never served, and are as many as the positives.
        keep=lambda rows: rows.filter(~rows.easy_negative),
    )


def _scores(settings: Settings, service: FeatureService) -> Origin:
    return Origin(
        source="scores",
        service=service.name,
        path=scores_path(settings, service.name),
        measured=(Measured(subject="score", column="score", keys=_USER),),
        by="model",
    )


def _read(settings: Settings, service: FeatureService, days: Sequence[date], given: Reference) -> _Service:
    limits = settings.checks.drift
    windows = {day: _window(day, limits.reference_days if isinstance(given, Path) else given) for day in days}
    every = {*days}.union(*windows.values())
    training = profiles_of_file(settings, given, measured_of(service)) if isinstance(given, Path) else None
    return _Service(
        name=service.name,
        limits=limits,
        windows=windows,
        served=profiles_of(settings, _served(settings, service), every),
        labelled=profiles_of(settings, _labelled(settings, service), every),
        scores=profiles_of(settings, _scores(settings, service), every),
        training=training,
    )


def _window(day: date, given: int | tuple[date, date]) -> list[date]:
    first, last = (day - given * DAY, day - DAY) if isinstance(given, int) else given
    return [first + n * DAY for n in range((last - first).days + 1)]


@dataclass(frozen=True, kw_only=True)
class _Service:
    """Profiles of one service by day, and what each day is compared with."""

    name: str
    limits: DriftSettings
    windows: Mapping[date, Sequence[date]]
    served: Mapping[date, Profiles]
    labelled: Mapping[date, Profiles]
    scores: Mapping[date, Profiles]
    training: Profiles | None

    def compared(self, day: date) -> list[Compared]:
        """All of one day."""
        window = self.windows[day]
        found = [self._volume(day, window)]
        for source, judge in ((self.served, judge_feature), (self.labelled, judge_label), (self.scores, judge_scores)):
            known = [source[each] for each in window if each in source]
            for subject, own in sorted(_parts(source.get(day, {})).items()):
                its = {part: _together(known, (subject, part), own[part].kind) for part in own}
                if source is self.served and self.training is not None:
                    its = {part: self.training.get((subject, part)) for part in own}
                there = {part: profile for part, profile in its.items() if profile is not None}
                name = f"{self.name}/{subject}" if source is self.scores else subject
                found.append(self._judged(day, name, own, there, judge(self.limits, name, own, there)))
        return found

    def _volume(self, day: date, window: Sequence[date]) -> Compared:
        rows = {each: next(iter(profiles.values())).rows for each, profiles in self.served.items() if profiles}
        judged = judge_volume(self.limits, self.name, rows.get(day, 0), [rows[each] for each in window if each in rows])
        return Compared(service=self.name, day=day, subject=self.name, rows=rows.get(day, 0), **vars(judged))

    def _judged(self, day: date, subject: str, own: Parts, its: Parts, judged: Judged) -> Compared:
        samples = [next((profile.valued for profile in parts.values()), None) for parts in (own, its)]
        return Compared(
            service=self.name,
            day=day,
            subject=subject,
            rows=next(iter(own.values())).rows,
            samples=samples[0],
            reference_samples=samples[1],
            **vars(judged),
        )


def _parts(profiles: Profiles) -> dict[str, dict[str, Profile]]:
    found: dict[str, dict[str, Profile]] = {}
    for (subject, part), profile in profiles.items():
        found.setdefault(subject, {})[part] = profile
    return found


def _together(days: Iterable[Profiles], place: tuple[str, str], kind: Kind) -> Profile | None:
    """The profile of the days that have values, and of this kind: before a feature was declared, nothing has."""
    every = [profiles[place] for profiles in days if place in profiles]
    known = [each for each in every if each.rows > each.nulls and each.kind == kind]
    return merged(known) if known else None

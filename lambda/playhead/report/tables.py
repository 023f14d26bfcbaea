"""The tables of the page that are not simply the facts: moments, days, suites, runs, skew by view."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from itertools import groupby

from playhead.checks.readings import Standing
from playhead.report.facts import Facts
from playhead.report.stages import FeatureSkew
from playhead.report.told import SECTIONS

_RESULTS = {
    "replay": "Replay",
    "accounts": "Count of the topic",
    "writer": "Online writer ended",
    "batch": "Batch run",
    "quality": "Quality gate",
    "serve": "Feature server ended",
    "land_served": "Served vectors landed",
    "training_set": "Training set",
    "labels": "Labels",
    "skew": "Skew check",
    "backfill": "Backfill",
    "demo": "Demo",
}


@dataclass(frozen=True, kw_only=True)
class Moment:
    """A line of a freshness table; `at` is null when there is none yet."""

    what: str
    at: datetime | None


@dataclass(frozen=True, kw_only=True)
class Day:
    """A UTC day of the lake.

    Attributes:
        name: ISO date.
        events: events of the master data.
        share: the same as a share of the fullest day, 0 to 100.
        late: of the events, those behind the watermark.
        sessions: sessions that ended.
        gate: what the quality gate found; null when it was not asked.
        published: whether the batch layer has published it.
    """

    name: str
    events: int
    share: int
    late: int
    sessions: int
    gate: bool | None
    published: bool


@dataclass(frozen=True, kw_only=True)
class SkewTable:
    """One service: vectors compared, values that differ, and its features by view."""

    service: str
    rows: int
    mismatches: int
    views: tuple[tuple[str, tuple[FeatureSkew, ...]], ...]


@dataclass(frozen=True, kw_only=True)
class Run:
    """The last run of a stage and its counts, in order; `seconds` is null when it does not say."""

    stage: str
    at: datetime
    seconds: float | None
    counts: tuple[tuple[str, int], ...]


@dataclass(frozen=True, kw_only=True)
class SuiteDays:
    """The quality gate by table and day: `days`, the newest last, and for each suite whether it holds on each; None
    where it was not asked."""

    days: tuple[date, ...]
    suites: tuple[tuple[str, tuple[bool | None, ...]], ...]


@dataclass(frozen=True, kw_only=True)
class CheckTable:
    """A check: its readings, of which so many are wrong, and when it measured last."""

    check: str
    readings: tuple[Standing, ...]
    wrong: int
    at: datetime


@dataclass(frozen=True, kw_only=True)
class Source:
    """An event field or a column of a dimension: what is made of it, by view, and the services that read that."""

    name: str
    views: tuple[tuple[str, tuple[str, ...]], ...]
    services: tuple[str, ...]

    @property
    def features(self) -> int:
        """How many are made of it."""
        return sum(len(names) for _, names in self.views)


@dataclass(frozen=True, kw_only=True)
class SuiteTable:
    """One suite: its days, those of them that fail, its expectations, and when it was last asked."""

    suite: str
    days: int
    failed: int
    expectations: int
    at: datetime


def event_times(facts: Facts) -> Iterator[Moment]:
    """How far event time has come in each stage."""
    lake, job = facts.lake, facts.flink.job if facts.flink else None
    yield Moment(what="Newest event in the lake", at=lake.events.newest if lake.events else None)
    if job is not None:
        yield Moment(what="Watermark of the speed job", at=job.watermark)
    for name, table in lake.speed.items():
        yield Moment(what=f"Feature rows of {name}", at=table.newest)
    yield Moment(what="End of the newest closed session", at=lake.sessions.newest if lake.sessions else None)
    yield Moment(what="Daily views published up to", at=lake.published.end if lake.published else None)


def processing_times(facts: Facts) -> Iterator[Moment]:
    """When each stage did something last."""
    lake, job = facts.lake, facts.flink.job if facts.flink else None
    if job is not None:
        yield Moment(what="Checkpoint of the speed job", at=job.checkpoint)
    yield Moment(what="Events written to the lake", at=lake.events.written if lake.events else None)
    archived = [table.written for table in lake.speed.values() if table.written]
    yield Moment(what="Feature rows archived", at=max(archived, default=None))
    yield Moment(what="Daily views published", at=lake.published.at if lake.published else None)
    served = [table.newest for table in lake.served.values() if table.newest]
    yield Moment(what="Newest served vector", at=max(served, default=None))
    for name, title in _RESULTS.items():
        if name in facts.stages.saved:
            yield Moment(what=title, at=facts.stages.saved[name])


def days_of(facts: Facts) -> list[Day]:
    """The days that have events, newest first."""
    lake = facts.lake
    if lake.events is None:
        return []
    sessions = lake.sessions.by_day if lake.sessions else {}
    published = frozenset(lake.published.days) if lake.published else frozenset()
    gate = facts.stages.gates
    fullest = max(lake.events.by_day.values())
    return [
        Day(
            name=name,
            events=events,
            share=round(100 * events / fullest) if fullest else 0,
            late=lake.events.late_by_day.get(name, 0),
            sessions=sessions.get(name, 0),
            gate=gate.get(name),
            published=name in published,
        )
        for name, events in sorted(lake.events.by_day.items(), reverse=True)
    ]


def runs_of(facts: Facts) -> list[Run]:
    """The last run of each stage that keeps counts."""
    stages = facts.stages
    found: list[Run] = []

    def add(stage: str, at: datetime, seconds: float | None, *counts: Mapping[str, int]) -> None:
        named = [item for each in counts for item in each.items()]
        found.append(Run(stage=stage, at=at, seconds=seconds, counts=tuple(named)))

    if replay := stages.replay:
        skipped, not_sent = _prefixed("skipped", replay.skipped), _prefixed("not sent", replay.not_sent)
        read = {"rows read": replay.rows} if replay.rows else {}
        add(
            "Replay",
            replay.at,
            replay.seconds,
            read,
            skipped,
            {"records": replay.events, "sent": replay.sent},
            not_sent,
        )
    if writer := stages.writer:
        add("Online writer", writer.at, writer.seconds, {"read": writer.read}, writer.rows)
    if batch := stages.batch:
        add("Batch", batch.at, batch.seconds, {"days": len(batch.days), "events": batch.events}, batch.views)
    if serve := stages.serve:
        add("Feature server", serve.at, None, {"requests": serve.requests}, serve.vectors)
    if landed := stages.land_served:
        skipped = _prefixed("skipped", landed.skipped)
        add("Landing", landed.at, None, landed.landed, {"there already": landed.repeated}, skipped)
    return found


def suites_of(facts: Facts) -> list[SuiteTable]:
    """The quality gate by suite, those that fail first."""
    verdicts = sorted(facts.stages.quality, key=lambda verdict: verdict.suite)
    found = [
        SuiteTable(
            suite=suite,
            days=sum(len(each.days) for each in own),
            failed=sum(len(each.days) for each in own if each.failures),
            expectations=max(each.expectations for each in own),
            at=max(each.at for each in own),
        )
        for suite, own in ((suite, list(group)) for suite, group in groupby(verdicts, key=lambda each: each.suite))
    ]
    return sorted(found, key=lambda each: (-each.failed, each.suite))


def suite_days(facts: Facts, shown: int) -> SuiteDays:
    """The newest days of the quality gate."""
    days = sorted({day for verdict in facts.stages.quality for day in verdict.days})[-shown:]
    found: dict[str, dict[str, bool]] = {}
    for verdict in facts.stages.quality:
        own = found.setdefault(verdict.suite, {})
        own |= {day: own.get(day, True) and not verdict.failures for day in verdict.days}
    suites = tuple((suite, tuple(own.get(day) for day in days)) for suite, own in sorted(found.items()))
    return SuiteDays(days=tuple(map(date.fromisoformat, days)), suites=suites)


def checks_of(facts: Facts) -> list[CheckTable]:
    """Every check that has measured something, in the order of its name."""
    found = groupby(facts.standings, key=lambda each: each.reading.check)
    tables = ((check, tuple(own)) for check, own in found)
    return [
        CheckTable(
            check=check,
            readings=own,
            wrong=sum(not each.reading.ok for each in own),
            at=max(each.at for each in own),
        )
        for check, own in tables
    ]


def without_section(checks: list[CheckTable]) -> list[CheckTable]:
    """Checks that no section of their own shows."""
    return [each for each in checks if each.check not in SECTIONS]


def sources_of(facts: Facts) -> list[Source]:
    """What features are made of, events first."""
    lineage = facts.lineage
    names = sorted(lineage.sources, key=lambda name: (not name.startswith("events."), name))
    reached = ((name, lineage.of_subject(name)) for name in names)
    return [Source(name=name, views=by_view(found.features), services=found.services) for name, found in reached]


def by_view(features: Iterable[str]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """View to the names of its features, in their order.

    >>> by_view(["a__x", "a__y", "b__x"])
    (('a', ('x', 'y')), ('b', ('x',)))
    """
    split = (feature.partition("__") for feature in features)
    return tuple((view, tuple(name for _, _, name in own)) for view, own in groupby(split, key=lambda part: part[0]))


def labelled_days(facts: Facts, shown: int) -> list[tuple[str, dict[str, int]]]:
    """The newest days of the labelled vectors, the newest first: service to rows."""
    days = sorted({day for table in facts.lake.labelled.values() for day in table.by_day}, reverse=True)[:shown]
    tables = facts.lake.labelled.items()
    return [(day, {service: table.by_day.get(day, 0) for service, table in tables}) for day in days]


def unchecked(facts: Facts) -> list[str]:
    """Checks that have not run: without them, nothing wrong means little."""
    stages = facts.stages
    ran: dict[str, object] = {
        "the count of the topic": stages.accounts,
        "the quality gate": stages.quality,
        "the skew check": stages.skew,
    }
    checked = {each.reading.check for each in facts.standings}
    ran |= {f"the {check} check": checked & {check} for check in ("freshness", "drift")}
    return [name for name, result in ran.items() if not result]


def skew_tables(facts: Facts) -> Iterator[SkewTable]:
    """The skew check by service, in the order of its features."""
    features = facts.stages.skew.features if facts.stages.skew else ()
    differing = Counter[str]()
    for each in features:
        differing[each.service] += each.mismatches
    for service, own in groupby(features, key=lambda each: each.service):
        listed = list(own)
        views = groupby(listed, key=lambda each: each.feature.partition("__")[0])
        yield SkewTable(
            service=service,
            rows=max(each.rows for each in listed),
            mismatches=differing[service],
            views=tuple((view, tuple(found)) for view, found in views),
        )


def _prefixed(word: str, counts: Mapping[str, int]) -> dict[str, int]:
    return {f"{word}, {name}": count for name, count in counts.items()}

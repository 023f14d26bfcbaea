"""The page: one HTML file that needs nothing else, made from the facts."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from itertools import groupby
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from playhead.errors import InputError
from playhead.report import picture
from playhead.report.facts import Facts
from playhead.report.problems import problems_of
from playhead.report.stages import FeatureSkew

_NO_VALUE = "—"
_SHOWN_DAYS = 14
_SHOWN_VERDICTS = 20
_SECTIONS = (
    ("counts", "Counts"),
    ("freshness", "Freshness"),
    ("days", "Days"),
    ("dead-letters", "Dead letters"),
    ("quality", "Quality"),
    ("skew", "Skew"),
    ("training", "Training sets"),
    ("sessions", "Sessions"),
    ("stages", "Last runs"),
    ("declared", "Groups and services"),
    ("stack", "Stack"),
)
_RESULTS = {
    "replay": "Replay",
    "accounts": "Count of the topic",
    "writer": "Online writer ended",
    "batch": "Batch run",
    "quality": "Quality gate",
    "serve": "Feature server ended",
    "land_served": "Served vectors landed",
    "training_set": "Training set",
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
class SuiteTable:
    """One suite: its days, those of them that fail, its expectations, and when it was last asked."""

    suite: str
    days: int
    failed: int
    expectations: int
    at: datetime


def write_page(facts: Facts, output: Path) -> Path:
    """Write the page; a file that is there is replaced whole.

    Raises:
        InputError: the folder is not there, or the file cannot be written.
    """
    target = output.resolve()
    if target.exists() and not target.is_file():
        raise InputError(f"{output}: is not a file")
    draft = target.with_name(f".{target.name}.draft")
    try:
        draft.write_text(render(facts), encoding="utf-8")
        draft.replace(target)
    except OSError as error:
        raise InputError(f"{output}: cannot be written: {error.strerror}", hint="--output says where") from error
    finally:
        if target.parent.is_dir():
            draft.unlink(missing_ok=True)
    return output


def render(facts: Facts) -> str:
    """The page as HTML."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "utc": utc, "age": lambda at: age(at, facts.made_at), "codes": codes}
    problems = problems_of(facts)
    events = facts.lake.events
    newest = events.newest if events else None
    return environment.get_template("report.html.j2").render(
        facts=facts,
        problems=problems,
        picture=picture.draw(facts, {problem.stage for problem in problems}),
        box=(picture.WIDTH, picture.HEIGHT),
        event_times=list(event_times(facts)),
        processing_times=list(processing_times(facts)),
        behind=lambda at: span(max(newest - at, timedelta())) if newest else _NO_VALUE,
        days=days_of(facts),
        shown_days=_SHOWN_DAYS,
        suites=suites_of(facts),
        failing=[verdict for verdict in facts.stages.quality if verdict.failures],
        shown_verdicts=_SHOWN_VERDICTS,
        skew_tables=list(skew_tables(facts)),
        unchecked=unchecked(facts),
        runs=runs_of(facts),
        sections=_SECTIONS,
    )


def to_json(facts: Facts) -> str:
    """The facts and what is wrong, as a JSON object; times are ISO 8601."""
    found = {"problems": [asdict(problem) for problem in problems_of(facts)], **asdict(facts)}
    return json.dumps(found, default=_plain, indent=2)


def number(value: float | None) -> str:
    """With thousands separators.

    >>> number(1234567), number(None), number(0.25)
    ('1,234,567', '—', '0.2')
    """
    if value is None:
        return _NO_VALUE
    return f"{value:,}" if isinstance(value, int) else f"{value:,.1f}"


def utc(at: datetime) -> str:
    """To the second.

    >>> from datetime import UTC
    >>> utc(datetime(2026, 3, 4, 5, 6, 7, 890, tzinfo=UTC))
    '2026-03-04 05:06:07'
    """
    return f"{at:%Y-%m-%d %H:%M:%S}"


def age(at: datetime, now: datetime) -> str:
    """How long ago, or in how long.

    >>> from datetime import UTC
    >>> noon = datetime(2026, 3, 4, 12, tzinfo=UTC)
    >>> age(noon, noon + timedelta(minutes=3)), age(noon, noon), age(noon, noon - timedelta(hours=2))
    ('3 min ago', 'now', 'in 120 min')
    """
    passed = now - at
    if abs(passed) < timedelta(seconds=1):
        return "now"
    return f"{span(passed)} ago" if passed > timedelta() else f"in {span(-passed)}"


def span(length: timedelta) -> str:
    """In one unit, of which there are at least two.

    >>> span(timedelta(seconds=90)), span(timedelta(hours=47)), span(timedelta(days=-3)), span(timedelta(days=2922))
    ('90 s', '47 h', '-3 days', '8 years')
    """
    sign, seconds = ("-", -length.total_seconds()) if length < timedelta() else ("", length.total_seconds())
    for unit, size in (("years", 31_557_600), ("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{sign}{int(seconds // size):,} {unit}"
    return f"{sign}{int(seconds)} s"


def codes(text: str) -> Markup:
    """HTML of a text in which commands stand between backticks.

    >>> codes("`a<b` runs")
    Markup('<code>a&lt;b</code> runs')
    """
    parts = (Markup("<code>{}</code>").format(part) if place % 2 else part for place, part in enumerate(text.split("`")))
    return Markup("").join(parts)


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
    gate: dict[str, bool] = {}
    for verdict in facts.stages.quality:
        gate |= {day: gate.get(day, True) and not verdict.failures for day in verdict.days}
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
        named = [(name.replace("_", " "), count) for each in counts for name, count in each.items()]
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


def unchecked(facts: Facts) -> list[str]:
    """Checks that have not run: without them, nothing wrong means little."""
    stages = facts.stages
    ran = {"the count of the topic": stages.accounts, "the quality gate": stages.quality, "the skew check": stages.skew}
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


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)

"""What is wrong now, derived from the facts. A rule without the facts it needs says nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import groupby

from playhead.checks import accounts
from playhead.lineage import EVENTS
from playhead.report.facts import Facts, Job
from playhead.report.problem import Problem, Runbook, Stage
from playhead.report.stages import Replay, Verdict
from playhead.report.told import checked_problems, is_told, wrong
from playhead.report.words import named

_CHECKPOINTS = 12
_LEAST_CHECKPOINT_AGE = timedelta(minutes=1)


def problems_of(facts: Facts) -> tuple[Problem, ...]:
    """Everything that is wrong, in the order of the data's way, then what checks have told."""
    found = (problem for rule in _RULES for problem in rule(facts))
    seen = (replace(each, affected=facts.lineage.of_subjects(each.subjects)) for each in found)
    return (*seen, *checked_problems(facts))


def _parts(facts: Facts) -> Iterator[Problem]:
    for part in facts.parts:
        if part.state == "crashed":
            yield Problem(
                title=f"{part.name} does not answer",
                detail=f"{part.address}: {part.detail}",
                section="stack",
                runbook=Runbook.SOURCE_UNREAD,
                subjects=_groups(facts) if part.name == "redis" else _EVENTS,
            )
    for unread in facts.unread:
        yield Problem(
            title=f"{unread.source} cannot be read", detail=unread.why, section="stack", runbook=Runbook.SOURCE_UNREAD
        )
    for name, why in facts.stages.problems.items():
        yield Problem(
            title=f"Result {name} cannot be read", detail=why, section="freshness", runbook=Runbook.SOURCE_UNREAD
        )


def _replay(facts: Facts) -> Iterator[Problem]:
    replay = facts.stages.replay
    if replay is None:
        return
    if replay.interrupted:
        detail = (
            f"It ended after {replay.sent:,} records; the last heartbeats were not sent. Sending again is harmless."
        )
        yield _replayed("The last replay was interrupted", detail, replay)
    if replay.not_sent:
        yield _replayed("Records were not sent", _counted(replay.not_sent), replay)


def _replayed(title: str, detail: str, replay: Replay) -> Problem:
    return Problem(
        title=title,
        detail=detail,
        section="counts",
        runbook=Runbook.NO_EVENTS,
        stage=Stage.REPLAY,
        since=replay.at,
        subjects=_EVENTS,
    )


def _job(facts: Facts) -> Iterator[Problem]:
    if facts.flink is None:
        return
    job, told = facts.flink.job, is_told(facts, "freshness", "job")
    if job is None:
        if not told:
            detail = "Nothing new gets to the lake or online; `playhead stream start` goes on from where it stopped."
            written = facts.lake.events.written if facts.lake.events else None
            yield _of_job("The speed job is not running", detail, Runbook.JOB_NOT_RUNNING, since=written)
        return
    detail = f"Job {job.job_id}." + (f" Last failure: {job.failure}" if job.failure else "")
    if job.state != "RUNNING" and not told:
        yield _of_job(f"The speed job is {job.state}", detail, Runbook.JOB_NOT_RUNNING, since=job.checkpoint)
    if job.restarts:
        times = "once" if job.restarts == 1 else f"{job.restarts:,} times"
        yield _of_job(f"The speed job was restarted {times}", detail, Runbook.JOB_RESTARTS)
    yield from _checkpoint(facts, job)


def _of_job(
    title: str, detail: str, runbook: Runbook, *, section: str = "stack", since: datetime | None = None
) -> Problem:
    return Problem(
        title=title,
        detail=detail,
        section=section,
        runbook=runbook,
        stage=Stage.JOB,
        since=since,
        subjects=_EVENTS,
    )


def _checkpoint(facts: Facts, job: Job) -> Iterator[Problem]:
    if is_told(facts, "freshness", "checkpoint"):
        return
    allowed = max(_LEAST_CHECKPOINT_AGE, _CHECKPOINTS * timedelta(seconds=facts.checkpoint_seconds))
    if job.checkpoint is not None and facts.made_at - job.checkpoint > allowed:
        detail = (
            f"The last was started at {job.checkpoint:%Y-%m-%d %H:%M:%S} UTC, one is due every "
            f"{facts.checkpoint_seconds:g} s. Rows become visible in the lake at checkpoints."
        )
        yield _of_job(
            "Checkpoints have stopped", detail, Runbook.CHECKPOINT_OLD, section="freshness", since=job.checkpoint
        )


def _accounts(facts: Facts) -> Iterator[Problem]:
    found = facts.stages.accounts
    if found is None:
        return
    differing = []
    if found.unaccounted:
        side = "have no place" if found.unaccounted > 0 else "too many are there"
        differing.append(f"{abs(found.unaccounted):,} of {found.records:,} records {side}")
    if found.lake_rows != found.events:
        differing.append(f"the lake has {found.lake_rows:,} events, the topic {found.events:,}")
    for reason in sorted({*found.dlq, *found.dead_letters}):
        seen, due = found.dlq.get(reason, 0), found.dead_letters.get(reason, 0)
        if seen != due:
            differing.append(f"{seen:,} dead letters are {reason}, {due:,} should be")
    if differing or not found.adds_up:
        counted = f"Counted at {found.at:%Y-%m-%d %H:%M:%S} UTC; `playhead check accounts` counts again."
        detail = f"{'; '.join(differing) or 'The check says so'}. {counted}"
        told = (each.since for each in wrong(facts, accounts.CHECK) if each.reading.measure == accounts.ADDS_UP)
        yield replace(_of_counts("The counts do not add up", detail), since=next(told, None))


def _twice(facts: Facts) -> Iterator[Problem]:
    """Without the naive count, at least this must hold."""
    if facts.kafka is None or facts.lake.events is None:
        return
    records, letters = facts.kafka.topics.get(facts.topics["events"], 0), facts.kafka.dead_letters
    placed = facts.lake.events.rows + letters.records - letters.repeated
    if 0 < records < placed:
        detail = f"{placed:,} rows and dead letters from {records:,} records: was the topic deleted, or a lake reused?"
        yield _of_counts("The lake has more than was sent", detail)


def _of_counts(title: str, detail: str) -> Problem:
    return Problem(
        title=title, detail=detail, section="counts", runbook=Runbook.CHECK_FAILED, stage=Stage.EVENTS, subjects=_EVENTS
    )


def _dead_letters(facts: Facts) -> Iterator[Problem]:
    if is_told(facts, accounts.CHECK, "events", accounts.REFUSED):
        return
    if facts.kafka is not None:
        letters = facts.kafka.dead_letters.records - facts.kafka.dead_letters.repeated
        records = facts.kafka.topics.get(facts.topics["events"], 0)
    elif facts.stages.accounts is not None:
        letters, records = sum(facts.stages.accounts.dlq.values()), facts.stages.accounts.records
    else:
        return
    if letters > facts.max_refused * records:
        title = f"{letters / records:.1%} of the records are dead letters" if records else "There are dead letters"
        detail = f"{letters:,} of {records:,} records; {facts.max_refused:.0%} are allowed."
        yield Problem(
            title=title,
            detail=detail,
            section="dead-letters",
            runbook=Runbook.DEAD_LETTERS,
            stage=Stage.DEAD_LETTERS,
            subjects=_EVENTS,
        )


def _lake(facts: Facts) -> Iterator[Problem]:
    for name, table in facts.lake.tables.items():
        if table.unreadable:
            files = f"{len(table.unreadable):,} file{'s' if len(table.unreadable) > 1 else ''}"
            detail = f"{named(table.unreadable)}. Their rows are not in the counts."
            subjects = (name.rpartition("/")[2],)
            title = f"{files} of {name} cannot be read"
            yield Problem(
                title=title, detail=detail, section="counts", runbook=Runbook.SOURCE_UNREAD, subjects=subjects
            )


def _lags(facts: Facts) -> Iterator[Problem]:
    if facts.kafka is None:
        return
    ways = {facts.topics["events"]: Stage.JOB, facts.topics["feature_rows"]: Stage.ONLINE}
    for lag in facts.kafka.lags:
        if lag.records > facts.max_records and not is_told(facts, "freshness", lag.group):
            detail = f"{lag.records:,} records of {lag.topic} are still to be read; does it run?"
            stage = ways.get(lag.topic)
            yield _behind(f"{lag.group} is behind", detail, Runbook.CONSUMER_LAG, stage, _EVENTS if stage else ())
    topic = facts.topics["feature_rows"]
    rows = facts.kafka.topics.get(topic, 0)
    if rows > facts.max_records and not any(lag.topic == topic for lag in facts.kafka.lags):
        detail = f"{rows:,} records of {topic} wait for it: `playhead write-online`."
        yield _behind("No online writer has run", detail, Runbook.WRITER_DOWN, Stage.ONLINE, _groups(facts))


def _behind(title: str, detail: str, runbook: Runbook, stage: Stage | None, subjects: tuple[str, ...]) -> Problem:
    return Problem(title=title, detail=detail, section="stack", runbook=runbook, stage=stage, subjects=subjects)


def _serving(facts: Facts) -> Iterator[Problem]:
    writer, serve, landed = facts.stages.writer, facts.stages.serve, facts.stages.land_served
    refused = {name: rows for name, rows in writer.rows.items() if name not in _GOOD_ROWS and rows} if writer else {}
    lost = {name: count for name, count in serve.vectors.items() if name not in _GOOD_FATES and count} if serve else {}
    services = tuple(service.name for service in facts.services)
    for title, runbook, counts, ended, stage, subjects in (
        ("Feature rows could not be written online", Runbook.WRITER_FAILURES, refused, writer, Stage.ONLINE, _EVENTS),
        ("Served vectors were not logged", Runbook.SERVED_VECTORS_LOST, lost, serve, Stage.SERVED, services),
        (
            "Served vectors were not landed",
            Runbook.SERVED_LOG_LAG,
            landed.skipped if landed else {},
            landed,
            Stage.SERVED,
            services,
        ),
    ):
        if counts and ended:
            yield Problem(
                title=title,
                detail=_counted(counts),
                section="stages",
                runbook=runbook,
                stage=stage,
                since=ended.at,
                subjects=subjects,
            )


def _quality(facts: Facts) -> Iterator[Problem]:
    """One for each suite; the newest of its days tells what is wrong."""
    failed = [v for v in facts.stages.quality if v.failures and not is_told(facts, "quality", v.suite)]
    ordered = sorted(failed, key=lambda each: (each.suite, each.days))
    for suite, verdicts in groupby(ordered, key=lambda each: each.suite):
        own = list(verdicts)
        newest, days = own[-1], [day for verdict in own for day in verdict.days]
        names = [f"{f.expectation} ({f.column or 'table'})" for f in newest.failures]
        when = _span(newest) if len(own) == 1 else f"{len(days)} days, the last {days[-1]}"
        held = facts.held(suite)
        kept = f" Not published: {named(held)}." if held else ""
        yield Problem(
            title=f"Quality of {suite} fails, {when}",
            detail=f"{len(names)} of {newest.expectations} expectations: {named(names)}.{kept}",
            section="quality",
            runbook=Runbook.QUALITY_FAILED,
            stage=Stage.VIEWS,
            since=datetime.fromisoformat(days[0]).replace(tzinfo=UTC),
            subjects=tuple(dict.fromkeys(_subject(facts, suite, f.column) for each in own for f in each.failures)),
        )


def _subject(facts: Facts, suite: str, column: str | None) -> str:
    """What an expectation is of: a column where it is a field of the events or a feature, else the whole table."""
    known = {*facts.lineage.sources, *facts.lineage.reads}
    # A column may be that of a profile: `null_rise(track_id)`.
    name = (column or "").removesuffix(")").rpartition("(")[2]
    return next((each for each in (f"{suite}.{name}", f"{suite}__{name}") if each in known), suite)


def _published(facts: Facts) -> Iterator[Problem]:
    mark, events = facts.lake.published, facts.lake.events
    if mark is None:
        return
    daily = tuple(group.name for group in facts.groups if group.kind == "daily")
    newest = events.newest if events else None
    is_late = newest is not None and newest - mark.end > facts.max_batch_lag
    if newest and is_late and not is_told(facts, "freshness", "batch"):
        detail = f"The last published day is {mark.dt}; events go to {newest:%Y-%m-%d %H:%M} UTC."
        yield Problem(
            title=f"Daily views are {(newest - mark.end).days} days behind",
            detail=detail,
            section="freshness",
            runbook=Runbook.BATCH_DAY_MISSING,
            stage=Stage.VIEWS,
            since=mark.end + facts.max_batch_lag,
            subjects=daily,
        )
    declared = {group.name: group.fingerprint for group in facts.groups}
    other = [name for name, own in mark.fingerprints.items() if declared.get(name, own) != own]
    if other:
        detail = f"{', '.join(other)}: run the batch days again."
        yield Problem(
            title="Views were published with another declaration",
            detail=detail,
            section="declared",
            runbook=Runbook.BATCH_DAY_MISSING,
            stage=Stage.VIEWS,
            subjects=tuple(other),
        )


def _skew(facts: Facts) -> Iterator[Problem]:
    skew = facts.stages.skew
    if skew is not None and skew.mismatches and not wrong(facts, "skew"):
        worst = sorted((f for f in skew.features if f.mismatches), key=lambda f: -f.mismatches)
        names = named([f"{f.feature} ({f.mismatches:,})" for f in worst])
        causes = ", ".join(f"{cause.replace('_', ' ')} {count:,}" for cause, count in skew.causes.items())
        detail = f"{skew.mismatches:,} of {skew.values:,} values{f' ({causes})' if causes else ''}: {names}."
        yield Problem(
            title="Served values differ from the offline store",
            detail=detail,
            section="skew",
            runbook=Runbook.SKEW,
            stage=Stage.SKEW,
            since=min((each.serve_time for each in skew.differences), default=None),
            subjects=tuple(dict.fromkeys(f.feature for f in worst)),
        )


def _backfill(facts: Facts) -> Iterator[Problem]:
    groups = facts.stages.backfill.groups if facts.stages.backfill else {}
    other = {name: int(found.get("different", 0)) for name, found in groups.items() if found.get("different")}
    if other:
        yield Problem(
            title="Backfill and archive differ",
            detail=_counted(other),
            section="training",
            runbook=Runbook.CHECK_FAILED,
            stage=Stage.ROWS,
            subjects=tuple(other),
        )


_EVENTS = (EVENTS,)
_GOOD_ROWS = frozenset({"written", "superseded", "ignored"})
_GOOD_FATES = frozenset({"sent", "delivered"})
_RULES = (
    _parts,
    _replay,
    _job,
    _accounts,
    _twice,
    _dead_letters,
    _lake,
    _lags,
    _quality,
    _published,
    _serving,
    _skew,
    _backfill,
)


def _groups(facts: Facts) -> tuple[str, ...]:
    return tuple(group.name for group in facts.groups)


def _counted(numbers: Mapping[str, int]) -> str:
    return ", ".join(f"{name}: {number:,}" for name, number in numbers.items()) + "."


def _span(verdict: Verdict) -> str:
    first, last = verdict.days[0], verdict.days[-1]
    return first if first == last else f"{first} to {last}"

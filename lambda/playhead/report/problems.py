"""What is wrong now, derived from the facts. A rule without the facts it needs says nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from playhead.report.facts import Facts, Job
from playhead.report.stages import Verdict

MOST_DEAD_LETTERS = 0.01
"""Share of the records that may be dead letters."""

MOST_LAG = 10_000
"""Records that a consumer group may be behind: a few seconds of work."""

MOST_BATCH_LAG = timedelta(days=2)
"""How far the published views may be behind the events before long windows count as stale."""

_CHECKPOINTS = 12
_LEAST_CHECKPOINT_AGE = timedelta(minutes=1)
_NAMED = 3


class Stage(StrEnum):
    """A stage of the data's way, as the picture names it."""

    REPLAY = "Replay"
    TOPIC = "Events topic"
    JOB = "Speed job"
    DEAD_LETTERS = "Dead letters"
    EVENTS = "Events in the lake"
    VIEWS = "Daily views"
    TRAINING = "Training set"
    ROWS = "Feature rows"
    ONLINE = "Online store"
    SERVED = "Served vectors"
    SESSIONS = "Closed sessions"
    SKEW = "Skew check"


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        title: what, in a few words.
        detail: numbers, names, and what can be done.
        section: the part of the page that has more.
        stage: where on the data's way; null when on none of it.
    """

    title: str
    detail: str
    section: str
    stage: Stage | None = None


def problems_of(facts: Facts) -> tuple[Problem, ...]:
    """Everything that is wrong, in the order of the data's way."""
    return tuple(problem for rule in _RULES for problem in rule(facts))


def _parts(facts: Facts) -> Iterator[Problem]:
    for part in facts.parts:
        if part.state == "crashed":
            yield Problem(
                title=f"{part.name} does not answer", detail=f"{part.address}: {part.detail}", section="stack"
            )
    for unread in facts.unread:
        yield Problem(title=f"{unread.source} cannot be read", detail=unread.why, section="stack")
    for name, why in facts.stages.problems.items():
        yield Problem(title=f"Result {name} cannot be read", detail=why, section="freshness")


def _replay(facts: Facts) -> Iterator[Problem]:
    replay = facts.stages.replay
    if replay is None:
        return
    if replay.interrupted:
        detail = (
            f"It ended after {replay.sent:,} records; the last heartbeats were not sent. Sending again is harmless."
        )
        yield Problem(title="The last replay was interrupted", detail=detail, section="counts", stage=Stage.REPLAY)
    if replay.not_sent:
        yield Problem(
            title="Records were not sent", detail=_counted(replay.not_sent), section="counts", stage=Stage.REPLAY
        )


def _job(facts: Facts) -> Iterator[Problem]:
    if facts.flink is None:
        return
    job = facts.flink.job
    if job is None:
        title = "The speed job is not running"
        detail = "Nothing new gets to the lake or online; `playhead stream start` goes on from where it stopped."
        yield Problem(title=title, detail=detail, section="stack", stage=Stage.JOB)
        return
    detail = f"Job {job.job_id}." + (f" Last failure: {job.failure}" if job.failure else "")
    if job.state != "RUNNING":
        yield Problem(title=f"The speed job is {job.state}", detail=detail, section="stack", stage=Stage.JOB)
    if job.restarts:
        times = "once" if job.restarts == 1 else f"{job.restarts:,} times"
        title = f"The speed job was restarted {times}"
        yield Problem(title=title, detail=detail, section="stack", stage=Stage.JOB)
    yield from _checkpoint(facts, job)


def _checkpoint(facts: Facts, job: Job) -> Iterator[Problem]:
    allowed = max(_LEAST_CHECKPOINT_AGE, _CHECKPOINTS * timedelta(seconds=facts.checkpoint_seconds))
    if job.checkpoint is not None and facts.made_at - job.checkpoint > allowed:
        detail = (
            f"The last was started at {job.checkpoint:%Y-%m-%d %H:%M:%S} UTC, one is due every "
            f"{facts.checkpoint_seconds:g} s. Rows become visible in the lake at checkpoints."
        )
        yield Problem(title="Checkpoints have stopped", detail=detail, section="freshness", stage=Stage.JOB)


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
        yield Problem(title="The counts do not add up", detail=detail, section="counts", stage=Stage.EVENTS)


def _twice(facts: Facts) -> Iterator[Problem]:
    """Without the naive count, at least this must hold."""
    if facts.kafka is None or facts.lake.events is None:
        return
    records, letters = facts.kafka.topics.get(facts.topics["events"], 0), facts.kafka.dead_letters
    placed = facts.lake.events.rows + letters.records - letters.repeated
    if 0 < records < placed:
        detail = f"{placed:,} rows and dead letters from {records:,} records: was the topic deleted, or a lake reused?"
        yield Problem(title="The lake has more than was sent", detail=detail, section="counts", stage=Stage.EVENTS)


def _dead_letters(facts: Facts) -> Iterator[Problem]:
    if facts.kafka is not None:
        letters = facts.kafka.dead_letters.records - facts.kafka.dead_letters.repeated
        records = facts.kafka.topics.get(facts.topics["events"], 0)
    elif facts.stages.accounts is not None:
        letters, records = sum(facts.stages.accounts.dlq.values()), facts.stages.accounts.records
    else:
        return
    if letters > MOST_DEAD_LETTERS * records:
        title = f"{letters / records:.1%} of the records are dead letters" if records else "There are dead letters"
        detail = f"{letters:,} of {records:,} records; {MOST_DEAD_LETTERS:.0%} are allowed."
        yield Problem(title=title, detail=detail, section="dead-letters", stage=Stage.DEAD_LETTERS)


def _lake(facts: Facts) -> Iterator[Problem]:
    for name, table in facts.lake.tables.items():
        if table.unreadable:
            files = f"{len(table.unreadable):,} file{'s' if len(table.unreadable) > 1 else ''}"
            detail = f"{_first(table.unreadable)}. Their rows are not in the counts."
            yield Problem(title=f"{files} of {name} cannot be read", detail=detail, section="counts")


def _lags(facts: Facts) -> Iterator[Problem]:
    if facts.kafka is None:
        return
    ways = {facts.topics["events"]: Stage.JOB, facts.topics["feature_rows"]: Stage.ONLINE}
    for lag in facts.kafka.lags:
        if lag.records > MOST_LAG:
            detail = f"{lag.records:,} records of {lag.topic} are still to be read; does it run?"
            stage = ways.get(lag.topic)
            yield Problem(title=f"{lag.group} is behind", detail=detail, section="stack", stage=stage)
    topic = facts.topics["feature_rows"]
    rows = facts.kafka.topics.get(topic, 0)
    if rows > MOST_LAG and not any(lag.topic == topic for lag in facts.kafka.lags):
        detail = f"{rows:,} records of {topic} wait for it: `playhead write-online`."
        yield Problem(title="No online writer has run", detail=detail, section="stack", stage=Stage.ONLINE)


def _serving(facts: Facts) -> Iterator[Problem]:
    writer, serve, landed = facts.stages.writer, facts.stages.serve, facts.stages.land_served
    refused = {name: rows for name, rows in writer.rows.items() if name not in _GOOD_ROWS and rows} if writer else {}
    lost = {name: count for name, count in serve.vectors.items() if name not in _GOOD_FATES and count} if serve else {}
    for title, counts, stage in (
        ("Feature rows could not be written online", refused, Stage.ONLINE),
        ("Served vectors were not logged", lost, Stage.SERVED),
        ("Served vectors were not landed", landed.skipped if landed else {}, Stage.SERVED),
    ):
        if counts:
            yield Problem(title=title, detail=_counted(counts), section="stages", stage=stage)


def _quality(facts: Facts) -> Iterator[Problem]:
    for verdict in facts.stages.quality:
        if verdict.failures:
            names = [f"{f.expectation} ({f.column or 'table'})" for f in verdict.failures]
            title = f"Quality of {verdict.suite} fails, {_span(verdict)}"
            detail = f"{len(names)} of {verdict.expectations} expectations: {_first(names)}. The day is not published."
            yield Problem(title=title, detail=detail, section="quality", stage=Stage.VIEWS)


def _published(facts: Facts) -> Iterator[Problem]:
    mark, events = facts.lake.published, facts.lake.events
    if mark is None:
        return
    if events is not None and events.newest is not None and events.newest - mark.end > MOST_BATCH_LAG:
        behind = (events.newest - mark.end).days
        detail = f"The last published day is {mark.dt}; events go to {events.newest:%Y-%m-%d %H:%M} UTC."
        yield Problem(
            title=f"Daily views are {behind} days behind", detail=detail, section="freshness", stage=Stage.VIEWS
        )
    declared = {group.name: group.fingerprint for group in facts.groups}
    other = [name for name, own in mark.fingerprints.items() if declared.get(name, own) != own]
    if other:
        detail = f"{', '.join(other)}: run the batch days again."
        yield Problem(
            title="Views were published with another declaration", detail=detail, section="declared", stage=Stage.VIEWS
        )


def _skew(facts: Facts) -> Iterator[Problem]:
    skew = facts.stages.skew
    if skew is not None and skew.mismatches:
        worst = sorted((f for f in skew.features if f.mismatches), key=lambda f: -f.mismatches)
        names = _first([f"{f.feature} ({f.mismatches:,})" for f in worst])
        causes = ", ".join(f"{cause.replace('_', ' ')} {count:,}" for cause, count in skew.causes.items())
        detail = f"{skew.mismatches:,} of {skew.values:,} values{f' ({causes})' if causes else ''}: {names}."
        yield Problem(
            title="Served values differ from the offline store", detail=detail, section="skew", stage=Stage.SKEW
        )


def _backfill(facts: Facts) -> Iterator[Problem]:
    groups = facts.stages.backfill.groups if facts.stages.backfill else {}
    other = {name: int(found.get("different", 0)) for name, found in groups.items() if found.get("different")}
    if other:
        yield Problem(title="Backfill and archive differ", detail=_counted(other), section="training", stage=Stage.ROWS)


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


def _counted(numbers: Mapping[str, int]) -> str:
    return ", ".join(f"{name}: {number:,}" for name, number in numbers.items()) + "."


def _first(names: list[str] | tuple[str, ...]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more:,} more" if more > 0 else "")


def _span(verdict: Verdict) -> str:
    first, last = verdict.days[0], verdict.days[-1]
    return first if first == last else f"{first} to {last}"

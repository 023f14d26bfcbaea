"""Gathering what the page shows. A source that does not answer leaves its part empty; nothing is started or changed."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TypeVar

from playhead import stack
from playhead.checks.readings import Standing, standings
from playhead.config import Settings
from playhead.declarations import Declarations
from playhead.errors import InputError, PlayheadError
from playhead.lineage import lineage_of
from playhead.plan import AttributePlan, DailyPlan, Plan, SessionPlan, SlidingPlan
from playhead.report.facts import Facts, Flink, Group, Job, Kafka, Service, Unread
from playhead.report.stages import read_stages

Value = TypeVar("Value")

_KINDS: dict[type[Plan], str] = {
    SlidingPlan: "sliding",
    SessionPlan: "session",
    DailyPlan: "daily",
    AttributePlan: "attributes",
}


def gather(settings: Settings, declarations: Declarations, *, now: datetime | None = None) -> Facts:
    """Look at the home, the lake, and those of Kafka, Flink and Redis that run.

    Args:
        settings: says where they are.
        declarations: what is declared.
        now: aware; the wall clock when None.
    """
    from playhead.report.lake import read_lake

    unread: list[Unread] = []
    parts = _asked("stack", lambda: tuple(stack.status(settings)), unread) or ()
    running = {part.name for part in parts if part.state == "running"}
    with ThreadPoolExecutor() as pool:

        def ask(source: str, part: str, read: Callable[[], Value]) -> Callable[[], Value | None]:
            if part not in running:
                return lambda: None
            return pool.submit(_asked, source, read, unread).result

        kafka = ask("Kafka", "kafka", lambda: _kafka(settings))
        flink = ask("Flink", "jobmanager", lambda: _flink(settings))
        online = ask("Redis", "redis", lambda: _online(settings, declarations))
        checked = pool.submit(_asked, "readings of checks", lambda: _standings(settings), unread).result
        lake, unread_tables = read_lake(settings.lake, declarations)
        return Facts(
            home=str(settings.home),
            mode=settings.mode,
            made_at=(now or datetime.now(UTC)).astimezone(UTC),
            checkpoint_seconds=settings.flink.checkpoint_interval.total_seconds(),
            max_refused=settings.checks.max_refused,
            max_records=settings.freshness.consumer_records,
            max_batch_lag=settings.freshness.batch,
            topics={
                "events": settings.kafka.events_topic,
                "dead_letters": settings.kafka.dead_letter_topic,
                "feature_rows": settings.kafka.feature_rows_topic,
                "served": settings.kafka.served_topic,
            },
            parts=parts,
            lake=lake,
            kafka=kafka(),
            flink=flink(),
            online=online(),
            stages=read_stages(settings),
            standings=checked() or (),
            lineage=lineage_of(declarations),
            groups=tuple(_group(declarations, group.name) for group in declarations.groups),
            services=tuple(Service(name=s.name, groups=tuple(g.name for g in s.groups)) for s in declarations.services),
            unread=(*unread, *unread_tables),
        )


def _asked(source: str, read: Callable[[], Value], unread: list[Unread]) -> Value | None:
    try:
        return read()
    except PlayheadError as error:
        unread.append(Unread(source=source, why=str(error)))
        return None


def _kafka(settings: Settings) -> Kafka:
    from playhead.report.topics import read_kafka

    return read_kafka(settings.kafka)


def _flink(settings: Settings) -> Flink:
    from playhead.speed import cluster

    found = cluster.find(settings)
    if found is None:
        return Flink(job=None)
    job = Job(
        job_id=found.job_id,
        state=found.state,
        watermark=_moment(found.watermark_ms),
        checkpoint=_moment(found.checkpoint_ms),
        restarts=found.restarts,
        failure=found.failure,
    )
    return Flink(job=job)


def _online(settings: Settings, declarations: Declarations) -> dict[str, int]:
    from playhead.serving.online import open_online_store

    with open_online_store(settings.redis) as store:
        return {group.name: store.count(group.name) for group in declarations.groups}


def _standings(settings: Settings) -> tuple[Standing, ...]:
    from deltalake.exceptions import DeltaError

    try:
        return tuple(standings(settings))
    except (DeltaError, OSError, KeyError) as error:
        raise InputError(f"{settings.lake / 'checks'}: {error}") from error


def _group(declarations: Declarations, name: str) -> Group:
    plan = declarations.plan(name)
    features = tuple(feature for feature, _ in plan.schema)
    return Group(name=name, key=plan.key, kind=_KINDS[type(plan)], fingerprint=plan.fingerprint, features=features)


def _moment(epoch_ms: int | None) -> datetime | None:
    return None if epoch_ms is None else datetime.fromtimestamp(epoch_ms / 1_000, UTC)

"""What the page shows, as values. A part that has not run, or that did not answer, is None or empty."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from playhead.checks.readings import Standing
from playhead.lineage import Lineage
from playhead.report.stages import Stages
from playhead.stack import PartStatus


@dataclass(frozen=True, kw_only=True)
class LakeTable:
    """Rows of one folder of the lake, from the footers of its files.

    Attributes:
        rows: all of them.
        files: finished files.
        by_day: `dt` to rows, in the order of days.
        late_by_day: `dt` to events behind the watermark; empty for what is not events.
        newest: newest value of the table's time column, aware UTC; null when its files do not say.
        written: when the newest file was written, aware UTC; null without files.
        unreadable: files that are no Parquet.
    """

    rows: int
    files: int
    by_day: Mapping[str, int]
    late_by_day: Mapping[str, int]
    newest: datetime | None
    written: datetime | None
    unreadable: tuple[str, ...]

    @property
    def late(self) -> int:
        """Events behind the watermark."""
        return sum(self.late_by_day.values())


@dataclass(frozen=True, kw_only=True)
class Published:
    """The mark of the batch layer: the last published day, its end, when that was, and of which declarations."""

    dt: str
    end: datetime
    at: datetime
    fingerprints: Mapping[str, str]
    days: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Lake:
    """The tables of the lake; a group, view or service that has no folder is not there.

    Attributes:
        events: the master data; null before the first event.
        sessions: closed sessions.
        open_sessions: users whose session is live by the newest feature row; null when that is not known.
        speed: group to its archive.
        daily: name to its daily partials.
        views: name to the published view.
        served: service to its served vectors.
        labelled: service to the labelled ones.
        published: the mark of the batch layer; null before the first batch day.
    """

    events: LakeTable | None
    sessions: LakeTable | None
    open_sessions: int | None
    speed: Mapping[str, LakeTable]
    daily: Mapping[str, LakeTable]
    views: Mapping[str, LakeTable]
    served: Mapping[str, LakeTable]
    labelled: Mapping[str, LakeTable]
    published: Published | None

    @property
    def tables(self) -> dict[str, LakeTable]:
        """Every table by its path in the lake."""
        single = {"events": self.events, "sessions": self.sessions}
        found = {name: table for name, table in single.items() if table is not None}
        for folder in ("speed", "daily", "views", "served", "labelled"):
            found |= {f"{folder}/{name}": table for name, table in getattr(self, folder).items()}
        return found


@dataclass(frozen=True, kw_only=True)
class Reason:
    """Dead letters of one reason. `newest` is when the last was written; `example` is its topic/partition/offset."""

    name: str
    records: int
    newest: datetime | None
    example: str


@dataclass(frozen=True, kw_only=True)
class DeadLetters:
    """The dead-letter topic.

    Attributes:
        records: what the topic holds.
        read: the newest of them, that were looked at.
        repeated: of these, those that a restart wrote again; not counted by reason.
        reasons: most frequent first.
    """

    records: int
    read: int
    repeated: int
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, kw_only=True)
class Lag:
    """How many records of a topic a consumer group has still to read."""

    group: str
    topic: str
    records: int


@dataclass(frozen=True, kw_only=True)
class Kafka:
    """Topic to records held (heartbeats included), how far the consumer groups are, and the dead letters."""

    topics: Mapping[str, int]
    lags: tuple[Lag, ...]
    dead_letters: DeadLetters


@dataclass(frozen=True, kw_only=True)
class Job:
    """The speed job. `watermark` is event time, `checkpoint` processing time, both aware UTC; null before the first."""

    job_id: str
    state: str
    watermark: datetime | None
    checkpoint: datetime | None
    restarts: int
    failure: str | None


@dataclass(frozen=True, kw_only=True)
class Flink:
    """A cluster that answers, and the speed job on it; null when it does not run."""

    job: Job | None


@dataclass(frozen=True, kw_only=True)
class Group:
    """A declared feature group."""

    name: str
    key: str
    kind: str
    fingerprint: str
    features: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Service:
    """A declared feature service and its groups, in order."""

    name: str
    groups: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Unread:
    """A source that is there but could not be read, and why."""

    source: str
    why: str


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Everything that was found.

    Attributes:
        home: the home directory.
        mode: `local` or `cluster`.
        made_at: when it was looked at, aware UTC.
        checkpoint_seconds: how often the speed job is to take a checkpoint.
        max_refused: share of the records that may be dead letters.
        max_records: records that a consumer group may be behind.
        max_batch_lag: how far the published views may be behind the events.
        topics: role (`events`, `dead_letters`, `feature_rows`, `served`) to the topic's name.
        parts: processes of the stack.
        lake: counts of the lake.
        kafka: null when no broker answers.
        flink: null when no cluster answers.
        online: group to entities in the online store; null when it does not answer.
        stages: what the stages and checks kept of their last run.
        standings: how everything stands that a check has measured.
        lineage: what features are made of, and who reads them.
        groups: what is declared.
        services: what is declared.
        unread: what is there but could not be read.
    """

    home: str
    mode: str
    made_at: datetime
    checkpoint_seconds: float
    max_refused: float
    max_records: int
    max_batch_lag: timedelta
    topics: Mapping[str, str]
    parts: tuple[PartStatus, ...]
    lake: Lake
    kafka: Kafka | None
    flink: Flink | None
    online: Mapping[str, int] | None
    stages: Stages
    standings: tuple[Standing, ...]
    lineage: Lineage
    groups: tuple[Group, ...]
    services: tuple[Service, ...]
    unread: tuple[Unread, ...]

    def held(self, suite: str) -> list[str]:
        """Days that fail a suite of the quality gate and are not published, in order."""
        out = {*self.lake.published.days} if self.lake.published else set[str]()
        failed = {
            day
            for verdict in self.stages.quality
            if verdict.failures and verdict.suite == suite
            for day in verdict.days
        }
        return sorted(failed - out)

    @property
    def silent(self) -> tuple[str, ...]:
        """Parts of the stack that were not asked because they do not run."""
        return tuple(part.name for part in self.parts if part.state == "stopped")

"""What a problem is, and where on the data's way it may be."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from playhead.lineage import Affected


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
    LABELS = "Labelled vectors"
    SESSIONS = "Closed sessions"
    SKEW = "Skew check"


class Runbook(StrEnum):
    """A part of `docs/runbook.md`, by its anchor."""

    JOB_NOT_RUNNING = "jobnotrunning"
    JOB_RESTARTS = "jobrestarts"
    CHECKPOINT_OLD = "checkpointold"
    WATERMARK_LAG = "watermarklag"
    LAKE_LAG = "lakelag"
    CONSUMER_LAG = "consumerlag"
    NO_EVENTS = "noevents"
    DEAD_LETTERS = "deadletters"
    WRITER_DOWN = "writerdown"
    WRITER_FAILURES = "writerfailures"
    ONLINE_LAG = "onlinelag"
    SERVED_VECTORS_LOST = "servedvectorslost"
    SERVED_LOG_LAG = "servedloglag"
    BATCH_DAY_MISSING = "batchdaymissing"
    FRESHNESS_MISSED = "freshnessmissed"
    QUALITY_FAILED = "qualityfailed"
    SKEW = "skew"
    DRIFT = "drift"
    CHECK_FAILED = "checkfailed"
    SOURCE_UNREAD = "sourceunread"


@dataclass(frozen=True, kw_only=True)
class Item:
    """One of several things that are wrong alike: its subject, how it is in words, and since when."""

    subject: str
    words: str
    since: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing that is wrong, or several alike.

    Attributes:
        title: what, in a few words.
        detail: numbers, names, and what can be done.
        section: the part of the page that has more.
        runbook: where it stands what to do.
        stage: where on the data's way; null when on none of it.
        since: since when, aware UTC; null when nothing tells.
        subjects: what it is of, as readings name it; `affected` follows from them.
        affected: the features and services that it concerns.
        items: what is wrong alike.
    """

    title: str
    detail: str
    section: str
    runbook: Runbook
    stage: Stage | None = None
    since: datetime | None = None
    subjects: tuple[str, ...] = ()
    affected: Affected = field(default_factory=Affected)
    items: tuple[Item, ...] = ()

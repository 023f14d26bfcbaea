"""How far each part is behind, against what the settings allow.

Lags are of event time where data is compared with data: what the lake or the watermark lacks of the topic's newest
record. By the clock a replay of the past would be years behind.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
from prometheus_client.parser import text_string_to_metric_families

from playhead.checks import readings
from playhead.checks.readings import Reading
from playhead.checks.trace import CHECK, trace
from playhead.config import Settings
from playhead.days import begin_ms_of, end_ms_of
from playhead.errors import PlayheadError, StackError
from playhead.lake_files import DAY_FOLDER, event_days, finished_files
from playhead.published import published
from playhead.pushed import pushed
from playhead.report.facts import Kafka
from playhead.report.topics import read_kafka
from playhead.serving.events_tail import Tail, newest, read_tails
from playhead.serving.lander import behind
from playhead.speed import cluster
from playhead.speed.cluster import JobStatus

MEASURED = "measured"
"""The measure that says whether a subject could be measured at all."""

_TIMEOUT_SECONDS = 5.0


class State(StrEnum):
    """How a measure is: `warn` is close to what is allowed, `bad` beyond it."""

    OK = "ok"
    WARN = "warn"
    BAD = "bad"


@dataclass(frozen=True, kw_only=True)
class Freshness:
    """What was measured.

    Attributes:
        readings: of the check `freshness`. `measured` says whether anything could be, 1 or 0; other measures are
            `lag_s`, `age_s`, `records`, `running`, and of traced events `p50_s` and `p99_s`.
        warn: share of what is allowed above which a measure is close to it.
    """

    readings: Sequence[Reading]
    warn: float

    def state(self, reading: Reading) -> State:
        """How a reading is."""
        if not reading.ok:
            return State.BAD
        is_close = (reading.value or 0) > self.warn * (reading.allowed or math.inf)
        return State.WARN if is_close else State.OK

    @property
    def missed(self) -> tuple[Reading, ...]:
        """Objectives that are missed."""
        return tuple(reading for reading in self.readings if not reading.ok)

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        names = ("subject", "measure", "value", "allowed", "ok", "detail")
        rows = [{name: getattr(each, name) for name in names} | {"state": self.state(each)} for each in self.readings]
        return {"ok": not self.missed, "measures": rows}


class Look:
    """What Kafka and Flink say at one moment, each asked once, when it is first wanted.

    Every method raises StackError when its source does not answer.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._seen: dict[str, Any] = {}

    def kafka(self) -> Kafka:
        """Topics, consumer groups and dead letters.

        To be asked before anything else of Kafka: when it does not answer, no other client waits ten seconds for it.
        """
        found: Kafka = self._once("kafka", lambda: read_kafka(self.settings.kafka))
        return found

    def tails(self) -> Mapping[int, Tail]:
        """The ends of the events topic."""
        self.kafka()
        found: Mapping[int, Tail] = self._once("tails", lambda: read_tails(self.settings))
        return found

    def job(self) -> JobStatus | None:
        """The speed job; None when it does not run."""
        found: JobStatus | None = self._once("job", lambda: cluster.find(self.settings))
        return found

    def _once(self, name: str, ask: Callable[[], Any]) -> Any:
        if name not in self._seen:
            try:
                self._seen[name] = ask()
            except PlayheadError as error:
                self._seen[name] = error
        found = self._seen[name]
        if isinstance(found, PlayheadError):
            raise found
        return found


@pushed("check_freshness", lambda found: {"findings": len(found.missed)})
def check_freshness(settings: Settings, *, traced: int = 0) -> Freshness:
    """Measure, and add what was found to the history.

    Args:
        settings: what is allowed (`freshness`), and where everything is.
        traced: so many events are sent through the whole way; 0 only looks.

    Raises:
        InputError: a trace, and no record in the topic yet.
        StackError: a trace, and Kafka or Redis does not answer.
    """
    found = measure(Look(settings))
    if traced:
        found = Freshness(readings=[*found.readings, *trace(settings, traced)], warn=found.warn)
    readings.record(settings, found.readings)
    return found


def measure(look: Look) -> Freshness:
    """How far each part is behind; nothing is sent, and nothing is kept."""
    found = [reading for subject, read in _SUBJECTS.items() for reading in _measured(subject, read, look)]
    return Freshness(readings=found, warn=look.settings.freshness.warn)


def _measured(subject: str, read: Callable[[Look], Iterator[Reading]], look: Look) -> list[Reading]:
    why, found = "", list[Reading]()
    try:
        found = list(read(look))
    except (PlayheadError, pa.ArrowException, OSError) as error:
        why = str(error)
    ok = not why
    return [*found, Reading(check=CHECK, subject=subject, measure=MEASURED, value=float(ok), ok=ok, detail=why)]


def _reading(subject: str, measure: str, value: float | None, allowed: timedelta | None, detail: str = "") -> Reading:
    limit = None if allowed is None else allowed.total_seconds()
    ok = limit is None or (value is not None and value <= limit)
    return Reading(check=CHECK, subject=subject, measure=measure, value=value, allowed=limit, ok=ok, detail=detail)


def _behind(end_ms: int, reached_ms: int) -> float:
    return max(0.0, (end_ms - reached_ms) / 1_000)


def _events(look: Look) -> Iterator[Reading]:
    newest_ms = newest(tail.newest_ms for tail in look.tails().values())
    if newest_ms is not None:
        yield _reading("events", "age_s", time.time() - newest_ms / 1_000, look.settings.freshness.events)


def _lake(look: Look) -> Iterator[Reading]:
    sent_ms = newest(tail.newest_event_ms for tail in look.tails().values())
    if sent_ms is not None:
        there_ms, allowed = newest_event_ms(look.settings.lake), look.settings.freshness.lake
        if there_ms is None:
            yield _reading("lake", "lag_s", None, allowed, "no event is in the lake")
        else:
            yield _reading("lake", "lag_s", _behind(sent_ms, there_ms), allowed)


def _watermark(look: Look) -> Iterator[Reading]:
    newest_ms = newest(tail.newest_ms for tail in look.tails().values())
    job = look.job()
    if newest_ms is not None and job is not None and job.watermark_ms is not None:
        yield _reading("watermark", "lag_s", _behind(newest_ms, job.watermark_ms), look.settings.freshness.watermark)


def _job(look: Look) -> Iterator[Reading]:
    job = look.job()
    running = job is not None and job.state == "RUNNING"
    detail = "" if running else f"the speed job is {job.state if job else 'not running'}"
    yield Reading(check=CHECK, subject="job", measure="running", value=float(running), ok=running, detail=detail)


def _checkpoint(look: Look) -> Iterator[Reading]:
    job = look.job()
    if job is not None and job.checkpoint_ms is not None:
        age_s = time.time() - job.checkpoint_ms / 1_000
        yield _reading("checkpoint", "age_s", age_s, look.settings.freshness.checkpoint)


def _groups(look: Look) -> Iterator[Reading]:
    allowed = look.settings.freshness.consumer_records
    for lag in look.kafka().lags:
        ok, detail = lag.records <= allowed, f"of {lag.topic}"
        yield Reading(
            check=CHECK,
            subject=lag.group,
            measure="records",
            value=lag.records,
            allowed=allowed,
            ok=ok,
            detail=detail,
        )


def _online(look: Look) -> Iterator[Reading]:
    """What the online writer has measured itself, of the last rows that it wrote."""
    serve = look.settings.serve
    address = look.settings.metrics.writer or f"{serve.host}:{serve.writer_metrics_port}"
    try:
        with httpx.Client(trust_env=False, timeout=_TIMEOUT_SECONDS) as client:
            answer = client.get(f"http://{address}/metrics").raise_for_status()
    except httpx.HTTPError as error:
        raise StackError(
            f"the online writer's metrics at {address} do not answer: {error}", hint="`playhead write-online` runs it"
        ) from error
    samples = (sample for family in text_string_to_metric_families(answer.text) for sample in family.samples)
    lag_s = next(sample.value for sample in samples if sample.name == "playhead_writer_lag_seconds")
    yield _reading("online", "lag_s", lag_s, look.settings.freshness.online)


def _batch(look: Look) -> Iterator[Reading]:
    """From the end of the last published day, or the start of the first day of events, to the newest event."""
    lake, allowed = look.settings.lake, look.settings.freshness.batch
    newest_ms, mark = newest_event_ms(lake), published(lake)
    if newest_ms is not None:
        end_ms = end_ms_of(mark.day) if mark else begin_ms_of(event_days(lake)[0])
        detail = f"the last published day is {mark.day}" if mark else "no day is published"
        yield _reading("batch", "lag_s", _behind(newest_ms, end_ms), allowed, detail)


def _served_log(look: Look) -> Iterator[Reading]:
    look.kafka()
    left = behind(look.settings)
    detail = f"{left.records:,} records have not landed" if left.records else ""
    yield _reading("served_log", "lag_s", left.seconds, look.settings.freshness.served_log, detail)


_SUBJECTS: Mapping[str, Callable[[Look], Iterator[Reading]]] = MappingProxyType(
    {
        "events": _events,
        "lake": _lake,
        "watermark": _watermark,
        "job": _job,
        "checkpoint": _checkpoint,
        "consumer_groups": _groups,
        "online": _online,
        "batch": _batch,
        "served_log": _served_log,
    }
)


def newest_event_ms(lake: Path) -> int | None:
    """The time of the newest event of the master data, UTC epoch ms, by the footers of its last hour; None without
    one."""
    days = event_days(lake)
    if not days:
        return None
    hours = sorted((lake / "events" / f"{DAY_FOLDER}{days[-1]}").iterdir(), reverse=True)
    files = next(filter(None, map(finished_files, hours)), [])
    return newest(_greatest(pq.read_metadata(file)) for file in files)


def _greatest(footer: Any) -> int | None:
    groups = (footer.row_group(number) for number in range(footer.num_row_groups))
    chunks = (group.column(place) for group in groups for place in range(group.num_columns))
    times = (chunk.statistics for chunk in chunks if chunk.path_in_schema == "event_time_ms")
    return newest(found.max for found in times if found is not None and found.has_min_max)

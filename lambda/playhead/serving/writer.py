"""The online writer: the topic `feature-rows` → Redis.

Of each batch only the newest row of an entity is written. Offsets are committed after the write: a crash in between
writes rows again, which changes nothing, because they hold absolute values and the newest wins.
"""

from __future__ import annotations

import functools
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from threading import Event
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, Gauge, Histogram
from prometheus_client import Counter as Metric

from playhead.checks import results
from playhead.config import Settings
from playhead.declarations import load_declarations
from playhead.errors import StackError
from playhead.serving.exposed import exposed
from playhead.serving.newest import NewestRows
from playhead.serving.online import Keep, Written, open_online_store
from playhead.serving.online_merge import KEPT_TODAY
from playhead.serving.packed import Packer
from playhead.serving.topic import TopicReader, open_topic
from playhead.stack.ports import Port

log = structlog.get_logger()

GROUP = "playhead-online-writer"
"""The consumer group."""

_BATCH_ROWS = 5_000
_BATCH_SECONDS = 0.1
_LOG_SECONDS = 10.0
_FIRST_RETRY_SECONDS, _LAST_RETRY_SECONDS = 0.1, 5.0
_PATIENCE_SECONDS = 60.0


@dataclass(frozen=True)
class WriterSummary:
    """What a writer did: outcome to number of rows, and how long it ran.

    Outcomes: `written`; `superseded` by a newer row of the same batch; `ignored`, a newer row was in the store; and for
    rows that cannot be used `malformed`, `unknown_group`, `other_fingerprint`, `bad_value`.
    """

    rows: Mapping[str, int]
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """The summary as JSON values."""
        read = sum(self.rows.values())
        rate = round(read / self.seconds, 1) if self.seconds else 0.0
        return {"read": read, "rows": dict(self.rows), "seconds": round(self.seconds, 3), "rows_per_s": rate}


def run_writer(settings: Settings, stop: Event, *, until_caught_up: bool = False) -> WriterSummary:
    """Write feature rows until told to stop; outages of Kafka and Redis are waited out.

    Args:
        settings: where Kafka and Redis are, and the port of the metrics.
        stop: set it to end after the batch in hand.
        until_caught_up: end when everything that was in the topic has been written, and give up after a minute
            without progress.

    Returns:
        What was done, also saved as the result `writer`.

    Raises:
        StackError: Kafka or Redis cannot be reached at the start, the metrics port is taken, or no progress.
    """
    declarations = load_declarations()
    packers = {plan.name: Packer.of(plan) for plan in declarations.speed_plans}
    keep = {p.name: Keep(p.ttl, packers[p.name].values_of(p.empty)) for p in declarations.speed_plans}
    keep |= {plan.today.name: Keep(KEPT_TODAY) for plan in declarations.daily_plans}
    metrics = WriterMetrics()
    port = Port(number=settings.serve.writer_metrics_port, setting="serve.writer_metrics_port")
    with (
        open_online_store(settings.redis) as store,
        exposed(settings.serve.host, port, metrics.registry),
        open_topic(settings.kafka, settings.kafka.feature_rows_topic, GROUP) as reader,
    ):
        write = functools.partial(store.write_many, keep=keep)
        writer = Writer(reader, write, packers, metrics, stop, _PATIENCE_SECONDS if until_caught_up else None)
        log.info("writer started", topic=settings.kafka.feature_rows_topic, groups=sorted(packers))
        writer.run(until_caught_up=until_caught_up)
        summary = writer.summary()
    log.info("writer stopped", **summary.to_json())
    results.save(settings, "writer", summary.to_json())
    return summary


class WriterMetrics:
    """What Prometheus sees of a writer."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        name = "playhead_writer"
        self.rows = Metric(f"{name}_rows", "Feature rows read, by outcome", ["outcome"], registry=registry)
        self.batch = Histogram(f"{name}_batch_seconds", "From the records in hand to the commit", registry=registry)
        self.lag_messages = Gauge(f"{name}_lag_messages", "Records still to be read", ["partition"], registry=registry)
        age = "Age of the newest record when written; 0 when none is left"
        self.lag_seconds = Gauge(f"{name}_lag_seconds", age, registry=registry)
        self.failures = Metric(f"{name}_failures", "Writes and commits that failed", ["system"], registry=registry)


class Writer:
    """The loop: read a batch, write its newest rows, commit.

    Args:
        reader: the topic.
        write: writes (group, entity, packed row), as `OnlineStore.write_many`.
        packers: group to its packer.
        metrics: what to count in.
        stop: set it to end after the batch in hand.
        patience_s: seconds without progress after which to give up; None waits for ever.
    """

    def __init__(
        self,
        reader: TopicReader,
        write: Callable[[Iterable[tuple[str, str, bytes]]], Written],
        packers: Mapping[str, Packer],
        metrics: WriterMetrics,
        stop: Event,
        patience_s: float | None,
    ) -> None:
        self._reader, self._store_rows, self._packers = reader, write, packers
        self._metrics, self._stop, self._patience_s = metrics, stop, patience_s
        self._outcomes: Counter[str] = Counter()
        self._started = self._progressed = self._logged = time.monotonic()
        self._logged_rows = 0

    def run(self, *, until_caught_up: bool) -> None:
        """Go on until told to stop, or until what was in the topic is written."""
        while not (self._stop.is_set() or (until_caught_up and self._reader.caught_up)):
            records = self._reader.poll(_BATCH_ROWS, _BATCH_SECONDS)
            if records:
                self._handle(records)
            else:
                self._rest()
            self._report()

    def summary(self) -> WriterSummary:
        """What was done so far."""
        return WriterSummary(dict(self._outcomes), time.monotonic() - self._started)

    def _rest(self) -> None:
        """Nothing came. Who has nothing left to write is not behind, however late the last rows were."""
        self._check_patience("no records and no end of the topic")
        behind = self._reader.lag()
        if behind and not any(behind.values()):
            self._metrics.lag_seconds.set(0)

    def _handle(self, records: Sequence[Any]) -> None:
        with self._metrics.batch.time():
            batch = NewestRows()
            for record in records:
                batch.add(record.value(), self._packers)
            written = self._write(batch.rows())
            if written is None:
                return
            if not self._reader.commit():
                self._metrics.failures.labels("kafka").inc()
        self._progressed = time.monotonic()
        outcomes = batch.outcomes + Counter(written=written.written, ignored=written.ignored)
        self._outcomes += outcomes
        for outcome, count in outcomes.items():
            self._metrics.rows.labels(outcome).inc(count)
        for outcome, example in batch.examples.items():
            log.warning("rows skipped", reason=outcome, rows=outcomes[outcome], example=example)
        newest_ms = max(record.timestamp()[1] for record in records)
        self._metrics.lag_seconds.set(max(0.0, time.time() - newest_ms / 1_000))

    def _write(self, rows: list[tuple[str, str, bytes]]) -> Written | None:
        """Write, again and again until it works; None when told to stop before: the rows will be read again."""
        pause = _FIRST_RETRY_SECONDS
        while True:
            try:
                return self._store_rows(rows)
            except StackError as error:
                self._metrics.failures.labels("redis").inc()
                self._check_patience(str(error))
                log.warning("rows not written, trying again", rows=len(rows), seconds=pause, error=str(error))
            if self._stop.wait(pause):
                return None
            pause = min(2 * pause, _LAST_RETRY_SECONDS)

    def _check_patience(self, problem: str) -> None:
        if self._patience_s is not None and time.monotonic() > self._progressed + self._patience_s:
            raise StackError(f"the online writer made no progress for {self._patience_s:.0f} s: {problem}")

    def _report(self) -> None:
        now = time.monotonic()
        if now < self._logged + _LOG_SECONDS:
            return
        behind = self._reader.lag()
        for partition, messages in behind.items():
            self._metrics.lag_messages.labels(partition).set(messages)
        rows = self._outcomes.total()
        rate = (rows - self._logged_rows) / (now - self._logged)
        log.info("writing", rows_per_s=round(rate), lag=sum(behind.values()), **self._outcomes)
        self._logged, self._logged_rows = now, rows

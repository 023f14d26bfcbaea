"""What Prometheus sees of everything that is no long-running process of ours: checks, topics, the speed job, the lake.

A scrape looks at Kafka, Flink and the lake at that moment, and at what checks have recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from threading import Event

import structlog
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from playhead.checks.freshness import MEASURED, Look, measure
from playhead.checks.readings import Reading, standings
from playhead.config import Settings
from playhead.errors import PlayheadError
from playhead.published import published
from playhead.serving.exposed import exposed
from playhead.serving.topic import bounds_of
from playhead.stack.ports import Port

log = structlog.get_logger()

_LAGS = ("lag_s", "age_s")


def metrics_text(settings: Settings) -> bytes:
    """Prometheus's text format, of this moment.

    What does not answer is left out, and `playhead_source_up` says so.
    """
    return generate_latest(_registry(settings))


def serve_metrics(settings: Settings, stop: Event) -> None:
    """Serve them over HTTP until told to stop.

    Raises:
        StackError: the port is taken.
    """
    port = Port(number=settings.metrics.port, setting="metrics.port")
    with exposed(settings.serve.host, port, _registry(settings)):
        log.info("metrics are served", host=settings.serve.host, port=port.number)
        stop.wait()


def _registry(settings: Settings) -> CollectorRegistry:
    # Not described: that would look at everything once more, to learn the names.
    registry = CollectorRegistry(auto_describe=False)
    registry.register(PlayheadCollector(settings))
    return registry


class PlayheadCollector(Collector):
    """Looks at everything when it is asked.

    Args:
        settings: say where everything is.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def collect(self) -> Iterator[Metric]:
        """All metrics."""
        look = Look(self._settings)
        readings = measure(look).readings
        up = {each.subject: each.ok for each in readings if each.measure == MEASURED}
        for source, read in _SOURCES.items():
            try:
                found = list(read(look))
            except (PlayheadError, OSError):
                up[source] = False
            else:
                up[source] = True
                yield from found
        yield from _lag("playhead_lag_seconds", "Seconds", [each for each in readings if each.measure in _LAGS])
        yield from _lag("playhead_lag_records", "Records", [each for each in readings if each.measure == "records"])
        yield _labelled("playhead_source_up", "Whether a source could be read", "source", up)


def _labelled(name: str, says: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(name, says, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def _checks(look: Look) -> Iterator[Metric]:
    """How everything stands that checks have recorded."""
    labels = ["check", "subject", "measure"]
    ok = GaugeMetricFamily("playhead_check_ok", "Whether it is as it should be", labels=labels)
    value = GaugeMetricFamily("playhead_check_value", "The figure that was measured", labels=labels)
    since = GaugeMetricFamily("playhead_check_since_timestamp_seconds", "Since when it is wrong", labels=labels)
    at = GaugeMetricFamily("playhead_check_timestamp_seconds", "When it was measured last", labels=labels)
    for each in standings(look.settings):
        ok.add_metric(each.reading.about, each.reading.ok)
        at.add_metric(each.reading.about, each.at.timestamp())
        if each.reading.value is not None:
            value.add_metric(each.reading.about, each.reading.value)
        if each.since is not None:
            since.add_metric(each.reading.about, each.since.timestamp())
    return iter((ok, value, since, at))


def _lag(name: str, unit: str, readings: Sequence[Reading]) -> Iterator[Metric]:
    """How far each part is behind now, and how far it may be."""
    lags = {each.subject: each.value for each in readings if each.value is not None}
    allowed = {each.subject: each.allowed for each in readings if each.allowed is not None}
    yield _labelled(name, f"{unit} that a part is behind", "subject", lags)
    yield _labelled(f"{name}_allowed", f"{unit} that a part may be behind", "subject", allowed)


def _kafka(look: Look) -> Iterator[Metric]:
    kafka = look.settings.kafka
    roles = {
        kafka.events_topic: "events",
        kafka.dead_letter_topic: "dead_letters",
        kafka.feature_rows_topic: "feature_rows",
        kafka.served_topic: "served",
    }
    records = CounterMetricFamily("playhead_topic_records", "Records that a topic was given", labels=["topic"])
    for topic in look.kafka().topics:
        records.add_metric([roles[topic]], sum(each.end for each in bounds_of(kafka, topic).values()))
    yield records
    letters = {reason.name: reason.records for reason in look.kafka().dead_letters.reasons}
    yield _labelled("playhead_dead_letters", "The newest dead letters by reason", "reason", letters)


def _flink(look: Look) -> Iterator[Metric]:
    job = look.job()
    running = job is not None and job.state == "RUNNING"
    yield GaugeMetricFamily("playhead_job_running", "Whether the speed job runs", value=running)
    if job is not None:
        yield CounterMetricFamily("playhead_job_restarts", "Restores since the job was submitted", value=job.restarts)


def _published(look: Look) -> Iterator[Metric]:
    mark = published(look.settings.lake)
    if mark is not None:
        end_s = mark.end.timestamp()
        yield GaugeMetricFamily("playhead_published_end_timestamp_seconds", "The end of the last day", value=end_s)


_SOURCES: dict[str, Callable[[Look], Iterator[Metric]]] = {
    "checks": _checks,
    "kafka": _kafka,
    "flink": _flink,
    "published": _published,
}
